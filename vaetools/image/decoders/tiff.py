"""TIFF: 16 bit by OpenCV, since Pillow would silently cut RGB to 8 bit; the rest by Pillow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import DamagedImageError, UnsupportedImageError
from vaetools.image.decoders.base import Opened, Planes
from vaetools.image.decoders.guard import decoding
from vaetools.image.decoders.opencv import decode_cv2
from vaetools.image.decoders.pillow import decode_pillow, pillow_header

if TYPE_CHECKING:
    from vaetools.image.containers import Bare


def open_tiff(bare: Bare, strict: bool) -> Opened:
    # With `strict`, the directory and strips are known to be whole by now, so it must be its kind.
    with decoding("tiff", UnsupportedImageError if strict else DamagedImageError):
        header = pillow_header("tiff", bare.data)
    with decoding("tiff"):
        deep = _is_16_bit(header)
    if not deep:
        return decode_pillow(header)
    return Opened(*header.size, f"{header.mode} 16 bit", partial(_decode_deep, bare.data, header))


def _is_16_bit(header: Any) -> bool:
    """Raises `UnsupportedImageError` for other depths than 8 and 16."""
    tags = header.tag_v2
    bits, kinds, extra = tags.get(258, (1,)), tags.get(339, (1,)), tags.get(338, ())
    if max(bits) <= 8:
        return False
    if set(bits) != {16} or set(kinds) != {1}:
        kind = {2: "signed", 3: "float"}.get(kinds[0], "integer")
        raise UnsupportedImageError(
            f"TIFF with {max(bits)}-bit {kind} samples; 8 and 16 bits, unsigned, are supported"
        )
    if len(bits) == 2 or tags.get(262) not in (0, 1, 2):
        raise UnsupportedImageError("16-bit TIFF that is neither grey nor RGB nor RGBA")
    if tags.get(284, 1) != 1 and len(bits) > 1:  # cv2 would read rows of one plane as pixels
        raise UnsupportedImageError("16-bit TIFF with separate planes; interleaved is supported")
    if tuple(extra) == (1,):
        raise UnsupportedImageError("16-bit TIFF with premultiplied alpha; straight is supported")
    return True


def _decode_deep(data: bytes, header: Any, strict: bool) -> Planes:  # noqa: ARG001
    array = decode_cv2(data, header.size, np.uint16)
    if header.tag_v2.get(262) == 0:  # zero is white
        array = ~array
    if array.ndim == 2 or array.shape[2] == 3:
        return array, None
    if header.tag_v2.get(338) != (2,):  # a fourth sample without meaning
        return array[..., :3].copy(), None
    return array[..., :3].copy(), array[..., 3].copy()
