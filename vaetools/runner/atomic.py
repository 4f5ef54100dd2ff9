"""Atomic writing: a path is either absent, the old file, or the complete new file.

Bytes are written to the temporary file `.<name>.<pid>.part` in the target folder, flushed to disk,
and only then renamed. A library that chooses the format by suffix writes to
`.<name>.<pid>.part.mp4`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

MAX_NAME_BYTES = 255
"""Longest file name on nearly every file system."""

_TEMPORARY = re.compile(r"\.(?P<stem>.+)\.(?P<pid>\d{1,9})\.part(?:\.\w{1,8})?", re.DOTALL)


def temporary_stem(name: str) -> str:
    """The stem of the temporary file for `name`: the name itself, or a hash if it is too long."""
    if len(os.fsencode(name)) + len("..999999999.part.12345678") <= MAX_NAME_BYTES:
        return name
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:40]


def temporary_path(path: Path, suffix: str = "") -> Path:
    """The temporary file for `path`, in the same folder."""
    return path.with_name(f".{temporary_stem(path.name)}.{os.getpid()}.part{suffix}")


def publish(temporary: Path, path: Path) -> None:
    """Flush a complete temporary file to disk and rename it to `path`. Raises `OSError`."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def write_files(
    contents: Sequence[tuple[Path, bytes]], *, before: Callable[[], None] | None = None
) -> None:
    """Write several files together; missing folders are created.

    Args:
        contents: (path, bytes) of each file.
        before: Called when all bytes are on disk, before the first rename.

    Raises:
        OSError: No temporary file is left. Old files under these paths are unchanged, unless a
            rename failed after another one succeeded.
    """
    temporaries: list[Path] = []
    try:
        for path, data in contents:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporaries.append(temporary_path(path))
            _write_through(temporaries[-1], data)
        if before is not None:
            before()
        for temporary, (path, _) in zip(temporaries, contents, strict=True):
            temporary.replace(path)
    finally:
        for temporary in temporaries:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    for folder in {path.parent for path, _ in contents}:
        sync_folder(folder)


def _write_through(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # mode "x" then never follows a symbolic link
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the directory entries of a folder to disk, where the system supports it."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_stale(folders: Iterable[Path], is_stale: Callable[[str, int], bool]) -> int:
    """Remove temporary files that killed runs left behind.

    Args:
        folders: The folders to clean; they need not exist.
        is_stale: Takes the stem and the process id of a temporary file; whether to remove it.

    Returns:
        Number of files removed.
    """
    removed = 0
    for folder in folders:
        for path in _listing(folder):
            match = _TEMPORARY.fullmatch(path.name)
            if match and is_stale(match["stem"], int(match["pid"])):
                with contextlib.suppress(OSError):
                    path.unlink()
                    removed += 1
    return removed


def _listing(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def is_running(pid: int) -> bool:
    """Whether a process with this id runs on this machine; always True on Windows."""
    if sys.platform == "win32":
        return True  # os.kill(pid, 0) would send Ctrl-C
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
