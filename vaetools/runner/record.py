"""The records that a run makes of its items, and errors as one line of text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vaetools.errors import UNEXPECTED, PluginError, VaetoolsError, printable
from vaetools.libraries import runtime_version
from vaetools.record import Record, Status
from vaetools.system_errors import is_transient
from vaetools.text import describe

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.runner.plan import PlannedItem


FACTS = ("message", "width", "height", "ms", "found", "unchanged", "not_kept")
"""Fields of a record that a journal keeps besides names, sizes and the device."""


def facts_of(record: Record) -> dict[str, Any]:
    """The fields of a record that a journal keeps besides names, sizes and the device.

    The message is without the path of the input, which tells about the machine.
    """
    values = {name: getattr(record, name) for name in FACTS}
    values["message"] = record.message.removeprefix(f"{printable(record.file)}: ")
    try:
        json.dumps(values["found"])
    except (TypeError, ValueError):  # of a plugin; a report can do without
        del values["found"]
    return {name: value for name, value in values.items() if value}


def record_of(
    item: PlannedItem, op: str, status: Status, *, seconds: float = 0.0, **fields: Any
) -> Record:
    """A record with the names and the size of `item`; `fields` are further fields of `Record`."""
    if fields.get("device"):
        fields["onnxruntime"] = runtime_version() or None
    return Record(
        str(item.source.path),
        tuple(str(path) for path in item.outputs),
        op,
        status,
        bytes_in=item.source.size,
        ms=round(seconds * 1000, 3),
        **fields,
    )


def failure(item: PlannedItem, op: str, error: BaseException, seconds: float = 0.0) -> Record:
    """The record of an input that could not be processed."""
    code, message = explain(error, item.source.path)
    return failed(item, op, code, message, seconds, transient=is_transient(error))


def failed(
    item: PlannedItem, op: str, code: str, message: str, seconds: float, *, transient: bool
) -> Record:
    """The same, where code and message are known."""
    fields = {"code": code, "message": message, "transient": transient}
    return record_of(item, op, "failed", seconds=seconds, **fields)


def not_processed(item: PlannedItem, op: str) -> Record:
    """The record of an item without processing it: failed, skipped, or planned in a dry run."""
    if item.problem is not None:
        return failure(item, op, item.problem)
    if item.reason:
        message = printable(f"{item.source.path}: {item.reason}")
        return record_of(item, op, "skipped", message=message)
    return record_of(item, op, "planned")


def explain(error: BaseException, file: str | Path) -> tuple[str, str]:
    """The code of any exception, and one printable line that begins with the input `file`.

    The exception is not changed: an operation may raise the same object for several inputs.
    """
    if isinstance(error, VaetoolsError):
        code, problem, remedy = error.code, error.problem, error.remedy
        if error.file not in (None, str(file)):
            problem = f"{error.file}: {problem}"
    elif isinstance(error, SystemExit):
        code, problem, remedy = PluginError.code, f"the operation tried to exit ({error})", None
    else:
        code, problem, remedy = UNEXPECTED, describe(error), _remedy(error)
    line = str(VaetoolsError(problem, file=file, remedy=remedy))
    return code, printable(" ".join(line.split()))


def _remedy(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "use fewer --jobs or smaller images"
    return "this is a bug in the operation or in vaetools, please report it; --debug shows details"
