"""Pillow images as arrays."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import ImageValueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODES = {"1", "L", "LA", "RGB", "RGBA", "I;16"}
"""Pillow modes whose pixels are taken as they are."""


def pillow_array(value: object, *, name: str = "image") -> NDArray[Any] | None:
    """The pixels of a Pillow image in RGB order, or None for any other object.

    Args:
        value: modes 1, L and I;16 give (H, W), LA and RGBA (H, W, 4), RGB (H, W, 3).
        name: what the image is for, for the error.

    Raises:
        ImageValueError: another mode, such as P or CMYK.
    """
    module = sys.modules.get("PIL.Image")  # without it, no object can be a Pillow image
    if module is None or not isinstance(value, module.Image):
        return None
    if value.mode not in MODES:
        raise ImageValueError(
            f"{name} is a Pillow image of mode {value.mode}; expected {', '.join(sorted(MODES))}",
            remedy="convert it first: image.convert('RGB')",
        )
    if value.mode == "1":
        return np.asarray(value.convert("L"))
    return np.asarray(value.convert("RGBA") if value.mode == "LA" else value)
