"""Where a run keeps its journal, its lock and its list of failures.

They are hidden files in the output folder, so they are moved, copied and deleted with it:

    .vaetools.ndjson           journal            .vaetools.2-of-8.ndjson           of a shard
    .vaetools.lock             lock               .vaetools.2-of-8.lock
    .vaetools.failed.ndjson    failed inputs      .vaetools.failed.2-of-8.ndjson

There is no folder for them, because loaders of data sets take every folder for a class, hidden or
not. `--journal DIR` keeps them in another folder. Earlier versions had a folder `OUT/.vaetools`: its
journal is still read, and the next run without a shard takes it over.

The output folder may come from a stranger: whatever is no regular file is refused, not followed.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaetools.errors import OutputError
from vaetools.runner.atomic import NO_LINK, NO_WAIT
from vaetools.runner.inputs import kind_of

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = ".vaetools"
"""Names that begin like this at the top of an output folder are never outputs."""

Shard = tuple[int, int]

_JOURNAL = re.compile(r"\.vaetools(?:\.\d+-of-\d+)?\.ndjson")
_LEGACY_JOURNAL = re.compile(r"journal(?:-\d+-of-\d+)?\.ndjson")
_LEGACY = re.compile(r"(?:journal|failed)(?:-\d+-of-\d+)?\.ndjson|lock(?:-\d+-of-\d+)?")


@dataclass(frozen=True)
class Place:
    """The files of a run beside its outputs.

    Attributes:
        out: The output folder.
        kept_in: The folder of these files, if it is another one.
    """

    out: Path
    kept_in: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder of these files."""
        return self.out if self.kept_in is None else self.kept_in

    @property
    def legacy(self) -> Path:
        """The folder of these files in earlier versions; it need not exist."""
        return self.out / PREFIX

    def journal(self, shard: Shard | None) -> Path:
        """The journal that a run appends to."""
        return self.folder / f"{PREFIX}{_part(shard)}.ndjson"

    def lock(self, shard: Shard | None) -> Path:
        """The file that a run locks."""
        return self.folder / f"{PREFIX}{_part(shard)}.lock"

    def locks(self, shard: Shard | None) -> list[tuple[Path, bool]]:
        """The files that a run locks, and whether other runs may hold the same lock.

        Runs of different shards may write at the same time; a run without a shard excludes all
        others.
        """
        locks = [(self.lock(None), shard is not None)]
        if shard is not None:
            locks.append((self.lock(shard), False))
        if self.legacy_folder() is not None:  # a run of an earlier version
            locks.append((self.legacy / "lock", shard is not None))
        return locks

    def failures(self, shard: Shard | None) -> Path:
        """The list of failed inputs."""
        return self.folder / f"{PREFIX}.failed{_part(shard)}.ndjson"

    def journals(self) -> list[Path]:
        """All journals to read: of earlier versions, of the output folder, and of `kept_in`.

        Raises:
            OutputError: `OUT/.vaetools` is no folder.
            OSError: A folder cannot be listed.
        """
        found = [self.legacy / n for n in _names(self.legacy_folder(), _LEGACY_JOURNAL)]
        for folder in dict.fromkeys((self.out, self.folder)):
            found += [folder / name for name in _names(folder, _JOURNAL)]
        return found

    def legacy_folder(self) -> Path | None:
        """The folder of an earlier version, if there is one.

        Raises:
            OutputError: Something else has its name.
        """
        try:
            mode = self.legacy.lstat().st_mode
        except OSError:
            return None
        if not stat.S_ISDIR(mode):
            raise _refused(self.legacy, mode, "a folder")
        return self.legacy

    def remove_legacy(self) -> None:
        """Remove the files of earlier versions, and their folder unless there is more in it."""
        with contextlib.suppress(OSError):
            for name in _names(self.legacy, _LEGACY):
                (self.legacy / name).unlink()
            self.legacy.rmdir()


def _part(shard: Shard | None) -> str:
    return "" if shard is None else f".{shard[0]}-of-{shard[1]}"


def _names(folder: Path | None, pattern: re.Pattern[str]) -> list[str]:
    if folder is None:
        return []
    try:
        return sorted(name for name in os.listdir(folder) if pattern.fullmatch(name))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []


def open_own(path: Path, flags: int) -> int:
    """Open a file that belongs to a run; return its descriptor.

    Args:
        path: In a folder that others may have written to.
        flags: As for `os.open`.

    Raises:
        OutputError: It is a link, a FIFO, a folder or a device. It is not opened, or closed unread.
        OSError: It cannot be opened.
    """
    flags |= NO_LINK | NO_WAIT | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags, 0o666)
    except OSError:
        with contextlib.suppress(OSError):
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode):
                raise _refused(path, mode, "a file") from None
        raise
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise _refused(path, mode, "a file")
    return handle


def _refused(path: Path, mode: int, wanted: str) -> OutputError:
    remedy = "remove it, or choose another output folder"
    return OutputError(f"is {kind_of(mode)}, not {wanted} of vaetools", file=path, remedy=remedy)
