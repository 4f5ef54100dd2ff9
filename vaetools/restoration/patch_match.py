"""Nearest patches: what the surroundings of a hole resemble, among the known pixels of an image.

A patch is a square of 7 × 7 pixels. A *target* is a patch that touches the hole, a *source* one of known
pixels only. A *field* names a source for each target: small fields are searched completely, large ones
by PatchMatch (Barnes et al. 2009, doi:10.1145/1531326.1531330), where a target tries the sources of its
neighbours and random ones. `vote` fills the hole with what the sources say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

RADIUS = 3
SIDE = 2 * RADIUS + 1

MOST_SOURCES = 20_000
MOST_PAIRS = 40_000_000
"""Limits of a complete search: sources, and pairs of a target and a source."""

CHUNK = 4096
"""Patches at a time: a few megabytes."""

FADING = 1.3
FAINTEST = 50.0
"""With each pixel away from known ones, up to so many, the vote of a patch shrinks by this factor."""

NEIGHBOURS = tuple(
    (step * down, step * right)
    for step in (1, RADIUS)
    for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0))
)

Floats: TypeAlias = npt.NDArray[np.float32]
Places: TypeAlias = npt.NDArray[np.intp]
"""(N, 2): row and column of each."""

Gradients: TypeAlias = tuple[Floats, ...]
"""(N, C) each, for N pixels: the differences to the pixels on the right, left, below and above."""


class Patches:
    """The patches of an image with a hole.

    Args:
        values: (H, W, C) float32; what patches are compared by, and what is copied.
        fixed: (H, W, F) float32; what patches are compared by at their centre, known in the hole as
            well. It counts as much as if each pixel of a patch had it.
        hole: (H, W) bool.
        unusable: (H, W) bool: pixels that are not copied, such as those of other holes.

    Attributes:
        targets: centres of the patches that touch the hole, (N, 2).
        sources: (H, W) bool: centres of the patches inside the image without a pixel of the hole, or
            one that is not usable.
    """

    def __init__(
        self, values: Floats, fixed: Floats, hole: np.ndarray, unusable: np.ndarray
    ) -> None:
        self.hole = hole
        self.fixed = fixed.reshape(hole.size, -1) * np.float32(SIDE)
        self.values = _mirrored(values)
        self._hole = _mirrored(hole)
        near = _around(hole)
        self.targets: Places = np.argwhere(near)
        self.sources = np.zeros_like(hole)
        inside = (slice(RADIUS, -RADIUS),) * 2
        self.sources[inside] = ~(near | _around(unusable))[inside]
        self._number = np.full(hole.shape, -1, np.int32)
        self._number[near] = np.arange(len(self.targets))
        depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)
        self._confidence = (FADING ** -np.minimum(depth[near], FAINTEST)).astype(np.float32)
        width = self._hole.shape[1]
        self._square = (np.arange(SIDE)[:, None] * width + np.arange(SIDE)).ravel()

    @property
    def filled(self) -> Floats:
        """(H, W, C): the values, with those of the last vote in the hole."""
        return self.values[RADIUS:-RADIUS, RADIUS:-RADIUS]

    @property
    def few(self) -> bool:
        """Whether a complete search is affordable."""
        sources = int(self.sources.sum())
        return sources <= MOST_SOURCES and sources * len(self.targets) <= MOST_PAIRS

    def peel(self, rng: np.random.Generator) -> None:
        """Fill the hole for the first time: ring by ring from outside, each pixel with the centre of
        the source that is nearest to what is known around it. Of many sources, it takes a sample."""
        sources = np.argwhere(self.sources)
        if len(sources) > MOST_SOURCES:
            sources = sources[rng.choice(len(sources), MOST_SOURCES, replace=False)]
        known = self.patches(sources)
        squares = (known * known).T.copy()
        left = self.hole.copy()
        while left.any():
            inner = cv2.erode(left.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
            ring = np.argwhere(left & ~inner)
            unknown = _mirrored(left).ravel()[self._corners(ring)[:, None] + self._square]
            for part in _parts(len(ring), CHUNK // 8):
                weight = self._weights(unknown[part])
                patch = self.patches(ring[part]) * weight
                best = (weight @ squares - 2 * (patch @ known.T)).argmin(1)
                self._put(ring[part], self.filled[tuple(sources[best].T)])
            left = inner & left

    def complete(self) -> tuple[Places, Floats]:
        """The nearest source of each target, and the squared distance to it, by complete search."""
        sources = np.argwhere(self.sources)
        known = self.patches(sources)
        lengths = np.einsum("ij,ij->i", known, known)
        field = np.concatenate(
            [
                (lengths - 2 * (self.patches(self.targets[part]) @ known.T)).argmin(1)
                for part in _parts(len(self.targets), CHUNK // 8)
            ]
        )
        return sources[field], self.distances(sources[field])

    def improve(
        self, field: Places, rng: np.random.Generator, *, rounds: int
    ) -> tuple[Places, Floats]:
        """A better field, and its squared distances: tries neighbours' sources and random ones."""
        field = field.copy()
        distances = self.distances(field)
        everyone = np.arange(len(field))
        largest = max(self.hole.shape) // 2
        for _ in range(rounds):
            for step in NEIGHBOURS:
                self._try(*self._of_neighbours(field, step), field, distances)
            reach = largest
            while reach >= 1:
                near = field + rng.integers(-reach, reach + 1, field.shape)
                self._try(everyone, near, field, distances)
                reach //= 4
        return field, distances

    def vote(self, field: Places, distances: Floats | None = None) -> float:
        """Fill the hole with the mean of what the sources of all patches around a pixel say.

        Args:
            field: a source for each target.
            distances: (N,) squared; nearer sources have a larger vote. None: all have the same.

        Returns:
            Mean change of the values.
        """
        weight = self._confidence
        if distances is not None:
            scale = max(float(np.percentile(distances, 75)), 1e-6)
            weight = weight * np.exp(-distances / (2 * scale)) + np.float32(1e-12)
        total = np.zeros((self._hole.size, self.values.shape[2]), np.float32)
        weights = np.zeros((self._hole.size, 1), np.float32)
        flat, onto, of = self._flat(), self._corners(self.targets), self._corners(field)
        for offset in self._square:
            total[onto + offset] += weight[:, None] * flat[of + offset]
            weights[onto + offset] += weight[:, None]
        return self._fill(total[self._hole.ravel()] / weights[self._hole.ravel()])

    def choose(self, field: Places, distances: Floats | None) -> Gradients:
        """Fill each pixel of the hole from the nearest source around it: sharp, unlike `vote`.

        Args:
            field: a source for each target.
            distances: (N,) squared. None: each pixel is the centre of the source of its own patch.

        Returns:
            The gradients of the pixels of the hole where they were copied from.
        """
        origin = np.arange(self._hole.size)
        onto, of = self._corners(self.targets), self._corners(field)
        if distances is None:
            centre = self._square[len(self._square) // 2]
            origin[onto + centre] = of + centre
        else:
            nearest = np.full(self._hole.size, np.inf, np.float32)
            for offset in self._square:
                closer = distances < nearest[onto + offset]
                at = (onto + offset)[closer]
                nearest[at] = distances[closer]
                origin[at] = (of + offset)[closer]
        flat = self._flat()
        inside = origin.reshape(self._hole.shape)[RADIUS:-RADIUS, RADIUS:-RADIUS][self.hole]
        beside = (1, -1, self._hole.shape[1], -self._hole.shape[1])
        gradients = tuple(flat[inside + to] - flat[inside] for to in beside)
        self._fill(flat[origin[self._hole.ravel()]])
        return gradients

    def snapped(self, places: Places) -> Places:
        """Sources at places, or nearest to them."""
        height, width = self.hole.shape
        places = np.clip(places, 0, (height - 1, width - 1))
        _, labels = cv2.distanceTransformWithLabels(
            (~self.sources).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        sources = np.zeros((int(labels.max()) + 1, 2), np.intp)
        sources[labels[self.sources]] = np.argwhere(self.sources)
        return np.asarray(sources[labels[tuple(places.T)]])

    def patches(self, centres: Places) -> Floats:
        """(N, 49 · C + F): values of each patch and what is fixed at its centre."""
        values = self._flat()[self._corners(centres)[:, None] + self._square]
        fixed = self.fixed[centres[:, 0] * self.hole.shape[1] + centres[:, 1]]
        return np.concatenate([values.reshape(len(centres), -1), fixed], axis=1)

    def distances(self, field: Places, of: npt.NDArray[np.intp] | None = None) -> Floats:
        """Squared distances between targets, all or those of these numbers, and sources."""
        targets = self.targets if of is None else self.targets[of]
        found = np.empty(len(targets), np.float32)
        for part in _parts(len(targets)):
            difference = self.patches(targets[part]) - self.patches(field[part])
            found[part] = np.einsum("ij,ij->i", difference, difference)
        return found

    def _of_neighbours(self, field: Places, step: tuple[int, int]) -> tuple[Places, Places]:
        """(numbers of the targets that have a neighbour in this direction, what it proposes)."""
        beside = self.targets + step
        inside = ((beside >= 0) & (beside < self.hole.shape)).all(1)
        numbers = np.full(len(beside), -1)
        numbers[inside] = self._number[tuple(beside[inside].T)]
        who = np.flatnonzero(numbers >= 0)
        return who, field[numbers[who]] - step

    def _try(
        self, who: npt.NDArray[np.intp], proposed: Places, field: Places, distances: Floats
    ) -> None:
        """Take what is proposed for these targets where it is nearer."""
        inside = ((proposed >= 0) & (proposed < self.hole.shape)).all(1)
        who, proposed = who[inside], proposed[inside]
        usable = self.sources[tuple(proposed.T)] & (proposed != field[who]).any(1)
        who, proposed = who[usable], proposed[usable]
        found = self.distances(proposed, who)
        nearer = found < distances[who]
        field[who[nearer]] = proposed[nearer]
        distances[who[nearer]] = found[nearer]

    def _weights(self, unknown: np.ndarray) -> Floats:
        """1 for what is known of patches (N, 49), in the order of `patches`."""
        values = np.repeat(~unknown, self.values.shape[2], axis=1)
        fixed = np.ones((len(unknown), self.fixed.shape[1]), np.bool_)
        return np.concatenate([values, fixed], axis=1).astype(np.float32)

    def _put(self, places: Places, values: Floats) -> None:
        """Set values at places, and mirror them again."""
        filled = self.filled.copy()
        filled[tuple(places.T)] = values
        self.values = _mirrored(filled)

    def _fill(self, values: Floats) -> float:
        """Set the values of the hole, with what is mirrored of it; the mean change."""
        before = self.values[self._hole]
        self.values[self._hole] = values
        return float(np.abs(values - before).mean())

    def _flat(self) -> Floats:
        return self.values.reshape(-1, self.values.shape[2])

    def _corners(self, centres: Places) -> npt.NDArray[np.intp]:
        """Where patches begin in the flat, mirrored image."""
        corners: npt.NDArray[np.intp] = centres[:, 0] * self._hole.shape[1] + centres[:, 1]
        return corners


def _around(places: np.ndarray) -> np.ndarray:
    """(H, W) bool: centres of the patches that contain one of these."""
    return cv2.dilate(places.astype(np.uint8), np.ones((SIDE, SIDE), np.uint8)) > 0


def _mirrored(plane: np.ndarray) -> np.ndarray:
    border = ((RADIUS, RADIUS),) * 2 + ((0, 0),) * (plane.ndim - 2)
    return np.pad(plane, border, mode="reflect")


def _parts(count: int, size: int = CHUNK) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
