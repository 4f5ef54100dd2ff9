"""Denoising: a model of the task `denoise` at work on pictures of any size.

Graphs, all for sides that are multiples of a cell of 8 pixels, float32:

    denoise         image (1, 3, H, W), sigma (1, 1, H, W) -> mean (1, 3, H, W)
    noise_level     image -> level (1, 1, H/8, W/8)
    denoise_sample  image, sigma, noise (1, N, H/8, W/8), temperature (1, 1, 1, 1)
                    -> sample (1, 3, H, W), deviation (1, 1, H, W)

Images are RGB; sigma, level and deviation are standard deviations on the same scale, where white is
1. The noise is standard normal; temperature 0 makes the sample the mean. Outside the graphs noise
levels are in grey levels of 255, as in the literature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from vaetools.errors import ImageValueError, ModelBrokenError, OptionError
from vaetools.restoration.noise_field import NoiseField
from vaetools.restoration.patches import Canvas, parts
from vaetools.restoration.restored import Restored, sampled
from vaetools.tiling import ceil_div

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.image import Image
    from vaetools.model.folder import Model
    from vaetools.restoration.patches import Part

SAMPLE = "denoise_sample"

CLEAN = 2.0
"""A picture whose smoothest cells show fewer grey levels of noise counts as clean."""

SMOOTHEST, SMOOTH = 10, 25
"""Percentiles of the cells' levels: noise is everywhere, texture is not."""

WEAK, STRONG = 10.0, 20.0
"""Below the one, texture may pass for noise, and smooth cells are asked; above the other it cannot."""

PHOTO_FACTOR, PHOTO_LEAST = 2.5, 4.0
"""How much stronger the noise of a camera's picture is taken to be than it is found, and the least that
it is taken for. Found with pictures of a camera on a tripod (Nam et al., CVPR 2016); see
`benchmarks/denoise.py`."""

EXPOSED = (0.03, 0.97)
"""Mean brightness of a cell whose noise is not cut off at black or white."""

Sigma: TypeAlias = float | np.ndarray
"""A noise level in grey levels of 255: one for all, or a map (H, W)."""


class Denoiser:
    """Takes the noise off pictures.

    Args:
        model: of the task `denoise`.

    Raises:
        ModelBrokenError: its manifest has no `[denoise]`.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.spec = model.required("denoise")

    @property
    def strongest(self) -> float:
        """The largest noise level that the model knows."""
        return self.spec.strongest

    def noise_level(self, image: Image) -> float:
        """The noise of a picture as one number; 0 where it is clean.

        Strong noise is the median over the cells. Weak noise is what smooth cells show, for texture may
        look like it.

        Cells that are nearly black or white say little, for their noise is cut off; they count only
        where there are no others.
        """
        return self._level(*self._cells(image))

    def photo_level(self, image: Image) -> float:
        """The level that takes the noise of a camera off a picture: more than `noise_level` finds.

        A camera smooths noise, and JPEG does. What is left is alike in neighbouring pixels, looks like
        less than it is, and gives way only if more is told. Never 0: who asks has seen noise.
        """
        cells = float(np.median(self._cells(image)[0]))
        return min(max(PHOTO_FACTOR * cells, PHOTO_LEAST), self.strongest)

    def noise_map(self, image: Image) -> np.ndarray:
        """The noise of a picture as a smooth map, (H, W) float32; 0 everywhere where it is clean.

        For noise that differs from place to place, as that of cameras. Where it does not, one number
        is better: a map also holds the errors of the estimate.
        """
        import cv2

        levels, bright = self._cells(image)
        if not self._level(levels, bright):
            return np.zeros((image.height, image.width), np.float32)
        steady = cv2.GaussianBlur(cv2.medianBlur(levels, 5), (0, 0), 2.0)
        cell = self.model.manifest.size.multiple_of
        height, width = (side * cell for side in levels.shape)
        smooth = cv2.resize(steady, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.clip(smooth[: image.height, : image.width], 0, self.strongest)

    def denoise(
        self,
        image: Image,
        sigma: Sigma,
        *,
        strength: float = 1.0,
        seeds: Sequence[int] = (),
        uncertainty: bool = False,
    ) -> Restored[Image]:
        """The picture without noise. Depth, grey, alpha, ICC and EXIF stay.

        Args:
            image: any size.
            sigma: its noise level; where it is 0, nothing changes.
            strength: 1 for all that the model would do, 0 for nothing.
            seeds: one sample is drawn for each.
            uncertainty: also say how sure the answer is, at strength 1.

        Raises:
            OptionError: a noise level that the model does not know, or NaN.
            ImageValueError: a map of another size than the picture.
            ModelBrokenError: the model has no samples, or gives values that are not finite.
        """
        self._check(sigma, image)
        mean, *samples = canvases = [Canvas(image) for _ in range(1 + len(seeds))]
        fields = [NoiseField(seed, self.model.manifest.latent.channels) for seed in seeds]
        widths = np.zeros((image.height, image.width), np.float32) if uncertainty else None
        for part in parts(image, self.model.manifest):
            local = self._sigma(sigma, part)
            before = part.inside(part.tensor)
            answers = [part.tensor] * len(canvases)
            if local.any():
                answers[0] = self._mean(part, local, widths)
                answers[1:] = [
                    sampled(self.model, SAMPLE, part, local, field)[0] for field in fields
                ]
            for canvas, answer in zip(canvases, answers, strict=True):
                after = part.inside(answer)
                canvas.put(part.core, (1 - strength) * before + strength * after)
        return Restored(mean.image(), tuple(sample.image() for sample in samples), widths)

    def _mean(self, part: Part, sigma: np.ndarray, widths: np.ndarray | None) -> np.ndarray:
        """The mean of a part; `widths`, if wanted, are filled in for it."""
        if widths is None:
            (mean,) = self.model.graph("denoise")(part.tensor, sigma)
            return mean
        mean, deviation = sampled(self.model, SAMPLE, part, sigma, None)
        widths[part.core] = self._width(part, sigma, deviation)
        return mean

    def _width(self, part: Part, sigma: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """Half of the 90 % interval in grey levels, (rows, columns) of the part's core."""
        factor = np.interp(255 * sigma, self.spec.levels, self.spec.interval)
        width: np.ndarray = part.inside(255 * factor * deviation)[..., 0]
        return width

    def _cells(self, image: Image) -> tuple[np.ndarray, np.ndarray]:
        """(noise level in grey levels, mean brightness in [0, 1]) of all cells, (rows, columns) each."""
        cell = self.model.manifest.size.multiple_of
        shape = tuple(ceil_div(side, cell) for side in (image.height, image.width))
        levels, bright = np.empty(shape, np.float32), np.empty(shape, np.float32)
        for part in parts(image, self.model.manifest):
            inner, outer = part.tile.inner, part.tensor.shape[2:]
            (found,) = self.model.graph("noise_level")(part.tensor)
            cells = part.tensor.reshape(3, outer[0] // cell, cell, outer[1] // cell, cell)
            if found.shape[2:] != cells.shape[1::2]:
                raise ModelBrokenError(
                    f"noise_level made shape {found.shape} of {part.tensor.shape}"
                )
            levels[part.tile.core] = 255 * found[(0, 0, *inner)]
            bright[part.tile.core] = cells.mean(axis=(0, 2, 4))[inner]
        return levels, bright

    def _level(self, levels: np.ndarray, bright: np.ndarray) -> float:
        """One number of what `_cells` tells, as the model is told it."""
        low, high = EXPOSED
        exposed = levels[(bright > low) & (bright < high)]
        seen = exposed if exposed.size else levels
        smoothest, smooth, middle = np.percentile(seen, (SMOOTHEST, SMOOTH, 50))
        if smoothest < CLEAN:
            return 0.0
        level = np.interp(middle, (WEAK, STRONG), (smooth, middle))
        return min(float(level), self.strongest)

    def _sigma(self, sigma: Sigma, part: Part) -> np.ndarray:
        """What the graphs are told of a part: (1, 1, h, w), where white is 1."""
        if isinstance(sigma, np.ndarray):
            return part.of(sigma) / np.float32(255)
        return np.full((1, 1, *part.tensor.shape[2:]), sigma / 255, np.float32)

    def _check(self, sigma: Sigma, image: Image) -> None:
        if isinstance(sigma, np.ndarray) and sigma.shape != (image.height, image.width):
            raise ImageValueError(
                f"a noise map of shape {sigma.shape} does not fit {image.height} x {image.width} pixels"
            )
        low, high = float(np.min(sigma)), float(np.max(sigma))
        if not (low >= 0 and high <= self.strongest):  # true for NaN as well
            wrong = high if low >= 0 else low
            raise OptionError(
                f"noise level {wrong:g} is not 0 … {self.strongest:g}",
                remedy="it is the deviation of the noise in grey levels of 255",
            )
