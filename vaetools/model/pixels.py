"""Graphs whose images are uint8 BGR pixels, as OpenCV has them, instead of float RGB tensors.

Casting, scaling, channel order, layout, clipping and rounding become nodes: a byte per sample crosses to
the device and not four, and nothing passes over floats outside the graph. What changes is a list of
ports, each the name of an input or output, perhaps with a colon and a kind:

    port             was, float32                becomes
    image            (B, 3, H, W) in [0, 1]      (B, H, W, 3) uint8 BGR
    sigma:map        input (B, 1, H, W)          (B, 1, H, W), or (B, 1, 1, 1) for one value
    mask:mask        input (B, 1, H, W), 0 or 1  the same as uint8
    image:residual   output (B, 3, H, W)         original − image, float32; one more input,
                                                 `image.original` (B, H, W, 3) uint8
    image:moved      output (B, 3, H, W)         image + residual, (B, H, W, 3) uint8; one more input,
                                                 `image.residual` (B, 3, H, W) float32

uint8 outputs are clipped and rounded. Since bytes cannot say that an image was not finite, each has an
output `image.finite` (B,) float32: 0 for a finite image, else NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnx import ModelProto, NodeProto, ValueInfoProto


VERSION = 1
"""Of what this module makes of a graph: changed graphs are remembered under it."""

FINITE = ".finite"
"""Suffix of an additional output: a number that is finite where the values that it stands for are."""

FILE = "file:"
"""Prefix of such an output that stands for the results of one of several graphs: its file follows."""

CLIP_INPUTS, REDUCE_SUM_INPUTS = 11, 13
"""Versions of the operators since which bounds and axes are inputs, not attributes."""

CONSTANTS: dict[str, Any] = {
    "pixels.0": np.float32(0),
    "pixels.1": np.float32(1),
    "pixels.255": np.float32(255),
    "pixels.half": np.float32(0.5),
    "pixels.bgr": np.array([2, 1, 0]),
    "pixels.inner": np.array([1, 2, 3]),
    "pixels.plane": np.array([1, 1]),
    "pixels.first": np.array([1, 2]),
    "pixels.last": np.array([2, 3]),
}


def with_uint8_pixels(graph: bytes, ports: Sequence[str]) -> bytes:
    """`graph` with uint8 pixels.

    Args:
        graph: ONNX bytes.
        ports: what to change; see the module.
    """
    import onnx

    model = onnx.load_from_string(graph)
    for port in ports:
        name, _, kind = port.partition(":")
        values = (*model.graph.input, *model.graph.output)
        value = next(value for value in values if value.name == name)
        _CHANGES[kind](model, value)
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(array), name)
        for name, array in CONSTANTS.items()
        if name in used
    )
    if {*ports} <= {value.name for value in model.graph.input}:
        # Codecs: streams depend on the last bits of latents, and these on which nodes ONNX Runtime
        # fuses. It knows no inner shapes here, as when the first streams were made.
        del model.graph.value_info[:]
    return bytes(model.SerializeToString())


def _pixels(model: ModelProto, value: ValueInfoProto) -> None:
    name = value.name
    inner = _renamed(model, name)
    if value in model.graph.input:
        _insert(model, 0, _from_pixels(name, inner))
    else:
        _insert(model, len(model.graph.node), _to_pixels(model, value, inner))
    _make_pixels(value)


def _map(model: ModelProto, value: ValueInfoProto) -> None:
    from onnx import helper

    name = value.name
    inner = _renamed(model, name)
    image = model.graph.input[0]
    axes = "pixels.first" if _is_uint8(image) else "pixels.last"
    nodes = [
        helper.make_node("Shape", [image.name], [f"{name}.all"]),
        helper.make_node("Gather", [f"{name}.all", axes], [f"{name}.sides"]),
        helper.make_node("Concat", ["pixels.plane", f"{name}.sides"], [f"{name}.shape"], axis=0),
        helper.make_node("Expand", [name, f"{name}.shape"], [inner]),
    ]
    _insert(model, 0, nodes)
    sides = value.type.tensor_type.shape.dim
    sides[2].dim_param, sides[3].dim_param = f"{name}.height", f"{name}.width"


def _mask(model: ModelProto, value: ValueInfoProto) -> None:
    from onnx import TensorProto, helper

    inner = _renamed(model, value.name)
    cast = helper.make_node("Cast", [value.name], [inner], to=TensorProto.FLOAT)
    _insert(model, 0, [cast])
    value.type.tensor_type.elem_type = TensorProto.UINT8


def _residual(model: ModelProto, value: ValueInfoProto) -> None:
    from onnx import helper

    name = value.name
    inner = _renamed(model, name)
    original, image = f"{name}.original", f"{name}.original.float"
    model.graph.input.append(_like(value, original))
    _make_pixels(model.graph.input[-1])
    difference = helper.make_node("Sub", [image, inner], [name])
    _insert(model, len(model.graph.node), [*_from_pixels(original, image), difference])


def _moved(model: ModelProto, value: ValueInfoProto) -> None:
    from onnx import helper

    name = value.name
    inner = _renamed(model, name)
    residual, moved = f"{name}.residual", f"{name}.moved"
    model.graph.input.append(_like(value, residual))
    total = helper.make_node("Add", [inner, residual], [moved])
    _insert(model, len(model.graph.node), [total, *_to_pixels(model, value, moved)])
    _make_pixels(value)


_CHANGES: dict[str, Callable[[ModelProto, ValueInfoProto], None]] = {
    "": _pixels,
    "map": _map,
    "mask": _mask,
    "moved": _moved,
    "residual": _residual,
}


def _from_pixels(pixels: str, image: str) -> list[NodeProto]:
    """Nodes from uint8 pixels to a float image; on bytes, so that less memory is moved."""
    from onnx import TensorProto, helper

    steps = [f"{pixels}.{i}" for i in range(3)]
    return [
        helper.make_node("Transpose", [pixels], [steps[0]], perm=[0, 3, 1, 2]),
        helper.make_node("Gather", [steps[0], "pixels.bgr"], [steps[1]], axis=1),
        helper.make_node("Cast", [steps[1]], [steps[2]], to=TensorProto.FLOAT),
        helper.make_node("Div", [steps[2], "pixels.255"], [image]),
    ]


def _to_pixels(model: ModelProto, value: ValueInfoProto, image: str) -> list[NodeProto]:
    """Nodes from a float image to uint8 pixels and the output that says whether it was finite.

    Halves are rounded up, as `vaetools.image` does.
    """
    from onnx import TensorProto, helper

    name = value.name
    finite = helper.make_tensor_value_info(name + FINITE, TensorProto.FLOAT, [_batch(value)])
    model.graph.output.append(finite)
    steps, zeros = [f"{name}.{i}" for i in range(5)], f"{name}.zeros"
    version = max(o.version for o in model.opset_import if o.domain in {"", "ai.onnx"})
    if version >= CLIP_INPUTS:
        clip = helper.make_node("Clip", [image, "pixels.0", "pixels.1"], [steps[0]])
    else:
        clip = helper.make_node("Clip", [image], [steps[0]], min=0.0, max=1.0)
    if version >= REDUCE_SUM_INPUTS:
        total = helper.make_node("ReduceSum", [zeros, "pixels.inner"], [name + FINITE], keepdims=0)
    else:
        total = helper.make_node("ReduceSum", [zeros], [name + FINITE], keepdims=0, axes=[1, 2, 3])
    return [
        clip,
        helper.make_node("Mul", [steps[0], "pixels.255"], [steps[1]]),
        helper.make_node("Add", [steps[1], "pixels.half"], [steps[2]]),
        helper.make_node("Cast", [steps[2]], [steps[3]], to=TensorProto.UINT8),
        helper.make_node("Gather", [steps[3], "pixels.bgr"], [steps[4]], axis=1),
        helper.make_node("Transpose", [steps[4]], [name], perm=[0, 2, 3, 1]),
        helper.make_node("Mul", [image, "pixels.0"], [zeros]),
        total,
    ]


def _is_uint8(value: ValueInfoProto) -> bool:
    from onnx import TensorProto

    return bool(value.type.tensor_type.elem_type == TensorProto.UINT8)


def _make_pixels(value: ValueInfoProto) -> None:
    """Declare (B, H, W, 3) uint8 instead of (B, 3, H, W) float32."""
    from onnx import TensorProto, helper

    shape = [_batch(value), f"{value.name}.height", f"{value.name}.width", 3]
    value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.UINT8, shape))


def _like(value: ValueInfoProto, name: str) -> ValueInfoProto:
    """A further image (B, 3, H, W) float32 with the same batch."""
    from onnx import TensorProto, helper

    shape = [_batch(value), 3, f"{name}.height", f"{name}.width"]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _batch(value: ValueInfoProto) -> str | int | None:
    """Length or name of axis 0, if the graph says it."""
    sides = value.type.tensor_type.shape.dim
    return (sides[0].dim_param or sides[0].dim_value or None) if sides else None


def _renamed(model: ModelProto, name: str) -> str:
    """Give a tensor another name within the graph, and return it."""
    inner = f"{name}.float"
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [inner if other == name else other for other in names]
    return inner


def _insert(model: ModelProto, place: int, nodes: Sequence[NodeProto]) -> None:
    for node in reversed(nodes):
        model.graph.node.insert(place, node)
