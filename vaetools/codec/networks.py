"""The small networks of the codec on parts of a picture.

A large picture's latents at several stages would fill the memory, so each part is computed where it
is needed, from z (small) and from as much around it as the networks see (`[codec.reach]`). The
result is that of the whole picture: to the last bit where integers compute, and to the last bits
of a float elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from vaetools.codec.container import CELL, DOWNSCALE
from vaetools.tiling import grown, map_tiles, scaled, within

if TYPE_CHECKING:
    from vaetools.codec.tables import CodecTables
    from vaetools.manifest import CodecSpec
    from vaetools.tiling import Box
    from vaetools.vae import Model


LATENTS = CELL // DOWNSCALE
"""Latents per cell, in each direction."""


class Residuals(Protocol):
    """Gives the symbols r of a part, (M, h, w), once the mean (1, M, h, w) of the part is known."""

    def __call__(self, mean: np.ndarray, box: Box, /) -> np.ndarray: ...


class SmallNetworks:
    """Everything between y and r. Boxes are in cells of 64 pixels.

    Args:
        model: gives the graphs.
        spec: its `[codec]`.
        tables: its tables.
    """

    def __init__(self, model: Model, spec: CodecSpec, tables: CodecTables) -> None:
        self.model = model
        self.reach = spec.reach
        self.tables = tables
        self.size = spec.tile // LATENTS

    def hyper(self, y: np.ndarray, level: int) -> np.ndarray:
        """z of a whole picture: (1, M, h, w) -> (1, N, h/4, w/4), integers as float32."""
        gain = self.tables.gain[level][:, None, None]
        graph = self.model.graph("hyper_analysis")
        z = map_tiles(
            lambda part: graph(part * gain),
            [y],
            scale_in=[LATENTS],
            scale_out=1,
            size=self.size,
            halo=self.reach.hyper_analysis,
        )
        limit = self.tables.hyper_limit
        clipped: np.ndarray = np.clip(np.rint(z), -limit, limit)
        return clipped

    def index(self, z: np.ndarray, level: int, box: Box) -> np.ndarray:
        """Table of every latent of a part: (M, h, w) uint8."""
        base = self._part("hyper_scale_index", z, box, self.reach.hyper_scale_index)
        return self.tables.indexes(base, level)

    def mean(self, z: np.ndarray, level: int, box: Box, residuals: Residuals) -> np.ndarray:
        """Mean of the latents of a part, (1, M, h, w): that of the hyper-latents, improved in the
        second half of the checkerboard by what the first half holds.

        Only the symbols of the first half matter: encoder and decoder, which have the others at
        different times, take this same step.
        """
        outer = grown(box, self.reach.context_mean, *z.shape[2:])
        mean = self.hyper_mean(z, outer)
        first = checkerboard(*mean.shape[1:])  # cells begin at even latents: the same in each part
        known = np.where(first, self.restored(mean, residuals(mean, outer), level), 0)
        better = self.model.graph("context_mean")(known.astype(np.float32), mean)
        inner = scaled(within(box, outer), LATENTS)
        improved: np.ndarray = np.where(first, mean, better)[(..., *inner)]
        return improved

    def hyper_mean(self, z: np.ndarray, box: Box) -> np.ndarray:
        """What the hyper-latents alone say of the mean, (1, M, h, w)."""
        return self._part("hyper_mean", z, box, self.reach.hyper_mean)

    def restored(self, mean: np.ndarray, symbols: np.ndarray, level: int) -> np.ndarray:
        """ŷ = mean + r · step, (1, M, h, w) float32."""
        step = self.tables.inverse_gain[level][:, None, None]
        latents: np.ndarray = mean + symbols.astype(np.float32) * step
        return latents

    def quantised(self, y: np.ndarray, mean: np.ndarray, level: int) -> np.ndarray:
        """r = round((y − mean) · gain), (M, h, w) int32."""
        gain = self.tables.gain[level][:, None, None]
        symbols: np.ndarray = np.rint((y[0] - mean[0]) * gain).astype(np.int32)
        return symbols

    def _part(self, role: str, z: np.ndarray, box: Box, reach: int) -> np.ndarray:
        """The part `box` of a graph's result for z, (1, M, h, w)."""
        outer = grown(box, reach, *z.shape[2:])
        out: np.ndarray = self.model.graph(role)(np.ascontiguousarray(z[(..., *outer)]))
        return out[(..., *scaled(within(box, outer), LATENTS))]


def checkerboard(latents: int, height: int, width: int) -> np.ndarray:
    """(M, h, w) bool: the first half; the upper half of the channels takes the other squares."""
    rows, columns = np.ogrid[:height, :width]
    even = (rows + columns) % 2 == 0
    upper = np.arange(latents)[:, None, None] >= latents // 2
    result: np.ndarray = even ^ upper
    return result
