"""The level of noise that is clipped at black or white, from what clipping has left.

In a flat cell, samples are a normal distribution that is censored at a limit, black or white (J. Tobin,
Estimation of relationships for limited dependent variables, Econometrica 26, 1958). With its standard
deviation s, and its mean a · s away from the limit, Φ(a) of the samples are not clipped, and all are
s · (a Φ(a) + φ(a)) away from the limit in the mean. Both can be measured, and give s.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vaetools.restoration.patches import Part

USABLE = (0.05, 0.95)
"""Shares of samples that are not clipped, between which a cell gives a level."""

MAX_FACTOR = 2.0
"""Largest factor by which clipping may have weakened noise. Half a normal distribution has 0.58 of the
standard deviation of the whole one, so what is more than 2 is texture."""

NORMAL = NormalDist()
OFFSETS = np.linspace(NORMAL.inv_cdf(USABLE[0]), NORMAL.inv_cdf(USABLE[1]), 129)
SHARES = np.array([NORMAL.cdf(a) for a in OFFSETS])
DISTANCES = np.array([a * NORMAL.cdf(a) + NORMAL.pdf(a) for a in OFFSETS])


def clipped_levels(part: Part, step: float) -> np.ndarray:
    """The noise levels of the cells of a part some of whose samples are clipped.

    Args:
        part: the cells are those of its core.
        step: between two values of a sample, for images in [0, 1]: 1/255 for 8 bits, 0 for floats.

    Returns:
        (n,) float32, for images in [0, 1]; texture makes them larger.
    """
    cells = _cells(part)
    found = []
    for distances in (cells, 1 - cells):  # from black, and from white
        seen = (distances > 0).mean(axis=1)
        usable = (seen >= USABLE[0]) & (seen <= USABLE[1])
        # What lies within half a step of the limit is rounded to it: the limit that clips is there.
        mean = distances[usable].mean(axis=1) - step / 2 * seen[usable]
        found.append(mean / np.interp(seen[usable], SHARES, DISTANCES))
    return np.concatenate(found)


def _cells(part: Part) -> np.ndarray:
    """The samples of the core, clipped to [0, 1]: (cells, samples) float32."""
    rows, columns = part.tile.inner
    cell = part.cell
    high, wide = (side // cell for side in part.sides)
    if part.image.dtype == np.uint8:
        ordered = part.image.reshape(high, cell, wide, cell, 3).transpose(0, 2, 1, 3, 4)
    else:
        ordered = part.image.reshape(3, high, cell, wide, cell).transpose(1, 3, 2, 4, 0)
    whole = ordered[rows, columns].reshape(-1, 3 * cell**2)
    scale = 255 if whole.dtype == np.uint8 else 1
    return np.clip(whole / np.float32(scale), 0, 1)
