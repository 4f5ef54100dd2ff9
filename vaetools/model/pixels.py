"""Graphs that take and give uint8 BGR pixels instead of float RGB tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


FINITE = ".finite"
"""Suffix of an additional output: a number that is finite where the values that it stands for are."""

FILE = "file:"
"""Prefix of such an output that stands for the results of one of several graphs: its file follows."""


def with_uint8_pixels(graph: bytes, images: Sequence[str]) -> bytes:
    """`graph` with its float RGB NCHW images replaced by uint8 BGR pixels, as OpenCV has them.

    Casting, scaling, channel order and layout become nodes, so that a byte per sample crosses to
    the device, and not four.

    Args:
        graph: ONNX bytes.
        images: names of inputs or outputs to change: (1, 3, H, W) float32 in [0, 1] becomes
            (H, W, 3) uint8; outputs are clipped and rounded, and each gets a second one, named
            with `FINITE`.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(graph)
    finite = []
    for value in (*model.graph.input, *model.graph.output):
        if value.name not in images:
            continue
        is_input = value in model.graph.input
        nodes = _pixels_in(value.name) if is_input else _pixels_out(value.name)
        for node in model.graph.node:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == value.name:
                        names[place] = f"{name}.float"
        spot = 0 if is_input else len(model.graph.node)
        for node in reversed(nodes):
            model.graph.node.insert(spot, node)
        if not is_input:
            finite.append(helper.make_tensor_value_info(value.name + FINITE, TensorProto.FLOAT, []))
        shape: list[str | int | None] = [f"{value.name}.height", f"{value.name}.width", 3]
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.UINT8, shape))
    model.graph.output.extend(finite)
    constants = {
        "pixels.255": np.float32(255),
        "pixels.0": np.float32(0),
        "pixels.1": np.float32(1),
    }
    arrays = {**constants, "pixels.bgr": np.array([2, 1, 0]), "pixels.axis": np.array([0])}
    for name, array in arrays.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())


def _pixels_in(name: str) -> list[Any]:
    from onnx import TensorProto, helper

    steps = [f"{name}.{i}" for i in range(4)]
    return [
        helper.make_node("Gather", [name, "pixels.bgr"], [steps[0]], axis=2),
        helper.make_node("Transpose", [steps[0]], [steps[1]], perm=[2, 0, 1]),
        helper.make_node("Unsqueeze", [steps[1], "pixels.axis"], [steps[2]]),
        helper.make_node("Cast", [steps[2]], [steps[3]], to=TensorProto.FLOAT),
        helper.make_node("Div", [steps[3], "pixels.255"], [f"{name}.float"]),
    ]


def _pixels_out(name: str) -> list[Any]:
    from onnx import TensorProto, helper

    steps = [f"{name}.{i}" for i in range(6)]
    return [
        helper.make_node("Clip", [f"{name}.float", "pixels.0", "pixels.1"], [steps[0]]),
        helper.make_node("Mul", [steps[0], "pixels.255"], [steps[1]]),
        helper.make_node("Round", [steps[1]], [steps[2]]),
        helper.make_node("Cast", [steps[2]], [steps[3]], to=TensorProto.UINT8),
        helper.make_node("Squeeze", [steps[3], "pixels.axis"], [steps[4]]),
        helper.make_node("Transpose", [steps[4]], [steps[5]], perm=[1, 2, 0]),
        helper.make_node("Gather", [steps[5], "pixels.bgr"], [name], axis=2),
        # Bytes cannot say that an image was not finite: 0 times the sum of its values can.
        helper.make_node("Mul", [f"{name}.float", "pixels.0"], [f"{name}.zeros"]),
        helper.make_node("ReduceSum", [f"{name}.zeros"], [name + FINITE], keepdims=0),
    ]
