"""Lossy files that keep what is coded in their origin, wherever no pixel changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vaetools.image.containers import CONTAINERS, jpeg, jxl, webp
from vaetools.image.decode import decode_image
from vaetools.image.decoders import turned
from vaetools.image.jpeg import (
    NotCoveredError,
    colour_marker,
    first_image,
    patched,
    read_structure,
)
from vaetools.image.metadata import xmp
from vaetools.image.metadata.tiff_directory import with_orientation
from vaetools.image.metadata.writing import fitted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaetools.image.array import Image
    from vaetools.image.containers import Container
    from vaetools.image.metadata import Metadata
    from vaetools.image.metadata.writing import Strip
    from vaetools.image.quality import Origin

_KEEPING = ("jpeg", "webp", "jxl")
_BACK = {6: 8, 8: 6}
"""What undoes an EXIF orientation, where that is not the orientation itself."""


def kept(image: Image, origin: Origin, strip: Strip) -> bytes | None:
    """The image as a JPEG, WebP or JPEG XL file that has from its origin all that did not change.

    Where no pixel changed, the file gets other metadata. Where some did, blocks of a JPEG file that
    did not change stay. The pixels lie as in the origin, whose orientation stays in the EXIF block.

    Returns:
        None where that cannot be: all of a lossy WebP or JPEG XL file is coded together; other
        kinds of JPEG files; an orientation without EXIF; every block changed; a colour space
        inside a codestream that is to be removed.
    """
    kind = origin.format
    is_whole = kind == "jxl" and strip == "all"
    if origin.changed is None or image.depth != 8 or kind not in _KEEPING or is_whole:
        return None
    container = CONTAINERS[kind]
    orientation = container.unwrap(origin.data, False).orientation
    back = _BACK.get(orientation, orientation)
    pixels = turned(image.pixels, back)
    metadata = _metadata(image, container, orientation, strip, *pixels.shape[:2])
    if metadata is None:
        return None
    if not origin.changed.any():
        return _rewrapped(origin, metadata)
    if kind != "jpeg" or (orientation == 1 and _changed_everywhere(origin.changed)):
        return None
    changed = np.unpackbits(origin.changed, axis=1, count=image.width).astype(np.bool_)
    body = patched(origin.data, pixels, turned(changed, back))
    if body is None:
        return None
    data = jpeg.wrap(b"\xff\xd8" + body, metadata)
    return data if _agrees(data, image, changed) else None


def _changed_everywhere(changed: NDArray[np.uint8]) -> bool:
    """Whether a pixel of every 8 x 8 block changed; a byte has eight pixels of a row."""
    return bool(np.logical_or.reduceat(changed, np.arange(0, len(changed), 8), axis=0).all())


def _rewrapped(origin: Origin, metadata: Metadata) -> bytes | None:
    """The file with other metadata."""
    if origin.format == "webp":
        return webp.wrap(origin.data, metadata)
    if origin.format == "jxl":
        return jxl.wrap(origin.data, metadata)
    try:
        colours = colour_marker(read_structure(origin.data))
        return jpeg.wrap(first_image(origin.data), metadata, colours)
    except NotCoveredError:  # CMYK, for one: its profile is needed
        return None


def _metadata(
    image: Image, container: Container, orientation: int, strip: Strip, height: int, width: int
) -> Metadata | None:
    """The metadata of the image as it lies in the file."""
    metadata, density = image.metadata, image.metadata.density
    if density is not None and orientation >= 5:
        metadata = replace(metadata, density=density._replace(x=density.y, y=density.x))
    found, _ = fitted(metadata, width, height, grey=image.grey, holds=container.holds, strip=strip)
    if orientation == 1:
        return found
    exif, before = with_orientation(found.exif or b"", orientation)
    if not before:
        return None
    packet = found.xmp
    if packet is not None:
        packet = xmp.with_values(packet, {(xmp.TIFF, "Orientation"): str(orientation)})
    return replace(found, exif=exif, xmp=packet)


def _agrees(data: bytes, image: Image, changed: NDArray[np.bool_]) -> bool:
    """Whether the file decodes to the image, away from what changed."""
    import cv2

    reach = 2 * 8 * 4 + 1  # the largest unit of blocks is 32 pixels wide
    near = cv2.dilate(changed.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    pixels = decode_image(data).pixels
    return pixels.shape == image.pixels.shape and bool(
        np.array_equal(pixels[near == 0], image.pixels[near == 0])
    )
