"""What an operator takes beyond its inputs and outputs: multiplications, and memory while it runs.

The sizes of tensors do not bound a graph: `LRN` pads its input by `size` channels, `Attention` keeps a
matrix of all pairs, a recurrent layer keeps every step, and a pool of 2048 x 2048 reads four million
numbers for each that it writes. The rules follow the CPU kernels of ONNX Runtime 1.31. A step is one
multiplication of a matrix product; what is not a matrix product counts with the weights below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from vaetools.errors import ModelBrokenError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onnx import NodeProto

    Shape: TypeAlias = tuple[int, ...]
    Shapes: TypeAlias = Sequence[Shape | None]
    """None for an input that is left out."""

PLAIN = 32
"""Steps for an element that is read or written."""

SLOW = 256
"""Steps for an element of an operator that sorts, interpolates or exponentiates."""

TAP = 16
"""Steps for an element that a pool reads."""

MOMENT = 2**15
"""Steps for one moment of a recurrent layer, however narrow."""


@dataclass(frozen=True)
class Cost:
    """What a node takes.

    Attributes:
        steps: in multiplications of a matrix product.
        workspace: elements of memory beyond inputs and outputs.
    """

    steps: int
    workspace: int = 0


Rule: TypeAlias = "Callable[[Shapes, Shapes, Mapping[str, Any]], Cost]"

SORTED_OR_EXPONENTIATED = frozenset(
    [
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "AffineGrid",
        "Celu",
        "Cos",
        "Cosh",
        "CumProd",
        "CumSum",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "GridSample",
        "LogSoftmax",
        "Log",
        "Mish",
        "Mod",
        "Pow",
        "ReduceLogSumExp",
        "ReverseSequence",
        "ScatterElements",
        "ScatterND",
        "Selu",
        "Sigmoid",
        "Sin",
        "Sinh",
        "Softmax",
        "Softplus",
        "Swish",
        "Tan",
        "Tanh",
        "TopK",
    ]
)

EXPANDED = frozenset(
    [
        "AffineGrid",
        "Attention",
        "Celu",
        "Elu",
        "Gelu",
        "GroupNormalization",
        "HardSwish",
        "LogSoftmax",
        "MeanVarianceNormalization",
        "Mish",
        "RMSNormalization",
        "RotaryEmbedding",
        "Swish",
    ]
)
"""Operators that ONNX Runtime may compute as several others, with a tensor in between for each."""

BETWEEN = 4
"""Tensors that stand between the parts of an operator in `EXPANDED`."""


def cost_of(node: NodeProto, inputs: Shapes, outputs: Shapes) -> Cost:
    """The cost of a node whose shapes are all known.

    Args:
        node: of an allowed operator.
        inputs, outputs: shapes; None for one that is left out.

    Raises:
        ModelBrokenError: attributes that no rule of the operator allows.
    """
    from onnx import helper

    read, written = sum(map(_size, inputs)), sum(map(_size, outputs))
    weight = SLOW if node.op_type in SORTED_OR_EXPONENTIATED else PLAIN
    workspace = BETWEEN * max(read, written) if node.op_type in EXPANDED else 0
    rule = RULES.get(node.op_type)
    own = Cost(0)
    if rule is not None:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        try:
            own = rule(inputs, outputs, attributes)
        except (ArithmeticError, IndexError, KeyError, TypeError, ValueError):
            raise ModelBrokenError("has shapes or attributes that do not fit") from None
    # The weights of a layer are read at the speed of its products, which its rule counts.
    moved = weight * written + (weight if rule is None else 1) * read
    return Cost(moved + own.steps, workspace + own.workspace)


def _size(shape: Shape | None) -> int:
    return 0 if shape is None else math.prod(shape)


def _given(shape: Shape | None) -> Shape:
    if shape is None:
        raise ValueError("an input is missing")
    return shape


def _product(inputs: Shapes, outputs: Shapes, _: Mapping[str, Any]) -> Cost:
    """A matrix product: each output is a sum over the last axis of the first input."""
    return Cost(_size(outputs[0]) * _given(inputs[0])[-1])


def _gemm(inputs: Shapes, outputs: Shapes, attributes: Mapping[str, Any]) -> Cost:
    inner = _given(inputs[0])[0 if attributes.get("transA") else 1]
    return Cost(_size(outputs[0]) * inner)


def _quantised_product(inputs: Shapes, outputs: Shapes, _: Mapping[str, Any]) -> Cost:
    """As `_product`; the second matrix is packed for it."""
    return Cost(_size(outputs[0]) * _given(inputs[0])[-1], sum(map(_size, inputs)))


def _convolution(weight: int, *, unfolded: bool) -> Rule:
    """A convolution whose weights (M, C/groups, …) are the input of that number.

    Args:
        unfolded: every patch is copied into a matrix, also for images.
    """

    def rule(inputs: Shapes, outputs: Shapes, attributes: Mapping[str, Any]) -> Cost:
        kernel, out = _given(inputs[weight]), _given(outputs[0])
        patch = math.prod(kernel[1:])
        steps = _size(out) * patch
        whole = patch * math.prod(out[2:]) * attributes.get("group", 1)
        return Cost(steps, whole if unfolded or len(out) > 4 else 0)

    return rule


def _transposed_convolution(inputs: Shapes, _: Shapes, __: Mapping[str, Any]) -> Cost:
    """A matrix product into patches of the kernel's size, which are then added up."""
    source, kernel = _given(inputs[0]), _given(inputs[1])
    patches = _size(source) * math.prod(kernel[1:])
    matrix = math.prod(kernel[1:]) * math.prod(source[2:])
    return Cost(patches + PLAIN * matrix, matrix)


def _col2im(inputs: Shapes, outputs: Shapes, _: Mapping[str, Any]) -> Cost:
    return Cost(PLAIN * _size(inputs[0]), _size(inputs[0]) + _size(outputs[0]))


def _lrn(inputs: Shapes, _: Shapes, attributes: Mapping[str, Any]) -> Cost:
    """The squares are padded by `size` − 1 channels; a power is taken of every element."""
    shape = _given(inputs[0])
    padded = (shape[1] + attributes["size"] - 1) * math.prod(shape[2:])
    return Cost(PLAIN * padded * shape[0] + SLOW * _size(shape), padded)


def _pool(_: Shapes, outputs: Shapes, attributes: Mapping[str, Any]) -> Cost:
    return Cost(TAP * _size(outputs[0]) * math.prod(attributes["kernel_shape"]))


def _resize(inputs: Shapes, outputs: Shapes, attributes: Mapping[str, Any]) -> Cost:
    """Axes are interpolated one after the other, with tables of weights for each."""
    source, out = _given(inputs[0]), _given(outputs[0])
    between = max(_size(source), _size(out), math.prod(map(max, source, out)))
    is_plain = attributes.get("mode", b"nearest") == b"nearest"
    taps = 1 if is_plain else 8
    return Cost(PLAIN * taps * between, 0 if is_plain else 2 * between)


def _attention(inputs: Shapes, _: Shapes, attributes: Mapping[str, Any]) -> Cost:
    """Softmax(Q Kᵀ) V: the matrix of all pairs is kept, also with a mask and after the softmax."""
    query, key, value = (_given(shape) for shape in inputs[:3])
    is_flat = len(query) == 3
    heads = attributes["q_num_heads"] if is_flat else query[1]
    past = inputs[4] if len(inputs) > 4 else None
    keys = key[-2] + (0 if past is None else past[-2])
    pairs = query[0] * heads * query[-2] * keys
    width = query[-1] // (heads if is_flat else 1)
    depth = value[-1] // (attributes["kv_num_heads"] if is_flat else 1)
    copies = sum(map(_size, inputs[:3])) * max(1, heads // max(1, key[1] if not is_flat else 1))
    return Cost(pairs * (width + depth + SLOW), 3 * pairs + copies)


def _recurrent(gates: int) -> Rule:
    """RNN, GRU and LSTM: the inputs of all gates are computed for all moments at once, and kept."""

    def rule(inputs: Shapes, _: Shapes, attributes: Mapping[str, Any]) -> Cost:
        source, weights, recurrence = (_given(shape) for shape in inputs[:3])
        by_batch = attributes.get("layout", 0)
        moments, batch = (source[1], source[0]) if by_batch else (source[0], source[1])
        directions, hidden = weights[0], recurrence[2]
        width = gates * hidden
        steps = moments * directions * (MOMENT + batch * width * (source[2] + hidden + SLOW))
        kept = directions * moments * batch * (width + 2 * hidden)
        return Cost(steps, 2 * kept + sum(map(_size, inputs[:3])))

    return rule


def _einsum(inputs: Shapes, _: Shapes, attributes: Mapping[str, Any]) -> Cost:
    """Operands are multiplied from left to right; an axis is summed once no later operand has it."""
    text = attributes["equation"].decode().replace(" ", "")
    left, _, right = text.partition("->")
    terms = [
        _labels(term, _given(shape)) for term, shape in zip(left.split(","), inputs, strict=True)
    ]
    result = set(right.replace("...", "")) if "->" in text else set(left) - {","}
    sides: dict[str, int] = {}
    for labels in terms:
        for label, side in labels:
            sides[label] = max(side, sides.get(label, 1))
    alive = {label for label, _ in terms[0]}
    steps = workspace = 0
    for number, labels in enumerate(terms[1:], start=1):
        both = alive | {label for label, _ in labels}
        steps += math.prod(sides[label] for label in both)
        later = result.union(*({label for label, _ in t} for t in terms[number + 1 :]))
        alive = {label for label in both if label in later or label.startswith("...")}
        workspace = max(workspace, math.prod(sides[label] for label in alive))
    return Cost(steps, 2 * workspace + 2 * sum(map(_size, inputs)))


def _labels(term: str, shape: Shape) -> list[tuple[str, int]]:
    """(label, side) of every axis of an operand; axes of an ellipsis count from its end."""
    if "..." not in term:
        return [*zip(term, shape, strict=True)]
    before, after = term.split("...")
    hidden = len(shape) - len(before) - len(after)
    if hidden < 0:
        raise ValueError("more labels than axes")
    names = [*before, *(f"...{hidden - i}" for i in range(hidden)), *after]
    return [*zip(names, shape, strict=True)]


RULES: dict[str, Rule] = {
    "Attention": _attention,
    "AveragePool": _pool,
    "Col2Im": _col2im,
    "Conv": _convolution(1, unfolded=False),
    "ConvInteger": _convolution(1, unfolded=True),
    "ConvTranspose": _transposed_convolution,
    "Einsum": _einsum,
    "GRU": _recurrent(3),
    "Gemm": _gemm,
    "LRN": _lrn,
    "LSTM": _recurrent(4),
    "LpPool": _pool,
    "MatMul": _product,
    "MatMulInteger": _quantised_product,
    "MaxPool": _pool,
    "QLinearConv": _convolution(3, unfolded=True),
    "QLinearMatMul": _quantised_product,
    "RNN": _recurrent(1),
    "Resize": _resize,
    "Upsample": _resize,
}
"""Operators that take more than their inputs and outputs."""
