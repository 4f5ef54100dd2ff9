"""The small files of a job folder, which others may have written to: regular, bounded, well formed."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from vaetools.errors import OutputError
from vaetools.runner.place import open_own

if TYPE_CHECKING:
    from pathlib import Path

REMEDY = "check the disk and its permissions, and run the same command again"

MOST_BYTES = 2**20
"""Largest file, except for lists."""


def read_own(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a file of a job.

    Args:
        path: The file.
        most: Its largest size in bytes.

    Raises:
        OSError: It cannot be read, is too large, or is a link, a FIFO, a folder or a device.
    """
    try:
        handle = open_own(path, os.O_RDONLY)
    except OutputError as error:
        raise OSError(0, error.problem) from None
    with os.fdopen(handle, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(0, f"has more than {most:,} bytes")
    return data


def stands(path: Path) -> bool:
    """Whether something has this name; links are not followed.

    `Path.exists` also answers no where a disk fails, from Python 3.14 on: work would be done again.

    Raises:
        OutputError: It cannot be found out.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no name of a file
        return False
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL):
            return False
        problem = f"cannot be looked up: {error.strerror or error}"
        raise OutputError(problem, file=path, remedy=REMEDY) from error
    return True
