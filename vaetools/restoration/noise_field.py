"""Seeded noise that does not depend on how an image is divided into tiles."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from vaetools.tiling import ceil_div, common, within

if TYPE_CHECKING:
    from vaetools.tiling import Box

BLOCK = 32
"""Side of a block, in cells."""


class NoiseField:
    """Standard normal numbers on an unbounded grid of cells.

    Each block of `BLOCK` x `BLOCK` cells is a segment of one random stream (Philox, which is
    counter-based and can start anywhere), so a tile sees the same numbers as the whole image.

    Args:
        seed: 0 … 2⁶⁴ − 1.
        channels: numbers per cell.
    """

    def __init__(self, seed: int, channels: int) -> None:
        self.seed = seed
        self.channels = channels

    def part(self, box: Box) -> np.ndarray:
        """The numbers of the cells in `box`, (1, channels, h, w) float32."""
        height, width = (span.stop - span.start for span in box)
        found = np.empty((1, self.channels, height, width), np.float32)
        rows, columns = (range(s.start // BLOCK, ceil_div(s.stop, BLOCK)) for s in box)
        for row, column in product(rows, columns):
            block = (
                slice(row * BLOCK, (row + 1) * BLOCK),
                slice(column * BLOCK, (column + 1) * BLOCK),
            )
            shared = common(box, block)
            assert shared is not None  # only blocks that the box touches are visited
            numbers = self._block(row, column)[(..., *within(shared, block))]
            found[(..., *within(shared, box))] = numbers
        return found

    def _block(self, row: int, column: int) -> np.ndarray:
        stream = np.random.Philox(key=self.seed, counter=[0, 0, row, column])
        shape = (1, self.channels, BLOCK, BLOCK)
        return np.random.Generator(stream).standard_normal(shape, dtype=np.float32)
