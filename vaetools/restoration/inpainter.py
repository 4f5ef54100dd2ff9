"""Inpainting: a model of the task `inpaint` at work on pictures of any size.

Graphs, all for sides that are multiples of a cell of 8 pixels, float32:

    inpaint         image (1, 3, H, W), mask (1, 1, H, W) -> filled (1, 3, H, W)
    inpaint_sample  image, mask, noise (1, N, H/8, W/8), temperature (1, 1, 1, 1)
                    -> sample (1, 3, H, W), deviation (1, 1, H, W)

Images are RGB; masks are 1 in the hole and 0 elsewhere; what the image shows in the hole is never seen.
The noise is standard normal; temperature 0 makes the sample the mean. The graphs see the hole's
surroundings up to a distance: the middle of larger holes is filled from a picture of half the size, and
that from one of half its size, until it is small enough.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import ImageValueError, InputError
from vaetools.restoration.holes import depth_of, hole_tiles
from vaetools.restoration.noise_field import NoiseField
from vaetools.restoration.patches import cropped, part_of
from vaetools.restoration.restored import Restored, sampled
from vaetools.tiling import ceil_div

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.image import Image
    from vaetools.model.folder import Model
    from vaetools.restoration.patches import Part
    from vaetools.tiling import Box

SAMPLE = "inpaint_sample"

MIDDLE = 0.75
"""Share of the model's reach beyond which a hole's middle is taken from the smaller picture."""


class Inpainter:
    """Fills holes of pictures.

    Args:
        model: of the task `inpaint`.

    Raises:
        ModelBrokenError: its manifest has no `[inpaint]`.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.spec = model.required("inpaint")

    def inpaint(
        self,
        image: Image,
        hole: np.ndarray,
        *,
        feather: float = 0.0,
        seeds: Sequence[int] = (),
        uncertainty: bool = False,
    ) -> Restored[Image]:
        """The picture with the hole filled. Depth, grey, alpha, ICC and EXIF stay.

        Args:
            image: any size.
            hole: (H, W) bool; where it is false, nothing changes.
            feather: over so many pixels from its rim inwards, what the hole showed fades into the fill.
            seeds: one sample is drawn for each.
            uncertainty: also say how sure the answer is, without feather.

        Raises:
            ImageValueError: a hole of another size or dtype; pixels that are not numbers.
            InputError: the hole is the whole picture.
            ModelBrokenError: the model has no samples, or gives values that are not finite.
        """
        _check(image, hole)
        depth = depth_of(hole)
        pictures, widths = self._filled(image, depth, seeds, uncertainty=uncertainty)
        if feather:
            share = np.minimum(depth / np.float32(feather + 1), 1.0)
            pictures = [_faded(image, picture, share) for picture in pictures]
        return Restored(pictures[0], tuple(pictures[1:]), widths)

    def _filled(
        self, image: Image, depth: np.ndarray, seeds: Sequence[int], *, uncertainty: bool
    ) -> tuple[list[Image], np.ndarray | None]:
        """(mean and samples, uncertainty) of a picture and the depth of its hole."""
        pictures = [image] * (1 + len(seeds))
        widths = np.zeros(depth.shape, np.float32) if uncertainty else None
        near = depth > 0
        if depth.max() > self.spec.deepest:
            small, hole = _halved(image, near)
            made, coarse = self._filled(small, depth_of(hole), seeds, uncertainty=uncertainty)
            far = depth > MIDDLE * self.spec.deepest
            pictures = [_put(image, _enlarged(picture, image), far) for picture in made]
            near &= ~far
            if widths is not None and coarse is not None:
                widths[far] = _resized(coarse, image.width, image.height)[far]
        return self._near(pictures, near, depth, seeds, widths), widths

    def _near(
        self,
        pictures: list[Image],
        hole: np.ndarray,
        depth: np.ndarray,
        seeds: Sequence[int],
        widths: np.ndarray | None,
    ) -> list[Image]:
        """The pictures with a hole filled of which all is near to something known."""
        fields = [NoiseField(seed, self.model.manifest.latent.channels) for seed in seeds]
        pixels = [picture.pixels.copy() for picture in pictures]
        seen = pictures[0]
        for tile in hole_tiles(hole, self.model.manifest):
            part = part_of(seen, tile, self.model.manifest.size.multiple_of)
            mask = part.of(hole)
            np.multiply(part.tensor, 1 - mask, out=part.tensor)
            answers = [self._mean(part, mask, depth, widths)]
            answers += [sampled(self.model, SAMPLE, part, mask, field)[0] for field in fields]
            for canvas, answer in zip(pixels, answers, strict=True):
                new = cropped(seen, part.core).with_rgb(part.inside(answer)).pixels
                there = hole[part.core]
                canvas[part.core][there] = new[there]
        return [
            replace(picture, pixels=found, encoded=None)
            for picture, found in zip(pictures, pixels, strict=True)
        ]

    def _mean(
        self, part: Part, mask: np.ndarray, depth: np.ndarray, widths: np.ndarray | None
    ) -> np.ndarray:
        """The mean of a part; `widths`, if wanted, are filled in for its hole."""
        if widths is None:
            (mean,) = self.model.graph("inpaint")(part.tensor, mask)
            return mean
        mean, deviation = sampled(self.model, SAMPLE, part, mask, None)
        there = part.inside(mask)[..., 0] > 0
        width = self._width(part.core, depth, part.inside(deviation)[..., 0])
        widths[part.core][there] = width[there]
        return mean

    def _width(self, core: Box, depth: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """Half of the 90 % interval in grey levels, (rows, columns) of a part's core."""
        at = np.log2(np.maximum(depth[core], 1))
        factor = np.interp(at, np.log2(self.spec.depths), self.spec.interval)
        width: np.ndarray = 255 * factor * deviation
        return width


def _check(image: Image, hole: np.ndarray) -> None:
    if hole.shape != (image.height, image.width) or hole.dtype != np.bool_:
        raise ImageValueError(
            f"a hole of shape {hole.shape} and type {hole.dtype} does not fit "
            f"{image.height} x {image.width} pixels",
            remedy="it is bool, one for each pixel",
        )
    if image.depth == 32 and not np.isfinite(image.pixels).all():
        raise ImageValueError("there are values that are not numbers (NaN)")
    if hole.all():
        raise InputError(
            "the mask covers the whole picture: nothing is known to fill it from",
            remedy="black and white may have changed places: see --mask-hole",
        )


def _halved(image: Image, hole: np.ndarray) -> tuple[Image, np.ndarray]:
    """A picture of half the size, and its hole: where nothing is known of 2 x 2 pixels."""
    import cv2

    width, height = ceil_div(image.width, 2), ceil_div(image.height, 2)
    even = ((0, 2 * height - image.height), (0, 2 * width - image.width))
    known = np.pad(~hole, even, mode="edge").astype(np.float32)
    rgb = np.pad(image.to_rgb(), (*even, (0, 0)), mode="edge") * known[..., None]
    weight = cv2.resize(known, (width, height), interpolation=cv2.INTER_AREA)
    total = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    mean = total / np.maximum(weight, np.float32(0.25))[..., None]
    empty = replace(image, pixels=image.pixels[::2, ::2], alpha=None)
    return empty.with_rgb(mean), weight == 0


def _enlarged(small: Image, like: Image) -> Image:
    """A small picture in the size of another one."""
    return replace(like, pixels=_resized(small.pixels, like.width, like.height))


def _resized(plane: np.ndarray, width: int, height: int) -> np.ndarray:
    """A plane of half the size, rounded up, in full size."""
    import cv2

    size = (2 * plane.shape[1], 2 * plane.shape[0])
    large = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(large[:height, :width])


def _put(image: Image, other: Image, where: np.ndarray) -> Image:
    """A picture with the pixels of another one at some places."""
    pixels = image.pixels.copy()
    pixels[where] = other.pixels[where]
    return replace(image, pixels=pixels)


def _faded(image: Image, filled: Image, share: np.ndarray) -> Image:
    """From a picture to the filled one by a share (H, W); where it is 0 or 1, to the last bit."""
    some = (share > 0) & (share < 1)
    before, after = (picture.pixels[some].astype(np.float32) for picture in (image, filled))
    part = share[some] if image.grey else share[some][:, None]
    mixed = before + part * (after - before)
    pixels = filled.pixels.copy()
    pixels[some] = mixed if image.depth == 32 else np.rint(mixed)
    return replace(filled, pixels=pixels)
