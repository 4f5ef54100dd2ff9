"""Operators for which devices other than the CPU have no kernel, replaced by ones that they have.

A node without a kernel runs on the CPU: its tensors are copied there and back, the device waits, and the
graph cannot be captured or fused around it. The CPU keeps its own operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import NodeProto


def with_device_kernels(graph: bytes) -> bytes:
    """`graph` (ONNX bytes) with equal forms of `Asinh`; the same bytes where there is none."""
    if b"Asinh" not in graph:
        return graph
    import onnx

    model = onnx.load_from_string(graph)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes += _asinh(node.input[0], node.output[0]) if node.op_type == "Asinh" else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.array(1, np.float32), "kernels.1")
    )
    return bytes(model.SerializeToString())


def _asinh(x: str, y: str) -> list[NodeProto]:
    """asinh(x) = sign(x) log1p(t) with t = |x| + |x|·|x| / (1 + √(x² + 1)), for |x| < 10¹⁹.

    ONNX has no log1p. With u = 1 + t as rounded, log1p(t) = log(u) · t / (u − 1), and t where u is 1
    (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 1.14.1): accurate to a few
    units in the last place, also where x is small.
    """
    from onnx import helper

    steps = [
        ("Abs", "abs", (x,)),
        ("Mul", "square", (x, x)),
        ("Add", "square1", ("square", "one")),
        ("Sqrt", "root", ("square1",)),
        ("Add", "root1", ("root", "one")),
        ("Div", "share", ("abs", "root1")),
        ("Mul", "rest", ("abs", "share")),
        ("Add", "t", ("abs", "rest")),
        ("Add", "u", ("t", "one")),
        ("Sub", "v", ("u", "one")),
        ("Equal", "tiny", ("u", "one")),
        ("Where", "divisor", ("tiny", "one", "v")),
        ("Log", "log", ("u",)),
        ("Div", "ratio", ("t", "divisor")),
        ("Mul", "large", ("log", "ratio")),
        ("Where", "log1p", ("tiny", "t", "large")),
        ("Sign", "sign", (x,)),
        ("Mul", y, ("sign", "log1p")),
    ]
    names = {name: f"{y}.{name}" for _, name, _ in steps if name != y}
    names["one"] = "kernels.1"
    return [
        helper.make_node(kind, [names.get(i, i) for i in inputs], [names.get(name, name)])
        for kind, name, inputs in steps
    ]
