"""Parts of a picture: boxes of whole cells, and how they lie in each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaetools.codec.container import CELL, DOWNSCALE

if TYPE_CHECKING:
    from vaetools.tiling import Box

LATENTS = CELL // DOWNSCALE
"""Latents per cell, in each direction."""


def scaled(box: Box, factor: int) -> Box:
    """The same part in a grid that is `factor` times as fine."""
    rows, columns = box
    return (
        slice(rows.start * factor, rows.stop * factor),
        slice(columns.start * factor, columns.stop * factor),
    )


def grown(box: Box, by: int, rows: int, columns: int) -> Box:
    """The box and `by` cells around it, as far as the grid of rows × columns goes."""
    spans = zip(box, (rows, columns), strict=True)
    first, second = (slice(max(0, s.start - by), min(n, s.stop + by)) for s, n in spans)
    return first, second


def within(box: Box, outer: Box) -> Box:
    """`box` counted from the corner of `outer`."""
    first, second = (
        slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, outer, strict=True)
    )
    return first, second


def common(box: Box, other: Box) -> Box | None:
    """What two boxes share, if anything."""
    first, second = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, other, strict=True)
    )
    return (first, second) if first.start < first.stop and second.start < second.stop else None


def cells_of(box: Box) -> Box:
    """The cells that a box of pixels touches."""
    first, second = (slice(s.start // CELL, -(-s.stop // CELL)) for s in box)
    return first, second
