"""The journal of completed inputs, `OUT/.vaetools/journal.ndjson`. Lines are only ever appended.

Two lines are written per input, each of them a JSON object:

    {"event": "writing", "file": "a/b.jpg", …, "out": {"a/b.jpg.vae": [31337, "<sha256>"]}}
    {"event": "done", …the same…}

The first line reaches the disk before the outputs are renamed to their final names, the second one
is written after that. If a run is killed in between, the next run recognises the outputs by their
content, and never mistakes a file of the user for one of them. An incomplete line is ignored; its
input is processed again.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from vaetools.runner.atomic import sha256_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vaetools.runner.inputs import Source

FOLDER = ".vaetools"
SCHEMA_VERSION = 1


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
        source: Absolute path of the input, or the name of a generated item.
        out: (size in bytes, hexadecimal SHA-256) of each output, by its relative path.
    """

    file: str
    size: int
    mtime_ns: int
    fingerprint: str
    op: str
    source: str
    out: dict[str, tuple[int, str]]

    def matches(self, source: Source, work: str, names: Sequence[str]) -> bool:
        """Whether input, work key and output names are the same as here."""
        own = (self.file, self.size, self.mtime_ns, self.fingerprint, set(self.out))
        wanted = (str(source.relative), source.size, source.mtime_ns, work, set(names))
        return own == wanted


class Journal:
    """The journal of an output folder, for a run with a given work key.

    Args:
        folder: The output folder; None for a journal that remembers and writes nothing.
        work: The work key of the run, see `vaetools.runner.settings.work_key`.

    Raises:
        OSError: The journal cannot be read.
    """

    def __init__(self, folder: Path | None, work: str = "") -> None:
        self.folder = folder
        self.work = work
        self._entries: defaultdict[str, list[JournalEntry]] = defaultdict(list)
        self._done: dict[str, JournalEntry] = {}
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._written = 0
        self._synced = 0
        self._incomplete_line = False
        self._read_up_to: dict[Path, int] = {}
        self.read()

    def read(self) -> None:
        """Read what was appended since the last call. Raises `OSError`."""
        if self.folder is None:
            return
        lines: list[bytes] = []
        for path in sorted((self.folder / FOLDER).glob("journal*.ndjson")):
            with path.open("rb") as file:
                file.seek(self._read_up_to.get(path, 0))
                added = file.read()
            complete = added[: added.rfind(b"\n") + 1]
            self._read_up_to[path] = self._read_up_to.get(path, 0) + len(complete)
            lines += complete.splitlines()
        parsed = [found for line in lines if (found := _parse(line)) is not None]
        for _, event, entry in sorted(parsed, key=lambda found: found[0]):
            self._add(event, entry)

    def _add(self, event: str, entry: JournalEntry) -> None:
        for name in entry.out:
            if event == "done":
                self._done[name] = entry
            else:
                self._done.pop(name, None)
            if self._entries[name][-1:] != [entry]:
                self._entries[name].append(entry)

    def outputs_of(self, op: str) -> set[str]:
        """Real paths of all files that the operation has written to the folder."""
        if self.folder is None:
            return set()
        names = [n for n, entries in self._entries.items() if any(e.op == op for e in entries)]
        paths = [self.folder / name for name in names]
        parents = {path.parent: "" for path in paths}
        parents = {parent: os.path.realpath(parent) for parent in parents}
        return {os.path.join(parents[path.parent], path.name) for path in paths}  # noqa: PTH118

    def _work_of(self, files: str) -> str:
        """The work key of an input with further files; see `PlannedItem.files`."""
        return f"{self.work} {files}" if files else self.work

    def has_completed(self, source: Source, names: Sequence[str], files: str = "") -> bool:
        """Whether this work is completed for `source`, and the outputs `names` all exist.

        The size of an output is enough if the last line about it says done; otherwise its content
        is compared.
        """
        for entry in reversed(self._entries.get(names[0], ())):
            if entry.matches(source, self._work_of(files), names):
                return all(self._is_output(name, entry) for name in names)
        return False

    def _is_output(self, name: str, entry: JournalEntry) -> bool:
        last = self._done.get(name)
        return self._is_one_of(name, [entry], by_size=last is not None and last == entry)

    def owns(self, name: str, source: Source) -> bool:
        """Whether the file `name` is, byte for byte, what a run made from this input."""
        own = [e for e in self._entries.get(name, ()) if e.source == source.origin]
        return self._is_one_of(name, own)

    def source_of(self, name: str) -> str | None:
        """The input that the output was last made from; None if no run made it."""
        entries = self._entries.get(name)
        return entries[-1].source if entries else None

    def _is_one_of(
        self, name: str, entries: Sequence[JournalEntry], *, by_size: bool = False
    ) -> bool:
        """Whether the output has the size and, unless `by_size`, the content of an entry."""
        if self.folder is None:
            return False
        path = self.folder / name
        try:
            size = path.lstat().st_size
            hashes = [e.out[name][1] for e in entries if e.out[name][0] == size]
            return bool(hashes) and (by_size or sha256_of(path) in hashes)
        except OSError:
            return False

    def open(self, shard: tuple[int, int] | None) -> None:
        """Open the journal for appending. Raises `OSError`."""
        if self.folder is None:
            return
        name = "journal" if shard is None else f"journal-{shard[0]}-of-{shard[1]}"
        path = self.folder / FOLDER / f"{name}.ndjson"
        self._file = path.open("ab+", buffering=0)
        if self._file.tell() > 0:
            self._file.seek(-1, os.SEEK_END)
            self._incomplete_line = self._file.read(1) != b"\n"

    def entry(
        self, source: Source, op: str, out: dict[str, tuple[int, str]], files: str = ""
    ) -> JournalEntry:
        """The entry of an input of this run; `out` as in `JournalEntry`."""
        name, work = str(source.relative), self._work_of(files)
        return JournalEntry(name, source.size, source.mtime_ns, work, op, source.origin, out)

    def writing(self, entry: JournalEntry) -> None:
        """Record that outputs are about to be renamed to their final names.

        The line is on disk when this returns. Raises `OSError`.
        """
        self._sync(self._append("writing", entry))

    def done(self, entry: JournalEntry) -> None:
        """Record that the outputs have their final names. Raises `OSError`."""
        self._append("done", entry)

    def close(self) -> None:
        """Flush the journal to disk and close it."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a lost line costs time, but no results
                self._sync(self._written)
            self._file.close()

    def _append(self, event: str, entry: JournalEntry) -> int:
        """Write one line; return its number."""
        if self._file is None:
            return 0
        values = {"v": SCHEMA_VERSION, "event": event, "at": round(time.time(), 3), **asdict(entry)}
        line = json.dumps(values, separators=(",", ":")).encode("ascii") + b"\n"
        with self._lock:
            rest = b"\n" + line if self._incomplete_line else line
            self._incomplete_line = True
            while rest:
                rest = rest[self._file.write(rest) :]
            self._incomplete_line = False
            self._written += 1
            return self._written

    def _sync(self, line: int) -> None:
        """Flush the journal to disk up to a line; threads that wait here share one fsync."""
        with self._sync_lock:
            if self._file is not None and self._synced < line:
                reached = self._written
                os.fsync(self._file.fileno())
                self._synced = reached


def _parse(line: bytes) -> tuple[float, str, JournalEntry] | None:
    """(time, event, entry) of a line; None if it is incomplete, damaged or of another version."""
    try:
        values: dict[str, Any] = json.loads(line)
        if values.pop("v") != SCHEMA_VERSION:
            return None
        out = {str(name): (int(size), str(sha)) for name, (size, sha) in values.pop("out").items()}
        return (
            float(values.pop("at")),
            str(values.pop("event")),
            JournalEntry(**values, out=out),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
