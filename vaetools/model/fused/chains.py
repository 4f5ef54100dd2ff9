"""What a codec computes in one go: chains of a model's graphs, with quantisation in between.

    encode    image -> hyper-latents z and symbols r, for an image of one tile at one rate
    code      latents y -> z, r; the same after the analysis
    quantise  latents y, z -> r
    decode    r, z -> image

Symbols are int16 and images may be bytes (`vaetools.model.pixels`): nothing larger crosses to the device
and back. Chains keep no state.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np

from vaetools.errors import ModelBrokenError
from vaetools.model.fused.builder import Builder
from vaetools.model.fused.context import DenseContext, GridContext, SparseContext, separable
from vaetools.model.fused.phases import PHASES, Packing
from vaetools.model.pixels import FILE, FINITE
from vaetools.model.tasks import CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vaetools.model.fused.context import Context
    from vaetools.model.spec import Manifest

VERSION = 2
"""Of the chains; a higher one makes what is cached of them invalid."""

MAX_SYMBOL = 2**30
"""Magnitude of a symbol; only a broken model needs more."""

Kind = Literal["encode", "code", "quantise", "decode"]

ROLES: dict[str, tuple[str, ...]] = {
    "encode": ("analysis", "hyper_analysis", "hyper_mean"),
    "code": ("hyper_analysis", "hyper_mean"),
    "quantise": ("hyper_mean",),
    "decode": ("hyper_mean", "synthesis"),
}
"""Kind -> graphs that it needs, besides those of the context."""

VIVID = "synthesis_vivid"
"""Role of a second synthesis for the same latents; few models have one."""

PREFIX = "codec."


@dataclass(frozen=True)
class Chain:
    """Which chain.

    Attributes:
        kind: what it computes.
        part: for a part of an image, whose surroundings are cut off inside.
        wide: symbols are int32 instead of int16.
        restore: `quantise` also gives the latents that are restored from the symbols.
        vivid: `decode` ends with the synthesis that is trained for looks.
        inward: the model restores towards the mean (`centroid` in its tables).
        limit: largest magnitude of the hyper-latents that `encode` and `code` compute.
    """

    kind: Kind
    part: bool = False
    wide: bool = False
    restore: bool = False
    vivid: bool = False
    inward: bool = False
    limit: int = 0

    @property
    def role(self) -> str:
        """The chain as the role of a graph."""
        flags = [f.name for f in fields(self) if getattr(self, f.name) is True]
        limit = [f"limit{self.limit}"] if self.limit else []
        return PREFIX + "+".join([self.kind, *flags, *limit])

    @property
    def main(self) -> str:
        """The graph that its errors name."""
        return self._own[-1]

    @property
    def integers(self) -> type[np.generic]:
        """Type of the symbols."""
        return np.int32 if self.wide else np.int16

    def roles(self, context: str) -> tuple[str, ...]:
        """The graphs that it is made of, for a pattern of the context."""
        index = ("hyper_scale_index",) if self.inward else ()
        return (*self._own, *index, *CONTEXT[context])

    @property
    def _own(self) -> tuple[str, ...]:
        roles = ROLES[self.kind]
        return (*roles[:-1], VIVID) if self.vivid else roles


def chain_of(role: str) -> Chain | None:
    """The chain of a role; None if the role is that of a graph.

    Raises:
        ModelBrokenError: there is no such chain.
    """
    if not role.startswith(PREFIX):
        return None
    kind, *words = role.removeprefix(PREFIX).split("+")
    limits = [word.removeprefix("limit") for word in words if word.startswith("limit")]
    flags = {word: True for word in words if not word.startswith("limit")}
    known = {f.name for f in fields(Chain)} - {"kind", "limit"}
    numbers = all(limit.isdecimal() for limit in limits)
    if kind not in get_args(Kind) or not flags.keys() <= known or not numbers:
        raise ModelBrokenError(f"there is no chain {role!r}")
    return Chain(cast("Kind", kind), limit=int(limits[0]) if limits else 0, **flags)


def chain_graph(chain: Chain, manifest: Manifest, load: Callable[[str], bytes]) -> bytes:
    """The ONNX bytes of a chain, with float RGB images.

    Inputs and outputs, in this order, as far as a chain has them; M latent and N hyper-latent channels,
    (gh, gw) either (1, 1) or half the latents' size:

        image      (1, 3, H, W) float32
        latents    (1, M, h, w) float32
        symbols    (1, M, h, w) int16 or int32
        hyper      (1, N, h/4, w/4) int32; larger for a part
        gain, step (1, M, gh, gw) float32; (1, M, 1, 1) for `encode` and `code`
        offset     (1, M, gh, gw) float32, added to the table index, and
        centroid   (T,) float32, if `inward`
        around     for a part: start and end, (2,) int64 each, of what is needed of the means of `hyper`,
                   and of `decode` also of what is needed of the latents
        rate       as the synthesis takes it

        hyper      (1, N, h/4, w/4) int32
        symbols    (1, M, h, w) int16 or int32
        largest    (1,) float32, the largest magnitude of a symbol: int16 may not hold it
        restored   (1, M, h, w) float32, latents, if `restore`, and
        factor     (1, M, h, w) float32 on the steps, if the context has one
        shift      (1, M, h, w) float32: how far latents are restored towards the mean, if `inward`
        image      (1, 3, H, W) float32

    Args:
        chain: which.
        manifest: of the model.
        load: role -> ONNX bytes of a graph that was checked.

    Raises:
        ModelBrokenError: the graphs do not fit together.
    """
    import onnx

    assert manifest.codec is not None
    roles = chain.roles(manifest.codec.context)
    parts = {role: onnx.load_from_string(load(role)) for role in roles}
    return _Assembly(chain, manifest, Builder(parts)).finished()


class _Assembly:
    def __init__(self, chain: Chain, manifest: Manifest, builder: Builder) -> None:
        assert manifest.codec is not None
        self.chain = chain
        self.manifest = manifest
        self.builder = builder
        self.latents = manifest.latent.channels
        self.context = manifest.codec.context
        self.packing = Packing(builder, self.context, self.latents)
        self.parts = builder.parts
        self._results: list[tuple[str, str]] = []

    def finished(self) -> bytes:
        assemble = {
            "encode": self._encode,
            "code": self._encode,
            "quantise": self._quantise,
            "decode": self._decode,
        }[self.chain.kind]
        assemble()
        self._add_checks()
        return self.builder.finished()

    def _checked(self, role: str, *inputs: str) -> str:
        """The output of a graph, which must be finite."""
        (values,) = self.builder.include(role, *inputs)
        self._results.append((role, values))
        return values

    def _add_checks(self) -> None:
        """Outputs that are not finite where the results of a graph are not: integers cannot show it."""
        b = self.builder
        sums: dict[str, str] = {}
        for role, values in self._results:
            total = b.reduce("ReduceSum", values)
            sums[role] = b.op("Add", sums[role], total) if role in sums else total
        for role, total in reversed(
            sums.items()
        ):  # the graph to blame is the first that is not finite
            file = self.manifest.graphs[role].file
            b.output(f"{FILE}{file}{FINITE}", total, np.float32, (1,), first=True)

    def _encode(self) -> None:
        b = self.builder
        if self.chain.kind == "encode":
            y = self._checked("analysis", b.input("image", np.float32, (1, 3, "height", "width")))
        else:
            y = b.input("latents", np.float32, self._shape())
        gain, step = (
            b.input(name, np.float32, (1, self.latents, 1, 1)) for name in ("gain", "step")
        )
        shift = self._shift_inputs((1, 1))
        z = self._checked("hyper_analysis", b.op("Mul", y, gain))
        limits = (b.constant(sign * self.chain.limit, np.float32) for sign in (-1, 1))
        hyper = b.op("Clip", b.op("Round", z), *limits)
        b.output("hyper", b.cast(hyper, np.int32), np.int32, self._hyper_shape("out_"))
        self._code(y, hyper, gain, step, shift)

    def _quantise(self) -> None:
        b = self.builder
        y = b.input("latents", np.float32, self._shape())
        hyper, gain, step, shift = self._rate_inputs()
        self._code(y, hyper, gain, step, shift)

    def _code(self, y: str, hyper: str, gain: str, step: str, shift: Sequence[str]) -> None:
        b = self.builder
        coded = self.packing.packed(y)

        def symbols(phase: int, mean: str, gain: str) -> str:
            return b.op("Round", b.op("Mul", b.op("Sub", coded[phase], mean), gain))

        phases = self._phases(hyper, shift)
        phases.run(gain, step, symbols, last=self.chain.restore)
        r = self.packing.unpacked(phases.symbols)
        most = MAX_SYMBOL if self.chain.wide else np.iinfo(np.int16).max
        limits = (b.constant(sign * most, np.float32) for sign in (-1, 1))
        kind = self.chain.integers
        b.output("symbols", b.cast(b.op("Clip", r, *limits), kind), kind, self._shape("out_"))
        b.output("largest", b.reduce("ReduceMax", b.op("Abs", r)), np.float32, (1,))
        if self.chain.restore:
            restored = {
                "restored": phases.latents,
                "factor": phases.factors,
                "shift": phases.inward,
            }
            for name, parts in restored.items():
                if parts:
                    values = self.packing.unpacked(parts)
                    b.output(name, values, np.float32, self._shape("out_"))

    def _decode(self) -> None:
        b = self.builder
        symbols = self._symbols_input()
        hyper, gain, step, shift = self._rate_inputs(gain=False)
        window = self._window("latents") if self.chain.part else None
        rate = b.input("rate", np.float32, (1, 1, "rate_height", "rate_width"))
        phases = self._phases(hyper, shift)
        phases.run(gain, step, lambda phase, _mean, _gain: symbols[phase], last=True)
        latents = self.packing.unpacked(phases.latents)
        if window is not None:
            latents = self._cut(latents, window)
        (image,) = b.include(self.chain.main, latents, rate)
        b.output("image", image, np.float32, (1, 3, "height", "width"))

    # --- what they share --------------------------------------------------------------------------

    def _symbols_input(self) -> list[str]:
        b = self.builder
        symbols = b.input("symbols", self.chain.integers, self._shape())
        return self.packing.packed(b.cast(symbols, np.float32))

    def _rate_inputs(self, *, gain: bool = True) -> tuple[str, str, str, list[str]]:
        """The hyper-latents in float32, gain and step, and what `_shift_inputs` gives."""
        b = self.builder
        hyper = b.cast(b.input("hyper", np.int32, self._hyper_shape()), np.float32)
        sides = "gain_height", "gain_width"
        names = ("gain", "step") if gain else ("step",)
        units = [b.input(name, np.float32, (1, self.latents, *sides)) for name in names]
        shift = self._shift_inputs(sides)
        if self.chain.part:
            self._means = self._window("means")
        return hyper, units[0], units[-1], shift

    def _shift_inputs(self, sides: tuple[int | str, int | str]) -> list[str]:
        if not self.chain.inward:
            return []
        b = self.builder
        offset = b.input("offset", np.float32, (1, self.latents, *sides))
        return [offset, b.input("centroid", np.float32, ("tables",))]

    def _window(self, name: str) -> tuple[str, str]:
        start, end = (self.builder.input(f"{name}_{at}", np.int64, (2,)) for at in ("start", "end"))
        return start, end

    def _cut(self, values: str, window: tuple[str, str]) -> str:
        return self.builder.op("Slice", values, *window, self.builder.constant([2, 3], np.int64))

    def _phases(self, hyper: str, shift: Sequence[str]) -> _Phases:
        b = self.builder

        def needed(role: str) -> str:
            values = self._checked(role, hyper)
            return self._cut(values, self._means) if self.chain.part else values

        mean = needed("hyper_mean")
        means = self.packing.packed(mean)
        inward = None
        if self.chain.inward:
            offset, centroid = shift
            most = b.op(
                "Sub", b.cast(b.op("Size", centroid), np.float32), b.constant(1, np.float32)
            )
            inward = [
                b.op("Gather", centroid, self._index(index, offset, most))
                for index in self.packing.packed(needed("hyper_scale_index"))
            ]
        return _Phases(b, self._context(mean, means), means, inward, self._results)

    def _index(self, index: str, offset: str, most: str) -> str:
        b = self.builder
        moved = b.op("Add", index, offset)
        return b.cast(b.op("Min", b.number("Max", moved, 0), most), np.int64)

    def _context(self, mean: str, means: Sequence[str]) -> Context:
        if self.context == "grid":
            return GridContext(self.builder, means)
        shape = separable(self.parts["context_mean"])
        if shape is None:
            return DenseContext(self.builder, self.packing, mean, means)
        return SparseContext(self.builder, self.packing, shape, mean, means)

    def _shape(self, prefix: str = "") -> tuple[int | str, ...]:
        return 1, self.latents, f"{prefix}latent_height", f"{prefix}latent_width"

    def _hyper_shape(self, prefix: str = "") -> tuple[int | str, ...]:
        (hyper,) = self.parts["hyper_mean"].graph.input
        channels = hyper.type.tensor_type.shape.dim[1].dim_value or "hyper_channels"
        return 1, channels, f"{prefix}hyper_height", f"{prefix}hyper_width"


class _Phases:
    """Adds the nodes of all phases; the lists hold packed values, one per phase.

    Args:
        builder: takes the nodes.
        context: of the phases but the first.
        means: given the hyper-latents alone.
        inward: how far each latent is restored towards the mean; None for not at all.
        results: takes the role of each graph with its results.
    """

    def __init__(
        self,
        builder: Builder,
        context: Context,
        means: Sequence[str],
        inward: Sequence[str] | None,
        results: list[tuple[str, str]],
    ) -> None:
        self.results = results
        self.builder = builder
        self.context = context
        self.means = means
        self.inward = inward or ()
        self.symbols: list[str] = []
        self.latents: list[str] = []
        self.factors: list[str] = []

    def run(
        self, gain: str, step: str, symbols: Callable[[int, str, str], str], *, last: bool
    ) -> None:
        """Add the nodes.

        Args:
            gain, step: r = round((y − mean) · gain), and the step from r to r + 1.
            symbols: r of a phase, given its number, its mean and its gain.
            last: restore the latents of the last phase, too.
        """
        b = self.builder
        for phase in range(PHASES):
            mean, factor = self.means[phase], None
            if phase:
                mean, factor = self.context.better(phase, self.latents)
                role = self.context.role(phase)
                self.results += [(role, value) for value in (mean, factor) if value is not None]
            gains = gain if factor is None else b.op("Div", gain, factor)
            steps = step if factor is None else b.op("Mul", step, factor)
            if factor is not None:
                self.factors.append(factor)
            r = symbols(phase, mean, gains)
            self.symbols.append(r)
            if last or phase < PHASES - 1:
                inner = self._shrunk(phase, r) if self.inward else r
                self.latents.append(b.op("Add", mean, b.op("Mul", inner, steps)))
        if self.factors:
            ones = b.number("Add", b.number("Mul", self.means[0], 0), 1)
            self.factors.insert(0, ones)

    def _shrunk(self, phase: int, r: str) -> str:
        b = self.builder
        return b.op("Sub", r, b.op("Mul", b.op("Sign", r), self.inward[phase]))
