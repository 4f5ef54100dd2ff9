"""AVIF by Pillow, or by OpenCV for more than 8 bit; HEIF by pillow-heif."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import UnsupportedImageError
from vaetools.image.containers.isobmff import Items, read_items
from vaetools.image.decoders.base import Opened, Planes
from vaetools.image.decoders.opencv import decode_cv2, of_size
from vaetools.image.decoders.pillow import pillow_header, planes_of_header, planes_of_pillow
from vaetools.image.extras import optional_module

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaetools.image.containers import Bare


def open_avif(bare: Bare, strict: bool) -> Opened:  # noqa: ARG001
    items = read_items(bare.data, strict=False)
    width, height = items.size
    frames = 1
    if items.is_sequence:
        frames = int(getattr(pillow_header("avif", bare.data), "n_frames", 1))
    if items.depth > 8:
        return Opened(width, height, "RGB 16 bit", partial(_decode_deep, bare.data, items), frames)
    return Opened(width, height, "RGB", partial(_decode_avif, bare.data, items), frames)


def _decode_avif(data: bytes, items: Items, strict: bool) -> Planes:
    pixels, alpha = planes_of_header(pillow_header("avif", data), strict)
    of_size(pixels, items.size)
    if items.monochrome and pixels.ndim == 3:  # Pillow has no grey with alpha here
        pixels = pixels[..., 0].copy()
    return pixels, alpha


def _decode_deep(data: bytes, items: Items, strict: bool) -> Planes:  # noqa: ARG001
    """10 and 12 bit, scaled to 16; Pillow would silently cut them to 8."""
    if items.premultiplied:
        raise UnsupportedImageError(f"{items.depth}-bit AVIF with premultiplied alpha")
    try:
        array = decode_cv2(data, items.size, np.uint16)
    except ValueError as error:
        raise UnsupportedImageError(
            f"{items.depth}-bit AVIF, which OpenCV cannot decode here; 8 bit is supported"
        ) from error
    array = _scaled(array, items.depth)
    if array.ndim == 2:
        return array, None
    alpha = array[..., 3].copy() if array.shape[2] == 4 else None
    return array[..., 0 if items.monochrome else slice(3)].copy(), alpha


def _scaled(samples: NDArray[Any], depth: int) -> NDArray[Any]:
    """Samples of `depth` bits as 16 bits: the highest becomes 65535."""
    levels = np.rint(np.arange(2**depth) * (65535 / (2**depth - 1))).astype(np.uint16)
    scaled: NDArray[Any] = levels[np.minimum(samples, 2**depth - 1)]
    return scaled


def open_heif(bare: Bare, strict: bool) -> Opened:  # noqa: ARG001
    """pillow-heif turns the image as the container says."""
    library = optional_module("heif")
    file = library.open_heif(io.BytesIO(bare.data), convert_hdr_to_8bit=False, hdr_to_16bit=False)
    name, _, depth = file.mode.partition(";")
    mode = f"{name} 16 bit" if depth else name
    frames = max(len(file), 2 if read_items(bare.data, strict=False).is_sequence else 1)
    width, height = file.size
    decode = partial(_decode_heif, file, name, int(depth or 8))
    return Opened(width, height, mode, decode, frames)


def _decode_heif(file: Any, mode: str, depth: int, strict: bool) -> Planes:  # noqa: ARG001
    if depth == 8:
        return planes_of_pillow(np.asarray(file.to_pillow().convert(mode.upper())))
    if mode == "RGBa":
        raise UnsupportedImageError(f"{depth}-bit HEIF with premultiplied alpha")
    array = _scaled(of_size(np.asarray(file), file.size), depth)
    return planes_of_pillow(array)
