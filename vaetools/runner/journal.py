"""What earlier runs have proved done: `OUT/.vaetools/journal.ndjson`, which only ever grows.

Two lines are written per input, each one JSON object:

    {"event": "writing", "file": "a/b.jpg", …, "out": {"a/b.jpg.vae": [31337, "<sha256>"]}}
    {"event": "done", …the same…}

The first reaches the disk before the new files take their names, the second is written after that.
So a run that was killed between the two still knows its own outputs, by their content, and never
mistakes a user's file for its own. A line that was cut short is no line; its work is done again.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from vaetools.runner.atomic import sha256_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vaetools.runner.inputs import Source

FOLDER = ".vaetools"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One input's outputs, as a run wrote them.

    Attributes:
        file: relative name of the input.
        size, mtime_ns: of the input, when the run began.
        fingerprint: of operation, options and model.
        op: the operation's name.
        source: absolute path of the input; `generate/0001.png` for an item out of nothing.
        out: relative name of each output -> (bytes, SHA-256 in hexadecimal).
    """

    file: str
    size: int
    mtime_ns: int
    fingerprint: str
    op: str
    source: str
    out: dict[str, tuple[int, str]]

    @classmethod
    def of(cls, source: Source, op: str, fingerprint: str, out: dict[str, tuple[int, str]]) -> Self:
        name = str(source.relative)
        return cls(name, source.size, source.mtime_ns, fingerprint, op, source.origin, out)

    def fits(self, source: Source, fingerprint: str, names: Sequence[str]) -> bool:
        """Whether this is the same work: unchanged input, same fingerprint, same output names."""
        mine = (self.file, self.size, self.mtime_ns, self.fingerprint, set(self.out))
        wanted = (str(source.relative), source.size, source.mtime_ns, fingerprint, set(names))
        return mine == wanted


class Journal:
    """The entries of an output folder; `folder=None` makes one that knows and keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._known: defaultdict[str, list[Entry]] = defaultdict(list)
        self._done: dict[str, Entry] = {}
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._written = 0
        self._synced = 0
        self._torn = False
        self._read_up_to: dict[Path, int] = {}
        self.read()

    def read(self) -> None:
        """Learn what has been written since the last time. Raises `OSError`."""
        if self.folder is None:
            return
        lines: list[bytes] = []
        for path in sorted((self.folder / FOLDER).glob("journal*.ndjson")):
            with path.open("rb") as file:
                file.seek(self._read_up_to.get(path, 0))
                added = file.read()
            whole = added[: added.rfind(b"\n") + 1]
            self._read_up_to[path] = self._read_up_to.get(path, 0) + len(whole)
            lines += whole.splitlines()
        parsed = [found for line in lines if (found := _parse(line)) is not None]
        for _, event, entry in sorted(parsed, key=lambda found: found[0]):
            self._learn(event, entry)

    def _learn(self, event: str, entry: Entry) -> None:
        for name in entry.out:
            if event == "done":
                self._done[name] = entry
            else:
                self._done.pop(name, None)
            if self._known[name][-1:] != [entry]:
                self._known[name].append(entry)

    def made_by(self, op: str) -> set[str]:
        """Real paths of all that the operation has written here."""
        if self.folder is None:
            return set()
        names = [n for n, entries in self._known.items() if any(e.op == op for e in entries)]
        paths = [self.folder / name for name in names]
        parents = {path.parent: "" for path in paths}
        parents = {parent: os.path.realpath(parent) for parent in parents}
        return {os.path.join(parents[path.parent], path.name) for path in paths}  # noqa: PTH118

    def proves(self, source: Source, fingerprint: str, names: Sequence[str]) -> bool:
        """Whether this very work is done and its outputs are all there.

        Sizes are enough where the last line about an output says done; else the content decides.
        """
        for entry in reversed(self._known.get(names[0], ())):
            if entry.fits(source, fingerprint, names):
                return all(self._is_there(name, entry) for name in names)
        return False

    def _is_there(self, name: str, entry: Entry) -> bool:
        last = self._done.get(name)
        return self._has(name, [entry], by_size=last is not None and last == entry)

    def owns(self, name: str, source: Source) -> bool:
        """Whether the file there is what a run made from this very input, byte for byte."""
        mine = [e for e in self._known.get(name, ()) if e.source == source.origin]
        return self._has(name, mine)

    def maker(self, name: str) -> str | None:
        """The input that the output was last made from, if a run made it."""
        entries = self._known.get(name)
        return entries[-1].source if entries else None

    def _has(self, name: str, entries: Sequence[Entry], *, by_size: bool = False) -> bool:
        """Whether the output's size, and unless `by_size` its content, is that of an entry."""
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
        """Start to append. Raises `OSError`."""
        if self.folder is None:
            return
        name = "journal" if shard is None else f"journal-{shard[0]}-of-{shard[1]}"
        path = self.folder / FOLDER / f"{name}.ndjson"
        self._file = path.open("ab+", buffering=0)
        if self._file.tell() > 0:
            self._file.seek(-1, os.SEEK_END)
            self._torn = self._file.read(1) != b"\n"

    def writing(self, entry: Entry) -> None:
        """Say what is about to take its name; on the disk when this returns. Raises `OSError`."""
        self._sync(self._append("writing", entry))

    def done(self, entry: Entry) -> None:
        """Say that it has. Raises `OSError`."""
        self._append("done", entry)

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a lost line costs work, not results
                self._sync(self._written)
            self._file.close()

    def _append(self, event: str, entry: Entry) -> int:
        """Write one line; returns its number."""
        if self._file is None:
            return 0
        facts = {"v": VERSION, "event": event, "at": round(time.time(), 3), **asdict(entry)}
        line = json.dumps(facts, separators=(",", ":")).encode("ascii") + b"\n"
        with self._lock:
            rest = b"\n" + line if self._torn else line
            self._torn = True
            while rest:
                rest = rest[self._file.write(rest) :]
            self._torn = False
            self._written += 1
            return self._written

    def _sync(self, line: int) -> None:
        """Bring the journal to the disk up to a line; threads that wait here share one fsync."""
        with self._sync_lock:
            if self._file is not None and self._synced < line:
                reached = self._written
                os.fsync(self._file.fileno())
                self._synced = reached


def _parse(line: bytes) -> tuple[float, str, Entry] | None:
    """(time, event, entry) of a line; None if it is torn, damaged or of a later version."""
    try:
        facts: dict[str, Any] = json.loads(line)
        if facts.pop("v") != VERSION:
            return None
        out = {str(name): (int(size), str(sha)) for name, (size, sha) in facts.pop("out").items()}
        return float(facts.pop("at")), str(facts.pop("event")), Entry(**facts, out=out)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
