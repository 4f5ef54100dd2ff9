"""Infer the size of every tensor of a graph before it runs.

Nodes are visited in order, with ONNX's own inference rules. A graph passes when

- every size follows from input sizes and constants, never from the values of an image;
- no tensor has more than `MAX_ELEMENTS` elements, and none has none;
- all nodes together stay within the multiplications and the memory of `budget`;
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
from vaetools.graphcheck.budget import Budget, pixels_of
from vaetools.graphcheck.costs import PLAIN, cost_of
from vaetools.graphcheck.nodes import (
    check_elements,
    check_inferable,
    check_operands,
    check_pitfalls,
    is_empty,
    stays_positive,
)
from vaetools.graphcheck.operators import HEAVY, INFERRED_SINCE, SAME_SHAPE
from vaetools.graphcheck.tensor import Origin, Tensor
from vaetools.graphcheck.text import first_line, shown
from vaetools.graphcheck.whitelist import constants_of

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
    model: ModelProto,
    constants: Mapping[str, Tensor],
    sizes: Mapping[str, int],
    size: Sequence[int] = (),
) -> dict[str, Tensor]:
    """Infer and check all sizes of a graph.

    Args:
        model: with allowed operators only.
        constants: initializers, and outputs of `Constant` nodes.
        sizes: symbolic dimension -> a value that suits the model.
        size: (height, width) of a model that accepts one size only.

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
    budget = Budget(model, pixels_of(inputs.values(), sizes, size))
    is_fixed = all(tensor.known_shape is not None for tensor in inputs.values())
    strict = _Pass(model, constants, inputs, strict=True, budget=budget if is_fixed else None)
    found = strict.follow()
    if not is_fixed:
        small = {n: Tensor(_with_sides(t.type, sizes), t.origin) for n, t in inputs.items()}
        suited = _suit(inputs, sizes)
        _Pass(model, constants, small, strict=False, budget=budget, suited=suited).follow()
    return found


def measure(
    model: ModelProto, constants: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]
) -> Budget:
    """What a checked graph takes for inputs of these shapes.

    Nodes whose sizes do not follow from the shapes count too little.

    Raises:
        ModelBrokenError: a tensor would have no elements.
    """
    budget = Budget(model, 0)
    _follow(model, constants, shapes, budget)
    return budget


def tensors_of(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """All tensors of a checked graph by name, for inputs of these shapes.

    Raises:
        ModelBrokenError: a tensor would have no elements.
    """
    return _follow(model, constants_of(model), shapes, None)


def _follow(
    model: ModelProto,
    constants: Mapping[str, Tensor],
    shapes: Mapping[str, Sequence[int]],
    budget: Budget | None,
) -> dict[str, Tensor]:
    from onnx import helper

    inputs = {}
    for value in model.graph.input:
        if value.name not in constants:
            element = value.type.tensor_type.elem_type
            kind = helper.make_tensor_type_proto(element, shapes[value.name])
            inputs[value.name] = Tensor(kind, Origin.CONTENT)
    walk = _Pass(model, constants, inputs, strict=False, budget=budget, limited=False, suited=True)
    return walk.follow()


def _suit(inputs: Mapping[str, Tensor], sizes: Mapping[str, int]) -> bool:
    """Whether the manifest knows all unknown dimensions of the inputs."""
    kinds = [tensor.type for tensor in inputs.values() if tensor.type is not None]
    sides = [side for kind in kinds for side in kind.tensor_type.shape.dim]
    return all(s.HasField("dim_value") or sizes.get(s.dim_param, 0) > 0 for s in sides)


def _with_sides(declared: TypeProto | None, sizes: Mapping[str, int]) -> TypeProto:
    """An input's type with a value for every unknown dimension."""
    from onnx import TypeProto

    kind = TypeProto()
    kind.CopyFrom(declared)
    for axis, side in enumerate(kind.tensor_type.shape.dim):
        if not side.HasField("dim_value"):
            usual = USUAL_SIDE if axis else 1
            side.dim_value = max(1, sizes.get(side.dim_param, usual))
    return kind


class _Pass:
    """One pass through a graph: the tensors so far, and the steps of constant folding.

    Args:
        constants: initializers and constants.
        inputs: of the graph.
        strict: refuse sizes that cannot be inferred.
        budget: counts the nodes; None for a pass with unknown sizes.
        limited: refuse a graph that exceeds the budget, or `MAX_ELEMENTS`.
        suited: the inputs are those of an image that the model accepts: a tensor without elements is
            refused, not blamed on an image that is too small.
    """

    def __init__(
        self,
        model: ModelProto,
        constants: Mapping[str, Tensor],
        inputs: Mapping[str, Tensor],
        *,
        strict: bool,
        budget: Budget | None = None,
        limited: bool = True,
        suited: bool = False,
    ) -> None:
        self.model = model
        self.tensors = {**constants, **inputs}
        self.folded = {*constants}
        self.strict = strict
        self.budget = budget
        self.limited = limited
        self.least = 0 if strict or suited else 1
        self.steps = 0
        if budget is not None:
            budget.begin(inputs)
        own = sum(tensor.elements for tensor in constants.values())
        self.max_steps = STEPS + STEPS_PER_WEIGHT * own
        imports = model.opset_import
        self.version = next(o.version for o in imports if o.domain in {"", "ai.onnx"})

    def follow(self) -> dict[str, Tensor]:
        for name, tensor in self.tensors.items():
            try:
                if self.limited:
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
            if self.budget is not None:
                self.budget.skip()
            return
        for name in node.input:
            if name and name not in self.tensors:
                raise ModelBrokenError(f"uses {shown(name)} before it is computed")
        inputs = [self.tensors[name] if name else None for name in node.input]
        check_elements(node, inputs)
        if self.strict:
            check_operands(node, inputs)
            check_pitfalls(node, inputs)
        outputs = self._outputs(node, inputs)
        for name, tensor in outputs.items():
            if self.limited:
                tensor.check()
            if is_empty(node, tensor):
                raise ModelBrokenError("has an output without elements")
            if name in self.tensors:
                raise ModelBrokenError("is computed twice")
            self.tensors[name] = _with_value(node, inputs, tensor)
        self._count(node, inputs, [*outputs.values()])
        self._spend(node, inputs)

    def _outputs(self, node: NodeProto, inputs: Sequence[Tensor | None]) -> dict[str, Tensor]:
        """The outputs of a node by name, without values."""
        kinds = self._infer(node)
        present = [tensor.origin for tensor in inputs if tensor is not None]
        origin = max(present, default=Origin.SIZES)
        return {name: Tensor(kinds.get(name), origin) for name in node.output if name}

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
        elif any(side < self.least for k in kinds.values() for side in _known_sides(k)):
            return {}  # the small image is too small
        return kinds

    def _spend(self, node: NodeProto, inputs: Sequence[Tensor | None]) -> None:
        """Count a node that is computed for every image."""
        is_folded = all(name in self.folded for name in node.input if name)
        if is_folded:
            self.folded.update(node.output)
        if self.budget is None:
            return
        if is_folded:
            self.budget.skip()
            return
        self.budget.add(node, inputs, [self.tensors.get(name) for name in node.output])
        if self.limited:
            self.budget.check()

    def _count(
        self, node: NodeProto, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> None:
        """Count the steps that ONNX Runtime takes for a node when it loads the graph."""
        present = [tensor for tensor in (*inputs, *outputs) if tensor is not None]
        if not self.strict or any(tensor.origin == Origin.CONTENT for tensor in present):
            return
        heavy = HEAVY_STEPS if node.op_type in HEAVY else 1
        steps = heavy * sum(tensor.elements for tensor in present)
        if all(tensor.known_shape is not None for tensor in present):
            shapes = [None if tensor is None else tensor.known_shape for tensor in inputs]
            cost = cost_of(node, shapes, [tensor.known_shape for tensor in outputs])
            steps = max(steps, cost.steps // PLAIN + cost.workspace)
        self.steps += steps
        if self.steps > self.max_steps:
            raise ModelBrokenError(
                "is one computation from constants too many", remedy="fold them when exporting"
            )


def _known_sides(kind: TypeProto) -> tuple[int, ...]:
    return Tensor(kind, Origin.SIZES).known_sides


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
