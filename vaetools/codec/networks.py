"""The small networks of the codec on parts of a picture.

A large picture's latents at several stages would fill the memory, so each part is computed where it
is needed, from z (small) and from as much around it as the networks see (`[codec.reach]`). The
result is that of the whole picture: to the last bit where integers compute, and to the last bits
of a float elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vaetools.codec.tables import LATENTS
from vaetools.tiling import grown, map_tiles, scaled, within

if TYPE_CHECKING:
    from vaetools.codec.tables import CodecTables
    from vaetools.model.spec import CodecSpec
    from vaetools.model.vae import Model
    from vaetools.tiling import Box


PHASES = 4
"""Steps in which the means of the latents become known."""


class Residuals(Protocol):
    """Gives the symbols r of a part, (M, h, w), once the mean (1, M, h, w) of the part is known."""

    def __call__(self, mean: np.ndarray, box: Box, /) -> np.ndarray: ...


class SmallNetworks:
    """Everything between y and r, for a picture at given rates. Boxes are in cells of 64 pixels.

    Args:
        model: gives the graphs.
        spec: its `[codec]`.
        tables: its tables.
        levels: (rows, columns) uint8, the level of every cell.
    """

    def __init__(
        self, model: Model, spec: CodecSpec, tables: CodecTables, levels: np.ndarray
    ) -> None:
        self.model = model
        self.levels = levels
        self.reach = spec.reach
        self.tables = tables
        self.size = spec.tile // LATENTS

    def hyper(self, y: np.ndarray) -> np.ndarray:
        """z of a whole picture: (1, M, h, w) -> (1, N, h/4, w/4), integers as float32."""
        graph = self.model.graph("hyper_analysis")
        z = map_tiles(
            lambda part, levels: graph(
                part * self.tables.per_latent(self.tables.gain, levels[0, 0])
            )[0],
            [y, self.levels[None, None]],
            scale_in=[LATENTS, 1],
            scale_out=1,
            size=self.size,
            halo=self.reach.hyper_analysis,
        )
        limit = self.tables.hyper_limit
        clipped: np.ndarray = np.clip(np.rint(z), -limit, limit)
        return clipped

    def index(self, z: np.ndarray, box: Box) -> np.ndarray:
        """Table of every latent of a part: (M, h, w) uint8."""
        base = self._part("hyper_scale_index", z, box, self.reach.hyper_scale_index)
        return self.tables.indexes(base, self.levels[box])

    def mean(self, z: np.ndarray, box: Box, residuals: Residuals) -> np.ndarray:
        """Mean of the latents of a part, (1, M, h, w): that of the hyper-latents, improved phase by
        phase by what the phases before hold.

        Only the symbols of those phases matter: encoder and decoder, which have the others at
        different times, take these same steps.
        """
        outer = grown(box, self.seen, *z.shape[2:])
        context = self.model.graph("context_mean")
        first = mean = self.hyper_mean(z, outer)
        phase = phases(*mean.shape[1:])  # cells begin at even latents: the same in each part
        known = np.zeros_like(mean)
        for number in range(PHASES):
            now = phase == number
            if number > 0:
                (better,) = context(known, first)
                mean = np.where(now, better, mean)
            if number < PHASES - 1:
                known = np.where(now, self.restored(mean, residuals(mean, outer), outer), known)
        inner = scaled(within(box, outer), LATENTS)
        part: np.ndarray = mean[(..., *inner)]
        return part

    @property
    def seen(self) -> int:
        """How far the mean of a part sees, in cells: a step for every phase but the first."""
        return (PHASES - 1) * self.reach.context_mean

    def hyper_mean(self, z: np.ndarray, box: Box) -> np.ndarray:
        """What the hyper-latents alone say of the mean, (1, M, h, w)."""
        return self._part("hyper_mean", z, box, self.reach.hyper_mean)

    def restored(self, mean: np.ndarray, symbols: np.ndarray, box: Box) -> np.ndarray:
        """ŷ = mean + r · step, (1, M, h, w) float32."""
        step = self.tables.per_latent(self.tables.inverse_gain, self.levels[box])
        latents: np.ndarray = mean + symbols.astype(np.float32) * step
        return latents

    def quantised(self, y: np.ndarray, mean: np.ndarray, box: Box) -> np.ndarray:
        """r = round((y − mean) · gain), (M, h, w) int32."""
        gain = self.tables.per_latent(self.tables.gain, self.levels[box])
        symbols: np.ndarray = np.rint((y[0] - mean[0]) * gain).astype(np.int32)
        return symbols

    def _part(self, role: str, z: np.ndarray, box: Box, reach: int) -> np.ndarray:
        """The part `box` of a graph's result for z, (1, M, h, w)."""
        outer = grown(box, reach, *z.shape[2:])
        (out,) = self.model.graph(role)(np.ascontiguousarray(z[(..., *outer)]))
        return out[(..., *scaled(within(box, outer), LATENTS))]


def phases(latents: int, height: int, width: int) -> np.ndarray:
    """In which phase each latent's mean becomes known, (M, h, w) in 0 … 3.

    Two halves of a checkerboard, and each of them row by row; the upper half of the channels takes the
    other squares first, every other quarter the other rows.
    """
    rows, columns = np.ogrid[:height, :width]
    found: np.ndarray = phase_at(np.arange(latents)[:, None, None], rows, columns, latents)
    return found


def phase_at(channel: Any, row: Any, column: Any, latents: int) -> Any:
    """The phase of one latent, or of arrays or tensors of them that broadcast."""
    quarter = channel * PHASES // latents
    upper, other = quarter // 2, quarter % 2
    return 2 * ((row + column + upper) % 2) + (row + other) % 2
