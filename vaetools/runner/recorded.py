"""Runs that have ended: their records, from the journal of an output folder or from `--json`."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from vaetools.errors import NothingMatchedError, UnreadableError, printable
from vaetools.record import SCHEMA_VERSION, Record, Status
from vaetools.runner.entries import JournalEntry, Order, absolute, complete_lines, parse
from vaetools.runner.inputs import is_folder
from vaetools.runner.place import Place, open_own
from vaetools.runner.record import FACTS
from vaetools.runner.result import RunResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


def recorded(run: str | Path) -> RunResult:
    """The result of all runs over an output folder, or of one whose records were kept.

    Args:
        run: An output folder, the folder of `--journal`, or a file with the lines of `--json`.

    Raises:
        UnreadableError: It does not exist or cannot be read.
        NothingMatchedError: It has no records.
        OutputError: A file of the run is not a regular file.
    """
    path = Path(run)
    try:
        result = _of_folder(path) if is_folder(path) else _of_lines(path)
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}", file=path) from error
    if not result.records:
        remedy = "name the output folder of a run, or a file of its JSON records"
        raise NothingMatchedError("has no records of a run", file=path, remedy=remedy)
    return result


def _of_lines(path: Path) -> RunResult:
    with path.open("rb") as file:
        return _result([record for line in file if (record := _record(line)) is not None], {})


def _of_folder(folder: Path) -> RunResult:
    """The last record of each input in the journals and lists of failures of a folder."""
    records: dict[tuple[str, str], Record] = {}
    options: dict[str, Mapping[str, str]] = {}
    out, events = _events(folder)
    for entry, facts in events:
        record = _of_entry(entry, facts or {}, out)
        if record is not None and facts is None:
            records.pop((record.op, record.file), None)
        elif record is not None:
            records[record.op, record.file] = record
        if facts is not None and isinstance(facts.get("options"), dict):
            options[entry.op] = facts["options"]
    for path in sorted(folder.glob(".vaetools.failed*.ndjson")):
        for failed, _ in read_records(path):
            if failed.status == "failed":
                records[failed.op, _shown(os.path.abspath(failed.file))] = failed  # noqa: PTH100
    return _result(list(records.values()), options)


def _events(folder: Path) -> tuple[Path, list[tuple[JournalEntry, dict[str, Any] | None]]]:
    """The output folder; what was done (with its facts) or pruned (None), in the order of time."""
    named, events = read_events(Place(folder).journals())
    return Path(os.path.normpath(folder / named)), events


def read_events(
    journals: Iterable[Path], *, begun: bool = False
) -> tuple[str, list[tuple[JournalEntry, dict[str, Any] | None]]]:
    """What journals say.

    Args:
        journals: Their paths.
        begun: Whether to count as done what an attempt began to write and did not confirm.

    Returns:
        The output folder that they name, or an empty string; what was done (with its facts) or
        pruned (None), in the order of time.
    """
    out = ""
    events: list[tuple[float, JournalEntry, dict[str, Any] | None]] = []
    order = Order()
    for path, line in ((file, line) for file in journals for line in _lines(file)):
        found = parse(line)
        if isinstance(found, str):
            out = found
        elif found is not None and (begun or found[1] in ("done", "pruned")):
            facts = _values(line).get("facts")
            known = facts if isinstance(facts, dict) else {}
            events.append(
                (order.key(path, found[0]), found[2], None if found[1] == "pruned" else known)
            )
    return out, [event[1:] for event in sorted(events, key=lambda event: event[0])]


def read_records(path: Path) -> Iterator[tuple[Record, dict[str, Any]]]:
    """Records of a file with the lines of `--json`, each with all values of its line."""
    for line in _lines(path):
        values = _values(line)
        record = _checked(values) if values.get("v") == SCHEMA_VERSION else None
        if record is not None:
            yield record, values


def _lines(path: Path) -> Iterator[bytes]:
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        for line, _ in complete_lines(file):
            yield line


def _values(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _of_entry(entry: JournalEntry, facts: Mapping[str, Any], out: Path) -> Record | None:
    source = absolute(entry.source, os.path.realpath(out))
    made = not os.path.isabs(source)  # noqa: PTH117 - a generated item
    return record_of_entry(entry, facts, out, source if made else _shown(source))


def record_of_entry(
    entry: JournalEntry, facts: Mapping[str, Any], out: Path, file: str
) -> Record | None:
    """The record of an input that is done; None if the journal is damaged.

    Args:
        entry, facts: What the journal has.
        out: The output folder.
        file: Path of the input.
    """
    values = {
        "v": SCHEMA_VERSION,
        "file": file,
        "out": [str(out / name) for name in entry.out],
        "op": entry.op,
        "status": "done",
        "device": entry.device or None,
        "onnxruntime": entry.onnxruntime or None,
        "bytes_in": entry.size,
        "bytes_out": sum(size for size, _ in entry.out.values()),
    }
    kept = {name: value for name, value in facts.items() if name in FACTS}
    if isinstance(kept.get("message"), str):
        kept["message"] = printable(f"{values['file']}: {kept['message']}")
    return _checked({**values, **kept}) or _checked(values)


def _shown(path: str) -> str:
    """A path relative to the current folder, if it is below it."""
    here = os.getcwd()  # noqa: PTH109
    return os.path.relpath(path, here) if path.startswith(here + os.sep) else path


def _record(line: bytes) -> Record | None:
    values = _values(line)
    return _checked(values) if values.get("v") == SCHEMA_VERSION else None


_TYPES: dict[str, tuple[type, ...]] = {
    "file": (str,),
    "op": (str,),
    "status": (str,),
    "code": (str,),
    "message": (str,),
    "bytes_in": (int,),
    "bytes_out": (int,),
    "width": (int, type(None)),
    "height": (int, type(None)),
    "ms": (int, float),
    "device": (str, type(None)),
    "onnxruntime": (str, type(None)),
    "found": (dict,),
    "unchanged": (bool,),
    "transient": (bool,),
}


def _checked(values: Mapping[str, Any]) -> Record | None:
    """A record of values from a file; None if they are not those of a record."""
    known = {field.name for field in fields(Record)} - {"noted"}
    given = {name: value for name, value in values.items() if name in known}
    for name, value in given.items():
        if name in ("out", "not_kept"):
            if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
                return None
            given[name] = tuple(value)
        elif not isinstance(value, _TYPES[name]):
            return None
    if not {"file", "out", "op", "status"} <= given.keys() or "\0" in given["file"]:
        return None
    if given["status"] not in get_args(Status) or any("\0" in name for name in given["out"]):
        return None
    return Record(**given)


def _result(records: list[Record], options: Mapping[str, Mapping[str, str]]) -> RunResult:
    ops = {record.op for record in records}
    texts = {
        f"{op} {name}" if len(ops) > 1 else name: str(value)
        for op, values in options.items()
        if op in ops
        for name, value in values.items()
    }
    return RunResult(tuple(records), seconds=None, options=texts)
