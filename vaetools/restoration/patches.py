"""Images part by part, so that a large image is never converted to floats as a whole.

A part is the input of a network: a tile's core and its halo, padded to whole cells. The rest of the
image stays at 8 or 16 bits per sample. An 8-bit colour image is never converted to floats outside the
graphs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import ModelBrokenError
from vaetools.tiling import ceil_div, pad_to_multiple, scaled, shrinking, tiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.image import Image
    from vaetools.model.folder import Model
    from vaetools.tiling import Box, Tile

TILE = 768
"""Side of a core in pixels. Larger cores recompute less of the halo and take more memory."""


@dataclass(frozen=True)
class Part:
    """One part of an image.

    Attributes:
        tile: in cells.
        cell: pixels per side of a cell.
        core: rows and columns of the image that this part is for.
        image: core and halo as an array that a graph takes: (1, h, w, 3) uint8 BGR for 8-bit colour
            images, else (1, 3, h, w) float32 RGB; padded to whole cells.
    """

    tile: Tile
    cell: int
    core: Box
    image: np.ndarray

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of core and halo, in whole cells."""
        return _sides(self.image)

    def of(self, plane: np.ndarray) -> np.ndarray:
        """The same part of a plane (H, W) of the image's size: (1, 1, h, w), padded."""
        piece, _ = pad_to_multiple(
            plane[scaled(self.tile.outer, self.cell)], self.cell, mirrored=True
        )
        return np.ascontiguousarray(piece[None, None])

    def inside(self, result: np.ndarray) -> np.ndarray:
        """The core of a result (1, C, h, w), or (1, h, w, 3) uint8: (rows, columns, C), not padded.

        Raises:
            ModelBrokenError: another size than the part's.
        """
        if _sides(result) != self.sides:
            raise ModelBrokenError(
                f"a part of {self.sides[0]} x {self.sides[1]} pixels became {result.shape}"
            )
        rows, columns = scaled(self.tile.inner, self.cell)
        height, width = (span.stop - span.start for span in self.core)
        whole = result[0] if result.dtype == np.uint8 else result[0].transpose(1, 2, 0)
        core: np.ndarray = whole[rows, columns][:height, :width]
        return core


def _sides(array: np.ndarray) -> tuple[int, int]:
    height, width = array.shape[1:3] if array.dtype == np.uint8 else array.shape[2:]
    return height, width


def takes_pixels(image: Image) -> bool:
    """Whether graphs take this image as uint8 pixels."""
    return image.depth == 8 and not image.grey


def for_each_part(
    image: Image, model: Model, work: Callable[[Part], None], *, pixels: bool
) -> None:
    """Call `work` for the parts of an image, row by row.

    Args:
        image: any size.
        model: it is for.
        work: of a part; called again with smaller ones where a device lacks memory.
        pixels: see `part_of`.
    """
    cell = model.manifest.size.multiple_of
    size, halo = max(1, TILE // cell), ceil_div(model.manifest.tiling.halo, cell)
    height, width = ceil_div(image.height, cell), ceil_div(image.width, cell)
    windows = model.device.fixed_shapes

    def work_on(tile: Tile) -> None:
        work(part_of(image, tile, cell, pixels=pixels))

    done = shrinking(work_on, height=height, width=width, halo=halo, windows=windows)
    for tile in tiles(height, width, size=size, halo=halo, windows=windows):
        done(tile)


def part_of(image: Image, tile: Tile, cell: int, *, pixels: bool) -> Part:
    """One part of an image.

    Args:
        tile: in cells of `cell` pixels.
        pixels: as uint8 pixels; for images that `takes_pixels` accepts.
    """
    rows, columns = scaled(tile.core, cell)
    core = (
        slice(rows.start, min(rows.stop, image.height)),
        slice(columns.start, min(columns.stop, image.width)),
    )
    outer = scaled(tile.outer, cell)
    piece = image.pixels[outer] if pixels else cropped(image, outer).to_rgb()
    whole, _ = pad_to_multiple(piece, cell, mirrored=True)
    ordered = whole if pixels else whole.transpose(2, 0, 1)
    return Part(tile, cell, core, np.ascontiguousarray(ordered[None]))


def cropped(image: Image, box: Box) -> Image:
    """A part of an image, without alpha."""
    return replace(image, pixels=np.ascontiguousarray(image.pixels[box]), alpha=None)


class Canvas:
    """A new image that is filled part by part, with the metadata of another one."""

    def __init__(self, like: Image) -> None:
        self.like = like
        self.pixels: np.ndarray = np.empty_like(like.pixels)

    def put(self, box: Box, values: np.ndarray) -> None:
        """Fill a box with uint8 BGR pixels or float RGB (h, w, 3); see `samples_of`."""
        self.pixels[box] = samples_of(self.like, box, values)

    def image(self) -> Image:
        return replace(self.like, pixels=self.pixels, encoded=None)


def samples_of(like: Image, box: Box, values: np.ndarray) -> np.ndarray:
    """Pixels as they are in an image.

    Args:
        like: the image.
        box: in the image.
        values: for the box, uint8 BGR pixels, or float RGB (h, w, 3); see `Image.with_rgb`.
    """
    if values.dtype == np.uint8:
        return values
    return cropped(like, box).with_rgb(values).pixels
