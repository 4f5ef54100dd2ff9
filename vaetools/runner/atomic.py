"""Writing files so that a name is either not there, the old file, or the whole new one.

Bytes go to `.<name>.<pid>.part` in the target folder, reach the disk, and only then take the name;
to `.<name>.<pid>.part.mp4` where a library writes them and wants to see a suffix.
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

LONGEST_NAME = 255
"""Bytes; the limit of nearly every file system."""

_PART = re.compile(r"\.(?P<stem>.+)\.(?P<pid>\d{1,9})\.part(?:\.\w{1,8})?", re.DOTALL)


def part_stem(name: str) -> str:
    """What stands for `name` in the name of its part: itself, or a hash if that gets too long."""
    if len(os.fsencode(name)) + len("..999999999.part.12345678") <= LONGEST_NAME:
        return name
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:40]


def part_of(path: Path, suffix: str = "") -> Path:
    """The temporary file beside `path`."""
    return path.with_name(f".{part_stem(path.name)}.{os.getpid()}.part{suffix}")


def publish(part: Path, path: Path) -> None:
    """Give a finished part its name, once it is on the disk. Raises `OSError`."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def write_files(contents: Sequence[tuple[Path, bytes]], *, before: Callable[[], None]) -> None:
    """Write files that belong together; folders are made as needed.

    Args:
        contents: (path, bytes) of each file.
        before: called when all bytes are on the disk and no name is taken yet.

    Raises:
        OSError: nothing half-written is left, and what stood under the names still does, except
            where only the last of several renames failed.
    """
    parts: list[Path] = []
    try:
        for path, data in contents:
            path.parent.mkdir(parents=True, exist_ok=True)
            parts.append(part_of(path))
            _write_through(parts[-1], data)
        before()
        for part, (path, _) in zip(parts, contents, strict=True):
            part.replace(path)
    finally:
        for part in parts:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
    for folder in {path.parent for path, _ in contents}:
        sync_folder(folder)


def _write_through(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # "x" below never follows a link that someone laid here
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can do that."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folders: Iterable[Path], is_stale: Callable[[str, int], bool]) -> int:
    """Remove the parts that dead runs left in these folders; returns how many.

    Args:
        folders: those that this run writes to; they need not exist.
        is_stale: (stem, process id) -> whether nobody is writing that part any more.
    """
    removed = 0
    for folder in folders:
        for path in _listing(folder):
            match = _PART.fullmatch(path.name)
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
    """Whether a process of this machine has that id; True where asking would harm it."""
    if sys.platform == "win32":
        return True  # os.kill(pid, 0) is Ctrl-C there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
