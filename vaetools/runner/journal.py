"""The journal of completed inputs, `OUT/.vaetools.ndjson`. Lines are only ever appended.

Two lines are written per input, each of them a JSON object:

    {"event": "writing", "file": "a/b.jpg", …, "out": {"a/b.jpg.vae": [31337, "<sha256>"]}}
    {"event": "done", …the same…}

The first line reaches the disk before the outputs are renamed to their final names, the second one
is written after that. If a run is killed in between, the next run recognises the outputs by their
content, and never mistakes a file of the user for one of them. An incomplete or unknown line is
ignored; its input is processed again. `vaetools.runner.place` says where the file lies, and that it
is not trusted.

For reports, the second line also has the key `facts` with fields of the record; in the first one of
a run, it has the options of the run, too.

A journal that is not in the output folder also names that folder, and is refused for another one:

    {"event": "folder", "folder": "/data/out"}
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vaetools.errors import UsageError, printable
from vaetools.libraries import runtime_version
from vaetools.runner.atomic import sha256_of, write_files
from vaetools.runner.entries import (
    JournalEntry,
    Line,
    Order,
    absolute,
    complete_lines,
    entry_line,
    folder_line,
    parse,
    relative,
)
from vaetools.runner.inputs import is_folder, same_file
from vaetools.runner.place import Place, open_own

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vaetools.errors import ClashError
    from vaetools.runner.inputs import Source
    from vaetools.runner.share import Share


class Journal:
    """The journal of an output folder, for a run with a given work key.

    Args:
        folder: The output folder; None for a journal that remembers and writes nothing.
        work: The work key of the run, see `vaetools.runner.settings.work_key`.
        kept_in: Folder of the journal, if it is not the output folder.
        share: The share of a job that the run is; it says where the journal is.

    Raises:
        OSError: The journal cannot be read.
        OutputError: It is no regular file.
        UsageError: It is the journal of another output folder.
    """

    def __init__(
        self,
        folder: Path | None,
        work: str = "",
        kept_in: Path | None = None,
        share: Share | None = None,
    ) -> None:
        self.folder = folder
        self.work = work
        self.place: Place | None = None if folder is None else Place(folder, kept_in)
        self._share = share
        if folder is not None and share is not None:
            self.place = share.place(folder)
        self._named_folder = ""
        self._real = functools.cache(os.path.realpath)
        self._entries: defaultdict[str, list[JournalEntry]] = defaultdict(list)
        self._done: dict[str, JournalEntry] = {}
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._written = 0
        self._synced = 0
        self._incomplete_line = False
        self._options: dict[str, str] = {}
        self._read_up_to: dict[Path, int] = {}
        self.read()

    def read(self) -> None:
        """Read what was appended since the last call. Raises as the class does."""
        if self.place is None:
            return
        parsed: list[Line] = []
        order = Order()
        for path in self.place.journals():
            for line in self._added_lines(path):
                found = parse(line)
                if isinstance(found, str) and path.parent == self.place.kept_in:
                    self._named_folder = found
                elif isinstance(found, tuple):
                    parsed.append((order.key(path, found[0]), *found[1:]))
        self._refuse_other_folder(self.place)
        for _, event, entry in sorted(parsed, key=lambda found: found[0]):
            self._add(event, entry)

    def _added_lines(self, path: Path) -> Iterator[bytes]:
        """The complete lines of a journal that were not read before."""
        try:
            handle = open_own(path, os.O_RDONLY)
        except FileNotFoundError:  # it was removed, or its folder moved, since it was listed
            return
        with os.fdopen(handle, "rb") as file:
            file.seek(self._read_up_to.get(path, 0))
            for line, end in complete_lines(file):
                self._read_up_to[path] = end
                yield line

    def _refuse_other_folder(self, place: Place) -> None:
        """Raise `UsageError` if the journal is that of another folder, which still exists."""
        named = os.path.join(os.path.realpath(place.folder), self._named_folder)  # noqa: PTH118
        if self._named_folder and is_folder(Path(named)) and not same_file(named, place.out):
            problem = (
                f"is the journal of another output folder, {printable(os.path.abspath(named))}"  # noqa: PTH100
            )
            raise UsageError(problem, file=place.kept_in, remedy="choose another --journal")

    def _add(self, event: str, entry: JournalEntry) -> None:
        for name in entry.out:
            if event == "pruned":
                self._done.pop(name, None)
                self._entries.pop(name, None)
                continue
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
        is compared. The input may have been moved: size and time are those of an input that is gone.
        """
        for entry in reversed(self._entries.get(names[0], ())):
            if entry.matches(source, self._work_of(files), names):
                is_same = self.is_of(entry, source) or self._was_moved(entry, source)
                return is_same and all(self._is_output(name, entry) for name in names)
        return False

    def _was_moved(self, entry: JournalEntry, source: Source) -> bool:
        """Whether nothing is left where the input of an entry was, or the same file by another name."""
        if self.folder is None or not source.real:
            return True
        place = absolute(entry.source, self._real(self.folder))
        try:
            return Path(place).samefile(source.real)
        except OSError:
            return not os.path.lexists(place)

    def _is_output(self, name: str, entry: JournalEntry) -> bool:
        last = self._done.get(name)
        return self._is_one_of(name, [entry], by_size=last is not None and last == entry)

    def owns(self, name: str, source: Source) -> bool:
        """Whether the file `name` is, byte for byte, what a run made from this input."""
        return self._is_one_of(
            name, [e for e in self._entries.get(name, ()) if self.is_of(e, source)]
        )

    def entries_of(self, op: str) -> list[JournalEntry]:
        """What was last written to each output by this operation, in the order of the names."""
        last = {name: entries[-1] for name, entries in self._entries.items() if entries}
        found = {(e.source, *e.out): e for _, e in sorted(last.items()) if e.op == op}
        return list(found.values())

    def is_last(self, name: str, entry: JournalEntry) -> bool:
        """Whether no other input was written to this output after an entry."""
        return self._entries[name][-1:] == [entry]

    def is_of(self, entry: JournalEntry, source: Source) -> bool:
        """Whether an entry is about this input."""
        if self.is_share and entry.file == str(source.relative):
            return True  # all attempts have the same list; machines may see its files elsewhere
        is_known = entry.origin == self._origin_of(source)
        return is_known or entry.source in (self._name_of(source), source.origin)

    def is_unchanged(self, name: str, entry: JournalEntry) -> bool:
        """Whether an output is, byte for byte, what an entry says."""
        return self._is_one_of(name, [entry])

    def source_of(self, name: str) -> str | None:
        """The input that the output was last made from; None if no run made it."""
        entries = self._entries.get(name)
        if not entries or self.folder is None:
            return None
        source = entries[-1].source
        return absolute(source, self._real(self.folder))

    def _location(self, source: Source) -> str:
        """Absolute path of an input; links are resolved, except one that is the input itself."""
        return os.path.join(self._real(source.path.parent), source.path.name)  # noqa: PTH118

    def _name_of(self, source: Source) -> str:
        """See `JournalEntry.source`."""
        if not source.real or self.folder is None:
            return source.origin
        return relative(self._location(source), self._real(self.folder))

    def _origin_of(self, source: Source) -> str:
        """See `JournalEntry.origin`."""
        location = self._location(source) if source.real else source.origin
        return hashlib.sha256(os.fsencode(location)).hexdigest()[:16]

    def _is_one_of(
        self, name: str, entries: Sequence[JournalEntry], *, by_size: bool = False
    ) -> bool:
        """Whether the output has the size and, unless `by_size`, the content of an entry."""
        if self.folder is None:
            return False
        path = self.folder / name
        try:
            status = path.lstat()
            hashes = [e.out[name][1] for e in entries if e.out[name][0] == status.st_size]
            is_possible = bool(hashes) and stat.S_ISREG(status.st_mode)
            return is_possible and (by_size or sha256_of(path) in hashes)
        except OSError:
            return False

    def open(self, shard: tuple[int, int] | None) -> None:
        """Open the journal for appending, with the lock held; take over that of earlier versions.

        Raises:
            OSError: It cannot be written.
            OutputError: It is no regular file.
        """
        if self.place is None:
            return
        path = self.place.journal(shard)
        _unshare(path)
        handle = open_own(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._file = os.fdopen(handle, "ab+", buffering=0)
        if self._file.seek(0, os.SEEK_END) > 0:
            self._file.seek(-1, os.SEEK_END)
            self._incomplete_line = self._file.read(1) != b"\n"
        out = relative(os.path.realpath(self.place.out), os.path.realpath(self.place.folder))
        if self.place.kept_in is not None and self._named_folder != out:
            self._append(folder_line(out))
        if shard is None and self.place.legacy_folder() is not None:
            self._take_over(self.place)

    def _take_over(self, place: Place) -> None:
        for path in place.journals():
            if path.parent == place.legacy:
                self._read_up_to[path] = 0
                for line in self._added_lines(path):
                    if parse(line) is not None:
                        self._append(line + b"\n")
        self._sync(self._written)
        place.remove_legacy()

    def entry(
        self,
        source: Source,
        op: str,
        out: dict[str, tuple[int, str]],
        files: str = "",
        device: str | None = None,
    ) -> JournalEntry:
        """The entry of an input of this run; `out` and `device` as in `JournalEntry`."""
        name, work, made_of = str(source.relative), self._work_of(files), self._name_of(source)
        origin = self._origin_of(source)
        made_on = (device, runtime_version()) if device else ()
        facts = (name, source.size, source.mtime_ns, work, op, made_of, out, origin)
        return JournalEntry(*facts, *made_on)

    @property
    def is_share(self) -> bool:
        """Whether the run is a share of a job."""
        return self._share is not None

    def clashes(self, standing: Mapping[str, Path]) -> Mapping[str, ClashError]:
        """See `Share.clashes`; empty for a run that is no share."""
        return {} if self._share is None else self._share.clashes(standing)

    def check(self) -> None:
        """Raise `TakenOverError` if the outputs must not take their names; see `Share`."""
        if self._share is not None:
            self._share.check()

    def in_work(self, source: Source) -> contextlib.AbstractContextManager[None]:
        """The context in which this process itself works on an input; see `Share.in_work`."""
        share = self._share
        return contextlib.nullcontext() if share is None else share.in_work(source.relative)

    def writing(self, entry: JournalEntry) -> None:
        """Record that outputs are about to be renamed to their final names.

        The line is on disk when this returns. Raises `OSError`, and as `check`.
        """
        self.check()
        self._sync(self._append(entry_line("writing", entry)))

    def done(self, entry: JournalEntry, facts: Mapping[str, Any] | None = None) -> None:
        """Record that the outputs have their final names. Raises `OSError`.

        Args:
            entry: As for `writing`.
            facts: Further fields of the record of the input, for reports.
        """
        with self._lock:
            options, self._options = self._options, {}
        if options:
            facts = {**(facts or {}), "options": options}
        self._append(entry_line("done", entry, facts))

    def pruned(self, entry: JournalEntry) -> None:
        """Record that the outputs of an input that is gone were removed. Raises `OSError`."""
        self._append(entry_line("pruned", entry))

    def describe(self, options: Mapping[str, str]) -> None:
        """Set the options of the run, for reports; they are in the first line that says done."""
        self._options = dict(options)

    def close(self) -> None:
        """Flush the journal to disk and close it."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a lost line costs time, but no results
                self._sync(self._written)
            with contextlib.suppress(OSError):
                self._file.close()

    def _append(self, line: bytes) -> int:
        """Write one line; return its number."""
        if self._file is None:
            return 0
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


def _unshare(path: Path) -> None:
    """Give a journal with several hard links one of its own: copies of OUT must not change."""
    with contextlib.suppress(FileNotFoundError):
        if path.lstat().st_nlink > 1:
            with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
                data = file.read()
            write_files([(path, data)])
