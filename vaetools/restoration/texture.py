"""Fill a hole with patches of the same image: texture where the mean of a model is smooth.

The image is completed coarse to fine, on a pyramid. At the coarsest level, where the hole is a few
pixels deep if the image is large enough, it is filled ring by ring. Then, at each level, two steps
alternate: each patch around the hole looks for the most similar one among known pixels, and these say
what is in the hole (Wexler et al. 2007, doi:10.1109/TPAMI.2007.60). Patches are compared by colours and
by strength of texture (Newson et al. 2017, doi:10.5201/ipol.2017.189). Two things keep a large hole from
being filled with one uniform surface from somewhere: low frequencies follow the mean of a model; and
sources nearby are preferred, above all those at the same height, since a photograph shows ground below
and sky above. At last, seams between parts from different places are evened out.
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
"""Depth in pixels. Connected parts of a hole that are nowhere deeper keep the mean of the model, which
is better there. At the coarsest level, no hole is deeper than this, unless that level would be smaller
than `SMALLEST` or have no patch without a pixel of the hole."""

SMALLEST = 24
"""Least side of the coarsest level, in pixels."""

LARGEST = 150_000
"""Most pixels of a hole for a search. At larger levels, each pixel is copied from where the search found
its source at the level before."""

LEAST_AROUND, MOST_AROUND = 256, 1024
"""Limits of how far around a part of a hole patches are looked for, in pixels; between them, twice the
longer side of the part."""

ITERATIONS = (10, 5, 3)
"""Searches and votes, from the coarsest level on; the last number for all that follow."""

STILL = 0.002
"""A mean change of values below which a level is done."""

TEXTURE = 4.0
"""Weight of the mean gradient against colours."""

LOW = 0.3
"""Weight of the low frequencies."""

DOWN, ACROSS = 0.5, 0.25
"""Weights of a distance as long as the part of the image that is searched, down and across."""

SEED = 0
"""Of the random search."""


@dataclass(frozen=True)
class Level:
    """A level of the pyramid.

    Attributes:
        colours: (H, W, 3) in [0, 1].
        hole: (H, W) bool.
        unusable: (H, W) bool: what is not copied, such as other holes.
    """

    colours: Floats
    hole: np.ndarray
    unusable: np.ndarray

    def halved(self) -> Level:
        colours, hole = halved(self.colours, self.hole)
        return Level(colours, hole, half(self.unusable.astype(np.float32)) > 0)


@dataclass(frozen=True)
class Hints:
    """What a search goes by beside colours.

    Attributes:
        texture: (H, W, 2): mean gradients across and down.
        low: (H, W, 3): low frequencies; known in the hole as well.
    """

    texture: Floats
    low: Floats

    def every(self, stride: int) -> Hints:
        """Those of a smaller level."""
        return Hints(self.texture[::stride, ::stride], self.low[::stride, ::stride])

    def patches(self, level: Level) -> Patches:
        height, width = level.hole.shape
        down, across = np.mgrid[:height, :width] / max(height, width)
        place = np.stack([DOWN * down, ACROSS * across], axis=2).astype(np.float32)
        values = np.concatenate([level.colours, TEXTURE * self.texture], axis=2)
        fixed = np.concatenate([LOW * self.low, place], axis=2)
        return Patches(values, fixed, level.hole, level.unusable)


def with_texture(image: Image, depth: np.ndarray) -> Image:
    """An image with texture in those parts of its hole that are deep somewhere.

    Args:
        image: with the mean of a model in the hole.
        depth: (H, W): distance of each pixel of the hole to known ones, in pixels; 0 outside.
    """
    new = replace(image, pixels=image.pixels.copy(), encoded=None)
    for box, part in _deep_parts(depth):
        unusable = (depth[box] > 0) & ~part
        if image.alpha is not None:
            unusable |= image.alpha[box] == 0  # nobody has seen their colours
        filled = textured(cropped(new, box).to_rgb(), part, unusable)
        where = part if image.grey else part[..., None]
        np.copyto(new.pixels[box], samples_of(image, box, filled), where=where)
    return new


def textured(mean: Floats, hole: np.ndarray, unusable: np.ndarray | None = None) -> Floats:
    """An image whose hole is filled with patches of its known pixels.

    Args:
        mean: (H, W, 3) RGB in [0, 1], with the mean of a model in the hole.
        hole: (H, W) bool.
        unusable: (H, W) bool: other pixels that are not copied.

    Returns:
        (H, W, 3) in the range of `mean`; known pixels are unchanged. Without patches of known pixels
        to copy, or where a search for them would take too long: `mean`.
    """
    if not hole.any():
        return mean
    levels = _pyramid(mean, hole, np.zeros_like(hole) if unusable is None else unusable)
    searched = _first_searched(levels)
    hints = _hints(mean, levels, searched)
    rng = np.random.default_rng(SEED)
    field: npt.NDArray[np.intp] | None = None
    for number in reversed(range(len(levels))):
        level, iterations = levels[number], 0
        if number < searched:
            patches = Patches(level.colours, level.colours[..., :0], level.hole, level.unusable)
        else:
            patches = hints.every(2 ** (number - searched)).patches(level)
            iterations = ITERATIONS[min(len(levels) - 1 - number, len(ITERATIONS) - 1)]
        if field is None and not (iterations and patches.sources.any()):
            continue
        found = patches.targets if field is None else _finer(field, patches.targets)
        if patches.sources.any():
            if field is None:
                patches.peel(rng)
            found = patches.snapped(found)
            if field is not None and iterations:
                patches.vote(found)
            found, distances = _searched(patches, found, rng, iterations)
            if number == 0:
                return _composed(patches, found, distances, mean)
        field = _over_all(found, patches.targets, level.hole.shape)
    return mean


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


def _searched(
    patches: Patches, field: Places, rng: np.random.Generator, iterations: int
) -> tuple[Places, Floats | None]:
    """The field of one level after so many searches and votes, and its distances."""
    distances = None
    for _ in range(iterations):
        if patches.few:
            field, distances = patches.complete()
        else:
            field, distances = patches.improve(field, rng, rounds=1)
        if patches.vote(field, distances) < STILL:
            break
    return field, distances


def _composed(patches: Patches, field: Places, distances: Floats | None, mean: Floats) -> Floats:
    """The image with what the field names in the hole, without seams."""
    gradients = patches.choose(field, distances)
    colours = slice(0, 3)  # the strength of texture, which follows them, has no seams to be seen
    filled = without_seams(
        patches.filled[..., colours], patches.hole, tuple(each[:, colours] for each in gradients)
    )
    return np.where(patches.hole[..., None], np.clip(filled, mean.min(), mean.max()), mean)


def _pyramid(mean: Floats, hole: np.ndarray, unusable: np.ndarray) -> list[Level]:
    """The image at full size, at half of it and so on, until its hole is shallow."""
    depth = float(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5).max())
    halvings = int(np.ceil(np.log2(max(depth / SHALLOW, 1))))
    halvings = max(0, min(halvings, int(np.log2(max(min(hole.shape) / SMALLEST, 1)))))
    found = [Level(mean, hole, unusable)]
    for _ in range(halvings):
        found.append(found[-1].halved())
    return found


def _first_searched(levels: list[Level]) -> int:
    """Number of the largest level that is small enough for a search."""
    fitting = (n for n, level in enumerate(levels) if level.hole.sum() <= LARGEST)
    return next(fitting, len(levels) - 1)


def _hints(mean: Floats, levels: list[Level], searched: int) -> Hints:
    """Those of one of the levels."""
    level = levels[searched]
    for _ in range(searched):
        mean = half(mean)
    reach = 2 ** (len(levels) - 1 - searched)
    low = np.asarray(cv2.GaussianBlur(mean, (0, 0), float(reach)), np.float32)
    return Hints(_texture(level.colours, level.hole | level.unusable, max(reach, 4) + 1), low)


def _texture(colours: Floats, hole: np.ndarray, side: int) -> Floats:
    """(H, W, 2): the mean gradient, across and down, of the known pixels of a square."""
    known = (~hole).astype(np.float32)
    grey = colours.mean(axis=2)
    planes = []
    for axis in (1, 0):
        last = ((0, int(axis == 0)), (0, int(axis == 1)))  # it has no next one
        steep = np.pad(np.abs(np.diff(grey, axis=axis)), last)
        both = known * np.pad(np.delete(known, 0, axis), last)
        sums = [cv2.blur(plane, (side, side)) for plane in (steep * both, both)]
        planes.append(sums[0] / np.maximum(sums[1], 1e-3))
    return np.stack(planes, axis=2).astype(np.float32)


def _over_all(field: Places, targets: Places, shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """(H, W, 2): the source of each place; that of a place without a target is itself."""
    every = np.moveaxis(np.mgrid[: shape[0], : shape[1]], 0, 2).astype(np.intp)
    every[tuple(targets.T)] = field
    return every


def _finer(coarser: npt.NDArray[np.intp], targets: Places) -> Places:
    """Where a field of half the size finds the sources of targets."""
    return np.asarray(2 * coarser[tuple((targets // 2).T)] + targets % 2)
