"""The lines of a journal, one JSON object each. A line without sense is skipped, never an error."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from vaetools.runner.inputs import Source

SCHEMA_VERSION = 1

MAX_LINE = 64 * 2**20
"""Longest line in bytes; that of an input with 100,000 outputs has about 12 MB."""

_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One input and the outputs that a run wrote for it.

    Attributes:
        file: Relative path of the input.
        size: Size of the input in bytes, when the run began.
        mtime_ns: Modification time of the input in nanoseconds, when the run began.
        fingerprint: The work key: operation, options, model, and settings that change outputs;
            after it the identity of further files of the input, such as its mask, if it has any.
        op: Name of the operation.
        source: Path of the input, or the name of a generated item. Relative to the output folder
            if both lie in one folder below the root: the journal then tells nothing about the
            machine, and stays true if both are moved together.
        out: (size in bytes, hexadecimal SHA-256) of each output, by its relative path.
        origin: Hash of the absolute path of the input; stays true if the output folder is moved.
        device: Device that the model ran on; empty without a model.
        onnxruntime: Version of ONNX Runtime, if there is a device.
    """

    file: str
    size: int
    mtime_ns: int
    fingerprint: str
    op: str
    source: str
    out: dict[str, tuple[int, str]]
    origin: str = ""
    device: str = ""
    onnxruntime: str = ""

    def matches(self, source: Source, work: str, names: Sequence[str]) -> bool:
        """Whether input, work key and output names are the same as here."""
        own = (self.file, self.size, self.mtime_ns, self.fingerprint, set(self.out))
        wanted = (str(source.relative), source.size, source.mtime_ns, work, set(names))
        return own == wanted


_TEXTS = ("file", "fingerprint", "op", "source", "origin", "device", "onnxruntime")
_FIELDS = [field.name for field in fields(JournalEntry)]

Line: TypeAlias = tuple[float, str, JournalEntry]
"""Time, event and entry of an input."""


def entry_line(event: str, entry: JournalEntry, facts: Mapping[str, Any] | None = None) -> bytes:
    """The line of an input.

    Args:
        event: `writing`, `done` or `pruned`.
        entry: The input and its outputs.
        facts: Further fields of its record, for reports; resuming does not need them.
    """
    # Not `asdict`, which copies all values: a run of worker processes writes many lines a second.
    values: dict[str, Any] = {name: getattr(entry, name) for name in _FIELDS}
    if facts:
        values["facts"] = facts
    return _line(event, values)


def folder_line(folder: str) -> bytes:
    """The line that names the output folder."""
    return _line("folder", {"folder": folder})


def _line(event: str, values: dict[str, Any]) -> bytes:
    values = {"v": SCHEMA_VERSION, "event": event, "at": round(time.time(), 3), **values}
    return _encode(values).encode("ascii") + b"\n"


_encode = json.JSONEncoder(separators=(",", ":")).encode


def complete_lines(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(line, position after it) of all lines that end, without those longer than `MAX_LINE`."""
    position, size = file.tell(), 0
    begun: list[bytes] = []
    while chunk := file.read(_CHUNK):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            position += size + len(end) + 1
            if size + len(end) < MAX_LINE:
                yield b"".join((*begun, end)), position
            begun, size = [], 0
        size += len(rest)
        begun = [*begun, rest] if size < MAX_LINE else []


def parse(line: bytes) -> Line | str | None:
    """What a line says.

    Returns:
        (time, event, entry) of an input, or the output folder that the line names; None if it is
        incomplete, damaged or of another version.
    """
    try:
        values: dict[str, Any] = json.loads(line)
        if values.pop("v") != SCHEMA_VERSION:
            return None
        at, event = float(values.pop("at")), str(values.pop("event"))
        if event == "folder":
            return _text(values["folder"])
        out = {_name(n): (int(size), str(sha)) for n, (size, sha) in values.pop("out").items()}
        # Later versions may write more.
        known = {name: _text(values[name]) for name in _TEXTS if name in values}
        size, mtime_ns = int(values["size"]), int(values["mtime_ns"])
        entry = JournalEntry(size=size, mtime_ns=mtime_ns, out=out, **known)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    return (at, event, entry) if math.isfinite(at) else None


class Order:
    """Sort keys for the lines of several journals.

    Within a file, order is position: a clock may step back, and shards may run on machines whose
    clocks differ. Time only merges files.
    """

    def __init__(self) -> None:
        self._latest: dict[Path, float] = {}

    def key(self, path: Path, at: float) -> float:
        """The key of the next line of a file, which has the time `at`; for a stable sort."""
        self._latest[path] = latest = max(at, self._latest.get(path, at))
        return latest


def _text(value: object) -> str:
    """A text that may be a path. Raises `ValueError`."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(value)
    os.fsencode(value)  # raises for half a surrogate pair
    return value


def _name(value: str) -> str:
    """The name of an output. Raises `ValueError`."""
    if value.startswith(("/", "\\")) or ".." in value.split("/"):
        raise ValueError(value)
    return _text(value)


def relative(location: str, folder: str) -> str:
    """An absolute path relative to a folder, if they have more than the root in common."""
    try:
        common = os.path.commonpath([location, folder])
    except ValueError:  # on different drives
        return location
    if os.path.dirname(common) == common:  # noqa: PTH120
        return location
    path = os.path.relpath(location, folder)
    return path if _is_relative(path) else os.path.join(os.curdir, path)  # noqa: PTH118


def absolute(path: str, folder: str) -> str:
    """The opposite of `relative`; the name of a generated item stays as it is."""
    return os.path.normpath(os.path.join(folder, path)) if _is_relative(path) else path  # noqa: PTH118


def _is_relative(path: str) -> bool:
    """Whether a path is one that `relative` made; names of generated items do not begin so."""
    return path.startswith((os.curdir + os.sep, os.pardir + os.sep))
