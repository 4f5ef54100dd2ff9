"""How large every tensor of a graph is, told before it runs.

Nodes are followed one by one, in order, with ONNX's own inference rules. A graph passes when

- every size follows from the inputs' sizes and from constants, never from what a picture shows;
- no tensor has more than `MOST_ELEMENTS` elements;
- what depends on constants alone, and is therefore computed by ONNX Runtime while it opens the graph,
  takes little time and memory.

It is followed twice where inputs have open sides: once with those left open, as ONNX Runtime sees the
graph when it opens it, and once with a number for each, as for a small picture. The first passing is
strict; in the second, numbers that do not suit the graph leave sizes open.
"""

from __future__ import annotations

import contextlib
import functools
import math
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck import values
from vaetools.graphcheck.operators import (
    FREE_NUMBERS,
    HEAVY,
    INFERRED_SINCE,
    MOST_ELEMENTS,
    SAME_SHAPE,
    SIZE_OPERANDS,
)
from vaetools.graphcheck.words import first_line, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ModelProto, NodeProto, TypeProto

MOST_SIDES = 16
"""Dimensions of a tensor."""

STEPS = 2**25
"""Elements that may be read and written for constants, beside `STEPS_PER_WEIGHT`."""

STEPS_PER_WEIGHT = 8
HEAVY_STEPS = 128
"""Steps per element of an operator in `HEAVY`: what is left for them takes a second or so."""

FRACTIONS = frozenset({1, 10, 11, 16})
"""Element types whose division always ends: FLOAT, FLOAT16, DOUBLE, BFLOAT16."""

USUAL_SIDE = 16
"""An open side of which nothing is known; the first axis counts images, and is 1."""


class Origin(IntEnum):
    """What a tensor's values depend on; a node's outputs have the highest of its inputs."""

    SIZES = 0  # constants and sizes of inputs, by operators that `values` knows
    CONSTANT = 1  # the same, by any operator
    CONTENT = 2  # what the inputs hold


@dataclass(frozen=True)
class Tensor:
    """What is known of a tensor.

    Attributes:
        type: elements and shape; None where a shape that was assumed does not fit.
        origin: see `Origin`.
        value: of small tensors of the origin SIZES, where it can be told.
    """

    type: TypeProto | None
    origin: Origin
    value: values.Array | None = None

    @functools.cached_property
    def shape(self) -> tuple[int | None, ...] | None:
        """Sides, None for open ones; None as a whole if not even their number is known."""
        if self.type is None or not self.type.tensor_type.HasField("shape"):
            return None
        sides = self.type.tensor_type.shape.dim
        return tuple(d.dim_value if d.HasField("dim_value") else None for d in sides)

    @property
    def known_sides(self) -> tuple[int, ...]:
        return tuple(side for side in self.shape or () if side is not None)

    @functools.cached_property
    def known_shape(self) -> tuple[int, ...] | None:
        """The shape, if no side is open."""
        sides = self.known_sides
        return sides if self.shape is not None and len(sides) == len(self.shape) else None

    @functools.cached_property
    def elements(self) -> int:
        """Their number, at least: open sides count as 1."""
        return math.prod(self.known_sides)

    def check(self) -> None:
        """Refuse a tensor that is too large. Raises `ModelBrokenError`."""
        sides = self.shape or ()
        if len(sides) > MOST_SIDES:
            raise ModelBrokenError(f"has {len(sides)} dimensions, the limit is {MOST_SIDES}")
        if any(side < 0 for side in self.known_sides):
            raise ModelBrokenError(f"has a negative side: {self.known_sides}")
        if self.elements > MOST_ELEMENTS:
            raise ModelBrokenError(f"has {self.elements} elements, the limit is {MOST_ELEMENTS}")


def constant(array: values.Array, element: int) -> Tensor:
    """A tensor that the graph brings along; `element` is its ONNX element type."""
    from onnx import helper

    kind = helper.make_tensor_type_proto(element, array.shape)
    if array.size > values.MOST_ELEMENTS:
        return Tensor(kind, Origin.CONSTANT)
    return Tensor(kind, Origin.SIZES, array)


def check_sizes(
    model: ModelProto, constants: Mapping[str, Tensor], sizes: Mapping[str, int]
) -> dict[str, Tensor]:
    """Follow the graph.

    Args:
        model: with allowed operators only.
        constants: initializers, and outputs of `Constant` nodes.
        sizes: symbolic side -> a number that suits the model.

    Returns:
        All tensors by name, with symbolic sides left open.

    Raises:
        ModelBrokenError: a size cannot be told, or is too large.
    """
    inputs = {
        value.name: Tensor(value.type, Origin.CONTENT)
        for value in model.graph.input
        if value.name not in constants
    }
    found = _Passing(model, {**constants, **inputs}, strict=True).follow()
    if any(tensor.known_shape is None for tensor in inputs.values()):
        small = {n: Tensor(_with_sides(t.type, sizes), t.origin) for n, t in inputs.items()}
        _Passing(model, {**constants, **small}, strict=False).follow()
    return found


def _with_sides(declared: TypeProto | None, sizes: Mapping[str, int]) -> TypeProto:
    """An input's type with a number for every open side."""
    from onnx import TypeProto

    kind = TypeProto()
    kind.CopyFrom(declared)
    for axis, side in enumerate(kind.tensor_type.shape.dim):
        if not side.HasField("dim_value"):
            side.dim_value = sizes.get(side.dim_param, USUAL_SIDE if axis else 1)
    return kind


class _Passing:
    """One passing through a graph: the tensors so far, and the steps taken for constants.

    Args:
        tensors: inputs and constants.
        strict: what cannot be told is refused, not left open.
    """

    def __init__(self, model: ModelProto, tensors: Mapping[str, Tensor], *, strict: bool) -> None:
        self.model = model
        self.tensors = dict(tensors)
        self.strict = strict
        self.steps = 0
        own = sum(t.elements for t in tensors.values() if t.origin != Origin.CONTENT)
        self.most_steps = STEPS + STEPS_PER_WEIGHT * own
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
            _check_operands(node, inputs)
            _check_pitfalls(node, inputs)
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
        """Types of the outputs, as far as they can be told."""
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
            _check_told(kinds, node, inputs)
        elif any(side < 0 for k in kinds.values() for side in Tensor(k, Origin.SIZES).known_sides):
            return {}  # the small picture is too small
        return kinds

    def _count(self, node: NodeProto, tensors: Sequence[Tensor]) -> None:
        """Steps that ONNX Runtime takes when it opens the graph."""
        heavy = HEAVY_STEPS if node.op_type in HEAVY else 1
        self.steps += heavy * sum(tensor.elements for tensor in tensors)
        if self.steps > self.most_steps:
            raise ModelBrokenError(
                "is one computation from constants too many", remedy="fold them when exporting"
            )


def _operands(node: NodeProto, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    """The inputs whose values decide how large the output is."""
    numbers = SIZE_OPERANDS.get(node.op_type, ())
    found = (inputs[number] for number in numbers if number < len(inputs))
    return [tensor for tensor in found if tensor is not None]


def _check_operands(node: NodeProto, inputs: Sequence[Tensor | None]) -> None:
    origin = max((operand.origin for operand in _operands(node, inputs)), default=Origin.SIZES)
    if origin == Origin.CONTENT:
        raise ModelBrokenError("has a size that depends on what an input holds")
    if origin == Origin.CONSTANT:
        raise ModelBrokenError("has a size that cannot be told without running the graph")
    if node.op_type not in FREE_NUMBERS:
        known = [operand.value for operand in _operands(node, inputs) if operand.value is not None]
        if not all(((value >= -MOST_ELEMENTS) & (value <= MOST_ELEMENTS)).all() for value in known):
            raise ModelBrokenError("is asked for a size that is out of range")


def _check_pitfalls(node: NodeProto, inputs: Sequence[Tensor | None]) -> None:
    """Refuse what makes ONNX Runtime end the whole process: nothing to compute with, and integers
    divided by zero, or the lowest by −1."""
    for tensor in inputs:
        if tensor is not None and len(tensor.shape or ()) > 1 and not tensor.elements:
            raise ModelBrokenError("has an input without elements")
    if node.op_type not in {"Div", "Mod"} or len(inputs) != 2:
        return
    divisor = inputs[1]
    if divisor is None or divisor.type is None or divisor.type.tensor_type.elem_type in FRACTIONS:
        return
    if divisor.value is None or np.isin(divisor.value, (0, -1)).any():
        raise ModelBrokenError("divides integers by what may be 0 or -1")


def _check_told(
    kinds: Mapping[str, TypeProto], node: NodeProto, inputs: Mapping[str, Tensor]
) -> None:
    """From shapes that are known, nothing but known shapes may come."""
    operands = _operands(node, [inputs.get(name) for name in node.input])
    if all(t.known_shape is not None for t in inputs.values()) and all(
        operand.value is not None for operand in operands
    ):
        outputs = (Tensor(kinds.get(name), Origin.SIZES) for name in node.output if name)
        if any(output.known_shape is None for output in outputs):
            raise ModelBrokenError("has a size that cannot be told")


def _with_value(node: NodeProto, inputs: Sequence[Tensor | None], output: Tensor) -> Tensor:
    """The output with its value, or with the origin that it has without one."""
    if node.op_type in {"Shape", "Size"}:
        return _measured(node, inputs[0], output)
    if output.origin != Origin.SIZES:
        return output
    shape = output.known_shape
    is_open = any(tensor is not None and tensor.value is None for tensor in inputs)
    if node.op_type in values.EVALUATED and len(node.output) == 1:
        if is_open or shape is None:
            return output
        if output.elements <= values.MOST_ELEMENTS:
            operands = [None if tensor is None else tensor.value for tensor in inputs]
            with contextlib.suppress(*values.NO_VALUE):
                return replace(output, value=values.evaluate(node, operands, shape))
    return replace(output, origin=Origin.CONSTANT)


def _measured(node: NodeProto, source: Tensor | None, output: Tensor) -> Tensor:
    """Output of `Shape` or `Size`."""
    unknown = replace(output, origin=Origin.SIZES)
    if source is None or source.shape is None:
        return unknown
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    sides = source.shape[bounds.get("start", 0) : bounds.get("end", len(source.shape))]
    if None in sides:
        return unknown
    measured = sides if node.op_type == "Shape" else source.elements
    return replace(unknown, value=np.array(measured, np.int64))
