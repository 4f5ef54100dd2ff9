"""Whether a graph computes each sample of a batch on its own, so that several images can share a call.

A proof, not a trial: every node must be known to keep the samples apart along axis 0. An axis 0 of `k`
elements per sample, as after a Reshape to (batch · channels, …), counts as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from vaetools.graphcheck.operators import ELEMENTWISE, REDUCTIONS
from vaetools.graphcheck.sizes import tensors_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ModelProto, NodeProto

    from vaetools.graphcheck.tensor import Tensor

BATCH = 7
"""Samples of the batch that the proof is done with: a number that no other side is likely to have."""


class _Kind(Enum):
    CONSTANT = 0  # the same for all images
    SIZE = 1  # follows from the sizes of the inputs
    BATCH = 2  # samples one after the other along axis 0


@dataclass(frozen=True)
class _Operand:
    kind: _Kind
    shape: tuple[int, ...]
    tensor: Tensor


@dataclass(frozen=True)
class _Case:
    """A node with everything that a rule needs."""

    attributes: Mapping[str, Any]
    inputs: Sequence[_Operand | None]
    outputs: Sequence[tuple[int, ...]]

    @property
    def first(self) -> _Operand:
        operand = self.inputs[0]
        assert operand is not None  # no rule is for operators with an optional first input
        return operand

    @property
    def rest(self) -> list[_Operand]:
        return [operand for operand in self.inputs[1:] if operand is not None]

    def integers(self, place: int, name: str) -> list[int] | None:
        """Integers that are an input or, in older versions of the operator, an attribute."""
        operand = self.inputs[place] if place < len(self.inputs) else None
        if operand is not None:
            value = operand.tensor.value
            return None if value is None else [int(v) for v in value.flat]
        return self.attributes.get(name)


_Rule: TypeAlias = Callable[[_Case], bool]


def batched_tensors(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> set[str] | None:
    """The tensors whose axis 0 is the batch; None if a sample may affect the results of another one.

    Args:
        model: passed `check_graph`; every input and output has the batch as axis 0.
        shapes: of the inputs, for `BATCH` samples.
    """
    tensors = tensors_of(model, shapes)
    kinds = dict.fromkeys(shapes, _Kind.BATCH)
    for node in model.graph.node:
        case = _case(node, tensors, kinds)
        kind = None if case is None else _kind(node, case)
        if kind is None:
            return None
        kinds.update(dict.fromkeys(node.output, kind))
    found = {
        name
        for name, kind in kinds.items()
        if name and kind is _Kind.BATCH and (tensors[name].shape or ())[:1] == (BATCH,)
    }
    return found if all(value.name in found for value in model.graph.output) else None


def _case(
    node: NodeProto, tensors: Mapping[str, Tensor], kinds: Mapping[str, _Kind]
) -> _Case | None:
    """The node with its operands; None if a shape is unknown."""
    from onnx import helper

    inputs: list[_Operand | None] = []
    for name in node.input:
        shape = tensors[name].known_shape if name else ()
        if shape is None:
            return None
        kind = kinds.get(name, _Kind.CONSTANT)
        inputs.append(_Operand(kind, shape, tensors[name]) if name else None)
    outputs = [tensors[name].known_shape for name in node.output if name]
    known = [shape for shape in outputs if shape is not None]
    if len(known) < len(outputs):
        return None
    return _Case({a.name: helper.get_attribute_value(a) for a in node.attribute}, inputs, known)


def _kind(node: NodeProto, case: _Case) -> _Kind | None:
    """What the outputs of a node are; None if samples may be mixed."""
    found = {operand.kind for operand in case.inputs if operand is not None}
    if node.op_type in {"Shape", "Size"}:
        return _Kind.SIZE
    if _Kind.BATCH not in found:
        if _Kind.SIZE not in found:
            return _Kind.CONSTANT
        if node.op_type in {"ConstantOfShape", "Expand"} and _is_filled(case):
            return _Kind.BATCH
        return _Kind.SIZE
    rule = RULES.get(node.op_type)
    if rule is None or not rule(case) or not all(_has_batch(shape) for shape in case.outputs):
        return None
    return _Kind.BATCH


def _has_batch(shape: tuple[int, ...]) -> bool:
    return bool(shape) and shape[0] % BATCH == 0


def _is_filled(case: _Case) -> bool:
    """The output is a constant, repeated for each sample."""
    (shape,) = case.outputs
    if not _has_batch(shape):
        return False
    return len(case.inputs) == 1 or _is_shared(case.first, len(shape))


def _is_shared(operand: _Operand, rank: int) -> bool:
    """The operand is broadcast along axis 0 of a result with `rank` axes."""
    is_constant = operand.kind is _Kind.CONSTANT
    return is_constant and (len(operand.shape) < rank or operand.shape[0] == 1)


def _elementwise(case: _Case) -> bool:
    shape = case.outputs[0]
    return all(
        operand is None
        or _is_shared(operand, len(shape))
        or (
            operand.kind is _Kind.BATCH
            and len(operand.shape) == len(shape)
            and operand.shape[0] == shape[0]
        )
        for operand in case.inputs
    )


def _weighted(case: _Case) -> bool:
    """Only the first operand is of the image."""
    return case.first.kind is _Kind.BATCH and all(o.kind is _Kind.CONSTANT for o in case.rest)


def _beyond_axis_0(default: int) -> _Rule:
    """Work along another axis than the batch: the attribute `axis`."""

    def rule(case: _Case) -> bool:
        axis = case.attributes.get("axis", default)
        return _weighted(case) and axis % len(case.first.shape) != 0

    return rule


def _concat(case: _Case) -> bool:
    same = {(o.kind, len(o.shape), o.shape[0]) for o in case.inputs if o is not None}
    return len(same) == 1 and case.attributes["axis"] % len(case.first.shape) != 0


def _along_axes(place: int, *, needed: bool) -> _Rule:
    """Work along the axes that are an input or an attribute, without axis 0.

    Args:
        place: of the input.
        needed: whether all axes are meant if none are given.
    """

    def rule(case: _Case) -> bool:
        axes = case.integers(place, "axes")
        if case.first.kind is not _Kind.BATCH or (needed and not axes):
            return False
        rank = max(len(case.first.shape), len(case.outputs[0]))
        return all(axis % rank != 0 for axis in axes or ())

    return rule


def _slice(case: _Case) -> bool:
    starts = case.integers(1, "starts")
    has_axes = "axes" in case.attributes or len(case.inputs) > 3
    axes = case.integers(3, "axes") if has_axes else range(len(starts or ()))
    if case.first.kind is not _Kind.BATCH or starts is None or axes is None:
        return False
    return all(axis % len(case.first.shape) != 0 for axis in axes)


def _same_batch(case: _Case) -> bool:
    """Sizes may change along the other axes only."""
    before, after = case.first.shape, case.outputs[0]
    is_same = len(before) == len(after) and before[0] == after[0]
    return case.first.kind is _Kind.BATCH and is_same


def _pad(case: _Case) -> bool:
    pads = case.integers(1, "pads")
    return _same_batch(case) and bool(pads) and pads is not None and pads[0] == 0


def _reshape(case: _Case) -> bool:
    return case.first.kind is _Kind.BATCH  # rows stay in order, `_has_batch` checks their number


def _transpose(case: _Case) -> bool:
    return bool(case.attributes.get("perm", [-1])[0] == 0)


def _matmul(case: _Case) -> bool:
    a, b = case.inputs[:2]
    assert a is not None
    assert b is not None
    rank = len(case.outputs[0])
    if a.kind is b.kind is _Kind.BATCH:
        return len(a.shape) == len(b.shape) == rank >= 3 and a.shape[0] == b.shape[0]
    many, one = (a, b) if a.kind is _Kind.BATCH else (b, a)
    if len(many.shape) == 2:
        return many is a and one.kind is _Kind.CONSTANT and len(one.shape) == 2
    return len(many.shape) == rank and _is_shared(one, rank)


def _gather(case: _Case) -> bool:
    (indices,) = case.rest
    if case.first.kind is _Kind.CONSTANT:  # a table of codes
        return indices.kind is _Kind.BATCH and case.attributes.get("axis", 0) == 0
    return _beyond_axis_0(0)(case)


def _gemm(case: _Case) -> bool:
    bias = case.rest[1:]
    return (
        not case.attributes.get("transA", 0)
        and _weighted(case)
        and all(_is_shared(operand, 2) for operand in bias)
    )


def _flatten(case: _Case) -> bool:
    return bool(case.attributes.get("axis", 1) % len(case.first.shape))


_EACH_SAMPLE = """
AveragePool BatchNormalization Conv ConvTranspose DepthToSpace GlobalAveragePool GlobalLpPool
GlobalMaxPool GroupNormalization InstanceNormalization LRN LpPool MaxPool SpaceToDepth
"""

RULES: dict[str, _Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(
        _EACH_SAMPLE.split(),
        _weighted,
    ),
    **{name: _along_axes(1, needed=True) for name in REDUCTIONS if name.startswith("Reduce")},
    "ArgMax": _beyond_axis_0(0),
    "ArgMin": _beyond_axis_0(0),
    "Concat": _concat,
    "Expand": _same_batch,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "Hardmax": _beyond_axis_0(-1),
    "LayerNormalization": _beyond_axis_0(-1),
    "LogSoftmax": _beyond_axis_0(-1),
    "LpNormalization": _beyond_axis_0(-1),
    "MatMul": _matmul,
    "Pad": _pad,
    "RMSNormalization": _beyond_axis_0(-1),
    "Reshape": _reshape,
    "Resize": _same_batch,
    "Slice": _slice,
    "Softmax": _beyond_axis_0(-1),
    "Split": _beyond_axis_0(0),
    "Squeeze": _along_axes(1, needed=True),
    "Tile": _same_batch,
    "Transpose": _transpose,
    "Unsqueeze": _along_axes(1, needed=True),
}
"""What a node must fulfil, by its operator; a node of another operator may mix samples."""
