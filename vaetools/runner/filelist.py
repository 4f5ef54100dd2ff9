"""Lists of files as the inputs of a run: `--files-from`, and the shards of a job.

Names are relative to a root folder, and outputs keep the folders in them. A list is text with one
name a line, or names that each end with a NUL character, as `find -print0` writes them.
"""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from vaetools.errors import UnreadableError, UsageError
from vaetools.paths import refuse_url
from vaetools.runner.inputs import Found, is_folder, source_of_file
from vaetools.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from vaetools.runner.inputs import FileFilter, Source

STDIN = "-"
"""As the path of a list: standard input."""


@dataclass(frozen=True)
class FileList:
    """The inputs of a run by their names.

    Attributes:
        root: The folder that the names are relative to.
        names: Relative paths with `/`, without `.` and `..`; see `relative_names`.
        by_suffix: Whether files of other suffixes are left alone, as in folders that are searched.
        seen: Names of files that were there when the list was made.
    """

    root: Path
    names: tuple[str, ...]
    by_suffix: bool = False
    seen: AbstractSet[str] = frozenset()


def read_list(path: str | Path, root: str | Path = ".") -> FileList:
    """The files that a list names.

    Args:
        path: The list; `-` for standard input.
        root: The folder that the names are relative to.

    Raises:
        UsageError: The root is not a folder, or a name lies outside of it or is a URL.
        UnreadableError: The list cannot be read.
    """
    top = Path(root)
    if not is_folder(top):
        problem = "is not a folder" if os.path.lexists(top) else "no such folder"
        raise UsageError(problem, file=root, remedy="--root is where the names of the list begin")
    try:
        data = _read_stdin() if str(path) == STDIN else Path(path).read_bytes()
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}", file=path) from error
    shown = "<stdin>" if str(path) == STDIN else str(path)
    return FileList(top, tuple(relative_names(_names(data), top, shown)))


def _read_stdin() -> bytes:
    if sys.stdin is None:  # closed, as by `<&-`
        raise UnreadableError("standard input is closed", file="<stdin>")
    return sys.stdin.buffer.read()


def _names(data: bytes) -> list[str]:
    """The names of a list, without empty ones."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        names = data.split(b"\0")
    else:
        names = data.split(b"\n")
        ended = [name for name in names[:-1] if name]  # the last line may lack its end
        if ended and all(name.endswith(b"\r") for name in ended):  # written on Windows
            names = [name.removesuffix(b"\r") for name in names]
    return [os.fsdecode(name) for name in names if name]


def relative_names(names: Iterable[str], root: Path, file: str | Path) -> Iterator[str]:
    """Names relative to the root, in one spelling: `./a.png` becomes `a.png`.

    Absolute paths may lie in the root.

    Args:
        names: As a list has them.
        root: The folder.
        file: The list, for errors.

    Raises:
        UsageError: A name lies outside of the root, or is a URL.
    """
    top = os.path.abspath(root)  # noqa: PTH100 - links stay as they are
    for name in names:
        refuse_url(name, f"a name in {printable(str(file))}")
        path = PurePosixPath(name)
        if path.is_absolute() and path.is_relative_to(top):
            path = path.relative_to(top)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
            shown = printable(repr(name))
            problem = f"{shown} is not a file below {printable(str(root))}"
            raise UsageError(problem, file=file, remedy="names are relative to --root")
        yield str(path)


def _is_input(real: str, root: str, wanted: FileFilter) -> bool:
    """Whether a file would be found in a search of the folder: it is no output, mask or report."""
    if real in wanted.made or real in wanted.apart:
        return False
    apart = wanted.apart - {root}
    return not apart or not any(str(parent) in apart for parent in PurePosixPath(real).parents)


def listed_files(files: FileList, wanted: FileFilter) -> Found:
    """The sources that a list names. A file that is missing or cannot be read fails on its own."""
    folders: dict[str, str] = {}
    real_root = os.path.realpath(files.root)
    found: dict[str, Source] = {}
    left_alone = 0
    kinds: dict[str, int] = {}
    for name in files.names:
        relative = PurePosixPath(name)
        fits = not files.by_suffix or wanted.has_suffix(name)
        if not fits:
            kinds[relative.suffix.lower()] = kinds.get(relative.suffix.lower(), 0) + 1
        if not fits or not wanted.includes(relative):
            left_alone += 1
        elif name not in found:
            folder, _, base = name.rpartition("/")
            if folder not in folders:
                folders[folder] = os.path.realpath(os.path.join(real_root, folder))  # noqa: PTH118
            source = source_of_file(files.root / name, relative, folders[folder], base)
            if files.by_suffix and not _is_input(source.real, real_root, wanted):
                left_alone += 1
            else:
                found[name] = source
    sources = tuple(_with_lost_disks(found, files.seen))
    return Found(sources, left_alone, one_file=False, other_kinds=kinds)


def _with_lost_disks(found: dict[str, Source], seen: AbstractSet[str]) -> Iterator[Source]:
    """The sources. Where none of a folder is left, its disk may not be mounted on this machine."""
    folders = {name.rpartition("/")[0] for name, s in found.items() if s.errno != errno.ENOENT}
    for name, source in found.items():
        if name in seen and name.rpartition("/")[0] not in folders:
            problem = f"{source.problem}; no file of its folder is there: is its disk mounted?"
            yield replace(source, problem=problem, errno=errno.ENODEV)
        else:
            yield source
