"""Weights stored in 16 bits.

A weight that float16 holds exactly is stored as such, and a Cast in the graph makes it float32 again:
the graph computes what it computed before, from half the bytes. ONNX Runtime does the cast once, when
it opens the graph.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALLEST = 1024
"""Elements of a tensor from which on it is worth a node."""

STORED = ".float16"
"""Suffix of a tensor's name where it is stored in float16."""


def compact(model: onnx.ModelProto, *, rounded: bool = False) -> None:
    """Store large weights in float16: those that it holds exactly or, if `rounded`, all of them."""
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        half = _half(tensor, rounded=rounded)
        if half is not None:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, name + STORED))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]  # a node stands behind those whose outputs it takes
    del graph.node[:]
    graph.node.extend(nodes)


def weights_of(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """The weights of a graph by name, those stored in float16 as float32 again."""
    found = {}
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name.endswith(STORED):
            array = array.astype(np.float32)
        found[tensor.name.removesuffix(STORED)] = array
    return found


def _half(tensor: onnx.TensorProto, *, rounded: bool) -> np.ndarray | None:
    """The values in float16, or None where that is not worth it, or neither exact nor `rounded`."""
    if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALLEST:
        return None
    values = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    kept = np.isfinite(half).all() if rounded else np.array_equal(half.astype(np.float32), values)
    return half if kept else None
