"""Images that a lossless format holds in fewer bytes: screenshots, drawings, other flat graphics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaetools.errors import UnsupportedImageError
from vaetools.image import encode_image, not_kept

if TYPE_CHECKING:
    from vaetools.image import Image

_FLAT = 0.5
"""Share of pixels that equal the one to their left, from which a lossless format is tried. It is 0.84
and more in the ten screenshots of gb82, and less than 0.41 in all but one of 206 photographs."""

_SMALL = 64 * 64
"""Pixels up to which it is always tried."""

_EVERY = 8  # one row of so many is looked at


def lossless_file(image: Image) -> bytes | None:
    """A WebP or PNG file with exactly these pixels, and all metadata that a `.vae` file keeps.

    Returns:
        None for images where it would be larger than a coded one in any case, and for those that
        neither format can hold with all their metadata.
    """
    if image.depth > 16 or not (image.width * image.height <= _SMALL or _is_flat(image)):
        return None
    for name in ("webp", "png") if _is_for_webp(image) else ("png",):
        if set(not_kept(image, name)) > set(image.metadata.notes):
            continue
        try:
            return encode_image(image, name, quality=100)
        except UnsupportedImageError:  # too large for WebP
            continue
    return None


def _is_for_webp(image: Image) -> bool:
    """WebP has 8 bits and colour, and drops an alpha channel that is opaque everywhere."""
    return image.depth == 8 and not image.grey and (image.alpha is None or image.alpha.min() < 255)


def _is_flat(image: Image) -> bool:
    rows = image.pixels[::_EVERY]
    same = rows[:, 1:] == rows[:, :-1]
    if same.ndim == 3:
        same = same[..., 0] & same[..., 1] & same[..., 2]  # faster than all(axis=2)
    return bool(same.mean() >= _FLAT) if same.size else True
