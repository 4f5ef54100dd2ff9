"""Outputs whose inputs are gone: which they are, and their removal.

Only what the journal proves is removed: files that a run with the same operation made from an input
that lay in an input folder of this run, byte for byte as they were written. If one output of an input
was changed, or a sidecar lies next to it, all outputs of that input stay.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from vaetools.errors import OutputError, UsageError, printable
from vaetools.record import Record
from vaetools.runner.inputs import FileFilter, Source, in_shard
from vaetools.runner.place import PREFIX
from vaetools.runner.plan import folded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from vaetools.record import Status
    from vaetools.runner.entries import JournalEntry
    from vaetools.runner.folder import OutputFolder
    from vaetools.runner.inputs import Found
    from vaetools.runner.journal import Journal
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.settings import RunSettings


@dataclass(frozen=True)
class Obsolete:
    """The outputs of an input that is gone.

    Attributes:
        entry: What the journal has about them.
        source: Where the input was.
        names: The outputs that still exist, without those that another run has written to since.
        kept: Why they stay; empty if they may be removed.
    """

    entry: JournalEntry
    source: Source
    names: tuple[str, ...]
    kept: str = ""


def check_prune(settings: RunSettings, found: Found, journal: Journal) -> None:
    """Raise `UsageError` if this run cannot know which inputs are gone."""
    if not settings.prune:
        return
    if journal.place is None:
        raise UsageError("a single output file has no journal: there is nothing to prune")
    if not found.folders:
        remedy = "name the folder that the inputs were in, or leave out --prune"
        raise UsageError("--prune needs an input folder", remedy=remedy)


class Prune:
    """Finds and removes the outputs of inputs that are gone.

    Args:
        op: Name of the operation; outputs of others stay.
        settings: Of the run.
        found: The inputs of the run.
        items: All inputs with their outputs, those of other shards included.
        journal: Of the output folder.
    """

    def __init__(
        self,
        op: str,
        settings: RunSettings,
        found: Found,
        items: Sequence[PlannedItem],
        journal: Journal,
    ) -> None:
        self._op = op
        self._settings = settings
        self._found = found
        self._out = Path(settings.out)
        self._journal = journal
        self._planned = {folded(name) for item in items for name in item.names}
        self._inputs = {item.source.real for item in items}
        self._filter = FileFilter((), settings.include, settings.exclude)

    def preview(self) -> Iterator[Record]:
        """What would be removed, and what would be kept. Raises `OutputError`."""
        for obsolete in self._find():
            yield self._record(obsolete, "obsolete")

    def remove(self, folder: OutputFolder) -> Iterator[Record]:
        """Remove the files, and the folders that get empty. Raises `OutputError`."""
        for obsolete in self._find():
            if not obsolete.kept:
                folder.check()
                self._remove(obsolete)
            if obsolete.names:
                yield self._record(obsolete, "pruned")

    def _find(self) -> Iterator[Obsolete]:
        if self._found.unlisted:
            problem = "nothing was pruned: a folder of inputs cannot be listed"
            raise OutputError(problem, file=self._found.unlisted)
        # All look-ups come first: if one fails, nothing is removed.
        gone = list(self._all_gone())
        self._refuse_empty({source.path for _, source in gone})
        for entry, source in gone:
            yield self._obsolete(entry, source)

    def _refuse_empty(self, gone: AbstractSet[Path]) -> None:
        """Raise `OutputError` for a folder of which every input is gone: its disk may be unmounted."""
        for folder in self._found.folders:
            top = os.path.join(os.path.realpath(folder), "")  # noqa: PTH118
            if any(path.is_relative_to(folder) for path in gone) and not any(
                real.startswith(top) for real in self._inputs
            ):
                raise OutputError(
                    "nothing was pruned: no input is left in this folder",
                    file=folder,
                    remedy="mount its disk, or leave it out and remove its outputs by hand",
                )

    def _all_gone(self) -> Iterator[tuple[JournalEntry, Source]]:
        for last in self._journal.entries_of(self._op):
            out = {n: facts for n, facts in last.out.items() if self._journal.is_last(n, last)}
            entry = dataclasses.replace(last, out=out)
            source = self._gone(entry)
            if source is not None:
                yield entry, source

    def _gone(self, entry: JournalEntry) -> Source | None:
        """The input of an entry, if it was below an input folder and nothing is there any more."""
        relative = PurePosixPath(entry.file)
        shard = self._settings.shard
        if (
            any(self._is_apart(name) for name in entry.out)
            or not self._filter.includes(relative)
            or (shard is not None and not in_shard(relative, shard))
        ):
            return None
        for folder in self._found.folders:
            source = Source(folder / relative, relative, real=os.path.join(folder, relative))  # noqa: PTH118
            if self._journal.is_of(entry, source):
                return source if _is_gone(folder, relative) else None
        return None

    def _is_apart(self, name: str) -> bool:
        """Whether an output is none that may be removed, or one of this run."""
        if folded(name) in self._planned or name.casefold().startswith(PREFIX):
            return True
        path = self._out / name
        parent = os.path.realpath(path.parent)
        return (
            os.path.join(parent, path.name) in self._inputs  # noqa: PTH118
            or not Path(parent).is_relative_to(os.path.realpath(self._out))
        )

    def _obsolete(self, entry: JournalEntry, source: Source) -> Obsolete:
        present = tuple(name for name in entry.out if os.path.lexists(self._out / name))
        for name in present:
            path = self._out / name
            if not self._journal.is_unchanged(name, entry):
                kept = f"{printable(str(path))} was changed after it was written"
                return Obsolete(entry, source, present, kept)
            for sidecar in (path.with_name(f"{path.name}.xmp"), path.with_suffix(".xmp")):
                if (
                    os.path.lexists(sidecar)
                    and str(sidecar.relative_to(self._out)) not in entry.out
                ):
                    kept = f"{printable(str(sidecar))} lies next to its output"
                    return Obsolete(entry, source, present, kept)
        return Obsolete(entry, source, present)

    def _remove(self, obsolete: Obsolete) -> None:
        for name in obsolete.names:
            path = self._out / name
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot be removed: {error.strerror}", file=path) from error
        self._journal.pruned(obsolete.entry)
        for name in obsolete.names:
            for parent in PurePosixPath(name).parents[:-1]:
                with contextlib.suppress(OSError):  # something else is in it
                    (self._out / parent).rmdir()

    def _record(self, obsolete: Obsolete, status: Status) -> Record:
        file, entry = str(obsolete.source.path), obsolete.entry
        paths = tuple(str(self._out / name) for name in obsolete.names)
        text = "is gone"
        if obsolete.kept:
            text = f"is gone, but its outputs stay: {obsolete.kept}"
        return Record(
            file,
            paths,
            self._op,
            "kept" if obsolete.kept else status,
            message=printable(f"{file}: {text}"),
            bytes_in=entry.size,
            bytes_out=sum(entry.out[name][0] for name in obsolete.names),
            noted=bool(obsolete.kept),
        )


def _is_gone(folder: Path, relative: PurePosixPath) -> bool:
    """Whether nothing stands at a path below an input folder, not even a broken link.

    Raises:
        OutputError: It is not known: a look-up fails, or a folder on the path is a broken link. Its
            target may be on a disk that is not mounted.
    """
    path = folder
    try:
        for part in relative.parts[:-1]:
            path /= part
            if stat.S_ISLNK(path.lstat().st_mode) and not path.exists():
                problem = "nothing was pruned: an input lies below a link that is broken"
                remedy = "mount the target of the link, or remove the link"
                raise OutputError(problem, file=path, remedy=remedy)
        path = folder / relative
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        problem = f"nothing was pruned: an input cannot be looked up: {error.strerror}"
        raise OutputError(problem, file=path) from error
    return False
