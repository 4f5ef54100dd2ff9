"""Pillow images as arrays."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import DamagedImageError, ImageValueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODES = {"1", "L", "LA", "RGB", "RGBA", "I;16"}
"""Pillow modes that are accepted."""

CONVERTED = {"1": "L", "LA": "RGBA"}
"""Modes whose pixels are not taken as they are, and what they become."""


def pillow_array(value: object, *, name: str = "image") -> NDArray[Any] | None:
    """The pixels of a Pillow image in RGB order, or None for any other object.

    Args:
        value: modes 1, L and I;16 give (H, W), LA and RGBA (H, W, 4), RGB (H, W, 3).
        name: what the image is for, for the error.

    Raises:
        ImageValueError: another mode, such as P or CMYK.
        DamagedImageError: it was opened from a file and cannot be read.
    """
    module = sys.modules.get("PIL.Image")  # without it, no object can be a Pillow image
    if module is None or not isinstance(value, module.Image):
        return None
    if value.mode not in MODES:
        raise ImageValueError(
            f"{name} is a Pillow image of mode {value.mode}; expected {', '.join(sorted(MODES))}",
            remedy=_remedy(value.mode, "RGB" if name == "image" else "L"),
        )
    try:
        return np.asarray(value.convert(CONVERTED.get(value.mode, value.mode)))
    except (OSError, SyntaxError, ValueError) as error:  # opened images are read only here
        raise DamagedImageError(f"{name} is a Pillow image that cannot be read: {error}") from error


def _remedy(mode: str, wanted: str) -> str:
    if mode[0] in "IF":  # conversion would clip their values to 0 … 255
        return "pass numpy.asarray(image), scaled to uint16 or to floats in [0, 1]"
    return f"convert it first: image.convert({wanted!r})"
