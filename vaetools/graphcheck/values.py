"""Values of the small tensors that graphs compute sizes with, exactly as ONNX Runtime computes them.

Only operators that exporters emit between `Shape` and `Reshape` are supported, and only results that are
the same on every machine: an integer overflow, a division by zero or an out-of-range cast has no value
here, and no size may depend on it.
"""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onnx import NodeProto

Array: TypeAlias = npt.NDArray[Any]
Attributes: TypeAlias = "Mapping[str, Any]"
Shape: TypeAlias = tuple[int, ...]
Inputs: TypeAlias = "Sequence[Any]"
"""Arrays; None for an optional input that is left out."""

Evaluator: TypeAlias = "Callable[[Inputs, Attributes, Shape], Any]"

MAX_ELEMENTS = 64
"""Larger tensors are never sizes."""

NO_VALUE = (ArithmeticError, IndexError, KeyError, TypeError, ValueError)
"""Exceptions of `evaluate` for nodes without a value."""


def evaluate(node: NodeProto, inputs: Inputs, shape: Shape) -> Array:
    """The only output of a node of an operator in `EVALUATED`, whose shape is already inferred.

    Raises:
        NO_VALUE: it has no value that is the same on every machine.
    """
    from onnx import helper

    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    with np.errstate(all="ignore"):
        result = np.asarray(EVALUATED[node.op_type](inputs, attributes, shape))
    if result.shape != shape:
        raise ValueError(f"{result.shape} is not the inferred shape {shape}")
    return result


def _exact(function: Callable[..., Any]) -> Evaluator:
    """Arithmetic in the inputs' type; integer overflow raises `OverflowError`."""

    def evaluator(inputs: Inputs, _: Attributes, __: Shape) -> Any:
        kind = inputs[0].dtype
        if kind.kind == "f":
            return np.asarray(function(*inputs)).astype(kind)
        unbounded = function(*(values.astype(object) for values in inputs))
        return np.asarray(unbounded, dtype=object).astype(kind)

    return evaluator


def _plain(function: Callable[..., Any]) -> Evaluator:
    return lambda inputs, _, __: function(*inputs)


def _reshaped(inputs: Inputs, _: Attributes, shape: Shape) -> Any:
    return inputs[0].reshape(shape)


def _truncated(a: int, b: int) -> int:
    """Integer division as in C and ONNX: rounded towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _div(inputs: Inputs, attributes: Attributes, shape: Shape) -> Any:
    is_float = inputs[0].dtype.kind == "f"
    function = np.divide if is_float else np.frompyfunc(_truncated, 2, 1)
    return _exact(function)(inputs, attributes, shape)


def _mod(inputs: Inputs, attributes: Attributes, shape: Shape) -> Any:
    if attributes.get("fmod") or inputs[0].dtype.kind == "f":
        raise ValueError("only the integer remainder, with the divisor's sign")
    return _exact(operator.mod)(inputs, attributes, shape)


def _cast(inputs: Inputs, attributes: Attributes, _: Shape) -> Any:
    from onnx import helper

    kind = np.dtype(helper.tensor_dtype_to_np_dtype(attributes["to"]))
    (values,) = inputs
    if kind.kind in "iu":
        # Out-of-range casts are undefined in C++ and differ between processors. NumPy raises here.
        return np.array([int(v) for v in values.flat], object).astype(kind).reshape(values.shape)
    if kind.kind not in "bf":
        raise ValueError(f"{kind} holds no sizes")
    return values.astype(kind)


def _gather(inputs: Inputs, attributes: Attributes, _: Shape) -> Any:
    data, indices = inputs
    return np.take(data, indices, axis=attributes.get("axis", 0))


def _slice(inputs: Inputs, attributes: Attributes, _: Shape) -> Any:
    values = inputs[0]
    if "starts" in attributes:  # before version 10
        parts = [attributes["starts"], attributes["ends"], attributes.get("axes")]
    else:
        parts = [None if part is None else part.tolist() for part in inputs[1:]]
    starts, ends, axes, steps = (*parts, None, None)[:4]
    box = [slice(None)] * values.ndim
    for number, start in enumerate(starts):
        axis = axes[number] if axes else number
        box[axis] = slice(start, ends[number], steps[number] if steps else 1)
    return values[tuple(box)]


def _range(inputs: Inputs, _: Attributes, shape: Shape) -> Any:
    start, _limit, delta = (values.item() for values in inputs)
    if inputs[0].dtype.kind == "f":
        raise ValueError("a range of floats is no size")
    return np.array([start + i * delta for i in range(shape[0])], object).astype(inputs[0].dtype)


def _filled(_: Inputs, attributes: Attributes, shape: Shape) -> Any:
    from onnx import numpy_helper

    value = attributes.get("value")
    fill = np.float32(0) if value is None else numpy_helper.to_array(value).reshape(())
    return np.full(shape, fill)


def _product(inputs: Inputs, _: Attributes, shape: Shape) -> Any:
    if any(side != 1 for side in shape) or inputs[0].dtype.kind == "f":
        raise ValueError("only the product of all, of integers")
    total = functools.reduce(operator.mul, inputs[0].astype(object).flat, 1)
    return np.full(shape, total, object).astype(inputs[0].dtype)


EVALUATED: dict[str, Evaluator] = {
    "Abs": _exact(abs),
    "Add": _exact(operator.add),
    "And": _plain(np.logical_and),
    "Cast": _cast,
    "Ceil": _plain(np.ceil),
    "Concat": lambda inputs, attributes, _: np.concatenate(inputs, attributes["axis"]),
    "ConstantOfShape": _filled,
    "Div": _div,
    "Equal": _plain(np.equal),
    "Expand": lambda inputs, _, shape: np.broadcast_to(inputs[0], shape),
    "Floor": _plain(np.floor),
    "Gather": _gather,
    "Greater": _plain(np.greater),
    "GreaterOrEqual": _plain(np.greater_equal),
    "Identity": _reshaped,
    "Less": _plain(np.less),
    "LessOrEqual": _plain(np.less_equal),
    "Max": _plain(lambda *values: functools.reduce(np.maximum, values)),
    "Min": _plain(lambda *values: functools.reduce(np.minimum, values)),
    "Mod": _mod,
    "Mul": _exact(operator.mul),
    "Neg": _exact(operator.neg),
    "Not": _plain(np.logical_not),
    "Or": _plain(np.logical_or),
    "Range": _range,
    "ReduceProd": _product,
    "Reshape": _reshaped,
    "Slice": _slice,
    "Sqrt": _plain(np.sqrt),
    "Squeeze": _reshaped,
    "Sub": _exact(operator.sub),
    "Tile": lambda inputs, _, __: np.tile(*inputs),
    "Transpose": lambda inputs, attributes, _: inputs[0].transpose(attributes.get("perm")),
    "Unsqueeze": _reshaped,
    "Where": _plain(np.where),
}
