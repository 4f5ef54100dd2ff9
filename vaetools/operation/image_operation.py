"""Operations that change the colours of images, and nothing else."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import PluginError
from vaetools.operation.base import Operation

if TYPE_CHECKING:
    from vaetools.image import Image


class ImageOperation(Operation):
    """Image in, image out; only the colours change.

    `apply` sees float32 RGB (H, W, 3) in [0, 1]. Bit depth, greyscale, alpha, channel order, ICC and
    EXIF are removed before and restored after, so that operations need not handle them.
    """

    def process(self, item: Image) -> Image:
        rgb = item.to_rgb()
        result = _as_array(self.name, self.apply(rgb))
        if result.shape != rgb.shape:
            raise PluginError(f"{self.name} gave the shape {result.shape} for {rgb.shape}")
        if not np.isfinite(result).all():
            raise PluginError(f"{self.name} gave values that are not finite")
        return item.with_rgb(np.clip(result, 0.0, 1.0))

    @abstractmethod
    def apply(self, image: np.ndarray) -> np.ndarray:
        """float32 RGB (H, W, 3) in [0, 1] -> the same shape; the result is clipped to [0, 1]."""


def _as_array(name: str, result: object) -> np.ndarray:
    """What `apply` returned, if it is numbers. Raises `PluginError`."""
    try:
        array = np.asarray(result)
    except (TypeError, ValueError):  # lists of unequal lengths
        array = np.asarray(None)
    if array.dtype.kind not in "buif":
        kind = (
            f"an array of {array.dtype}"
            if isinstance(result, np.ndarray)
            else type(result).__name__
        )
        raise PluginError(f"{name} gave {kind}, not an array of numbers")
    return array
