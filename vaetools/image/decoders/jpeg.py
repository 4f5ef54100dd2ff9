"""JPEG pixels by libjpeg-turbo, with its warnings as errors.

libjpeg repairs what it can: it fills blocks that are missing and goes on behind codes that make no
sense. It counts that as a warning. OpenCV prints these to stderr without a file name, and Pillow
hides them; simplejpeg raises them.
"""

from __future__ import annotations

import os
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import DamagedImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLOURS = {"L": "GRAY", "RGB": "BGR", "CMYK": "CMYK"}
_REPORTED = b"Corrupt JPEG data", b"Premature end of JPEG", b"Unsupported marker", b"Inconsistent"
_stderr_lock = threading.Lock()


def decode_jpeg(data: bytes, mode: str, *, strict: bool) -> NDArray[Any] | None:
    """Decode, or with mode CMYK only check, so that Pillow can decode.

    Args:
        data: a JPEG file whose end-of-image marker is there.
        mode: Pillow's mode: `L`, `RGB` or `CMYK`.
        strict: raise if libjpeg warns.

    Returns:
        (H, W) grey or (H, W, 3) BGR, uint8. None if Pillow has to decode it: CMYK, and what
        simplejpeg does not take, such as unusual chroma subsampling.

    Raises:
        DamagedImageError: the data are damaged, in libjpeg's words.
    """
    import simplejpeg

    try:
        simplejpeg.decode_jpeg_header(data, strict=False)
    except ValueError:
        if strict:
            _check_by_opencv(data)
        return None
    try:
        pixels = simplejpeg.decode_jpeg(
            data, colorspace=_COLOURS[mode], fastdct=False, fastupsample=False, strict=strict
        )
    except ValueError as error:
        if not strict:
            return None
        raise _damaged(str(error)) from error
    if mode == "CMYK":
        return None
    return np.asarray(pixels[..., 0] if mode == "L" else pixels)


def _damaged(message: str) -> DamagedImageError:
    """The error for a message of libjpeg, which may have a function's name before it."""
    reason = message.rpartition("(): ")[2].strip().removeprefix("Corrupt JPEG data: ")
    return DamagedImageError(
        f"the jpeg data is damaged ({reason})", remedy="--lenient keeps what can be decoded"
    )


def _check_by_opencv(data: bytes) -> None:
    """Raise if libjpeg prints a warning while OpenCV decodes.

    This takes the process's stderr for the time of one decode. It is for the rare files that
    simplejpeg does not take; what else appears on stderr meanwhile is passed on.
    """
    import cv2

    with _stderr_lock, tempfile.TemporaryFile() as caught:
        try:
            stderr = os.dup(2)
        except OSError:  # closed
            return
        try:
            os.dup2(caught.fileno(), 2)
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        caught.seek(0)
        lines = caught.read().splitlines(keepends=True)
    warnings = [line for line in lines if line.startswith(_REPORTED)]
    for line in lines:
        if line not in warnings:
            os.write(2, line)
    if warnings:
        raise _damaged(warnings[0].decode("ascii", "replace"))
