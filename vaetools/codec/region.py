"""Regions of an image, and the grid of 64 × 64 pixel cells that the codec counts in."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vaetools.codec.container import CELL
from vaetools.errors import OptionError
from vaetools.tiling import ceil_div

if TYPE_CHECKING:
    from vaetools.tiling import Box


class Sized(Protocol):
    """Anything with a size in pixels, such as an `Image` or a `Container`."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...


@dataclass(frozen=True)
class Region:
    """A rectangle of an image, in pixels from the top left corner."""

    left: int
    top: int
    width: int
    height: int

    @property
    def box(self) -> Box:
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def box_within(region: Region | None, image: Sized) -> Box:
    """The region as slices of pixels; the whole image if `region` is None.

    Raises:
        OptionError: the region is empty, or not inside the image.
    """
    if region is None:
        return slice(0, image.height), slice(0, image.width)
    fits = (
        0 <= region.left < region.left + region.width <= image.width
        and 0 <= region.top < region.top + region.height <= image.height
    )
    if not fits:
        raise OptionError(
            f"region {region.left},{region.top},{region.width},{region.height} is not inside the "
            f"image of {image.width} x {image.height}"
        )
    return region.box


def cell_grid(image: Sized) -> tuple[int, int]:
    """Rows and columns of cells that cover an image."""
    return ceil_div(image.height, CELL), ceil_div(image.width, CELL)


def cells_covering(box: Box) -> Box:
    """The cells that a box of pixels touches."""
    rows, columns = (slice(side.start // CELL, ceil_div(side.stop, CELL)) for side in box)
    return rows, columns


def roi_level_drop(mask: np.ndarray, drop: int) -> np.ndarray:
    """Rate map of a region of interest, for `Codec.analyse` and `Codec.probes`.

    Args:
        mask: (H, W) float in [0, 1]; 1 inside the region of interest.
        drop: rate indices by which a cell where the mask is 0 is lowered.

    Returns:
        (rows, columns) int32: by how much the rate index of each 64 × 64 pixel cell is lowered. The
        largest mask value in a cell counts.
    """
    height, width = mask.shape
    rows, columns = ceil_div(height, CELL), ceil_div(width, CELL)
    padded = np.zeros((rows * CELL, columns * CELL), mask.dtype)
    padded[:height, :width] = mask
    largest = padded.reshape(rows, CELL, columns, CELL).max(axis=(1, 3))
    level_drop: np.ndarray = np.rint((1 - largest) * drop).astype(np.int32)
    return level_drop


def lower_outside(mask: np.ndarray, by: int) -> np.ndarray:
    """Deprecated name of `roi_level_drop`."""
    warnings.warn(
        "lower_outside(mask, by) was renamed to roi_level_drop(mask, drop)",
        DeprecationWarning,
        stacklevel=2,
    )
    return roi_level_drop(mask, by)
