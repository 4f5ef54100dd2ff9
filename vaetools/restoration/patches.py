"""Images part by part, so that a large image is never converted to floats as a whole.

A part is the input of a network: a tile's core and its halo, padded to whole cells. The rest of the
image stays at 8 or 16 bits per sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import ModelBrokenError
from vaetools.tiling import ceil_div, pad_to_multiple, scaled, tiles

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        tensor: (1, 3, h, w) float32 RGB, core and halo, padded to whole cells.
    """

    tile: Tile
    cell: int
    core: Box
    tensor: np.ndarray

    def of(self, plane: np.ndarray) -> np.ndarray:
        """The same part of a plane (H, W) of the image's size: (1, 1, h, w), padded."""
        piece, _ = pad_to_multiple(
            plane[scaled(self.tile.outer, self.cell)], self.cell, mirrored=True
        )
        return np.ascontiguousarray(piece[None, None], dtype=np.float32)

    def inside(self, result: np.ndarray) -> np.ndarray:
        """The core of a result (1, C, h, w): (rows, columns, C), without padding.

        Raises:
            ModelBrokenError: another size than the part's, or values that are not finite.
        """
        if result.shape[2:] != self.tensor.shape[2:] or not np.isfinite(result).all():
            raise ModelBrokenError(
                f"a part of shape {self.tensor.shape} became {result.shape}, or is not finite"
            )
        rows, columns = scaled(self.tile.inner, self.cell)
        core = result[0, :, rows, columns].transpose(1, 2, 0)
        height, width = (span.stop - span.start for span in self.core)
        return core[:height, :width]


def parts(image: Image, model: Model) -> Iterator[Part]:
    """The parts of an image for a model, row by row."""
    manifest, windows = model.manifest, model.device.fixed_shapes
    cell = manifest.size.multiple_of
    size, halo = max(1, TILE // cell), ceil_div(manifest.tiling.halo, cell)
    height, width = ceil_div(image.height, cell), ceil_div(image.width, cell)
    for tile in tiles(height, width, size=size, halo=halo, windows=windows):
        yield part_of(image, tile, cell)


def part_of(image: Image, tile: Tile, cell: int) -> Part:
    """One part of an image; the tile is in cells of `cell` pixels."""
    rows, columns = scaled(tile.core, cell)
    core = (
        slice(rows.start, min(rows.stop, image.height)),
        slice(columns.start, min(columns.stop, image.width)),
    )
    piece = cropped(image, scaled(tile.outer, cell)).to_rgb()
    rgb, _ = pad_to_multiple(piece, cell, mirrored=True)
    tensor = np.ascontiguousarray(rgb.transpose(2, 0, 1)[None])
    return Part(tile, cell, core, tensor)


def cropped(image: Image, box: Box) -> Image:
    """A part of an image, without alpha."""
    return replace(image, pixels=np.ascontiguousarray(image.pixels[box]), alpha=None)


class Canvas:
    """A new image that is filled part by part, with the metadata of another one."""

    def __init__(self, like: Image) -> None:
        self.like = like
        self.pixels: np.ndarray = np.empty_like(like.pixels)

    def put(self, box: Box, rgb: np.ndarray) -> None:
        """Fill a box with float RGB (h, w, 3); see `Image.with_rgb`."""
        self.pixels[box] = cropped(self.like, box).with_rgb(rgb).pixels

    def image(self) -> Image:
        return replace(self.like, pixels=self.pixels, encoded=None)
