"""Even out the seams between parts that were copied from different places.

Poisson image editing (Pérez et al. 2003, doi:10.1145/882262.882269), screened: the gradients shall be
those where pixels were copied from (the *guidance field*), and values stay near to what was copied. A
seam becomes a slope of some `REACH` pixels on both sides, and what is further away keeps its colours.
High steps stay: there, two things meet that would bleed into each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.restoration.patch_match import Floats, Gradients

REACH = 32.0
"""Distance in pixels at which the correction of a seam has fallen to 1/e."""

EDGE = 0.1
"""A larger step than this, for values in [0, 1], is taken for an edge, and stays."""

ROUNDS = 200
ENOUGH = 1e-3
"""Conjugate gradients end after so many rounds, or when the residual is this share of the first."""


def without_seams(values: Floats, hole: np.ndarray, guidance: Gradients) -> Floats:
    """Values with corrected seams in and around a hole.

    Args:
        values: (H, W, C) float32; with what was copied in the hole.
        hole: (H, W) bool.
        guidance: gradients of the pixels of the hole, in raster order, where they were copied from.

    Returns:
        (H, W, C); known pixels are unchanged.
    """
    if not hole.any():
        return values
    box = tuple(slice(max(0, at.min() - 1), at.max() + 2) for at in np.nonzero(hole))
    inside, part = hole[box], values[box].astype(np.float32)
    excess = np.zeros_like(part)
    for axis, (ahead, behind) in ((1, guidance[:2]), (0, guidance[2:])):
        before, after = _slices(axis)
        ends = inside.astype(np.float32)[..., None]
        planes = np.zeros((2, *part.shape), np.float32)
        planes[0][inside], planes[1][inside] = ahead, -behind
        count = ends[before] + ends[after]
        wanted = (planes[0][before] + planes[1][after]) / np.maximum(count, 1)
        missing = np.where(count > 0, wanted - (part[after] - part[before]), 0)
        edge = np.abs(missing).max(axis=2, keepdims=True) / EDGE
        missing = missing / (1 + edge**4)
        excess[before] -= missing
        excess[after] += missing
    correction = _solved(inside, excess)
    result = values.copy()
    result[box][inside] += correction[inside]
    return result


def _solved(inside: np.ndarray, excess: Floats) -> Floats:
    """The correction c with (screened Laplacian of c) = `excess` inside, and 0 outside."""
    mask = inside.astype(np.float32)[..., None]
    screen = np.float32(1 / REACH**2)

    def applied(plane: Floats) -> Floats:
        found = screen * plane
        for axis in (0, 1):
            before, after = _slices(axis)
            step = plane[after] - plane[before]
            found[before] -= step
            found[after] += step
        return found * mask

    return _conjugate_gradients(applied, excess * mask)


def _conjugate_gradients(applied: Callable[[Floats], Floats], right: Floats) -> Floats:
    """x with applied(x) = right, for a symmetric positive definite operation, each channel alone."""
    found = np.zeros_like(right)
    residual, direction = right.copy(), right.copy()
    power = _dot(residual, residual)
    least = power * ENOUGH**2
    for _ in range(ROUNDS):
        if (power <= least).all():
            break
        image = applied(direction)
        length = np.asarray(power / np.maximum(_dot(direction, image), 1e-20), np.float32)
        found += length * direction
        residual -= length * image
        power, before = _dot(residual, residual), power
        share = np.asarray(power / np.maximum(before, 1e-20), np.float32)
        direction = residual + share * direction
    return found


def _dot(a: Floats, b: Floats) -> Floats:
    """(C,): the inner product of each channel."""
    return np.asarray(np.einsum("ijk,ijk->k", a, b))


def _slices(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """All but the last, and all but the first along an axis."""
    whole = (slice(None),)
    return whole * axis + (slice(None, -1),), whole * axis + (slice(1, None),)
