"""`generate`: images from the prior of a model."""

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
"""Width of the white gaps in a grid, pixels."""


class Generate(vaetools.Operation):
    """Draw images from the prior of a model.

    An image is the decoder's output for one latent from N(0, temperature²): the mean of
    p(image | latent), without the per-pixel noise of that distribution, as in figure 5 of Kingma &
    Welling, "Auto-Encoding Variational Bayes", 2014.

    The latent depends only on the seed and on the name of the image: `0005.png` is the same among 8
    as among 16 images, and in a grid.

    Examples:

        vaetools generate -o drawn/ -n 16 --model mnist-conv
        vaetools generate -o drawn/ -n 64 --model mnist-conv --seed 3 --grid
    """

    name = "generate"
    summary = "Draw images from the prior of a model: decoder means, without pixel noise."
    task = "generate"
    takes = "nothing"

    @dataclass(frozen=True)
    class Options:
        n: int = option(16, min=1, max=100_000, short="-n", help="Number of images")
        seed: int = option(0, help="Random seed")
        temperature: float = option(1.0, min=0, max=2, help="Standard deviation of the latents")
        grid: bool = option(False, help="Write one image, grid.png, with all of them")
        height: int | None = option(
            None, min=1, help="Size in pixels, for models without a fixed size"
        )
        width: int | None = option(
            None, min=1, help="Size in pixels, for models without a fixed size"
        )

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        if (options.height is None) != (options.width is None):
            raise vaetools.OptionError("height and width go together")

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        if not self.options.grid:
            del facts["n"]  # more images do not change the first ones
        return facts

    def items(self) -> Sequence[PurePath]:
        """`0001.png` …, or `grid.png`.

        Raises:
            OptionError: no size, a size that the model cannot make, or more pixels than allowed.
        """
        self._limit((self.options.height or 0) * (self.options.width or 0))
        names = self._names()
        first = self._latent(names[0])  # the model refuses a size before any work
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
        """One image, 8 bit; greyscale where the model is."""
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
    """Height and width in pixels of a grid of `count` images of that size."""
    columns = math.isqrt(count - 1) + 1
    rows = -(-count // columns)
    return rows * (height + GAP) - GAP, columns * (width + GAP) - GAP


def grid_of(images: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 images of one shape, row by row, in about as many rows as columns."""
    height, width = images[0].shape[:2]
    size = grid_size(len(images), height, width)
    grid = np.full(size + images[0].shape[2:], 255, np.uint8)
    columns = (size[1] + GAP) // (width + GAP)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + GAP), (index % columns) * (width + GAP)
        grid[top : top + height, left : left + width] = image
    return grid


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [Generate]
