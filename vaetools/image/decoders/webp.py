"""WebP: by Pillow, or where that has a limit of its own by OpenCV."""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import DamagedImageError
from vaetools.image.decoders.base import Opened, Planes
from vaetools.image.decoders.opencv import decode_cv2
from vaetools.image.decoders.pillow import decode_pillow, pillow_header

if TYPE_CHECKING:
    from vaetools.image.containers import Bare

_MOST_OF_PILLOW = 2**26
"""Pixels; `WebPImageFile` refuses 2¾ times as many, whoever opens it."""


def open_webp(bare: Bare, strict: bool) -> Opened:  # noqa: ARG001
    width, height = _size(bare.data)
    if width * height <= _MOST_OF_PILLOW:
        return decode_pillow(pillow_header("webp", bare.data))
    return Opened(width, height, "RGB", partial(_decode, bare.data, (width, height)))


def _size(data: bytes) -> tuple[int, int]:
    kind, content = data[12:16], data[20:30]
    if kind == b"VP8X" and len(content) == 10:
        sides = struct.unpack("<HBHB", content[4:])
        return 1 + sides[0] + (sides[1] << 16), 1 + sides[2] + (sides[3] << 16)
    if kind == b"VP8L" and content[:1] == b"\x2f" and len(content) == 10:
        (bits,) = struct.unpack_from("<L", content, 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and content[3:6] == b"\x9d\x01\x2a" and len(content) == 10:
        width, height = struct.unpack_from("<HH", content, 6)
        return width & 0x3FFF, height & 0x3FFF
    raise DamagedImageError("truncated or corrupt: no WebP header")


def _decode(data: bytes, size: tuple[int, int], strict: bool) -> Planes:  # noqa: ARG001
    array = decode_cv2(data, size, np.uint8)
    return array[..., :3].copy(), array[..., 3].copy() if array.shape[2] == 4 else None
