"""Inpainting: a model of the task `inpaint` at work on images of any size.

The graphs of `vaetools.restoration.restorer`, with the role `inpaint` and a mask as condition (1 in the
hole, 0 elsewhere), for sides that are multiples of a cell of 8 pixels. The content of the hole is never
seen. The graphs see a limited distance: the middle of a larger hole is filled from the image at half the
size, and that from one at a quarter, until the hole is small enough.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import ImageValueError, InputError, OptionError
from vaetools.restoration.holes import depth_of, for_each_hole, halved
from vaetools.restoration.patches import part_of, samples_of, takes_pixels
from vaetools.restoration.restored import Restored
from vaetools.restoration.restorer import Restorer
from vaetools.restoration.texture import with_texture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.image import Image
    from vaetools.model.folder import Model
    from vaetools.model.spec import InpaintSpec
    from vaetools.restoration.patches import Part
    from vaetools.tiling import Box, Tile

MIDDLE = 0.75
"""Share of the model's largest depth beyond which a hole is filled from the smaller image."""


class Inpainter(Restorer):
    """Fills holes in images.

    Args:
        model: of the task `inpaint`.

    Raises:
        ModelBrokenError: its manifest has no `[inpaint]`.
    """

    role = "inpaint"
    condition = "mask"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.spec: InpaintSpec = model.required("inpaint")

    def inpaint(
        self,
        image: Image,
        hole: np.ndarray,
        *,
        feather: float = 0.0,
        seeds: Sequence[int] = (),
        uncertainty: bool = False,
        texture: bool = False,
    ) -> Restored[Image]:
        """Fill a hole. Depth, greyscale, alpha, ICC and EXIF are kept.

        Args:
            image: any size.
            hole: (H, W) bool; where it is false, nothing changes.
            feather: width in pixels, from the rim inwards, of the blend from the content of the hole to
                the fill.
            seeds: of the posterior samples, one each.
            uncertainty: also predict the uncertainty, without feather. It is calibrated up to 16 pixels
                from known ones; further inside it is too small.
            texture: fill connected parts of the hole that are deep somewhere with patches of the image
                in place of the mean; see `vaetools.restoration.texture`. Samples and uncertainty are
                those of the mean.

        Raises:
            ImageValueError: a hole of another size or dtype; pixels that are not finite.
            OptionError: a feather that is negative or not finite; a seed that is not 0 … 2⁶⁴ − 1.
            InputError: the hole is the whole image.
            ModelBrokenError: the model has no samples, or gives values that are not finite.
        """
        _check(image, hole)
        if not 0 <= feather < np.inf:
            raise OptionError(f"feather {feather!r} is not a number of at least 0")
        depth = depth_of(hole)
        images, widths = self._filled(image, depth, seeds, uncertainty=uncertainty)
        if texture:
            images[0] = with_texture(images[0], depth)
        if feather:
            share = np.minimum(depth / np.float32(feather + 1), 1.0)
            images = [_faded(image, filled, share) for filled in images]
        return Restored(images[0], tuple(images[1:]), widths)

    def _filled(
        self, image: Image, depth: np.ndarray, seeds: Sequence[int], *, uncertainty: bool
    ) -> tuple[list[Image], np.ndarray | None]:
        """(mean and samples, uncertainty) for an image and the depth of its hole."""
        images = [image] * (1 + len(seeds))
        widths = np.zeros(depth.shape, np.float32) if uncertainty else None
        near = depth > 0
        if depth.max() > self.spec.deepest:
            small, hole = _halved(image, near)
            made, coarse = self._filled(small, depth_of(hole), seeds, uncertainty=uncertainty)
            far = depth > MIDDLE * self.spec.deepest
            images = [_put(image, _enlarged(coarser, image), far) for coarser in made]
            near &= ~far
            if widths is not None and coarse is not None:
                widths[depth > 0] = _resized(coarse, image.width, image.height)[depth > 0]
        return self._near(images, near, depth, seeds, widths), widths

    def _near(
        self,
        images: list[Image],
        hole: np.ndarray,
        depth: np.ndarray,
        seeds: Sequence[int],
        widths: np.ndarray | None,
    ) -> list[Image]:
        """The images with a hole filled whose pixels are all close enough to known ones."""
        fields = self._fields(seeds)
        pixels = [image.pixels.copy() for image in images]
        seen = images[0]

        def fill(tile: Tile) -> None:
            part, mask = self._part(seen, hole, tile)
            there = hole[part.core]
            answers, deviation = self._predict(part, mask, (), spread=widths is not None)
            # Each sample has a middle of its own.
            for image, field in zip(images[1:], fields, strict=True):
                answers.append(self._sample(self._part(image, hole, tile)[0], mask, field)[0])
            if widths is not None and deviation is not None:
                spread = part.inside(deviation)[..., 0]
                # What was filled before, further inside, is not known: at least as wide as there.
                width = np.maximum(self._width(part.core, depth, spread), widths[part.core])
                np.copyto(widths[part.core], width, where=there)
            where = there if seen.grey else there[..., None]
            for canvas, answer in zip(pixels, answers, strict=True):
                new = samples_of(seen, part.core, part.inside(answer))
                np.copyto(canvas[part.core], new, where=where)

        for_each_hole(hole, self.model, fill)
        return [
            replace(image, pixels=found, encoded=None)
            for image, found in zip(images, pixels, strict=True)
        ]

    def _part(self, image: Image, hole: np.ndarray, tile: Tile) -> tuple[Part, np.ndarray]:
        """A part of an image without the content of its hole, and the mask (1, 1, h, w) uint8."""
        pixels = takes_pixels(image)
        part = part_of(image, tile, self.model.manifest.size.multiple_of, pixels=pixels)
        mask = part.of(hole).view(np.uint8)
        seen = 1 - mask
        if pixels:
            return replace(part, image=part.image * seen[:, 0, :, :, None]), mask
        return replace(part, image=part.image * seen), mask

    def _width(self, core: Box, depth: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """Half of the 90 % interval, 0–255 scale, (rows, columns) of a part's core."""
        at = np.log2(np.maximum(depth[core], 1))
        factor = np.interp(at, np.log2(self.spec.depths), self.spec.interval)
        width: np.ndarray = 255 * factor * deviation
        return width


def _check(image: Image, hole: np.ndarray) -> None:
    if hole.shape != (image.height, image.width) or hole.dtype != np.bool_:
        raise ImageValueError(
            f"a hole of shape {hole.shape} and type {hole.dtype} does not fit "
            f"{image.height} x {image.width} pixels",
            remedy="pass a bool array with one value per pixel",
        )
    if image.depth == 32 and not np.isfinite(image.pixels).all():
        raise ImageValueError("the image has values that are not finite")
    if hole.all():
        raise InputError(
            "the mask covers the whole image: there are no known pixels to fill it from",
            remedy="if black and white are swapped, see --mask-hole",
        )


def _halved(image: Image, hole: np.ndarray) -> tuple[Image, np.ndarray]:
    """The image at half the size, and its hole: where none of 2 x 2 pixels is known."""
    mean, empty = halved(image.to_rgb(), hole)
    small = replace(image, pixels=image.pixels[::2, ::2], alpha=None)
    return small.with_rgb(mean), empty


def _enlarged(small: Image, like: Image) -> Image:
    """A small image at the size of another one."""
    return replace(like, pixels=_resized(small.pixels, like.width, like.height))


def _resized(plane: np.ndarray, width: int, height: int) -> np.ndarray:
    """A plane of half the size, rounded up, at full size."""
    import cv2

    size = (2 * plane.shape[1], 2 * plane.shape[0])
    large = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(large[:height, :width])


def _put(image: Image, other: Image, where: np.ndarray) -> Image:
    """An image with the pixels of another one where `where` is true."""
    pixels = image.pixels.copy()
    pixels[where] = other.pixels[where]
    return replace(image, pixels=pixels)


def _faded(image: Image, filled: Image, share: np.ndarray) -> Image:
    """Blend two images by a share (H, W) in [0, 1]; where it is 0 or 1, bit-exact."""
    some = (share > 0) & (share < 1)
    before, after = (one.pixels[some].astype(np.float32) for one in (image, filled))
    part = share[some] if image.grey else share[some][:, None]
    mixed = before + part * (after - before)
    pixels = filled.pixels.copy()
    pixels[some] = mixed if image.depth == 32 else np.rint(mixed)
    return replace(filled, pixels=pixels)
