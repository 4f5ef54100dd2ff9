"""What is slow on a GPU is named with its cost; the models that come with vaetools have none of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vaetools.graphcheck.speed import slow_parts
from vaetools.model.folder import Model
from vaetools.model.manifest import read_manifest
from vaetools.model.registry import shipped_folder
from vaetools.model.runtime import Runtime
from vaetools.model.spec import GraphSpec, Manifest, SizeSpec
from vaetools.model.speed import slow_graph

if TYPE_CHECKING:
    from onnx import ModelProto

SHIPPED = shipped_folder()
LARGE = ("synthesis_gradient.onnx", "inpaint.onnx", "inpaint_sample.onnx")
GRAPHS = [
    pytest.param(path, marks=pytest.mark.slow if path.name in LARGE else ())
    for path in sorted([] if SHIPPED is None else SHIPPED.rglob("*.onnx"))
]


def folder_and_file(path: object) -> str:
    return "/".join(Path(str(path)).parts[-2:])


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), output.split(), **attributes)


def model(
    nodes: list[Any], shape: Any = (1, 16, "height", "width"), **constants: Any
) -> ModelProto:
    """A graph x -> y between two layers of 16 channels."""
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        [node("Relu", "x", "a"), node("Conv", "a eye", "in"), *nodes, node("Neg", "y", "out")],
        "g",
        [value("x", TensorProto.FLOAT, shape)],
        [value("out", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.asarray(v), k)
            for k, v in {"eye": np.eye(16, dtype=np.float32)[..., None, None], **constants}.items()
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def weights(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def narrow(width: int) -> dict[str, Any]:
    """Two layers with `width` channels between them."""
    between = [node("Conv", "in down", "b"), node("Conv", "b up", "c"), node("Conv", "c eye")]
    return {
        "nodes": between,
        "down": weights(width, 16, 3, 3),
        "up": weights(16, width, 3, 3),
    }


CLEAN = {
    "plain": {"nodes": [node("Conv", "in eye")]},
    "four axes": {"nodes": [node("Transpose", "in", perm=[0, 2, 3, 1])]},
    "softmax over pixels": {"nodes": [node("Softmax", "in", axis=-1)]},
    "full width": narrow(24),
    "of constants": {
        "nodes": [node("Asinh", "scale", "s"), node("Mul", "in s")],
        "scale": np.float32(2),
    },
}

SLOW = {
    "Asinh 'y' has no CUDA kernel: it runs on the CPU, 0.393 MB cross the bus": {
        "nodes": [node("Asinh", "in")]
    },
    "Transpose 'm' has 6 axes: 0.393 MB move one element": {
        "nodes": [
            node("Reshape", "in six", "s"),
            node("Transpose", "s", "m", perm=[0, 3, 5, 1, 2, 4]),
            node("Reshape", "m flat"),
        ],
        "six": [1, 16, 32, 2, 48, 2],
        "flat": [1, 2, 2, 24576],
    },
    "Softmax 'y' is over channels: 0.393 MB are transposed": {
        "nodes": [node("Softmax", "in", axis=1)]
    },
    "LayerNormalization 'n' is over channels in NCHW: 0.393 MB are transposed": {
        "nodes": [
            node("Transpose", "in", "t", perm=[0, 2, 3, 1]),
            node("LayerNormalization", "t gain", "n"),
            node("Transpose", "n", perm=[0, 3, 1, 2]),
        ],
        "gain": weights(16),
    },
    "Conv 'b' has 16 input and 9 output channels, not multiples of 8: 33 % more": narrow(9),
    "Conv 'c' has 9 input and 16 output channels": narrow(9),
}


def found(graph: dict[str, Any]) -> list[str]:
    constants = {name: value for name, value in graph.items() if name != "nodes"}
    return slow_parts(model(graph["nodes"], **constants), {"x": (1, 16, 64, 96)})


@pytest.mark.parametrize("kind", CLEAN)
def test_what_is_fast_is_not_named(kind: str) -> None:
    assert found(CLEAN[kind]) == []


@pytest.mark.parametrize("said", SLOW)
def test_what_is_slow_is_named_with_its_cost(said: str) -> None:
    assert any(finding.startswith(said) for finding in found(SLOW[said]))


def manifest() -> Manifest:
    graphs = {"encode": GraphSpec("g.onnx", "0" * 64, 1, ("x",), ("out",))}
    return Manifest(
        format=1, id="m", version="1", license="x", tasks=("x",), graphs=graphs, size=SizeSpec()
    )


def opened(made: ModelProto) -> list[str]:
    return slow_graph(made.SerializeToString(), manifest(), "encode")


def test_what_vaetools_replaces_when_it_opens_a_graph_does_not_count() -> None:
    assert opened(model([node("Asinh", "in")])) == []


def test_batches_and_sizes_that_are_baked_in_are_named() -> None:
    assert opened(model([node("Softmax", "in", axis=0)])) == [
        "takes one image per call: small ones leave most of a GPU idle"
    ]
    fixed = model([node("Conv", "in eye")], shape=(1, 16, 32, 48))
    assert opened(fixed) == ["x has a fixed size: images of any other cannot be processed"]


@pytest.mark.parametrize("path", GRAPHS, ids=folder_and_file)
def test_shipped_graphs_have_nothing_slow(path: Path) -> None:
    manifest = read_manifest(path.parent)
    (role,) = (role for role, spec in manifest.graphs.items() if spec.file == path.name)
    data = Model(manifest, path.parent, Runtime("cpu")).unchecked_graph(role)
    assert slow_graph(data, manifest, role) == []
