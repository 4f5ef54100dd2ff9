"""Runs an ONNX graph of integer operations with 64-bit integers: what float32 must be equal to.

Only the operators that docs/format.md names for `hyper_scale_index` are known (and those that compute
shapes); an export that starts to use another one fails here, and somebody has to think about it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import helper, numpy_helper

FLOAT32_LIMIT = 2**24


@dataclass
class Fraction:
    """`numerator` / 2^`shift`, for the moment between a Mul and its Floor."""

    numerator: np.ndarray
    shift: int


def evaluate(model, z):
    """The only output of `model` for integers `z` (1, N, rows, columns), as int64.

    Raises:
        AssertionError: a weight is no integer, or a sum could leave the exact range of float32.
    """
    graph = model.graph
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    values[graph.input[0].name] = z.astype(np.int64)
    for node in graph.node:
        inputs = [values[name] if name else None for name in node.input]
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        values[node.output[0]] = OPERATORS[node.op_type](*inputs, **attributes)
    return values[graph.output[0].name]


def whole(array):
    """Float32 numbers that are integers, as int64."""
    result = np.asarray(array).astype(np.int64)
    assert (result == array).all(), "not an integer"
    return result


def conv(x, weight, bias, *, group, pads, strides, dilations, kernel_shape, auto_pad):
    assert kernel_shape == strides == dilations == [1, 1]
    assert (group, pads, auto_pad) == (1, [0, 0, 0, 0], b"NOTSET")
    weight, bias = whole(weight)[:, :, 0, 0], whole(bias)
    flat = x.reshape(x.shape[1], -1)
    largest = np.abs(weight) @ np.abs(flat) + np.abs(bias)[:, None]  # of any order of the sum
    assert largest.max() < FLOAT32_LIMIT
    return (weight @ flat + bias[:, None]).reshape(1, -1, *x.shape[2:])


def mul(x, factor):
    shift = round(-np.log2(float(factor)))
    assert factor == 2.0**-shift
    return Fraction(x, shift)


def floor(x):
    return x.numerator >> x.shift


def clip(x, low, high):
    return np.clip(x, whole(low), whole(high))


def pad(x, pads, *, mode):
    assert mode == b"constant"
    half = len(pads) // 2
    return np.pad(x, list(zip(pads[:half], pads[half:], strict=True)))


def cut(x, starts, ends, axes, steps):
    box = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        box[axis] = slice(start, end, step)
    return x[tuple(box)]


def depth_to_space(x, *, blocksize, mode):
    assert mode == b"CRD"
    channels, rows, columns = x.shape[1] // blocksize**2, *x.shape[2:]
    parts = x.reshape(channels, blocksize, blocksize, rows, columns).transpose(0, 3, 1, 4, 2)
    return parts.reshape(1, channels, rows * blocksize, columns * blocksize)


OPERATORS = {
    "Add": lambda a, b: a + b,  # of sizes; a sum of activations would need a bound
    "Clip": clip,
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "Conv": conv,
    "DepthToSpace": depth_to_space,
    "Floor": floor,
    "Mul": mul,
    "Pad": pad,
    "Reshape": lambda x, shape, allowzero: x.reshape(shape),
    "Shape": lambda x, start, end: np.array(x.shape[start:end]),
    "Slice": cut,
    "Squeeze": lambda x: x.squeeze(),
}
