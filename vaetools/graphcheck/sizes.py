"""Infer the size of every tensor of a graph before it runs.

Nodes are visited in order, with ONNX's own inference rules. A graph passes when

- every size follows from input sizes and constants, never from the values of an image;
- no tensor has more than `MAX_ELEMENTS` elements;
- whatever depends on constants alone, which ONNX Runtime computes while it loads the graph, takes
  little time and memory.

A graph whose inputs have symbolic dimensions is visited twice: once with unknown dimensions, as ONNX
Runtime sees it at loading, and once with the dimensions of a small image. The first pass is strict; in
the second, dimensions that do not suit the graph leave sizes unknown.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck import values
from vaetools.graphcheck.nodes import (
    check_inferable,
    check_operands,
    check_pitfalls,
    stays_positive,
)
from vaetools.graphcheck.operators import HEAVY, INFERRED_SINCE, SAME_SHAPE
from vaetools.graphcheck.tensor import Origin, Tensor
from vaetools.graphcheck.text import first_line, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ModelProto, NodeProto, TypeProto

STEPS = 2**25
"""Elements that constant folding may read and write, in addition to `STEPS_PER_WEIGHT` per weight."""

STEPS_PER_WEIGHT = 8
HEAVY_STEPS = 128
"""Steps per element of an operator in `HEAVY`; the limit then corresponds to about a second."""

USUAL_SIDE = 16
"""Value of an unknown dimension; the first one is the batch, and 1."""


def check_sizes(
    model: ModelProto, constants: Mapping[str, Tensor], sizes: Mapping[str, int]
) -> dict[str, Tensor]:
    """Infer and check all sizes of a graph.

    Args:
        model: with allowed operators only.
        constants: initializers, and outputs of `Constant` nodes.
        sizes: symbolic dimension -> a value that suits the model.

    Returns:
        All tensors by name, with symbolic dimensions unknown.

    Raises:
        ModelBrokenError: a size cannot be inferred, or is too large.
    """
    inputs = {
        value.name: Tensor(value.type, Origin.CONTENT)
        for value in model.graph.input
        if value.name not in constants
    }
    found = _Pass(model, {**constants, **inputs}, strict=True).follow()
    if any(tensor.known_shape is None for tensor in inputs.values()):
        small = {n: Tensor(_with_sides(t.type, sizes), t.origin) for n, t in inputs.items()}
        _Pass(model, {**constants, **small}, strict=False).follow()
    return found


def _with_sides(declared: TypeProto | None, sizes: Mapping[str, int]) -> TypeProto:
    """An input's type with a value for every unknown dimension."""
    from onnx import TypeProto

    kind = TypeProto()
    kind.CopyFrom(declared)
    for axis, side in enumerate(kind.tensor_type.shape.dim):
        if not side.HasField("dim_value"):
            side.dim_value = sizes.get(side.dim_param, USUAL_SIDE if axis else 1)
    return kind


class _Pass:
    """One pass through a graph: the tensors so far, and the steps of constant folding.

    Args:
        tensors: inputs and constants.
        strict: refuse sizes that cannot be inferred.
    """

    def __init__(self, model: ModelProto, tensors: Mapping[str, Tensor], *, strict: bool) -> None:
        self.model = model
        self.tensors = dict(tensors)
        self.strict = strict
        self.steps = 0
        own = sum(t.elements for t in tensors.values() if t.origin != Origin.CONTENT)
        self.max_steps = STEPS + STEPS_PER_WEIGHT * own
        imports = model.opset_import
        self.version = next(o.version for o in imports if o.domain in {"", "ai.onnx"})

    def follow(self) -> dict[str, Tensor]:
        for name, tensor in self.tensors.items():
            try:
                tensor.check()
            except ModelBrokenError as error:
                raise ModelBrokenError(f"{shown(name)} {error.problem}") from None
        for node in self.model.graph.node:
            try:
                self._step(node)
            except ModelBrokenError as error:
                name = shown(next(iter(node.output), ""))
                problem = f"{node.op_type} {name} {error.problem}"
                raise ModelBrokenError(problem, remedy=error.remedy) from None
        for value in self.model.graph.output:
            if value.name not in self.tensors:
                raise ModelBrokenError(f"the output {shown(value.name)} is never computed")
        return self.tensors

    def _step(self, node: NodeProto) -> None:
        if node.op_type == "Constant":
            return
        for name in node.input:
            if name and name not in self.tensors:
                raise ModelBrokenError(f"uses {shown(name)} before it is computed")
        inputs = [self.tensors[name] if name else None for name in node.input]
        if self.strict:
            check_operands(node, inputs)
            check_pitfalls(node, inputs)
        kinds = self._infer(node)
        present = [tensor for tensor in inputs if tensor is not None]
        origin = max((tensor.origin for tensor in present), default=Origin.SIZES)
        outputs = {name: Tensor(kinds.get(name), origin) for name in node.output if name}
        for name, tensor in outputs.items():
            tensor.check()
            if name in self.tensors:
                raise ModelBrokenError("is computed twice")
            self.tensors[name] = _with_value(node, inputs, tensor)
        if self.strict and origin != Origin.CONTENT:
            self._count(node, [*present, *outputs.values()])

    def _infer(self, node: NodeProto) -> Mapping[str, TypeProto]:
        """Types of the outputs, as far as they can be inferred."""
        from onnx import defs, numpy_helper, shape_inference

        inputs = {name: self.tensors[name] for name in node.input if name}
        types = {name: t.type for name, t in inputs.items() if t.type is not None}
        if len(types) < len(inputs):
            return {}
        if node.op_type in SAME_SHAPE:
            return {node.output[0]: types[node.input[0]]}
        data = {
            name: numpy_helper.from_array(tensor.value, name)
            for name, tensor in inputs.items()
            if tensor.value is not None
        }
        version = max(self.version, INFERRED_SINCE.get(node.op_type, 0))
        schema = defs.get_schema(node.op_type, version, "")
        try:
            kinds: dict[str, TypeProto] = shape_inference.infer_node_outputs(
                schema, node, types, data, opset_imports=self.model.opset_import
            )
        except shape_inference.InferenceError as error:
            if self.strict:
                raise ModelBrokenError(f"does not fit: {first_line(error)}") from None
            return {}
        if self.strict:
            check_inferable(kinds, node, inputs)
        elif any(side < 0 for k in kinds.values() for side in Tensor(k, Origin.SIZES).known_sides):
            return {}  # the small image is too small
        return kinds

    def _count(self, node: NodeProto, tensors: Sequence[Tensor]) -> None:
        """Count the steps that ONNX Runtime takes for a node when it loads the graph."""
        heavy = HEAVY_STEPS if node.op_type in HEAVY else 1
        self.steps += heavy * sum(tensor.elements for tensor in tensors)
        if self.steps > self.max_steps:
            raise ModelBrokenError(
                "is one computation from constants too many", remedy="fold them when exporting"
            )


def _with_value(node: NodeProto, inputs: Sequence[Tensor | None], output: Tensor) -> Tensor:
    """The output with its value, or with the origin of a tensor of unknown value."""
    if node.op_type in {"Shape", "Size"}:
        return _measured(node, inputs[0], output)
    if output.origin != Origin.SIZES:
        return output
    shape = output.known_shape
    is_open = any(tensor is not None and tensor.value is None for tensor in inputs)
    if node.op_type in values.EVALUATED and len(node.output) == 1:
        if is_open or shape is None:
            return replace(output, positive=stays_positive(node, inputs))
        if output.elements <= values.MAX_ELEMENTS:
            operands = [None if tensor is None else tensor.value for tensor in inputs]
            with contextlib.suppress(*values.NO_VALUE):
                return replace(output, value=values.evaluate(node, operands, shape))
    return replace(output, origin=Origin.CONSTANT)


def _measured(node: NodeProto, source: Tensor | None, output: Tensor) -> Tensor:
    """Output of `Shape` or `Size`."""
    unknown = replace(output, origin=Origin.SIZES, positive=True)
    if source is None or source.shape is None:
        return unknown
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    sides = source.shape[bounds.get("start", 0) : bounds.get("end", len(source.shape))]
    if None in sides:
        return unknown
    measured = sides if node.op_type == "Shape" else source.elements
    return replace(unknown, value=np.array(measured, np.int64))
