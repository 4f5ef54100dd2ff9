"""Checks of single nodes, beyond the inference rules of their operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck.operators import (
    FREE_NUMBERS,
    MAX_ELEMENTS,
    MAY_BE_EMPTY,
    MAY_GIVE_EMPTY,
    POSITIVE_IF_ALL,
    POSITIVE_IF_FIRST,
    SINGLE,
    SIZE_OPERANDS,
)
from vaetools.graphcheck.tensor import Origin, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import NodeProto, TypeProto

    Inputs = Sequence[Tensor | None]

FRACTIONS = frozenset({1, 10, 11, 16})
"""Element types whose division never traps: FLOAT, FLOAT16, DOUBLE, BFLOAT16."""


def _operands(node: NodeProto, inputs: Inputs) -> list[Tensor]:
    """The inputs whose values determine the size of the output."""
    numbers = SIZE_OPERANDS.get(node.op_type, ())
    found = (inputs[number] for number in numbers if number < len(inputs))
    return [tensor for tensor in found if tensor is not None]


def check_operands(node: NodeProto, inputs: Inputs) -> None:
    origin = max((operand.origin for operand in _operands(node, inputs)), default=Origin.SIZES)
    if origin == Origin.CONTENT:
        raise ModelBrokenError("has a size that depends on the values of an input")
    if origin == Origin.CONSTANT:
        raise ModelBrokenError("has a size that is known only after running the graph")
    if node.op_type not in FREE_NUMBERS:
        known = [operand.value for operand in _operands(node, inputs) if operand.value is not None]
        if not all(((value >= -MAX_ELEMENTS) & (value <= MAX_ELEMENTS)).all() for value in known):
            raise ModelBrokenError("has a size operand that is out of range")


def check_elements(node: NodeProto, inputs: Inputs) -> None:
    """Refuse inputs without elements, which make ONNX Runtime abort the process, and lists where an
    operator takes one number."""
    allowed = MAY_BE_EMPTY.get(node.op_type, ())
    for number, tensor in enumerate(inputs):
        if tensor is None or tensor.elements:
            continue
        if number not in allowed or len(tensor.shape or ()) != 1:
            raise ModelBrokenError("has an input without elements")
    for number in SINGLE.get(node.op_type, ()):
        single = inputs[number] if number < len(inputs) else None
        if single is not None and single.known_shape is not None and single.elements != 1:
            raise ModelBrokenError(f"has {single.elements} numbers where it takes one")


def is_empty(node: NodeProto, output: Tensor) -> bool:
    """Whether an output has no elements and is not a list that may have none."""
    is_list = node.op_type in MAY_GIVE_EMPTY and len(output.shape or ()) == 1
    return not output.elements and not is_list


def check_pitfalls(node: NodeProto, inputs: Inputs) -> None:
    """Refuse what makes ONNX Runtime abort the process: integer division by zero, or of the smallest
    integer by −1."""
    if node.op_type not in {"Div", "Mod"} or len(inputs) != 2:
        return
    divisor = inputs[1]
    if divisor is None or divisor.type is None or divisor.type.tensor_type.elem_type in FRACTIONS:
        return
    fits = divisor.positive if divisor.value is None else not np.isin(divisor.value, (0, -1)).any()
    if not fits:
        raise ModelBrokenError("may divide integers by 0 or -1")


def check_inferable(
    kinds: Mapping[str, TypeProto], node: NodeProto, inputs: Mapping[str, Tensor]
) -> None:
    """Known input shapes must give known output shapes."""
    operands = _operands(node, [inputs.get(name) for name in node.input])
    if all(t.known_shape is not None for t in inputs.values()) and all(
        operand.value is not None for operand in operands
    ):
        outputs = (Tensor(kinds.get(name), Origin.SIZES) for name in node.output if name)
        if any(output.known_shape is None for output in outputs):
            raise ModelBrokenError("has a size that cannot be inferred")


def stays_positive(node: NodeProto, inputs: Inputs) -> bool:
    """Whether the output is positive because its inputs are."""
    first = node.op_type in POSITIVE_IF_FIRST
    used = inputs[:1] if first else inputs
    known = first or node.op_type in POSITIVE_IF_ALL
    return known and all(tensor is not None and tensor.is_positive for tensor in used)
