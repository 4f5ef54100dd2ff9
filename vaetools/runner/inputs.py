"""Finding inputs: files, folders, globs and generated items become sources with relative paths.

No file is opened here. What cannot be an input (a FIFO, a broken link, a folder that cannot be
listed) becomes a source with a problem, so that it fails on its own and not the whole run.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from vaetools.errors import UnreadableError, UsageError
from vaetools.paths import refuse_other_url
from vaetools.report.store import MARKER
from vaetools.runner.archive import is_tar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet


def input_paths(inputs: object) -> list[str | Path]:
    """The inputs of a run as a caller names them. Raises `UsageError` if they are not paths."""
    one = isinstance(inputs, str | Path) or not isinstance(inputs, Iterable)
    listed: list[Any] = [inputs] if one else list(inputs)  # type: ignore[call-overload]
    for path in listed:
        if not isinstance(path, str | os.PathLike):
            raise UsageError(
                f"inputs are paths of files and folders, not {type(path).__name__}",
                remedy="for arrays, use hub.op(…)(image) or hub.stream",
            )
        refuse_other_url(path, "an input")
    return listed


_UNLISTED = "cannot be listed"


@dataclass(frozen=True, slots=True)
class Source:
    """One input file, or one generated item.

    Attributes:
        path: Path as the user would write it; for a generated item a name such as
            `generate/0001.png`.
        relative: Path relative to the input folder; the name alone for a file given by its path.
        real: Path with all links resolved; empty for a generated item.
        size: Size in bytes.
        mtime_ns: Modification time in nanoseconds.
        mode: Permissions for its outputs: group and others get at most those that they have here.
        problem: Why it cannot be read, if that is known without opening it; otherwise empty.
        errno: Number of the error of the system that is the problem; 0 if it is none.
        version: What identifies the content of an object in a store, besides its size and time;
            empty for a file.
    """

    path: Path
    relative: PurePosixPath
    real: str
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0o666
    problem: str = ""
    errno: int = 0
    version: str = ""

    @property
    def is_unlisted(self) -> bool:
        """Whether it is a folder that cannot be listed: what is in it is not known."""
        return self.problem.startswith(_UNLISTED)

    def error(self) -> UnreadableError:
        """The error that its problem stands for."""
        error = UnreadableError(self.problem, file=self.path)
        error.__cause__ = OSError(self.errno, self.problem) if self.errno else None
        return error

    @property
    def origin(self) -> str:
        """The identity of the source in the journal; independent of the working directory."""
        return os.path.abspath(self.path) if self.real else str(self.path)  # noqa: PTH100

    def __reduce__(self) -> Any:
        # With text in place of paths, which take long to pickle: workers get thousands a minute.
        values = (
            *(self.real, self.size, self.mtime_ns, self.mode, self.problem),
            *(self.errno, self.version),
        )
        return _pickled_source, (str(self.path), str(self.relative), *values)


def _pickled_source(path: str, relative: str, *values: Any) -> Source:
    """A source of a pickle."""
    return Source(Path(path), PurePosixPath(relative), *values)


@dataclass(frozen=True)
class FileFilter:
    """Which files are inputs.

    Attributes:
        suffixes: Lower-case suffixes of files in folders, such as `(".jpg", ".png")`. A file given
            by its path may have any suffix.
        include: Glob patterns for the relative path, a folder on it, or the file name; `*` also
            matches `/`. They apply to files given by their path, too.
        exclude: Glob patterns of files to leave out.
        apart: Real paths of files and folders inside an input folder that are no inputs, such as
            the output folder.
        made: Real paths of outputs of earlier runs; these are never inputs found in a folder.
        tars: Whether tars are inputs with members; `include` then chooses among the members.
    """

    suffixes: tuple[str, ...]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    apart: AbstractSet[str] = frozenset()
    made: AbstractSet[str] = frozenset()
    tars: bool = False

    def includes(self, relative: PurePosixPath) -> bool:
        """Whether a path passes both lists of patterns."""
        is_folder = self.tars and is_tar(relative)
        included = not self.include or is_folder or _matches(relative, self.include)
        return included and not self.excludes(relative)

    def excludes(self, relative: PurePosixPath) -> bool:
        """Whether a path matches a pattern of `exclude`."""
        return _matches(relative, self.exclude)

    def has_suffix(self, name: str) -> bool:
        """Whether a file name has one of the suffixes, in any case."""
        return name.lower().endswith(self.suffixes)


@dataclass(frozen=True)
class Found:
    """The inputs of a run.

    Attributes:
        sources: In processing order.
        left_alone: Number of other files in the input folders.
        other_kinds: How many of these have which suffix that is not one of an input.
        one_file: Whether there is exactly one input, and it is not a folder.
        folders: The input folders, as they were named.
        unlisted: A folder in them that cannot be listed; None if there is none.
    """

    sources: tuple[Source, ...]
    left_alone: int
    one_file: bool
    other_kinds: Mapping[str, int] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    unlisted: Path | None = None


class Elsewhere(Protocol):
    """Inputs that are not files of this machine."""

    def discover(self, inputs: Sequence[str | Path], wanted: FileFilter) -> Found:
        """As `discover`; the sources have no `real` path."""

    def fetch(self, source: Source) -> bytes:
        """The bytes of a source; called by several threads. Raises `InputError`."""


def discover(inputs: Sequence[str | Path], wanted: FileFilter) -> Found:
    """Find the sources in files, folders and globs; folders are searched recursively, in order.

    Raises:
        UsageError: An input does not exist.
    """
    found: dict[tuple[str, PurePosixPath], Source] = {}
    left_alone = 0
    other_kinds: Counter[str] = Counter()
    unlisted: Path | None = None
    paths = [path for name in inputs for path in _expand(name)]
    for path in paths:
        for source, selected in _sources(path, wanted):
            if selected:
                found.setdefault((source.real, source.relative), source)
                unlisted = unlisted or (source.path if source.is_unlisted else None)
            else:
                left_alone += 1
                if not wanted.has_suffix(source.path.name):
                    other_kinds[source.path.suffix.lower()] += 1
    one_file = len(paths) == 1 and not is_folder(paths[0])
    folders = tuple(path for path in paths if is_folder(path))
    return Found(tuple(found.values()), left_alone, one_file, other_kinds, folders, unlisted)


def generated_items(op: str, items: Sequence[PurePath], wanted: FileFilter) -> Found:
    """The sources of an operation without inputs: the items that it generates."""
    relatives = [PurePosixPath(item) for item in items]
    sources = tuple(Source(Path(op, r), r, real="") for r in relatives if wanted.includes(r))
    return Found(sources, len(relatives) - len(sources), one_file=len(relatives) == 1)


def in_shard(relative: PurePosixPath, shard: tuple[int, int]) -> bool:
    """Whether a path belongs to part i of N (from 1). The assignment depends on the path alone."""
    index, count = shard
    digest = hashlib.sha256(os.fsencode(str(relative))).digest()
    return int.from_bytes(digest[:8], "little") % count == index - 1


def _expand(name: str | Path) -> list[Path]:
    """The paths of one argument: the file of this name if it exists, otherwise the glob matches."""
    text = os.fspath(name)
    if os.path.lexists(text):
        return [Path(text)]
    if re.search(r"[*?\[]", text):
        return sorted(Path(match) for match in glob.glob(text, recursive=True))  # noqa: PTH207
    raise UsageError("no such file or folder", file=text)


def _sources(path: Path, wanted: FileFilter) -> Iterator[tuple[Source, bool]]:
    """(source, whether it is an input) of a file, or of all files in a folder."""
    if not is_folder(path):
        relative = PurePosixPath(path.name)
        yield _source(path, relative, os.path.realpath(path)), wanted.includes(relative)
        return
    files, unlisted = _walk(path, wanted.apart)
    for file in sorted(files, key=lambda file: file.parts):
        relative, real = _relative(file, path), files[file]
        passes = wanted.has_suffix(file.name) and wanted.includes(relative)
        selected = passes and real not in wanted.made and real not in wanted.apart
        yield _source(file, relative, real) if selected else Source(file, relative, real), selected
    for error in unlisted:
        folder = Path(error.filename)
        problem = f"{_UNLISTED}: {error.strerror}"
        relative = _relative(folder, path)
        real = os.path.realpath(folder)
        yield Source(folder, relative, real, problem=problem), not wanted.excludes(relative)


def _relative(path: Path, folder: Path) -> PurePosixPath:
    return PurePosixPath(*path.relative_to(folder).parts)


def _walk(top: Path, apart: AbstractSet[str]) -> tuple[dict[Path, str], list[OSError]]:
    """All files below `top` that are not hidden, with their real paths; errors of folders.

    Links to folders are followed after all real folders, and every real folder is visited once. So
    the result does not depend on the position of links.
    """
    seen = {*apart} - {os.path.realpath(top)}
    files: dict[Path, str] = {}
    unlisted: list[OSError] = []
    waiting = [top]
    while waiting:
        for root, folders, names in os.walk(waiting.pop(0), onerror=unlisted.append):
            real = os.path.realpath(root)
            if real in seen or MARKER in names:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            files |= {Path(root, n): _real(real, n) for n in names if not n.startswith(".")}
            waiting += [link for name in folders if is_followed(link := Path(root, name))]
    return files, unlisted


def _real(folder: str, name: str) -> str:
    """The real path of a file in a real folder; much faster than resolving the whole path."""
    path = os.path.join(folder, name)  # noqa: PTH118
    return os.path.realpath(path) if os.path.islink(path) else path


def source_of_file(path: Path, relative: PurePosixPath, folder: str, name: str) -> Source:
    """The source of a file with this name in a real folder; it need not exist."""
    return _source(path, relative, _real(folder, name))


def is_followed(folder: Path) -> bool:
    """Whether it is a link to a folder that does not contain the link: that would be a loop."""
    return os.path.islink(folder) and not Path(os.path.realpath(folder.parent)).is_relative_to(
        os.path.realpath(folder)
    )


def _source(path: Path, relative: PurePosixPath, real: str) -> Source:
    try:
        status = path.stat()
    except OSError as error:
        broken = os.path.islink(path) and isinstance(error, FileNotFoundError)
        reason = "a link to a file that does not exist" if broken else error.strerror
        problem, number = f"cannot be read: {reason}", error.errno or 0
        return Source(path, relative, real, problem=problem, errno=number)
    if not stat.S_ISREG(status.st_mode):
        return Source(path, relative, real, problem=f"is {kind_of(status.st_mode)}, not a file")
    mode = status.st_mode & 0o666 | stat.S_IRUSR | stat.S_IWUSR
    return Source(path, relative, real, status.st_size, status.st_mtime_ns, mode)


_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


def kind_of(mode: int) -> str:
    """What the mode of a path says it is, such as `a FIFO`."""
    return _KINDS.get(stat.S_IFMT(mode), "a device")


def is_folder(path: Path) -> bool:
    """Whether it is a folder; also False for names that the system cannot look up."""
    return os.path.isdir(path)


def same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two paths are one file or folder; False if one is missing or no path at all."""
    try:
        return os.path.samefile(one, other)  # noqa: PTH121
    except (OSError, ValueError):
        return False


def _matches(relative: PurePosixPath, patterns: Sequence[str]) -> bool:
    paths = (relative, *relative.parents[:-1])
    texts = [text for path in paths for text in (str(path), path.name)]
    wanted = [pattern.rstrip("/") for pattern in patterns]
    wanted += [pattern.removeprefix("**/") for pattern in wanted]
    return any(fnmatchcase(text, pattern) for text in texts for pattern in wanted)
