"""Atomic writing: a path is either absent, the old file, or the complete new file.

Bytes are written to the temporary file `.<name>.<host>-<pid>.part` in the target folder, flushed to
disk, and only then take their final name. `<host>` stands for the machine, see `machine_id`: a
folder may be shared by several. Threads other than the main one add a number, `<pid>-<n>`. A library
that chooses the format by suffix writes to
`.<name>.<host>-<pid>.part.mp4`.

Names that other people can guess are never followed: temporary files are always created (`O_EXCL`),
and a final name is taken only while what stands there is what the run saw when it was planned.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import os
import re
import shutil
import stat
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from vaetools.errors import ExistsError
from vaetools.runner.machine import is_running, machine_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

MAX_NAME_BYTES = 255
"""Longest file name on nearly every file system."""

NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)  # neither exists on Windows
NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)

_TEMPORARY = re.compile(
    r"\.(?P<stem>.+)\.(?:(?P<host>[0-9a-f]{8})-)?(?P<pid>\d{1,9})(?:-\d{1,9})?"
    r"\.part(?:\.\w{1,8})?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Stamp:
    """Identifies a file and its content without reading it. The permissions do not count.

    Attributes:
        device, inode: Of the file itself; links are not followed.
        size: In bytes.
        mtime_ns: Modification time in nanoseconds.
        mode: Type and permissions.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    mode: int = field(compare=False)


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of what stands at `path`; None if nothing does, or if it cannot be looked up."""
    try:
        status = path.lstat()
    except OSError:
        return None
    mode = status.st_mode
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, mode)


def temporary_stem(name: str) -> str:
    """The stem of the temporary file for `name`: the name itself, or a hash if it is too long."""
    if (
        len(os.fsencode(name)) + len("..12345678-999999999-999999999.part.12345678")
        <= MAX_NAME_BYTES
    ):
        return name
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:40]


def temporary_path(path: Path, suffix: str = "") -> Path:
    """The temporary file for `path` of this thread, in the same folder."""
    own = f"{machine_id()}-{os.getpid()}{_thread_mark()}"
    return path.with_name(f".{temporary_stem(path.name)}.{own}.part{suffix}")


_threads = threading.local()
_numbers = itertools.count(1)


def _thread_mark() -> str:
    """Empty in the main thread, and different in all others: two may write the same file."""
    if threading.current_thread() is threading.main_thread():
        return ""
    if not hasattr(_threads, "mark"):
        _threads.mark = f"-{next(_numbers)}"
    return str(_threads.mark)


def create(path: Path, mode: int = 0o666) -> BinaryIO:
    """Create a temporary file for writing. What stands there, such as a link, is removed first.

    Args:
        path: As `temporary_path` returns it.
        mode: Permissions before the umask.

    Raises:
        OSError: It cannot be created.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | NO_LINK, mode)

    path.unlink(missing_ok=True)  # mode "x" then never follows a symbolic link
    return open(path, "xb", opener=opener)


def publish(temporary: Path, path: Path, standing: Stamp | None) -> None:
    """Flush a complete temporary file to disk and give it its final name.

    Args:
        temporary: A regular file in the folder of `path`.
        path: The final name.
        standing: What stood at `path` when the run was planned; None if nothing did.

    Raises:
        ExistsError: Something else stands there now, and is left as it is.
        OSError: The file cannot be written.
    """
    handle = os.open(temporary, os.O_RDWR | NO_LINK | NO_WAIT)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    take_name(temporary, path, standing)
    sync_folder(path.parent)


def take_name(temporary: Path, path: Path, standing: Stamp | None) -> None:
    """Give a file its final name; arguments and errors as for `publish`.

    A file with the same content that appeared there meanwhile stays, and so does the temporary file.
    """
    found = None if standing is None else stamp_of(path)
    if found is not None and found != standing:
        if _is_same(temporary, path):
            return
        raise _changed(path, "was changed")
    try:
        if found is None:
            _rename_new(temporary, path)
        else:
            temporary.replace(path)
    except FileExistsError:
        if not _is_same(temporary, path):
            raise _changed(path, "appeared") from None


def _is_same(temporary: Path, path: Path) -> bool:
    """Whether what stands at a path is, byte for byte, what is to be written there.

    Another process that works on the same inputs may have been faster.
    """
    try:
        return sha256_of(path) == sha256_of(temporary)
    except OSError:
        return False


def _changed(path: Path, happened: str) -> ExistsError:
    problem = f"{happened} while the run was going on, and is left as it is"
    remedy = "move it away, or run again with --on-exists skip|replace"
    return ExistsError(problem, file=path, remedy=remedy)


def _rename_new(temporary: Path, path: Path) -> None:
    """Rename a file unless there is one of the new name; raises `FileExistsError` if there is."""
    if sys.platform == "win32":
        temporary.rename(path)  # does not replace on Windows
        return
    try:
        os.link(temporary, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        temporary.rename(path)
    else:
        temporary.unlink()


def write_files(
    contents: Sequence[tuple[Path, bytes]],
    *,
    before: Callable[[], None] | None = None,
    check: Callable[[], None] | None = None,
    prepare: Callable[[Path], None] | None = None,
    standing: Sequence[Stamp | None] | None = None,
    mode: int = 0o666,
    mtime_ns: int | None = None,
) -> None:
    """Write several files together.

    Args:
        contents: (path, bytes) of each file.
        before: Called when all bytes are on disk, before the first file takes its final name.
        check: Called before each file takes its final name.
        prepare: Called with the folder of each file before anything is written there; by default
            missing folders are created.
        standing: What stood at each path when the run was planned, see `publish`. By default
            whatever stands there is replaced.
        mode: Permissions of new files before the umask. A file that is replaced keeps its own.
        mtime_ns: Modification time of the files in nanoseconds; None for the time of writing.

    Raises:
        ExistsError: Something appeared or changed at a path; see `publish`.
        OSError: No temporary file is left. Old files under these paths are unchanged, unless a
            rename failed after another one succeeded.
    """
    stood = [stamp_of(path) for path, _ in contents] if standing is None else list(standing)
    temporaries: list[Path] = []
    try:
        for (path, data), stamp in zip(contents, stood, strict=True):
            (prepare or _make_folder)(path.parent)
            temporaries.append(temporary_path(path))
            write_temporary(temporaries[-1], data, mode, stamp, mtime_ns)
        if before is not None:
            before()
        for temporary, (path, _), stamp in zip(temporaries, contents, stood, strict=True):
            if check is not None:
                check()
            if standing is None:
                temporary.replace(path)
            else:
                take_name(temporary, path, stamp)
    finally:
        discard(temporaries)
    for folder in {path.parent for path, _ in contents}:
        sync_folder(folder)


def publish_files(
    temporaries: Sequence[Path],
    paths: Sequence[Path],
    standing: Sequence[Stamp | None],
    before: Callable[[], None],
    check: Callable[[], None],
) -> None:
    """Give temporary files of `write_temporary` their final names.

    Arguments and errors are as for `write_files`; no temporary file is left.
    """
    try:
        before()
        for temporary, path, stamp in zip(temporaries, paths, standing, strict=True):
            check()
            take_name(temporary, path, stamp)
    finally:
        discard(temporaries)
    for folder in {path.parent for path in paths}:
        sync_folder(folder)


def discard(temporaries: Iterable[Path]) -> None:
    """Remove temporary files, if they exist."""
    for temporary in temporaries:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as that is possible."""
    with contextlib.suppress(OSError):  # `ignore_errors` does not cover closing of folders
        shutil.rmtree(folder, ignore_errors=True)


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def write_temporary(
    path: Path, data: bytes, mode: int, standing: Stamp | None, mtime_ns: int | None = None
) -> None:
    """Write a temporary file and flush it to disk.

    Args:
        path: As `temporary_path` returns it; a file that stands there is replaced.
        data: The content.
        mode: Permissions of a new file before the umask.
        standing: The file that it will replace, which passes on its permissions.
        mtime_ns: Its modification time in nanoseconds; None for now.

    Raises:
        OSError: It cannot be written.
    """
    with create_for(path, mode, standing) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if mtime_ns is not None:
        set_time(path, mtime_ns)


def create_for(path: Path, mode: int, standing: Stamp | None) -> BinaryIO:
    """Create a temporary file with the permissions of its output; see `write_temporary`."""
    file = create(path, mode)
    if standing is not None and stat.S_ISREG(standing.mode) and sys.platform != "win32":
        os.fchmod(file.fileno(), stat.S_IMODE(standing.mode) & 0o777)
    return file


def set_time(path: Path, mtime_ns: int) -> None:
    """Set the modification time of a temporary file, in nanoseconds. Raises `OSError`."""
    follow = os.utime not in os.supports_follow_symlinks
    os.utime(path, ns=(time.time_ns(), mtime_ns), follow_symlinks=follow)


def sync_folder(folder: Path) -> None:
    """Flush the directory entries of a folder to disk, where the system supports it."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True, slots=True)
class Temporary:
    """What the name of a temporary file says.

    Attributes:
        stem: See `temporary_stem`.
        pid: Id of the process that made it.
        is_local: Whether that process ran on this machine.
        modified: When it was last written to, by the clock of its file system.
        folder: Where it lies, as it was named to `remove_stale`.
    """

    stem: str
    pid: int
    is_local: bool = True
    modified: float = field(default=math.inf, compare=False)
    folder: Path | None = field(default=None, compare=False)

    @property
    def is_abandoned(self) -> bool:
        """Whether its process is known to have ended."""
        return self.is_local and not is_running(self.pid)


def remove_stale(folders: Iterable[Path], is_stale: Callable[[Temporary], bool]) -> int:
    """Remove temporary files that killed runs left behind.

    Args:
        folders: The folders to clean; they need not exist.
        is_stale: Whether to remove a temporary file.

    Returns:
        Number of files removed.
    """
    removed = 0
    for folder in folders:
        for name in _listing(folder):
            match = _TEMPORARY.fullmatch(name)
            if match is None:
                continue
            path = folder / name
            is_local = match["host"] in (None, machine_id())
            pid = int(match["pid"])
            found = Temporary(match["stem"], pid, is_local, _modified(path), folder)
            if is_stale(found):
                with contextlib.suppress(OSError):
                    path.unlink()
                    removed += 1
    return removed


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return math.inf


def _listing(folder: Path) -> Iterator[str]:
    """The names in a folder, one by one: there may be millions."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.name
    except OSError:
        return


def sha256_of(path: Path) -> str:
    """SHA-256 of a regular file in hexadecimal. Raises `OSError`, also for a link or a FIFO."""
    with open(path, "rb", opener=_open_plain) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_plain(name: str, flags: int) -> int:
    handle = os.open(name, flags | NO_LINK | NO_WAIT)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{name} is not a regular file")
    return handle
