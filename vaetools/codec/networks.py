"""The networks of the entropy model, evaluated on parts of an image.

Keeping all intermediate latents of a large image would take too much memory. Each part is therefore
computed when it is needed, from z (small) and from the surroundings in the receptive field of the
networks (`[codec.reach]`). The result equals that for the whole image: exactly where the networks
compute with integers, up to float rounding elsewhere.

Everything between z and the symbols or latents of a part is one graph, a chain of the model's graphs
(`vaetools.model.fused.chains`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vaetools.codec.container import DOWNSCALE
from vaetools.codec.tables import LATENTS
from vaetools.errors import ModelBrokenError
from vaetools.model.fused.chains import Chain
from vaetools.model.fused.phases import PHASES
from vaetools.tiling import grown, map_tiles, scaled, window, within

if TYPE_CHECKING:
    from vaetools.codec.tables import CodecTables
    from vaetools.model.folder import Model
    from vaetools.model.fused.chains import Kind
    from vaetools.model.spec import CodecReach, CodecSpec
    from vaetools.tiling import Box


class Latents(Protocol):
    """The latents of an image, (1, M, h, w) float32: an array, or computed where they are asked for."""

    def __getitem__(self, at: Any, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Restored:
    """Latents restored from symbols.

    Attributes:
        latents: ŷ, (M, h, w) float32.
        step: from r to r + 1, (M, h, w) float32, or (M, 1, 1).
        inward: how far a value is restored from the middle of its bin towards the mean, in steps,
            (M, h, w) float32; None for the middle.
    """

    latents: np.ndarray
    step: np.ndarray
    inward: np.ndarray | None = None

    def offsets(self, r: np.ndarray) -> np.ndarray:
        """ŷ − mean of symbols r, (M, h, w) float32."""
        steps = r.astype(np.float32)
        if self.inward is not None:
            steps -= np.sign(steps) * self.inward
        offsets: np.ndarray = steps * self.step
        return offsets

    def within(self, box: Box) -> Restored:
        """The same for a box of latents."""
        step = self.step if self.step.shape[-2:] == (1, 1) else self.step[(..., *box)]
        inward = None if self.inward is None else self.inward[(..., *box)]
        return Restored(self.latents[(..., *box)], step, inward)


@dataclass(frozen=True)
class Coded:
    """The integers of an encoded image.

    Attributes:
        levels: (rows, columns) uint8, the rate index of every cell.
        z: hyper-latents, (1, N, rows, columns) float32.
        r: symbols, (M, h, w) int16 or int32.
    """

    levels: np.ndarray
    z: np.ndarray
    r: np.ndarray


@dataclass(frozen=True)
class _Part:
    """What a chain needs around a box; everything in cells of the image.

    Attributes:
        box: what is asked for.
        outer: where the latents are computed, so that the context sees all of its receptive field.
        hyper: the hyper-latents that their means depend on.
    """

    box: Box
    outer: Box
    hyper: Box

    @property
    def is_whole(self) -> bool:
        """Whether nothing is cut off inside the chain."""
        return self.box == self.outer == self.hyper

    @property
    def means(self) -> list[np.ndarray]:
        """Where the means of `outer` start and end among those of `hyper`, in latents."""
        return _ends(within(self.outer, self.hyper))

    @property
    def latents(self) -> list[np.ndarray]:
        """Where the latents of `box` start and end among those of `outer`, in latents."""
        return _ends(within(self.box, self.outer))


def _ends(box: Box) -> list[np.ndarray]:
    spans = scaled(box, LATENTS)
    starts, stops = [s.start for s in spans], [s.stop for s in spans]
    return [np.array(starts, np.int64), np.array(stops, np.int64)]


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

    def steps(self, box: Box) -> np.ndarray:
        """Quantisation step of every latent of a box at its rate, before the context has a say:
        (M, h, w) float32, or (M, 1, 1)."""
        return self.tables.per_latent(self.tables.inverse_gain, self.levels[box])

    def index(self, z: np.ndarray, box: Box) -> np.ndarray:
        """Table index of every latent of a box, (M, h, w) uint8."""
        base = self._part("hyper_scale_index", z, box, self.reach.hyper_scale_index)
        return self.tables.indexes(base, self.levels[box])

    def whole(
        self, image: np.ndarray | None, y: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Hyper-latents and symbols of an image of one tile at one rate, in one go.

        Args:
            image: (1, H, W, 3) uint8 BGR, or (1, 3, H, W) float32 RGB in [0, 1].
            y: instead of the image, its latents, (1, M, h, w) float32.

        Returns:
            z, (1, N, h/4, w/4) float32, and r, (M, h, w) int16, or int32 if int16 cannot hold them.
        """
        given = image if y is None else y
        assert given is not None
        pixels = ("image",) if given.dtype == np.uint8 else ()
        level = self.levels.flat[0]
        units = [
            t[level][None, :, None, None] for t in (self.tables.gain, self.tables.inverse_gain)
        ]
        shift = []
        if self.tables.centroid is not None:
            offset = self.tables.index_offset[level].astype(np.float32)
            shift = [offset[None, :, None, None], self.tables.centroid]
        rows, columns = self.levels.shape
        latents = 1, len(self.tables.coarse), LATENTS * rows, LATENTS * columns
        hyper = 1, self.tables.hyper_frequencies.shape[1], rows, columns
        analysed = 1, self.model.manifest.latent.channels, *latents[2:]
        require_shape(self.model, "analysis", analysed, latents)
        for wide in (False, True):
            chain = Chain(
                "encode" if y is None else "code",
                wide=wide,
                inward=bool(shift),
                limit=self.tables.hyper_limit,
            )
            z, r, largest = self.model.graph(chain.role, pixels=pixels)(given, *units, *shift)
            if largest.max() <= np.iinfo(r.dtype).max:
                break
        z = self._checked("hyper_analysis", z, hyper).astype(np.float32)
        return z, self._checked(chain.role, r, latents)[0]

    def symbols(self, y: Latents, z: np.ndarray, box: Box) -> np.ndarray:
        """The symbols of a box.

        The means of the first phase come from the hyper-latents alone; those of later phases also
        from the latents of earlier phases, restored from their symbols as the decoder does.

        Args:
            y: (1, M, h, w) float32, latents of the whole image.
            z: its hyper-latents.
            box: cells.

        Returns:
            r, (M, h, w) int16, or int32 if int16 cannot hold them.
        """
        part = self._needed(box)
        r, *_ = self._quantised(part, z, y)
        return r[(..., *scaled(within(box, part.outer), LATENTS))]

    def restored(self, y: Latents, z: np.ndarray, box: Box) -> tuple[np.ndarray, Restored]:
        """The symbols of a box, and what they are restored to; see `symbols`."""
        part = self._needed(box)
        r, latents, *others = self._quantised(part, z, y, restore=True)
        step = self.steps(part.outer)
        inward = None if self.tables.centroid is None else others.pop()
        restored = Restored(latents, step * others[0] if others else step, inward)
        inner = scaled(within(box, part.outer), LATENTS)
        return r[(..., *inner)], restored.within(inner)

    def _quantised(
        self, part: _Part, z: np.ndarray, y: Latents, *, restore: bool = False
    ) -> list[np.ndarray]:
        """Outputs of `quantise` that are symbols or have their shape, (M, h, w)."""
        values = [np.ascontiguousarray(y[(..., *scaled(part.outer, LATENTS))])]
        values += self._conditions(z, part, gain=True)
        for wide in (False, True):
            chain = self._chain("quantise", part, wide=wide, restore=restore)
            r, largest, *others = self.model.graph(chain.role)(*values)
            if largest.max() <= np.iinfo(r.dtype).max:
                break
        return [self._checked(chain.role, array, values[0].shape)[0] for array in (r, *others)]

    def pixels(
        self, r: np.ndarray, z: np.ndarray, box: Box, *, as_bytes: bool, vivid: bool = False
    ) -> np.ndarray:
        """The synthesis of a box that includes its surroundings.

        Args:
            r: (M, h, w), symbols of the whole image.
            z: its hyper-latents.
            box: cells.
            as_bytes: uint8 BGR instead of float RGB.
            vivid: with the synthesis that is trained for looks.

        Returns:
            (H, W, 3) uint8 or float32.
        """
        part = self._needed(box)
        chain = self._chain("decode", part, wide=r.dtype == np.int32, vivid=vivid)
        values = [np.ascontiguousarray(r[None][(..., *scaled(part.outer, LATENTS))])]
        values += self._conditions(z, part)
        if chain.part:
            values += part.latents
        graph = self.model.graph(chain.role, pixels=("image",) if as_bytes else ())
        (found,) = graph(*values, self.tables.rates(self.levels[box]))
        height, width = (LATENTS * DOWNSCALE * (side.stop - side.start) for side in box)
        sides = (height, width, 3) if as_bytes else (3, height, width)
        self._checked(chain.main, found, (1, *sides))
        pixels: np.ndarray = found[0] if as_bytes else found[0].transpose(1, 2, 0)
        return pixels

    def _chain(self, kind: Kind, part: _Part, **flags: bool) -> Chain:
        inward = self.tables.centroid is not None
        return Chain(kind, part=not part.is_whole, inward=inward, **flags)

    def _needed(self, box: Box) -> _Part:
        outer = self._around(box, self.context_radius)
        reach = self.reach.hyper_mean
        if self.tables.centroid is not None:
            reach = max(reach, self.reach.hyper_scale_index)
        return _Part(box, outer, self._around(outer, reach))

    def _conditions(self, z: np.ndarray, part: _Part, *, gain: bool = False) -> list[np.ndarray]:
        """The inputs of a chain that come from the hyper-latents and the rates."""
        levels, tables = self.levels[part.outer], self.tables
        units = [tables.gain, tables.inverse_gain] if gain else [tables.inverse_gain]
        shift = []
        if tables.centroid is not None:
            units.append(tables.index_offset.astype(np.float32))
            shift = [tables.centroid]
        per_square = [tables.per_latent(unit, levels, LATENTS // 2)[None] for unit in units]
        hyper = np.ascontiguousarray(z[(..., *part.hyper)]).astype(np.int32)
        window = [] if part.is_whole else part.means
        return [hyper, *per_square, *shift, *window]

    @property
    def context_radius(self) -> int:
        """Receptive radius of the means in cells: one step for each phase but the first."""
        return (PHASES - 1) * self.reach.context_mean

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


def wide_enough(symbols: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The symbols of an image, as int32 if int16 cannot hold those of a part."""
    most = np.iinfo(symbols.dtype).max
    fits = part.max(initial=0) <= most and part.min(initial=0) >= -most
    return symbols if fits else symbols.astype(np.int32)


def check_shape(model: Model, role: str, out: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The result of a graph, if it has the shape that the tables of the model imply.

    Raises:
        ModelBrokenError: it has another shape.
    """
    require_shape(model, role, out.shape, shape)
    return out


def require_shape(model: Model, role: str, found: tuple[int, ...], needed: tuple[int, ...]) -> None:
    """Raise `ModelBrokenError` if a graph has another shape than the tables imply."""
    if found != needed:
        raise ModelBrokenError(
            f"{role} gave the shape {found} where the tables need {needed}", file=model.folder
        )
