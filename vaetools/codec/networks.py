"""The networks of the entropy model, evaluated on parts of an image.

Keeping all intermediate latents of a large image would take too much memory. Each part is therefore
computed when it is needed, from z (small) and from the surroundings in the receptive field of the
networks (`[codec.reach]`). The result equals that for the whole image: exactly where the networks
compute with integers, up to float rounding elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vaetools.codec.tables import LATENTS
from vaetools.errors import ModelBrokenError
from vaetools.tiling import grown, map_tiles, scaled, window, within

if TYPE_CHECKING:
    from vaetools.codec.tables import CodecTables
    from vaetools.model.folder import Model
    from vaetools.model.spec import CodecReach, CodecSpec
    from vaetools.tiling import Box


PHASES = 4
"""Phases of the context model, each conditioned on the latents of those before."""

GRID = ((0, 0), (1, 1), (0, 1), (1, 0))
"""(row, column) in every 2x2 square of the latents of each phase, with a `grid` context."""


MAX_SYMBOL = 2**30
"""Magnitude of a symbol; only a broken model needs more."""


@dataclass(frozen=True)
class Quantiser:
    """Quantiser of the latents of a box, given what is known of them.

    Attributes:
        mean: conditional means, (1, M, h, w) float32.
        gain, step: r = round((y − mean) · gain), and the step from r to r + 1; (M, h, w) float32, or
            (M, 1, 1).
        inward: how far the restored value lies from the middle of its bin towards the mean, in steps,
            (M, h, w) float32; None for the middle.
    """

    mean: np.ndarray
    gain: np.ndarray
    step: np.ndarray
    inward: np.ndarray | None = None

    def symbols(self, y: np.ndarray) -> np.ndarray:
        """r of latents y (1, M, h, w), as (M, h, w) int32."""
        steps = np.rint((y[0] - self.mean[0]) * self.gain)
        r: np.ndarray = np.clip(steps, -MAX_SYMBOL, MAX_SYMBOL).astype(np.int32)
        return r

    def latents(self, r: np.ndarray) -> np.ndarray:
        """ŷ of symbols r (M, h, w), as (1, M, h, w) float32."""
        restored: np.ndarray = self.mean + self.offsets(r)
        return restored

    def offsets(self, r: np.ndarray) -> np.ndarray:
        """ŷ − mean of symbols r, (M, h, w) float32."""
        steps = r.astype(np.float32)
        if self.inward is not None:
            steps -= np.sign(steps) * self.inward
        offsets: np.ndarray = steps * self.step
        return offsets

    def within(self, box: Box) -> Quantiser:
        """The same for a box of latents."""

        def part(values: np.ndarray) -> np.ndarray:
            return values if values.shape[-2:] == (1, 1) else values[(..., *box)]

        inward = None if self.inward is None else part(self.inward)
        return Quantiser(self.mean[(..., *box)], part(self.gain), part(self.step), inward)


class Residuals(Protocol):
    """The symbols r of a box of cells, (M, h, w), given their quantiser."""

    def __call__(self, quantiser: Quantiser, box: Box, /) -> np.ndarray: ...


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
        self.spec = spec
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
        channels = self.tables.hyper_frequencies.shape[1]

        def hyper(part: np.ndarray, levels: np.ndarray) -> np.ndarray:
            (z,) = graph(part * self.tables.per_latent(self.tables.gain, levels[0, 0]))
            return self._checked("hyper_analysis", z, (1, channels, *levels.shape[2:]))

        z = map_tiles(
            hyper,
            [y, self.levels[None, None]],
            scale_in=[LATENTS, 1],
            scale_out=1,
            size=self.size,
            halo=self.reach.hyper_analysis,
            windows=self.model.device.fixed_shapes,
        )
        limit = self.tables.hyper_limit
        clipped: np.ndarray = np.clip(np.rint(z), -limit, limit)
        return clipped

    def index(self, z: np.ndarray, box: Box) -> np.ndarray:
        """Table index of every latent of a box, (M, h, w) uint8."""
        base = self._part("hyper_scale_index", z, box, self.reach.hyper_scale_index)
        return self.tables.indexes(base, self.levels[box])

    def quantiser(self, z: np.ndarray, box: Box, residuals: Residuals) -> Quantiser:
        """Conditional means and steps of the latents of a box, phase by phase.

        The means of the first phase come from the hyper-latents alone; those of later phases also
        from the latents of earlier phases. `residuals` is called for each phase, and only the
        symbols of earlier phases affect the result, so encoder and decoder compute the same.
        """
        outer = self._around(box, self.context_radius)
        levels = self.levels[outer]
        centroid = self.tables.centroid
        first = Quantiser(
            self.hyper_mean(z, outer),
            self.tables.per_latent(self.tables.gain, levels),
            self.tables.per_latent(self.tables.inverse_gain, levels),
            None if centroid is None else centroid[self.index(z, outer)],
        )
        phased = self._on_grid if self.context == "grid" else self._interleaved
        return phased(first, outer, residuals).within(scaled(within(box, outer), LATENTS))

    def _interleaved(self, first: Quantiser, box: Box, residuals: Residuals) -> Quantiser:
        context = self.model.graph("context_mean")
        mean = first.mean
        phase = phases(*mean.shape[1:])  # cells begin at even latents, so any box has this pattern
        known = np.zeros_like(mean)
        now = first
        for number in range(PHASES):
            if number > 0:
                (better,) = context(known, first.mean)
                self._checked("context_mean", better, mean.shape)
                mean = np.where(phase == number, better, mean)
                now = replace(first, mean=mean)
            if number < PHASES - 1:
                known = np.where(phase == number, now.latents(residuals(now, box)), known)
        return now

    def _on_grid(self, first: Quantiser, box: Box, residuals: Residuals) -> Quantiser:
        """All channels of a place at once, one place of each 2x2 square per phase."""
        mean, factor = first.mean.copy(), np.ones_like(first.mean[0])
        known: list[np.ndarray] = []
        features: list[np.ndarray] = []
        now = first
        for number, place in enumerate(GRID):
            if number > 0:
                inputs = np.concatenate(known, axis=1), on_grid(first.mean, place), *features
                better, *scale, handed_on = self.model.graph(f"context_{number}")(*inputs)
                shape = on_grid(mean, place).shape
                on_grid(mean, place)[:] = self._checked(f"context_{number}", better, shape)
                for values in scale:
                    self._checked(f"context_{number}", values, shape)
                    on_grid(factor, place)[:] = values[0]
                features = [handed_on]
                now = replace(first, mean=mean, gain=first.gain / factor, step=first.step * factor)
            if number < PHASES - 1:
                latents = now.latents(residuals(now, box))
                known.append(np.ascontiguousarray(on_grid(latents, place)))
        return now

    @property
    def context(self) -> str:
        """Pattern of the context model: `interleaved` or `grid`."""
        return self.spec.context

    @property
    def context_radius(self) -> int:
        """Receptive radius of the means in cells: one step for each phase but the first."""
        return (PHASES - 1) * self.reach.context_mean

    def hyper_mean(self, z: np.ndarray, box: Box) -> np.ndarray:
        """Means of the latents given the hyper-latents alone, (1, M, h, w)."""
        return self._part("hyper_mean", z, box, self.reach.hyper_mean)

    def _part(self, role: str, z: np.ndarray, box: Box, reach: int) -> np.ndarray:
        """Output of a graph for a box of z, (1, M, h, w); `reach` is its receptive radius in cells."""
        outer = self._around(box, reach)
        (out,) = self.model.graph(role)(np.ascontiguousarray(z[(..., *outer)]))
        sides = (LATENTS * (span.stop - span.start) for span in outer)
        self._checked(role, out, (1, len(self.tables.coarse), *sides))
        return out[(..., *scaled(within(box, outer), LATENTS))]

    def _around(self, box: Box, by: int) -> Box:
        """The box and `by` cells around it; on devices that want fixed shapes, those of a whole tile."""
        shape = self.levels.shape
        if not self.model.device.fixed_shapes:
            return grown(box, by, *shape)
        height, width = (max(self.size, span.stop - span.start) + 2 * by for span in box)
        return window(box, by, (height, width), *shape)

    def _checked(self, role: str, out: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return check_shape(self.model, role, out, shape)


def check_shape(model: Model, role: str, out: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The result of a graph, if it has the shape that the tables of the model imply.

    Raises:
        ModelBrokenError: it has another shape.
    """
    if out.shape != shape:
        raise ModelBrokenError(
            f"{role} gave the shape {out.shape} where the tables need {shape}", file=model.folder
        )
    return out


def on_grid(values: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    """A view of the latents at one place of every 2x2 square: (…, h, w) -> (…, h/2, w/2)."""
    row, column = place
    return values[..., row::2, column::2]


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
