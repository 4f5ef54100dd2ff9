"""Fill a hole with patches of the same image: texture where the mean of a model is smooth.

The image is completed coarse to fine. At the coarsest size, where the hole is a few pixels deep, it is
filled ring by ring. Then, at each size, two steps alternate: each patch around the hole looks for the
most similar one among known pixels, and these say what is in the hole (Wexler et al. 2007,
doi:10.1109/TPAMI.2007.60). Patches are compared by colours and by strength of texture (Newson et al.
2017, doi:10.5201/ipol.2017.189). Two things keep a large hole from being filled with one uniform surface
from somewhere: low frequencies follow a coarse fill, the mean of a model; and sources nearby are
preferred, above all those at the same height, since a photograph shows ground below and sky above. At
last, seams between parts from different places are evened out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from vaetools.restoration.holes import half, halved
from vaetools.restoration.patch_match import Patches
from vaetools.restoration.patches import cropped, samples_of
from vaetools.restoration.seams import without_seams
from vaetools.tiling import grown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.image import Image
    from vaetools.restoration.patch_match import Floats, Places
    from vaetools.tiling import Box

SHALLOW = 4.0
"""Depth in pixels. Parts of a hole that are nowhere deeper keep the coarse fill: the mean of a model is
better there. At the coarsest size, no hole is deeper than this."""

SMALLEST = 24
"""Least side of the coarsest size, in pixels."""

LARGEST = 150_000
"""Most pixels of a hole for a search. At larger sizes, each pixel is copied from where the search found
its source at the size before."""

LEAST_AROUND, MOST_AROUND = 256, 1024
"""Limits of how far around a part of a hole patches are looked for, in pixels; between them, twice the
longer side of the part."""

STEPS = (10, 5, 3)
"""Searches and votes, from the coarsest size on; the last number for all that follow."""

STILL = 0.002
"""A mean change of values below which a size is done."""

TEXTURE = 4.0
"""Weight of the mean gradient against colours."""

COARSE = 0.3
"""Weight of the low frequencies."""

HEIGHT, ACROSS = 0.5, 0.25
"""Weights of a distance as long as the image, down and across."""


@dataclass(frozen=True)
class Size:
    """The image at one size.

    Attributes:
        colours: (H, W, 3) in [0, 1].
        hole: (H, W) bool.
        unusable: (H, W) bool: what is not copied, such as other holes.
    """

    colours: Floats
    hole: np.ndarray
    unusable: np.ndarray

    def halved(self) -> Size:
        colours, hole = halved(self.colours, self.hole)
        return Size(colours, hole, half(self.unusable.astype(np.float32)) > 0)


@dataclass(frozen=True)
class Hints:
    """What a search goes by beside colours.

    Attributes:
        texture: (H, W, 2): mean gradients across and down.
        coarse: (H, W, 3): low frequencies; known in the hole as well.
    """

    texture: Floats
    coarse: Floats

    def every(self, step: int) -> Hints:
        """Those of a smaller size."""
        return Hints(self.texture[::step, ::step], self.coarse[::step, ::step])

    def patches(self, size: Size) -> Patches:
        height, width = size.hole.shape
        down, across = np.mgrid[:height, :width] / max(height, width)
        place = np.stack([HEIGHT * down, ACROSS * across], axis=2).astype(np.float32)
        values = np.concatenate([size.colours, TEXTURE * self.texture], axis=2)
        fixed = np.concatenate([COARSE * self.coarse, place], axis=2)
        return Patches(values, fixed, size.hole, size.unusable)


def with_texture(image: Image, depth: np.ndarray) -> Image:
    """An image with texture in the deep parts of its hole.

    Args:
        image: with a coarse fill in the hole.
        depth: (H, W): distance of each pixel of the hole to known ones, in pixels; 0 outside.
    """
    new = replace(image, pixels=image.pixels.copy(), encoded=None)
    for box, part in _deep_parts(depth):
        filled = textured(cropped(new, box).to_rgb(), part, (depth[box] > 0) & ~part)
        where = part if image.grey else part[..., None]
        np.copyto(new.pixels[box], samples_of(image, box, filled), where=where)
    return new


def textured(
    coarse: Floats, hole: np.ndarray, unusable: np.ndarray | None = None, *, seed: int = 0
) -> Floats:
    """An image whose hole is filled with patches of its known pixels.

    Args:
        coarse: (H, W, 3) RGB in [0, 1], with a coarse fill in the hole.
        hole: (H, W) bool.
        unusable: (H, W) bool: other pixels that are not copied.
        seed: of the random search.

    Returns:
        (H, W, 3) in the range of `coarse`; known pixels are unchanged. Without patches of known pixels
        to copy: `coarse`.
    """
    if not hole.any():
        return coarse
    sizes = _sizes(coarse, hole, np.zeros_like(hole) if unusable is None else unusable)
    searched = _first_searched(sizes)
    hints = _hints(coarse, sizes, searched)
    rng = np.random.default_rng(seed)
    field: npt.NDArray[np.intp] | None = None
    filled = coarse
    for number in reversed(range(len(sizes))):
        size = sizes[number]
        if number < searched:
            patches = Patches(size.colours, size.colours[..., :0], size.hole, size.unusable)
        else:
            patches = hints.every(2 ** (number - searched)).patches(size)
        if not patches.sources.any():
            continue
        steps = 0
        if number >= searched:
            steps = STEPS[min(len(sizes) - 1 - number, len(STEPS) - 1)]
        found, distances = _synthesised(patches, field, rng, steps=steps)
        if number == 0:
            beside = patches.choose(found, distances)
            filled = without_seams(patches.filled, size.hole, beside)[..., :3]
        field = _over_all(found, patches.targets, size.hole.shape) if number else found
    if field is None:
        return coarse
    return np.where(hole[..., None], np.clip(filled, coarse.min(), coarse.max()), coarse)


def _deep_parts(depth: np.ndarray) -> Iterator[tuple[Box, np.ndarray]]:
    """Connected parts of a hole that are deep somewhere: (box around one, its pixels in the box)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((depth > 0).astype(np.uint8))
    for label in range(1, count):
        x, y, width, height = (int(number) for number in stats[label, :4])
        own = (slice(y, y + height), slice(x, x + width))
        if depth[own][labels[own] == label].max() > SHALLOW:
            around = int(np.clip(2 * max(width, height), LEAST_AROUND, MOST_AROUND))
            box = grown(own, around, *depth.shape)
            yield box, labels[box] == label


def _synthesised(
    patches: Patches, coarser: npt.NDArray[np.intp] | None, rng: np.random.Generator, *, steps: int
) -> tuple[Places, Floats | None]:
    """The field of one size, after so many searches and votes, and its distances.

    Args:
        coarser: the field of the size before, over the whole image; None for the first.
    """
    if coarser is not None:
        field = patches.snapped(_finer(coarser, patches.targets))
        if steps:
            patches.vote(field)
    else:
        patches.peel(rng)
        field = patches.snapped(patches.targets)
    distances = None
    for _ in range(steps):
        if patches.few:
            field, distances = patches.complete()
        else:
            field, distances = patches.improve(field, rng, rounds=1)
        if patches.vote(field, distances) < STILL:
            break
    return field, distances


def _sizes(coarse: Floats, hole: np.ndarray, unusable: np.ndarray) -> list[Size]:
    """The image at full size, at half of it and so on, until its hole is shallow."""
    depth = float(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5).max())
    halvings = int(np.ceil(np.log2(max(depth / SHALLOW, 1))))
    halvings = max(0, min(halvings, int(np.log2(max(min(hole.shape) / SMALLEST, 1)))))
    found = [Size(coarse, hole, unusable)]
    for _ in range(halvings):
        found.append(found[-1].halved())
    return found


def _first_searched(sizes: list[Size]) -> int:
    """Number of the largest size that is small enough for a search."""
    fitting = (n for n, size in enumerate(sizes) if size.hole.sum() <= LARGEST)
    return next(fitting, len(sizes) - 1)


def _hints(coarse: Floats, sizes: list[Size], searched: int) -> Hints:
    """Those of one of the sizes."""
    size = sizes[searched]
    for _ in range(searched):
        coarse = half(coarse)
    reach = 2 ** (len(sizes) - 1 - searched)
    low = np.asarray(cv2.GaussianBlur(coarse, (0, 0), float(reach)), np.float32)
    return Hints(_texture(size.colours, size.hole | size.unusable, max(reach, 4) + 1), low)


def _texture(colours: Floats, hole: np.ndarray, side: int) -> Floats:
    """(H, W, 2): the mean gradient, across and down, of the known pixels of a square."""
    known = (~hole).astype(np.float32)
    grey = colours.mean(axis=2)
    planes = []
    for axis in (1, 0):
        both = known * np.roll(known, -1, axis)
        steep = np.abs(np.roll(grey, -1, axis) - grey) * both
        planes.append(
            cv2.blur(steep, (side, side)) / np.maximum(cv2.blur(both, (side, side)), 1e-3)
        )
    return np.stack(planes, axis=2).astype(np.float32)


def _over_all(field: Places, targets: Places, shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """(H, W, 2): the source of each place; that of a place without a target is itself."""
    every = np.moveaxis(np.mgrid[: shape[0], : shape[1]], 0, 2).astype(np.intp)
    every[tuple(targets.T)] = field
    return every


def _finer(coarser: npt.NDArray[np.intp], targets: Places) -> Places:
    """Where a field of half the size finds the sources of targets."""
    return np.asarray(2 * coarser[tuple((targets // 2).T)] + targets % 2)
