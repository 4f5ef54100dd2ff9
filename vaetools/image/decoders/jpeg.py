"""JPEG pixels by libjpeg-turbo, with its warnings as errors.

libjpeg repairs what it can: it fills blocks that are missing and goes on behind codes that make no
sense. It counts that as a warning. OpenCV prints these to stderr without a file name, and Pillow
hides them; simplejpeg raises them.
"""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import DamagedImageError
from vaetools.image.decoders.opencv import of_size
from vaetools.image.decoders.pillow import decode_pillow, pillow_header, planes_of_header

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

    from vaetools.image.containers import Bare
    from vaetools.image.decoders.base import Opened, Planes

_COLOURS = {"L": "GRAY", "RGB": "BGR", "CMYK": "CMYK"}
_REPORTED = b"Corrupt JPEG data", b"Premature end of JPEG", b"Unsupported marker", b"Inconsistent"
_stderr_lock = threading.Lock()


def open_jpeg(bare: Bare, strict: bool) -> Opened:  # noqa: ARG001
    header = pillow_header("jpeg", bare.data)
    by_pillow = decode_pillow(header)
    return replace(by_pillow, decode=partial(_decode, bare.data, header))


def _decode(data: bytes, header: ImageFile, strict: bool) -> Planes:
    import simplejpeg

    try:
        simplejpeg.decode_jpeg_header(data, strict=False)
    except ValueError:  # such as unusual chroma subsampling
        if strict:
            _check_by_opencv(data)
        return planes_of_header(header, strict)
    try:
        pixels = simplejpeg.decode_jpeg(
            data, colorspace=_COLOURS[header.mode], fastdct=False, fastupsample=False, strict=strict
        )
    except ValueError as error:
        if not strict:
            return planes_of_header(header, strict)
        raise _damaged(str(error)) from error
    if header.mode == "CMYK":  # only checked here
        return planes_of_header(header, strict)
    pixels = of_size(np.asarray(pixels), header.size)
    return pixels[..., 0] if header.mode == "L" else pixels, None


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
