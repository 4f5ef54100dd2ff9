"""The context of each phase: better means from the latents of the phases before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vaetools.model.fused.builder import weights_of
from vaetools.model.fused.phases import PHASES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import GraphProto, ModelProto, NodeProto

    from vaetools.model.fused.builder import Builder
    from vaetools.model.fused.phases import Packing


class Context(Protocol):
    """Adds the nodes of the phases 1 … 3, in order."""

    def role(self, phase: int, /) -> str:
        """The graph that computes a phase."""
        ...

    def better(self, phase: int, known: Sequence[str]) -> tuple[str, str | None]:
        """The means of a phase and the factors on its steps, or None for 1; packed.

        Args:
            phase: 1 … 3.
            known: restored latents of all earlier phases, packed.
        """
        ...


class GridContext:
    """One graph for each phase, which hands its features on.

    Args:
        builder: takes the nodes; has the parts `context_1` to `context_3`.
        means: of each phase given the hyper-latents alone, packed.
    """

    def __init__(self, builder: Builder, means: Sequence[str]) -> None:
        self.builder: Builder = builder
        self.means = means
        self._features: list[str] = []

    def role(self, phase: int) -> str:
        return f"context_{phase}"

    def better(self, phase: int, known: Sequence[str]) -> tuple[str, str | None]:
        inputs = self.builder.concat(known), self.means[phase], *self._features
        mean, *factors, features = self.builder.include(self.role(phase), *inputs)
        self._features = [features]
        return mean, factors[0] if factors else None


class DenseContext:
    """The graph `context_mean` of an `interleaved` context, whatever it looks like.

    Args:
        builder: takes the nodes; has the part `context_mean`.
        packing: of the latents.
        mean: given the hyper-latents alone, (1, M, h, w).
        means: the same, packed.
    """

    def __init__(self, builder: Builder, packing: Packing, mean: str, means: Sequence[str]) -> None:
        self.builder: Builder = builder
        self.packing: Packing = packing
        self.mean = mean
        self.zeros: str = builder.number("Mul", means[0], 0.0)

    def role(self, _phase: int) -> str:
        return "context_mean"

    def better(self, phase: int, known: Sequence[str]) -> tuple[str, str | None]:
        parts = [*known, *[self.zeros] * (PHASES - len(known))]
        (mean,) = self.builder.include("context_mean", self.packing.unpacked(parts), self.mean)
        return self.packing.packed(mean)[phase], None


class SparseContext:
    """The same without what is not needed.

    What is known is 0 except in the phases done, and the first layer is linear: each phase adds the
    contribution of the latents that were new in the one before. Each group of channels has them at
    one place of every 2x2 square, so a 3x3 kernel falls into 1, 2, 2 and 4 taps for the outputs at
    the four places: a quarter of the multiplications. The last layer computes only the channels and
    places of the phase: another quarter. What depends on the mean alone is computed once.

    Args:
        builder: takes the nodes; has the part `context_mean`.
        packing: of the latents.
        shape: where `context_mean` can be taken apart, from `separable`.
        mean: given the hyper-latents alone, (1, M, h, w).
        means: the same, packed.
    """

    def __init__(
        self, builder: Builder, packing: Packing, shape: Separable, mean: str, means: Sequence[str]
    ) -> None:
        self.builder: Builder = builder
        self.packing: Packing = packing
        self.shape = shape
        self.means = means
        self._weights = weights_of(builder.parts["context_mean"])
        self._sums: list[str | None] = [None] * len(PLACES)
        self._once = {shape.mean: mean}
        builder.nodes_of("context_mean", shape.once, self._once)

    def role(self, _phase: int) -> str:
        return "context_mean"

    def better(self, phase: int, known: Sequence[str]) -> tuple[str, str | None]:
        b, shape = self.builder, self.shape
        self._add(phase - 1, known[-1])
        sums = [value for value in self._sums if value is not None]
        values = self._once | {
            shape.entry.output[0]: b.op("DepthToSpace", b.concat(sums), blocksize=2)
        }
        b.nodes_of("context_mean", shape.each, values)
        return b.op("Add", self.means[phase], self._exit(phase, values[shape.exit.input[0]])), None

    def _add(self, phase: int, known: str) -> None:
        """Add what the latents of a phase contribute to the output of the first layer at each place."""
        b, groups = self.builder, self.packing.groups
        parts = b.split(known, [count for count, _ in groups])
        weights, bias = self._layer(self.shape.entry)
        kernels = np.split(weights, np.cumsum([count for count, _ in groups])[:-1], axis=1)
        for number, (row, column) in enumerate(PLACES):
            for part, kernel, (_, places) in zip(parts, kernels, groups, strict=True):
                rows, above, below = _taps(row, places[phase][0])
                columns, left, right = _taps(column, places[phase][1])
                taps = b.constant(kernel[:, :, rows][..., columns], np.float32)
                so_far = self._sums[number]
                biases = (
                    [] if so_far is not None or bias is None else [b.constant(bias, np.float32)]
                )
                more = b.op(
                    "Conv",
                    part,
                    taps,
                    *biases,
                    kernel_shape=[len(rows), len(columns)],
                    pads=[above, left, below, right],
                )
                self._sums[number] = more if so_far is None else b.op("Add", so_far, more)

    def _exit(self, phase: int, values: str) -> str:
        """The last layer for the latents of a phase, packed."""
        b, groups = self.builder, self.packing.groups
        weights, bias = self._layer(self.shape.exit)
        at_places = b.split(
            b.op("SpaceToDepth", values, blocksize=2), [weights.shape[1]] * len(PLACES)
        )
        outputs = []
        ends = np.cumsum([count for count, _ in groups])
        for end, (count, places) in zip(ends, groups, strict=True):
            layer = [b.constant(weights[end - count : end], np.float32)]
            layer += [] if bias is None else [b.constant(bias[end - count : end], np.float32)]
            at = at_places[PLACES.index(places[phase])]
            outputs.append(b.op("Conv", at, *layer, kernel_shape=[1, 1]))
        return b.concat(outputs)

    def _layer(self, node: NodeProto) -> tuple[np.ndarray, np.ndarray | None]:
        weights = self._weights[node.input[1]]
        return weights, self._weights[node.input[2]] if len(node.input) > 2 else None


PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""(row, column) in a 2x2 square, in the order of DepthToSpace."""


def _taps(to: int, at: int) -> tuple[list[int], int, int]:
    """Taps of a kernel of three that read inputs at one parity for outputs at another.

    Args:
        to: parity of the outputs.
        at: parity of the inputs; the others are 0.

    Returns:
        The taps, and how many inputs of that parity are needed before and after the first and last.
    """
    steps = {tap: (to + tap - 1 - at) // 2 for tap in range(3) if (to + tap - 1 - at) % 2 == 0}
    return [*steps], -min(steps.values()), max(steps.values())


@dataclass(frozen=True)
class Separable:
    """Where a graph `context_mean(known, mean)` can be taken apart.

    Attributes:
        mean: name of its second input.
        entry: the 3x3 convolution that alone reads `known`.
        once: nodes that depend on the mean alone.
        each: nodes in between.
        exit: the 1x1 convolution whose output is added to the mean as the last step.
    """

    mean: str
    entry: NodeProto
    once: tuple[NodeProto, ...]
    each: tuple[NodeProto, ...]
    exit: NodeProto


def separable(model: ModelProto) -> Separable | None:
    """How to take a graph `context_mean` apart; None if it has another structure."""
    graph = model.graph
    known, mean = (value.name for value in graph.input)
    made = {name: node for node in graph.node for name in node.output}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    readers = [node for node in graph.node if known in node.input]
    last = made.get(graph.output[0].name)
    if len(readers) != 1 or last is None or last.op_type != "Add" or mean not in last.input:
        return None
    (entry,) = readers
    exits = [made.get(name) for name in last.input if name != mean]
    exit_layer = exits[0] if len(exits) == 1 else None
    if (
        exit_layer is None
        or not _is_plain(entry, shapes, 3)
        or not _is_plain(exit_layer, shapes, 1)
        or entry.input[0] != known
        or _uses(graph, exit_layer.output[0]) != 1
        or exit_layer is entry
    ):
        return None
    between = [node for node in graph.node if node not in (entry, exit_layer, last)]
    changing = {entry.output[0]}
    once, each = [], []
    for node in between:
        if changing.isdisjoint(node.input):
            once.append(node)
        else:
            each.append(node)
            changing.update(node.output)
    return Separable(mean, entry, tuple(once), tuple(each), exit_layer)


def _is_plain(node: NodeProto, shapes: dict[str, tuple[int, ...]], side: int) -> bool:
    """Whether a node is a convolution of `side` x `side` that keeps the size, with constant weights."""
    import onnx

    if node.op_type != "Conv" or any(name not in shapes for name in node.input[1:]):
        return False
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    plain = {
        "group": 1,
        "strides": [1, 1],
        "dilations": [1, 1],
        "auto_pad": b"NOTSET",
        "pads": [side // 2] * 4,
        "kernel_shape": [side, side],
    }
    differs = any(name in found and found[name] != value for name, value in plain.items())
    has_pads = side == 1 or "pads" in found
    return not differs and has_pads and shapes[node.input[1]][2:] == (side, side)


def _uses(graph: GraphProto, name: str) -> int:
    inputs = [used for node in graph.node for used in node.input]
    return [*inputs, *(value.name for value in graph.output)].count(name)
