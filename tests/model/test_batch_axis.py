"""Graphs with a batch: every sample of a call gets what a call of its own gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vaetools.model.batch_axis import with_batch_axis
from vaetools.model.checked import example_sizes
from vaetools.model.devices import Device
from vaetools.model.folder import Model
from vaetools.model.manifest import read_manifest
from vaetools.model.registry import shipped_folder
from vaetools.model.runtime import Runtime
from vaetools.model.session import Session

if TYPE_CHECKING:
    from pathlib import Path

CPU = Device("cpu")
SIZES = {"height": 16, "width": 24}
SHIPPED = shipped_folder()
GRAPHS = [] if SHIPPED is None else sorted(p.relative_to(SHIPPED) for p in SHIPPED.rglob("*.onnx"))


def graph(nodes: list[Any], *, opset: int = 18, shape: Any = None, **constants: Any) -> bytes:
    """A graph image (1, 4, height, width) -> y."""
    image = helper.make_tensor_value_info(
        "image", TensorProto.FLOAT, [1, 4, "height", "width"] if shape is None else shape
    )
    made = helper.make_graph(
        nodes,
        "g",
        [image],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1] + [None] * 3)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString())


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), output.split(), **attributes)


def operators(data: bytes) -> list[str]:
    return [found.op_type for found in onnx.load_from_string(data).graph.node]


def check_batch(data: bytes, changed: bytes, sizes: dict[str, int], count: int = 3) -> None:
    """Batches of a changed graph are bit for bit what single images give with the graph itself."""
    single, many = (Session(one, "g", CPU, 1) for one in (data, changed))
    rng = np.random.default_rng(0)
    shapes = [
        tuple(side if isinstance(side, int) else sizes.get(side or "", 1) for side in shape)
        for shape in single.input_shapes
    ]
    calls = [[rng.random((1, *shape[1:]), np.float32) for shape in shapes] for _ in range(count)]
    together = many(*(np.concatenate(values) for values in zip(*calls, strict=True)))
    for place, call in enumerate(calls):
        for one, all_of in zip(single(*call), together, strict=True):
            assert len(all_of) == count
            assert np.array_equal(one[0], all_of[place])


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS, ids=str)
def test_shipped_graphs_take_batches(name: Path) -> None:
    assert SHIPPED is not None
    manifest = read_manifest((SHIPPED / name).parent)
    data = Model(manifest, (SHIPPED / name).parent, Runtime("cpu")).unchecked_graph(name.stem)
    changed = with_batch_axis(data, example_sizes(manifest))
    assert changed is not None
    for port in (*onnx.load_from_string(changed).graph.input,):
        assert port.type.tensor_type.shape.dim[0].dim_param == "batch"
    check_batch(data, changed, example_sizes(manifest))
    assert not any(
        len(a.ints) > 5
        for n in onnx.load_from_string(changed).graph.node
        if n.op_type == "Transpose"
        for a in n.attribute
    )


UNSHUFFLE = [
    node("Shape", "image", "all", start=1),
    node("Concat", "minus all", "whole", axis=0),
    node("Reshape", "image whole", "flat"),
    node("Shape", "flat", "h", start=2, end=3),
    node("Shape", "flat", "w", start=3, end=4),
    node("Div", "h two", "rows"),
    node("Div", "w two", "columns"),
    node("Concat", "minus four rows two columns two", "split", axis=0),
    node("Reshape", "flat split", "six"),
    node("Transpose", "six", "moved", perm=[0, 1, 3, 5, 2, 4]),
    node("Concat", "minus sixteen rows columns", "merged", axis=0),
    node("Reshape", "moved merged", "deep"),
    node("Shape", "deep", "end", start=1),
    node("Concat", "one end", "back", axis=0),
    node("Reshape", "deep back", "y", allowzero=1),
]
NUMBERS = {"minus": [-1], "one": [1], "two": [2], "four": [4], "sixteen": [16]}


def test_pixel_unshuffle_becomes_space_to_depth() -> None:
    """Inside the graph, where the last Reshape is not an output."""
    data = graph([*UNSHUFFLE[:-1], node("Reshape", "deep back", "z"), node("Relu", "z")], **NUMBERS)
    changed = with_batch_axis(data, SIZES)
    assert changed is not None
    assert operators(changed) == ["Reshape", "SpaceToDepth", "Reshape", "Relu"]
    check_batch(data, changed, {"height": 6, "width": 10})


def test_another_permutation_of_six_axes_stays_as_it_is() -> None:
    nodes = [*UNSHUFFLE[:-1], node("Reshape", "deep back", "z"), node("Relu", "z")]
    nodes[9] = node("Transpose", "six", "moved", perm=[0, 3, 5, 1, 2, 4])
    data = graph(nodes, **NUMBERS)
    changed = with_batch_axis(data, SIZES)
    assert changed is not None
    assert "SpaceToDepth" not in operators(changed)
    check_batch(data, changed, {"height": 6, "width": 10})


@pytest.mark.parametrize("factor", [2, 3])
def test_resize_to_computed_sizes_becomes_a_resize_by_factors(factor: int) -> None:
    nodes = [
        node("Shape", "image", "sides", start=2),
        node("Mul", "sides factor", "larger"),
        node("Concat", "first larger", "sizes", axis=0),
        helper.make_node("Resize", ["image", "", "", "sizes"], ["z"], mode="linear"),
        node("Relu", "z"),
    ]
    data = graph(nodes, factor=[factor], first=[1, 4])
    changed = with_batch_axis(data, SIZES)
    assert changed is not None
    assert operators(changed) == ["Resize", "Relu"]
    check_batch(data, changed, {"height": 5, "width": 7})


APART = {
    "constant shape": [node("Reshape", "image fourths", "z"), node("Relu", "z")],
    "normalisation": [
        node("Reshape", "image groups", "z"),
        node("InstanceNormalization", "z two_ones two_ones", "n"),
        node("Shape", "image", "s"),
        node("Reshape", "n s", "y"),
    ],
    "attention": [
        node("Reshape", "image rows", "q"),
        node("Transpose", "q", "k", perm=[0, 2, 1]),
        node("MatMul", "q k", "product"),
        node("Softmax", "product", "share", axis=-1),
        node("MatMul", "share q", "v"),
        node("Shape", "image", "s"),
        node("Reshape", "v s", "y"),
    ],
    "ones of the image's size": [
        node("Shape", "image", "s"),
        node("Expand", "half s", "halves"),
        node("Add", "image halves", "y"),
    ],
    "mean over an image": [node("ReduceMean", "image inner", "m"), node("Sub", "image m", "y")],
    "codes": [
        node("ArgMax", "image", "code", axis=1, keepdims=0),
        node("Gather", "table code", "z"),
        node("Transpose", "z", "y", perm=[0, 3, 1, 2]),
    ],
    "slices": [
        node("Slice", "image start end channels", "a"),
        node("Concat", "a image", "y", axis=1),
    ],
    "padding": [node("Pad", "image pads", "y", mode="reflect")],
}  # fmt: skip

MIXED = {
    "mean over the batch": [node("ReduceMean", "image batch", "m"), node("Sub", "image m", "y")],
    "mean over all": [node("ReduceMean", "image", "m"), node("Sub", "image m", "y")],
    "softmax over the batch": [node("Softmax", "image", "y", axis=0)],
    "running sum": [node("CumSum", "image zero", "y")],
    "moved to another axis": [
        node("Transpose", "image", "z", perm=[1, 0, 2, 3]),
        node("ReduceMean", "z inner", "m"),
        node("Mul", "image m", "y"),
    ],
    "batch in an inner axis": [
        node("Reshape", "image fours", "z"),
        node("Softmax", "z", "n", axis=0),
        node("Shape", "image", "s"),
        node("Reshape", "n s", "y"),
    ],
    "one sample": [node("Slice", "image start end", "z"), node("Add", "image z", "y")],
    "numbers of samples": [
        node("Shape", "image", "s", end=1),
        node("Cast", "s", "n", to=TensorProto.FLOAT),
        node("Mul", "image n", "y"),
    ],
    "expanded to another rank": [
        node("ReduceMean", "image inner", "m", keepdims=0),
        node("Add", "image m", "y"),
    ],
}  # fmt: skip

VALUES: dict[str, Any] = {
    "fourths": [1, 2, 2, -1],
    "fours": [4, -1, 2, 1],
    "groups": [0, 2, -1],
    "rows": [1, 4, -1],
    "two_ones": np.ones(2, np.float32),
    "half": np.float32(0.5),
    "inner": [1, 2, 3],
    "batch": [0],
    "zero": np.int64(0),
    "table": np.arange(12, dtype=np.float32).reshape(4, 3),
    "start": [0],
    "end": [1],
    "channels": [1],
    "pads": [0, 0, 1, 2, 0, 0, 3, 1],
}


def with_values(nodes: list[Any]) -> bytes:
    used = {name for found in nodes for name in found.input}
    return graph(nodes, **{name: value for name, value in VALUES.items() if name in used})


@pytest.mark.parametrize("kind", APART)
def test_graphs_that_keep_samples_apart_take_batches(kind: str) -> None:
    data = with_values(APART[kind])
    changed = with_batch_axis(data, SIZES)
    assert changed is not None
    check_batch(data, changed, {"height": 6, "width": 10})


@pytest.mark.parametrize("kind", MIXED)
def test_graphs_that_may_mix_samples_take_no_batches(kind: str) -> None:
    assert with_batch_axis(with_values(MIXED[kind]), SIZES) is None


def test_inputs_without_a_free_axis_0_take_no_batches() -> None:
    relu = [node("Relu", "image")]
    assert with_batch_axis(graph(relu, shape=[2, 4, "height", "width"]), SIZES) is None
    assert with_batch_axis(graph(relu, shape=[]), SIZES) is None
    assert with_batch_axis(graph(relu, shape=["n", 4, "height", "width"]), SIZES) is not None
