"""What makes a graph slow on a GPU, or impossible there: each finding with its cost.

The costs are counted from shapes, not measured: bytes that move, and multiplications that hardware does
on top because its units are larger than the layers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from vaetools.graphcheck.operators import ELEMENTWISE
from vaetools.graphcheck.sizes import tensors_of
from vaetools.graphcheck.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onnx import ModelProto, NodeProto

    from vaetools.graphcheck.tensor import Tensor

_WITHOUT_KERNEL = """
Acos Acosh AffineGrid Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Col2Im
ConvInteger Cosh CumProd DynamicQuantizeLinear GlobalLpPool Hardmax LpPool Mean QLinearConv QLinearMatMul
Sinh Tan
"""

NO_CUDA_KERNEL: frozenset[str] = frozenset(_WITHOUT_KERNEL.split())
"""Operators that run on the CPU in the CUDA provider of ONNX Runtime 1.31.1; see its
docs/OperatorKernels.md."""

MAX_AXES = 5
"""Transposes of more axes leave the fast paths of CUDA kernels; CoreML and others refuse them."""

UNIT = 8
"""Channels that tensor cores take at a time, at least; fewer are filled up."""

WASTE = 0.1
"""Share of a graph's multiplications that may be lost by filling up."""

FROM_NCHW = (0, 2, 3, 1)

LIGHT = ELEMENTWISE | {"Concat", "DepthToSpace", "Reshape", "SpaceToDepth", "Transpose"}
"""Operators between an image and the layers; these have as many channels as the image gives them."""


def slow_parts(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Findings, one line each; none for a graph without such parts.

    Args:
        model: passed `check_graph`.
        shapes: of its inputs, for one image.
    """
    walk = _Walk(model, tensors_of(model, shapes))
    return [*walk.kernels(), *walk.transposes(), *walk.softmaxes(), *walk.norms(), *walk.widths()]


class _Walk:
    def __init__(self, model: ModelProto, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        constants = {tensor.name for tensor in model.graph.initializer}
        self.nodes: list[NodeProto] = []
        for node in model.graph.node:
            if constants.issuperset(filter(None, node.input)):  # folded when the graph is opened
                constants.update(node.output)
            else:
                self.nodes.append(node)
        self.ports = self._near_ports(model)
        self.makers = {name: node for node in self.nodes for name in node.output}

    def _near_ports(self, model: ModelProto) -> set[str]:
        """Inputs and outputs, and what is between them and the first or last layer."""
        found = {value.name for value in (*model.graph.input, *model.graph.output)}
        light = [node for node in self.nodes if node.op_type in LIGHT]
        for node in light:
            if found.intersection(node.input):
                found.update(node.output)
        for node in reversed(light):
            if found.intersection(node.output):
                found.update(node.input)
        return found

    def of(self, kind: str) -> list[NodeProto]:
        return [node for node in self.nodes if node.op_type == kind]

    def attribute(self, node: NodeProto, name: str, default: Any = None) -> Any:
        from onnx import helper

        found = (a for a in node.attribute if a.name == name)
        return next((helper.get_attribute_value(a) for a in found), default)

    def shape(self, name: str) -> tuple[int, ...]:
        tensor = self.tensors.get(name)
        return () if tensor is None else tensor.known_shape or ()

    def size(self, node: NodeProto) -> str:
        """The bytes of a node's first output, in words."""
        tensor = self.tensors.get(node.output[0])
        return f"{0 if tensor is None else tensor.bytes / 1e6:.3g} MB"

    def kernels(self) -> Iterator[str]:
        for node in self.nodes:
            if node.op_type in NO_CUDA_KERNEL:
                yield (
                    f"{_name(node)} has no CUDA kernel: it runs on the CPU, {self.size(node)} cross "
                    "the bus twice, and the device waits"
                )

    def transposes(self) -> Iterator[str]:
        for node in self.of("Transpose"):
            axes = len(self.shape(node.input[0]))
            if axes > MAX_AXES:
                yield (
                    f"{_name(node)} has {axes} axes: {self.size(node)} move one element at a time; "
                    "SpaceToDepth and DepthToSpace do not"
                )

    def softmaxes(self) -> Iterator[str]:
        for kind in ("Softmax", "LogSoftmax"):
            for node in self.of(kind):
                axis, rank = self.attribute(node, "axis", -1), len(self.shape(node.input[0]))
                if rank == 4 and axis % rank == 1:
                    yield (
                        f"{_name(node)} is over channels: {self.size(node)} are transposed before "
                        "and after it"
                    )

    def norms(self) -> Iterator[str]:
        for node in self.of("LayerNormalization"):
            before = self.makers.get(node.input[0])
            perm = None if before is None else self.attribute(before, "perm")
            if perm is not None and tuple(perm) == FROM_NCHW:
                yield (
                    f"{_name(node)} is over channels in NCHW: {self.size(node)} are transposed "
                    "before and after it"
                )

    def widths(self) -> Iterator[str]:
        """Layers of unusual widths, unless they read the image or make it."""
        steps = [self._steps(node) for node in self.nodes]
        total = sum(needed for needed, _ in steps)
        for node, (needed, done) in zip(self.nodes, steps, strict=True):
            at_port = self.ports.intersection((node.input[0], *node.output))
            if done - needed > WASTE * total and not at_port:
                inner, outer = self._widths(node)
                yield (
                    f"{_name(node)} has {inner} input and {outer} output channels, not multiples of "
                    f"{UNIT}: {100 * (done - needed) / total:.0f} % more multiplications in the graph"
                )

    def _widths(self, node: NodeProto) -> tuple[int, int]:
        """Channels of the input and output of each group of a layer; (0, 0) for another node."""
        if node.op_type not in {"Conv", "ConvTranspose", "Gemm", "MatMul"}:
            return 0, 0
        weights, group = self.shape(node.input[1]), self.attribute(node, "group", 1)
        if len(weights) < 2:
            return 0, 0
        if node.op_type == "Conv":
            return weights[1], weights[0] // group
        if node.op_type == "ConvTranspose":
            return weights[0] // group, weights[1]
        swapped = node.op_type == "Gemm" and self.attribute(node, "transB", 0)
        return (weights[-1], weights[-2]) if swapped else (weights[-2], weights[-1])

    def _steps(self, node: NodeProto) -> tuple[int, int]:
        """Multiplications of a layer, and those of layers of full width."""
        inner, outer = self._widths(node)
        if not inner or not outer:
            return 0, 0
        result = self.shape(node.output[0])
        if node.op_type == "Conv":
            needed = math.prod(result) * inner * math.prod(self.shape(node.input[1])[2:])
        elif node.op_type == "ConvTranspose":
            taps = math.prod(self.shape(node.input[1])[2:])
            needed = math.prod(self.shape(node.input[0])) * outer * taps
        else:
            needed = math.prod(result) * inner
        if self.attribute(node, "group", 1) > 1:  # no tensor cores
            return needed, needed
        return needed, needed * _full(inner) * _full(outer) // (inner * outer)


def _full(width: int) -> int:
    return -(-width // UNIT) * UNIT


def _name(node: NodeProto) -> str:
    return f"{node.op_type} {shown(node.output[0])}"
