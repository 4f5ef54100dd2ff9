"""Denoising: a model of the task `denoise` at work on images of any size.

The graphs of `vaetools.restoration.restorer`, with the role `denoise` and the noise level (`sigma`) as
condition, for sides that are multiples of a cell of 8 pixels, and one more:

    noise_level     image (1, 3, H, W) -> level (1, 1, H/8, W/8)

In the graphs, sigma and level are standard deviations of noise in images in [0, 1]. Outside the graphs
they are on the 0–255 scale, as in the literature.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from vaetools.errors import ImageValueError, ModelBrokenError, OptionError
from vaetools.restoration.clipped_noise import MAX_FACTOR, clipped_levels
from vaetools.restoration.patches import Canvas, for_each_part, takes_pixels
from vaetools.restoration.restored import Restored
from vaetools.restoration.restorer import Restorer
from vaetools.tiling import ceil_div

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.image import Image
    from vaetools.model.folder import Model
    from vaetools.model.spec import DenoiseSpec
    from vaetools.restoration.patches import Part

CLEAN = 1.25
"""An image whose smoothest cells show less noise than this (0–255 scale) counts as clean."""

SMOOTHEST = 10
"""Percentile over the cells' noise levels: noise is everywhere, texture is not."""

PHOTO_FACTOR, MIN_PHOTO_LEVEL = 1.5, 4.0
"""Factor between the noise level found in a camera's image and the one to denoise with, and the smallest
such level. Fitted to images of a camera on a tripod (Nam et al., CVPR 2016); see
`benchmarks/denoise.py`."""

EXPOSED = (0.03, 0.97)
"""Range of the mean brightness of a cell that is neither black nor white."""

UNCLIPPED, ENOUGH = 1.5, 0.02
"""Distance of a cell's brightness from black and white, in standard deviations of the noise, from which
clipping takes little of it; and the smallest share of such cells to go by."""

Sigma: TypeAlias = float | np.ndarray
"""A noise level on the 0–255 scale: one for all pixels, or a map (H, W)."""


class Denoiser(Restorer):
    """Removes noise from images.

    Args:
        model: of the task `denoise`.

    Raises:
        ModelBrokenError: its manifest has no `[denoise]`.
    """

    role = "denoise"
    condition = "map"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.spec: DenoiseSpec = model.required("denoise")

    @property
    def max_sigma(self) -> float:
        """Largest noise standard deviation that the model accepts, on the 0–255 scale."""
        return self.spec.strongest

    @property
    def strongest(self) -> float:
        """Deprecated: use `max_sigma`."""
        warnings.warn("Denoiser.strongest is deprecated: use max_sigma", DeprecationWarning, 2)
        return self.max_sigma

    def noise_level(self, image: Image) -> float:
        """Estimate the noise level of an image as one number, 0–255 scale; 0 if it is clean.

        It is the median over the cells whose noise is not clipped at black or white. Where there are
        none, as on a white page, it is computed from what clipping has left.
        """
        levels, bright = self._cells(image)
        level = _seen_level(levels, bright)
        if level:
            unclipped = _unclipped(levels, bright, level)
            level = np.median(unclipped) if unclipped.size else self._clipped_level(image, level)
        return min(float(level), self.max_sigma)

    def photo_level(self, image: Image) -> float:
        """The noise level to denoise a camera's image with: higher than `noise_level`, and never 0.

        Cameras and JPEG smooth noise. What remains is correlated between neighbouring pixels, looks
        weaker than it is, and is removed only at a higher level.
        """
        cells = float(np.median(self._cells(image)[0]))
        return min(max(PHOTO_FACTOR * cells, MIN_PHOTO_LEVEL), self.max_sigma)

    def noise_map(self, image: Image) -> np.ndarray:
        """Estimate the noise level of each pixel: a smooth map, (H, W) float32; all 0 if it is clean.

        For noise that varies over the image, as in camera images. For uniform noise one number is
        better, because a map also holds the errors of the estimate.
        """
        import cv2

        levels, bright = self._cells(image)
        if not _seen_level(levels, bright):
            return np.zeros((image.height, image.width), np.float32)
        steady = cv2.GaussianBlur(cv2.medianBlur(levels, 5), (0, 0), 2.0)
        cell = self.model.manifest.size.multiple_of
        height, width = (side * cell for side in levels.shape)
        smooth = cv2.resize(steady, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.clip(smooth[: image.height, : image.width], 0, self.max_sigma)

    def denoise(
        self,
        image: Image,
        sigma: Sigma,
        *,
        strength: float = 1.0,
        seeds: Sequence[int] = (),
        uncertainty: bool = False,
    ) -> Restored[Image]:
        """Remove noise. Depth, greyscale, alpha, ICC and EXIF are kept.

        Args:
            image: any size.
            sigma: its noise level; where it is 0, nothing changes.
            strength: 0 … 1; how much of the noise to remove.
            seeds: of the posterior samples, one each.
            uncertainty: also predict the uncertainty, at strength 1.

        Raises:
            OptionError: a noise level that the model does not accept, or NaN; a strength that is not
                0 … 1; a seed that is not 0 … 2⁶⁴ − 1.
            ImageValueError: a map of another size than the image; pixels that are not finite.
            ModelBrokenError: the model has no samples, or gives values that are not finite.
        """
        self._check(sigma, image)
        if not 0 <= strength <= 1:
            raise OptionError(f"strength {strength!r} is not 0 … 1")
        mean, *samples = canvases = [Canvas(image) for _ in range(1 + len(seeds))]
        fields = self._fields(seeds)
        widths = np.zeros((image.height, image.width), np.float32) if uncertainty else None
        pixels = takes_pixels(image) and strength == 1

        def restore(part: Part) -> None:
            local = self._sigma(sigma, part)
            before = part.inside(part.image)
            answers = [part.image] * len(canvases)
            if local.any():
                answers, deviation = self._predict(part, local, fields, spread=uncertainty)
                if widths is not None and deviation is not None:
                    widths[part.core] = self._width(part, local, deviation)
            for canvas, answer in zip(canvases, answers, strict=True):
                after = part.inside(answer)
                if strength != 1:
                    after = (1 - strength) * before + strength * after
                canvas.put(part.core, after)

        for_each_part(image, self.model, restore, pixels=pixels)
        return Restored(mean.image(), tuple(sample.image() for sample in samples), widths)

    def _width(self, part: Part, sigma: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """Half of the 90 % interval, 0–255 scale, (rows, columns) of the part's core."""
        factor = np.interp(255 * sigma, self.spec.levels, self.spec.interval)
        return part.inside(255 * factor * deviation)[..., 0]

    def _cells(self, image: Image) -> tuple[np.ndarray, np.ndarray]:
        """(noise level, 0–255 scale; mean brightness in [0, 1]) of all cells, (rows, columns) each."""
        cell = self.model.manifest.size.multiple_of
        shape = tuple(ceil_div(side, cell) for side in (image.height, image.width))
        levels, bright = np.empty(shape, np.float32), np.empty(shape, np.float32)
        pixels = takes_pixels(image)
        name = self.model.manifest.graphs["noise_level"].inputs[0]
        graph = self.model.graph("noise_level", pixels=(name,) if pixels else ())

        def measure(part: Part) -> None:
            inner = part.tile.inner
            (found,) = graph(part.image)
            mean = _cell_means(part)
            if found.shape[2:] != mean.shape:
                raise ModelBrokenError(
                    f"noise_level made shape {found.shape} of {part.image.shape}"
                )
            levels[part.tile.core] = 255 * found[(0, 0, *inner)]
            bright[part.tile.core] = mean[inner]

        for_each_part(image, self.model, measure, pixels=pixels)
        return levels, bright

    def _clipped_level(self, image: Image, seen: float) -> float:
        """The noise level of an image whose cells are all clipped, 0–255 scale.

        Args:
            image: the image.
            seen: level of the noise that clipping has left.
        """
        pixels = takes_pixels(image)
        dtype = image.pixels.dtype
        step = 1 / np.iinfo(dtype).max if dtype.kind == "u" else 0.0
        found: list[np.ndarray] = []

        def gather(part: Part) -> None:
            found.append(clipped_levels(part, step))

        for_each_part(image, self.model, gather, pixels=pixels)
        levels = np.concatenate(found)
        if not levels.size:
            return seen
        return min(255 * float(np.median(levels)), MAX_FACTOR * seen)

    def _sigma(self, sigma: Sigma, part: Part) -> np.ndarray:
        """The condition of a part, for images in [0, 1]: (1, 1, h, w); (1, 1, 1, 1) for one number."""
        if isinstance(sigma, np.ndarray):
            return part.of(sigma).astype(np.float32, copy=False) / np.float32(255)
        return np.full((1, 1, 1, 1), sigma / 255, np.float32)

    def _check(self, sigma: Sigma, image: Image) -> None:
        if image.depth == 32 and not np.isfinite(image.pixels).all():
            raise ImageValueError("the image has values that are not finite")
        if np.asarray(sigma).dtype.kind not in "buif":
            raise OptionError(f"a noise level is a number or a map of numbers, not {sigma!r:.40}")
        if isinstance(sigma, np.ndarray) and sigma.shape != (image.height, image.width):
            raise ImageValueError(
                f"a noise map of shape {sigma.shape} does not fit {image.height} x {image.width} pixels"
            )
        low, high = float(np.min(sigma)), float(np.max(sigma))
        most = max(self.max_sigma, float(np.float32(self.max_sigma)))  # maps are float32
        if not (low >= 0 and high <= most):  # true for NaN as well
            wrong = high if low >= 0 else low
            raise OptionError(
                f"noise level {wrong:g} is not 0 … {self.max_sigma:g}",
                remedy="it is the standard deviation of the noise on the 0–255 scale",
            )


def _seen_level(levels: np.ndarray, bright: np.ndarray) -> float:
    """The median level of the cells that are neither black nor white; 0 if the image is clean."""
    low, high = EXPOSED
    exposed = levels[(bright > low) & (bright < high)]
    seen = exposed if exposed.size else levels
    return 0.0 if np.percentile(seen, SMOOTHEST) < CLEAN else float(np.median(seen))


def _unclipped(levels: np.ndarray, bright: np.ndarray, level: float) -> np.ndarray:
    """The levels of cells that noise of this level takes neither to black nor to white, if any."""
    away = UNCLIPPED * level / 255
    unclipped = levels[(bright > away) & (bright < 1 - away)]
    return unclipped if unclipped.size >= ENOUGH * levels.size else unclipped[:0]


def _cell_means(part: Part) -> np.ndarray:
    """Mean brightness in [0, 1] of each cell of a part, (rows, columns) float32."""
    cell = part.cell
    rows, columns = (side // cell for side in part.sides)
    means: np.ndarray
    if part.image.dtype == np.uint8:
        lines = part.image.reshape(rows, cell, -1).sum(axis=1, dtype=np.uint32)
        total = lines.reshape(rows, columns, 3 * cell).sum(axis=2)
        means = (total / (255 * 3 * cell**2)).astype(np.float32)
    else:
        means = part.image.reshape(3, rows, cell, columns, cell).mean(axis=(0, 2, 4))
    return means
