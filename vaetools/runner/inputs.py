"""Which files a run is about: files, folders and globs become sources with relative names, and so do
items that come out of nothing.

Nothing is opened here. What cannot be an input (a FIFO, a broken link, a folder that may not be
listed) becomes a source with a problem, so that it costs one record and not the run.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from vaetools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet


@dataclass(frozen=True, slots=True)
class Source:
    """One input file, or one item that comes out of nothing.

    Attributes:
        path: where it lies, as the user would write it; `generate/0001.png` for an item.
        relative: its name below the output folder: the path below the folder that was named, or
            the name of a file that was named itself.
        real: the path with all links resolved; empty for an item.
        size: bytes.
        mtime_ns: time of the last change, nanoseconds.
        problem: why it cannot be read, where that is known without opening it.
    """

    path: Path
    relative: PurePosixPath
    real: str
    size: int = 0
    mtime_ns: int = 0
    problem: str = ""

    @property
    def origin(self) -> str:
        """What the journal knows it by, whatever the current folder is."""
        return os.path.abspath(self.path) if self.real else str(self.path)  # noqa: PTH100


@dataclass(frozen=True)
class Choice:
    """Which files of a folder are meant.

    Attributes:
        suffixes: such as `(".jpg", ".png")`, lower case; a file that is named itself needs none.
        include, exclude: globs on the relative path, on a folder in it or on the name; `*` crosses
            folders. They hold for named files as well.
        out: the output folder; not searched where it lies inside an input folder.
        made: real paths of what earlier runs of this operation wrote; never inputs of a folder.
    """

    suffixes: tuple[str, ...]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    out: Path | None = None
    made: AbstractSet[str] = frozenset()

    def wants(self, relative: PurePosixPath) -> bool:
        included = not self.include or _matches(relative, self.include)
        return included and not self.drops(relative)

    def drops(self, relative: PurePosixPath) -> bool:
        return _matches(relative, self.exclude)

    def has_suffix(self, name: str) -> bool:
        return name.lower().endswith(self.suffixes)


@dataclass(frozen=True)
class Found:
    """Sources in order, and how many other files of the folders were left alone.

    Attributes:
        one_file: exactly one file was named, and no folder; or there is one item.
    """

    sources: tuple[Source, ...]
    left_alone: int
    one_file: bool


def discover(inputs: Sequence[str | Path], choice: Choice) -> Found:
    """The sources behind files, folders and globs; folders are searched to the bottom, sorted.

    Raises:
        UsageError: an input that is not there.
    """
    found: dict[tuple[str, PurePosixPath], Source] = {}
    left_alone = 0
    paths = [path for name in inputs for path in _expand(name)]
    for path in paths:
        for source, meant in _sources(path, choice):
            if meant:
                found.setdefault((source.real, source.relative), source)
            else:
                left_alone += 1
    one_file = len(paths) == 1 and not is_folder(paths[0])
    return Found(tuple(found.values()), left_alone, one_file)


def name_items(op: str, items: Sequence[PurePath], choice: Choice) -> Found:
    """The sources that stand for the items which an operation makes out of nothing."""
    relatives = [PurePosixPath(item) for item in items]
    sources = tuple(Source(Path(op, r), r, real="") for r in relatives if choice.wants(r))
    return Found(sources, len(relatives) - len(sources), one_file=len(relatives) == 1)


def in_shard(relative: PurePosixPath, shard: tuple[int, int]) -> bool:
    """Whether a name belongs to part i of N (from 1); it does so on every machine and for ever."""
    index, count = shard
    digest = hashlib.sha256(os.fsencode(str(relative))).digest()
    return int.from_bytes(digest[:8], "little") % count == index - 1


def _expand(name: str | Path) -> list[Path]:
    """One argument as paths. What exists under its literal name is that, brackets or not."""
    text = os.fspath(name)
    if os.path.lexists(text):
        return [Path(text)]
    if re.search(r"[*?\[]", text):
        return sorted(Path(match) for match in glob.glob(text, recursive=True))  # noqa: PTH207
    raise UsageError("there is no such file or folder", file=text)


def _sources(path: Path, choice: Choice) -> Iterator[tuple[Source, bool]]:
    """(source, whether it is meant) for a named file, or for all files of a named folder."""
    if not is_folder(path):
        relative = PurePosixPath(path.name)
        yield _source(path, relative, os.path.realpath(path)), choice.wants(relative)
        return
    files, unlisted = _walk(path, choice.out)
    for file in sorted(files, key=lambda file: file.parts):
        relative, real = _below(file, path), files[file]
        ours = real in choice.made
        meant = choice.has_suffix(file.name) and choice.wants(relative) and not ours
        yield _source(file, relative, real) if meant else Source(file, relative, real), meant
    for error in unlisted:
        place = Path(error.filename)
        problem = f"cannot be listed: {error.strerror}"
        relative = _below(place, path)
        real = os.path.realpath(place)
        yield Source(place, relative, real, problem=problem), not choice.drops(relative)


def _below(path: Path, folder: Path) -> PurePosixPath:
    return PurePosixPath(*path.relative_to(folder).parts)


def _walk(top: Path, out: Path | None) -> tuple[dict[Path, str], list[OSError]]:
    """The files below `top` that are not hidden, with their real paths; folders not listed.

    Linked folders come after all real ones and each real folder comes once, so that the result does
    not depend on where a link to it stands.
    """
    seen = set() if out is None else {os.path.realpath(out)} - {os.path.realpath(top)}
    files: dict[Path, str] = {}
    unlisted: list[OSError] = []
    waiting = [top]
    while waiting:
        for root, folders, names in os.walk(waiting.pop(0), onerror=unlisted.append):
            real = os.path.realpath(root)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            files |= {Path(root, n): _real(real, n) for n in names if not n.startswith(".")}
            waiting += [link for name in folders if _leads_on(link := Path(root, name))]
    return files, unlisted


def _real(folder: str, name: str) -> str:
    """The real path of a file in a real folder; much cheaper than resolving all of it."""
    path = os.path.join(folder, name)  # noqa: PTH118
    return os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114


def _leads_on(folder: Path) -> bool:
    """Whether it is a link to a folder that it does not lie in: a link upwards is a loop."""
    return folder.is_symlink() and not Path(os.path.realpath(folder.parent)).is_relative_to(
        os.path.realpath(folder)
    )


def _source(path: Path, relative: PurePosixPath, real: str) -> Source:
    try:
        status = path.stat()
    except OSError as error:
        broken = path.is_symlink() and isinstance(error, FileNotFoundError)
        reason = "a link to a file that is not there" if broken else error.strerror
        return Source(path, relative, real, problem=f"cannot be read: {reason}")
    if not stat.S_ISREG(status.st_mode):
        return Source(path, relative, real, problem=f"is {_kind(status.st_mode)}, not a file")
    return Source(path, relative, real, status.st_size, status.st_mtime_ns)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def is_folder(path: Path) -> bool:
    """Whether it is a folder; False as well for names that the system cannot even look up."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for such names


def _matches(relative: PurePosixPath, patterns: Sequence[str]) -> bool:
    places = (relative, *relative.parents[:-1])
    texts = [text for place in places for text in (str(place), place.name)]
    wanted = [pattern.rstrip("/") for pattern in patterns]
    wanted += [pattern.removeprefix("**/") for pattern in wanted]
    return any(fnmatchcase(text, pattern) for text in texts for pattern in wanted)
