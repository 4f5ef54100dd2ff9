"""Seeded holes for the inpainting benchmark: five kinds, and strokes of one width.

Lines are rasterised here, as all pixels whose centres are within half the width, because the results of
drawing libraries differ between versions and some draw lines wider than requested.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

KINDS = ("scratch", "text", "dust", "brush", "block")

WIDTHS = (1, 2, 4, 8, 16, 32, 48)

PIXELS = 512 * 384
"""Image size to which the numbers of scratches, specks, strokes and blocks refer."""

LETTERS = (
    ((0, 6), (2, 0), (4, 6), (3, 3), (1, 3)),  # A
    ((4, 0), (0, 0), (0, 6), (4, 6), (0, 6), (0, 3), (3, 3)),  # E
    ((0, 0), (0, 6), (0, 3), (4, 3), (4, 0), (4, 6)),  # H
    ((0, 0), (0, 6), (0, 3), (4, 0), (0, 3), (4, 6)),  # K
    ((0, 0), (0, 6), (4, 6)),  # L
    ((0, 6), (0, 0), (4, 6), (4, 0)),  # N
    ((2, 0), (4, 2), (4, 4), (2, 6), (0, 4), (0, 2), (2, 0)),  # O
    ((0, 6), (0, 0), (3, 0), (4, 1), (4, 2), (3, 3), (0, 3), (4, 6)),  # R
    ((4, 1), (3, 0), (1, 0), (0, 1), (4, 5), (3, 6), (1, 6), (0, 5)),  # S
    ((0, 0), (4, 0), (2, 0), (2, 6)),  # T
    ((0, 0), (1, 6), (2, 2), (3, 6), (4, 0)),  # W
)
"""Corners of strokes, x and y, on a grid of 4 x 6."""


def mask_of(kind: str, height: int, width: int, seed: int) -> np.ndarray:
    """A hole, (H, W) bool; `kind` is one of `KINDS` or a stroke width in pixels."""
    number = KINDS.index(kind) if kind in KINDS else 100 + int(kind)
    rng = np.random.default_rng([seed, number])
    plane = np.zeros((height, width), np.bool_)
    scale = height * width / PIXELS
    if kind in KINDS:
        {"scratch": scratch, "text": text, "dust": dust, "brush": brush, "block": block}[kind](
            plane, scale, rng
        )
    else:
        strokes(plane, count(2, scale), int(kind), int(kind), 120, rng)
    return plane


def count(usual: float, scale: float) -> int:
    return max(1, round(usual * scale))


def scratch(plane: np.ndarray, scale: float, rng: np.random.Generator) -> None:
    """Long lines, 1 to 3 pixels wide."""
    height, width = plane.shape
    for _ in range(count(9, scale)):
        start = rng.uniform(0, [width, height])
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.9) * max(plane.shape)
        steps = np.linspace(0, length, 6)[:, None] * [np.cos(angle), np.sin(angle)]
        draw(plane, start + steps + rng.normal(0, 3, (6, 2)), int(rng.integers(1, 4)))


def text(plane: np.ndarray, _: float, rng: np.random.Generator) -> None:
    """Rows of words across the image, in strokes of 2 or 3 pixels."""
    height, width = plane.shape
    size, thickness = rng.uniform(2.5, 4.5), int(rng.integers(2, 4))
    for top in np.arange(2 * size, height, 12 * size):
        for left in np.arange(size, width, 6 * size):
            if rng.random() < 0.85:  # otherwise a space
                letter = np.array(LETTERS[rng.integers(len(LETTERS))])
                draw(plane, [left, top] + size * letter, thickness)


def dust(plane: np.ndarray, scale: float, rng: np.random.Generator) -> None:
    """Specks with radii of 1 to 3 pixels."""
    height, width = plane.shape
    for _ in range(count(210, scale)):
        centre = rng.uniform(0, [width, height])
        draw(plane, np.array([centre, centre]), 2 * int(rng.integers(1, 4)))


def brush(plane: np.ndarray, scale: float, rng: np.random.Generator) -> None:
    """Crooked strokes, 8 to 16 pixels wide."""
    strokes(plane, count(9, scale), 8, 16, 80, rng)


def block(plane: np.ndarray, scale: float, rng: np.random.Generator) -> None:
    """Squares of 32 pixels."""
    height, width = plane.shape
    for _ in range(count(9, scale)):
        top, left = rng.integers(0, [max(1, height - 32), max(1, width - 32)])
        plane[top : top + 32, left : left + 32] = True


def strokes(
    plane: np.ndarray, number: int, thin: int, thick: int, length: float, rng: np.random.Generator
) -> None:
    """Crooked strokes between two widths."""
    height, width = plane.shape
    for _ in range(number):
        start = rng.uniform(0, [width, height])
        points = start + np.cumsum(rng.normal(0, length / 4, (5, 2)), axis=0)
        draw(plane, points, int(rng.integers(thin, thick + 1)))


def draw(plane: np.ndarray, points: np.ndarray, width: int) -> None:
    """A line through points (n, 2), x and y: all pixels whose centres are within half its width."""
    for a, b in pairwise(np.asarray(points, np.float64)):
        low = np.maximum(np.floor(np.minimum(a, b) - width), 0).astype(int)
        high = np.ceil(np.maximum(a, b) + width).astype(int)
        part = plane[low[1] : max(0, high[1]), low[0] : max(0, high[0])]
        rows, columns = np.indices(part.shape)
        away = np.stack([columns, rows], axis=-1) + low - a
        share = (away @ (b - a)) / max(float((b - a) @ (b - a)), 1e-9)
        away -= np.clip(share, 0, 1)[..., None] * (b - a)
        part |= np.hypot(away[..., 0], away[..., 1]) <= width / 2
