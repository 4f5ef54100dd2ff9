"""Reading files: what they are is looked at before they are taken into memory."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.errors import TooLargeError, UnreadableError, VaetoolsError
from vaetools.paths import refuse_url

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD_SIZE = 64
"""Bytes that tell what a file is."""


def read_file(path: str | Path, *, check_head: Callable[[bytes], object], most: int) -> bytes:
    """The bytes of a regular file.

    Args:
        check_head: given the first `HEAD_SIZE` bytes (fewer for a shorter file); raises a
            `VaetoolsError` if the file is none that is wanted, and the rest stays unread.
        most: bytes; a larger file is refused.

    Raises:
        UnreadableError: not there, not permitted, a directory, a pipe (opening it would wait for ever).
        TooLargeError: more than `most` bytes.
    """
    refuse_url(path, "a file")
    if not str(path):
        raise UnreadableError("cannot be read: the path is empty")
    try:
        return _read(Path(path), check_head, most)
    except OSError as error:
        problem = error.strerror or str(error)
        raise UnreadableError(f"cannot be read: {problem}", file=path) from error
    except VaetoolsError as error:
        error.about(path)
        raise
    except ValueError as error:  # a path with a null byte
        raise UnreadableError(f"cannot be read: {error}", file=path) from error


def _read(path: Path, check_head: Callable[[bytes], object], most: int) -> bytes:
    _check_regular(path.stat())
    with open(path, "rb", opener=_open_at_once) as stream:
        status = os.fstat(stream.fileno())
        _check_regular(status)  # it may have become something else meanwhile
        check_head(stream.read(HEAD_SIZE))
        stream.seek(0)
        data = b"" if status.st_size > most else stream.read(most + 1)
    size = max(status.st_size, len(data))
    if size > most:
        raise TooLargeError(
            f"{size / 1e6:,.0f} MB are more than {most / 1e6:,.0f} MB, the most that "
            "an image within the limit can need",
            remedy="raise it with --max-pixels",
        )
    return data


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for somebody to write into a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableError("cannot be read: it is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError("cannot be read: it is not a regular file")


def most_bytes(max_pixels: int) -> int:
    """What an image file within the limit can need: uncompressed 16-bit RGBA, and metadata."""
    return 8 * max_pixels + 2**26
