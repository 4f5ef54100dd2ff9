"""The networks of the entropy model, evaluated on parts of an image.

Keeping all intermediate latents of a large image would take too much memory. Each part is therefore
computed when it is needed, from z (small) and from the surroundings in the receptive field of the
networks (`[codec.reach]`). The result equals that for the whole image: exactly where the networks
compute with integers, up to float rounding elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vaetools.codec.tables import LATENTS
from vaetools.tiling import grown, map_tiles, scaled, within

if TYPE_CHECKING:
    from vaetools.codec.tables import CodecTables
    from vaetools.model.folder import Model
    from vaetools.model.spec import CodecReach, CodecSpec
    from vaetools.tiling import Box


PHASES = 4
"""Phases of the checkerboard context model, each conditioned on the latents of those before."""


class Residuals(Protocol):
    """The symbols r of a box, (M, h, w), given the means of its latents, (1, M, h, w)."""

    def __call__(self, mean: np.ndarray, box: Box, /) -> np.ndarray: ...


class EntropyNetworks:
    """Everything between y and r, for an image at given rates. Boxes are in cells of 64 pixels.

    Args:
        model: opens the graphs.
        spec: the `[codec]` table of the manifest.
        tables: the tables of the model.
        levels: (rows, columns) uint8, the rate index of every cell.
    """

    def __init__(
        self, model: Model, spec: CodecSpec, tables: CodecTables, levels: np.ndarray
    ) -> None:
        self.model = model
        self.levels = levels
        self.reach: CodecReach = spec.reach
        self.tables = tables
        self.size: int = spec.tile // LATENTS

    def hyper(self, y: np.ndarray) -> np.ndarray:
        """The hyper-latents z of a whole image.

        Args:
            y: (1, M, h, w) float32.

        Returns:
            (1, N, h/4, w/4) float32 with integer values.
        """
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
        """Table index of every latent of a box, (M, h, w) uint8."""
        base = self._part("hyper_scale_index", z, box, self.reach.hyper_scale_index)
        return self.tables.indexes(base, self.levels[box])

    def mean(self, z: np.ndarray, box: Box, residuals: Residuals) -> np.ndarray:
        """Conditional means of the latents of a box, phase by phase.

        The means of the first phase come from the hyper-latents alone; those of later phases also
        from the latents of earlier phases. `residuals` is called for each phase, and only the
        symbols of earlier phases affect the result, so encoder and decoder compute the same.

        Returns:
            (1, M, h, w) float32.
        """
        outer = grown(box, self.context_radius, *z.shape[2:])
        context = self.model.graph("context_mean")
        first = mean = self.hyper_mean(z, outer)
        phase = phases(*mean.shape[1:])  # cells begin at even latents, so any box has this pattern
        known = np.zeros_like(mean)
        for number in range(PHASES):
            now = phase == number
            if number > 0:
                (better,) = context(known, first)
                mean = np.where(now, better, mean)
            if number < PHASES - 1:
                known = np.where(now, self.dequantised(mean, residuals(mean, outer), outer), known)
        inner = scaled(within(box, outer), LATENTS)
        part: np.ndarray = mean[(..., *inner)]
        return part

    @property
    def context_radius(self) -> int:
        """Receptive radius of the means in cells: one step for each phase but the first."""
        return (PHASES - 1) * self.reach.context_mean

    def hyper_mean(self, z: np.ndarray, box: Box) -> np.ndarray:
        """Means of the latents given the hyper-latents alone, (1, M, h, w)."""
        return self._part("hyper_mean", z, box, self.reach.hyper_mean)

    def dequantised(self, mean: np.ndarray, symbols: np.ndarray, box: Box) -> np.ndarray:
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
        """Output of a graph for a box of z, (1, M, h, w); `reach` is its receptive radius in cells."""
        outer = grown(box, reach, *z.shape[2:])
        (out,) = self.model.graph(role)(np.ascontiguousarray(z[(..., *outer)]))
        return out[(..., *scaled(within(box, outer), LATENTS))]


def phases(latents: int, height: int, width: int) -> np.ndarray:
    """The phase of every latent, (M, h, w) in 0 … 3.

    The squares of a checkerboard in two phases each: even rows, then odd rows. The upper half of the
    channels begins with the other squares, every second quarter with the other rows.
    """
    rows, columns = np.ogrid[:height, :width]
    pattern: np.ndarray = phase_at(np.arange(latents)[:, None, None], rows, columns, latents)
    return pattern


def phase_at(channel: Any, row: Any, column: Any, latents: int) -> Any:
    """The phase of latents at given positions: integers, or broadcastable arrays or tensors."""
    quarter = channel * PHASES // latents
    upper, other = quarter // 2, quarter % 2
    return 2 * ((row + column + upper) % 2) + (row + other) % 2
