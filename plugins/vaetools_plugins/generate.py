"""`generate`: pictures out of nothing but a model's prior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

import vaetools
from vaetools import hookimpl, option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath

GRID = PurePosixPath("grid.png")
GAP = 2
"""Pixels of white between the pictures of a grid."""


class Generate(vaetools.Operation):
    """Draw pictures from a model's prior.

    A picture is what the decoder gives for one latent from N(0, temperature²): the mean of
    p(image | latent), without noise of single pixels from that distribution. Figure 5 of Kingma &
    Welling, "Auto-Encoding Variational Bayes", 2014, shows such pictures.

    Its latent depends on the seed and on the picture's name only: `0005.png` is the same among 8 as
    among 16, and in a grid as alone.
    """

    name = "generate"
    summary = "Draw pictures from a model's prior: decoder means, without pixel noise."
    task = "generate"
    takes = "nothing"

    @dataclass(frozen=True)
    class Options:
        n: int = option(16, min=1, max=100_000, short="-n", help="how many pictures")
        seed: int = option(0, help="another seed, other pictures")
        temperature: float = option(1.0, min=0, max=2, help="deviation of the latents")
        grid: bool = option(False, help="all in one picture, grid.png")
        height: int | None = option(None, min=1, help="pixels; for models without a fixed size")
        width: int | None = option(None, min=1, help="pixels; for models without a fixed size")

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        if (options.height is None) != (options.width is None):
            raise vaetools.OptionError("height and width go together")

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        if not self.options.grid:
            del facts["n"]  # with more pictures, those that are there stay as they are
        return facts

    def items(self) -> Sequence[PurePath]:
        """`0001.png` …, or `grid.png`.

        Raises:
            OptionError: no size, another than the model's only one, or more pixels than allowed.
        """
        self._limit((self.options.height or 0) * (self.options.width or 0))
        names = self._names()
        first = self._latent(names[0])  # what the model refuses, it refuses before any work
        together = len(names) if self.options.grid else 1
        self._limit(math.prod(grid_size(together, first.height, first.width)))
        return [GRID] if self.options.grid else names

    def process(self, item: PurePath) -> vaetools.Image:
        if not self.options.grid:
            return self._draw(item)
        return vaetools.Image(grid_of([self._draw(name).pixels for name in self._names()]))

    def _names(self) -> list[PurePath]:
        return [PurePosixPath(f"{number:04}.png") for number in range(1, self.options.n + 1)]

    def _draw(self, name: PurePath) -> vaetools.Image:
        """8 bit; grey from a model of grey pictures."""
        rgb = self.model.decode(self._latent(name))
        shape = rgb.shape[:2] if self.model.manifest.image.channels == 1 else rgb.shape
        return vaetools.Image(np.zeros(shape, np.uint8)).with_rgb(rgb)

    def _latent(self, name: PurePath) -> vaetools.Latent:
        options = self.options
        latent: vaetools.Latent = self.model.prior(
            self.on(str(name)).rng,
            height=options.height,
            width=options.width,
            temperature=options.temperature,
        )
        return latent

    def _limit(self, pixels: int) -> None:
        if pixels > self.max_pixels:
            raise vaetools.OptionError(
                f"{pixels / 1e6:,.0f} megapixels are over the limit of {self.max_pixels / 1e6:,.0f}",
                remedy="raise it with --max-pixels",
            )


def grid_size(count: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of a grid of `count` pictures of that size, in pixels."""
    columns = math.isqrt(count - 1) + 1
    rows = math.ceil(count / columns)
    return rows * (height + GAP) - GAP, columns * (width + GAP) - GAP


def grid_of(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 pictures of one shape, row by row, in about as many rows as columns."""
    height, width = pictures[0].shape[:2]
    size = grid_size(len(pictures), height, width)
    grid = np.full(size + pictures[0].shape[2:], 255, np.uint8)
    columns = (size[1] + GAP) // (width + GAP)
    for index, picture in enumerate(pictures):
        top, left = (index // columns) * (height + GAP), (index % columns) * (width + GAP)
        grid[top : top + height, left : left + width] = picture
    return grid


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [Generate]
