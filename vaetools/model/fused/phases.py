"""The four phases of a codec's context model: which latents are coded when.

Each phase has one place of every 2x2 square of latents: the same for all channels with a `grid` context,
one for each quarter of the channels with an `interleaved` one. So the latents of a phase, *packed*, are
as many channels at half the resolution. Packing is a SpaceToDepth and a choice of channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.model.fused.builder import Builder

PHASES = 4
"""Phases of the context model, each conditioned on the latents of those before."""

GRID = ((0, 0), (1, 1), (0, 1), (1, 0))
"""(row, column) in every 2x2 square of the latents of each phase, with a `grid` context."""

Place = tuple[int, int]


def phase_at(channel: Any, row: Any, column: Any, latents: int) -> Any:
    """The phase of latents at given positions: integers, or broadcastable arrays or tensors.

    With an `interleaved` context, the squares of a checkerboard in two phases each: even rows, then odd
    rows. The upper half of the channels begins with the other squares, every second quarter with the
    other rows.
    """
    quarter = channel * PHASES // latents
    upper, other = quarter // 2, quarter % 2
    return 2 * ((row + column + upper) % 2) + (row + other) % 2


def groups(context: str, latents: int) -> list[tuple[int, list[Place]]]:
    """Consecutive channels that share their places: (channels, place of each phase).

    Args:
        context: `interleaved` or `grid`.
        latents: number of channels.
    """
    if context == "grid":
        return [(latents, [*GRID])]
    quarters = np.arange(latents) * PHASES // latents
    found = []
    for quarter in sorted(set(quarters.tolist())):
        channels = np.flatnonzero(quarters == quarter)
        at = {phase_at(int(channels[0]), y, x, latents): (y, x) for y in (0, 1) for x in (0, 1)}
        found.append((len(channels), [at[phase] for phase in range(PHASES)]))
    return found


class Packing:
    """Adds the nodes that pack and unpack latents.

    Args:
        builder: takes the nodes.
        context: `interleaved` or `grid`.
        latents: number of channels, M.
    """

    def __init__(self, builder: Builder, context: str, latents: int) -> None:
        self.builder: Builder = builder
        self.latents = latents
        self.groups: list[tuple[int, list[Place]]] = groups(context, latents)
        first = np.cumsum([0, *(count for count, _ in self.groups)])
        self.order: list[int] = [
            (2 * places[phase][0] + places[phase][1]) * latents + int(start) + channel
            for phase in range(PHASES)
            for start, (count, places) in zip(first, self.groups, strict=False)
            for channel in range(count)
        ]

    def packed(self, values: str) -> list[str]:
        """(1, M, h, w) -> the latents of each phase, (1, M, h/2, w/2)."""
        b = self.builder
        deep = b.op("SpaceToDepth", values, blocksize=2)
        chosen = b.op("Gather", deep, b.constant(self.order, np.int64), axis=1)
        return b.split(chosen, [self.latents] * PHASES)

    def unpacked(self, parts: Sequence[str]) -> str:
        """The inverse of `packed`."""
        b = self.builder
        inverse = np.argsort(self.order)
        deep = b.op("Gather", b.concat(parts), b.constant(inverse, np.int64), axis=1)
        return b.op("DepthToSpace", deep, blocksize=2)
