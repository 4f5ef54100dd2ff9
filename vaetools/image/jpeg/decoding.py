"""Entropy-coded data to coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaetools.image.jpeg import progressive, sequential
from vaetools.image.jpeg.structure import PROGRESSIVE, NotCoveredError

if TYPE_CHECKING:
    from vaetools.image.jpeg.structure import Frame


def coefficients(frame: Frame) -> list[np.ndarray]:
    """The quantised coefficients of each component.

    Returns:
        (rows, columns, 64) int16 in coded order, of whole MCUs.

    Raises:
        NotCoveredError: damaged.
    """
    found = [np.zeros((*c.padded, 64), np.int16) for c in frame.components]
    read = progressive.read_scan if frame.marker in PROGRESSIVE else sequential.read_scan
    try:
        for scan in frame.scans:
            read(frame, scan, found)
    except (IndexError, ValueError, OverflowError) as error:
        raise NotCoveredError(f"damaged: {error}") from error
    return found
