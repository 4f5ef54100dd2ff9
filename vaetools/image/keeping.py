"""JPEG files that keep the blocks of their origin wherever no pixel changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vaetools.image.containers.jpeg import JPEG, wrap
from vaetools.image.decode import decode_image
from vaetools.image.decoders import turned
from vaetools.image.jpeg import patched
from vaetools.image.metadata import xmp
from vaetools.image.metadata.tiff_directory import with_orientation
from vaetools.image.metadata.writing import fitted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaetools.image.array import Image
    from vaetools.image.metadata import Metadata
    from vaetools.image.metadata.writing import Strip
    from vaetools.image.quality import Origin

_BACK = {6: 8, 8: 6}
"""What undoes an EXIF orientation, where that is not the orientation itself."""


def kept_jpeg(image: Image, origin: Origin, strip: Strip) -> bytes | None:
    """The image as a JPEG file in which blocks that did not change are those of the origin.

    The pixels lie as in the origin, and its orientation is kept in the EXIF block.

    Returns:
        None where that cannot be: another kind of JPEG file, an orientation without EXIF, or every
        block changed.
    """
    if origin.changed is None or image.depth != 8 or image.alpha is not None:
        return None
    orientation = JPEG.unwrap(origin.data, False).orientation
    changed = np.unpackbits(origin.changed, axis=1, count=image.width).astype(np.bool_)
    back = _BACK.get(orientation, orientation)
    pixels = turned(image.pixels, back)
    metadata = _metadata(image, orientation, strip, *pixels.shape[:2])
    body = None if metadata is None else patched(origin.data, pixels, turned(changed, back))
    if body is None or metadata is None:
        return None
    data = wrap(b"\xff\xd8" + body, metadata)
    return data if _agrees(data, image, changed) else None


def _metadata(
    image: Image, orientation: int, strip: Strip, height: int, width: int
) -> Metadata | None:
    """The metadata of the image as it lies in the file."""
    metadata, density = image.metadata, image.metadata.density
    if density is not None and orientation >= 5:
        metadata = replace(metadata, density=density._replace(x=density.y, y=density.x))
    found, _ = fitted(metadata, width, height, grey=image.grey, holds=JPEG.holds, strip=strip)
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
