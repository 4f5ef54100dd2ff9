"""What several graphs use is written once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from vaetools.model.manifest import read_manifest
from vaetools.model.shared_weights import with_weights
from vaetools.model.spec import LatentSpec, Manifest
from vaetools.training.export.folder import OnnxPlan, write_model
from vaetools.training.export.shared_weights import FILE, SMALLEST, WORTH, shared_weights

if TYPE_CHECKING:
    from pathlib import Path

LARGE = WORTH // 4
"""Elements that are worth a file."""


def graph(*weights: np.ndarray) -> onnx.ModelProto:
    """y = x + all weights."""
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, "height", "width"])
        for name in ("x", "y")
    ]
    tensors = [numpy_helper.from_array(w, f"w{n}") for n, w in enumerate(weights)]
    nodes = [
        part
        for n in range(len(weights))
        for part in (
            helper.make_node("ReduceMean", [f"w{n}"], [f"m{n}"], keepdims=0),
            helper.make_node("Add", [f"s{n}" if n else "x", f"m{n}"], [f"s{n + 1}"]),
        )
    ]
    last = helper.make_node("Identity", [f"s{len(weights)}" if weights else "x"], ["y"])
    made = helper.make_graph([*nodes, last], "g", ports[:1], ports[1:], tensors)
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(made, opset_imports=opset, ir_version=10)


def weights_of(data: bytes) -> list[np.ndarray]:
    return [numpy_helper.to_array(t) for t in onnx.load_from_string(data).graph.initializer]


def array(seed: int, count: int = LARGE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count).astype(np.float32)


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 3), st.sampled_from([1, SMALLEST // 4, LARGE])), max_size=4
        ),
        min_size=1,
        max_size=4,
    )
)
def test_each_graph_gets_its_weights_back(uses: list[list[tuple[int, int]]]) -> None:
    graphs = {
        str(n): graph(*(array(*one) for one in use)).SerializeToString()
        for n, use in enumerate(uses)
    }
    moved, shared = shared_weights(graphs)
    assert list(moved) == list(graphs)
    for role, data in graphs.items():
        whole = with_weights(moved[role], shared, FILE) if shared else moved[role]
        for found, expected in zip(weights_of(whole), weights_of(data), strict=True):
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)
    total = sum(map(len, moved.values())) + len(shared)
    assert total < sum(map(len, graphs.values())) or not shared


def test_what_one_graph_uses_stays_in_it() -> None:
    common, own, small = array(0), array(1), array(2, 10)
    graphs = {
        "a": graph(common, own, small).SerializeToString(),
        "b": graph(small, common).SerializeToString(),
    }
    moved, shared = shared_weights(graphs)
    assert shared == common.tobytes()
    assert len(moved["b"]) < 1500
    assert len(moved["a"]) < own.nbytes + 1500


def test_little_is_not_worth_a_file() -> None:
    few = array(0, LARGE - 1)
    graphs = {role: graph(few).SerializeToString() for role in "ab"}
    assert shared_weights(graphs) == (graphs, b"")


def plan(*weights: np.ndarray) -> OnnxPlan:
    added = np.float32(sum(float(w.mean()) for w in weights))
    return OnnxPlan(graph(*weights), lambda x: [x + added], [[np.ones((1, 3, 8, 8), np.float32)]])


def test_models_are_written_with_one_file_of_weights(tmp_path: Path) -> None:
    common = array(0)
    plans = {"encode": plan(common, array(1)), "decode": plan(common, array(2))}
    folder = tmp_path / "shared"
    manifest = Manifest(
        1, "shared", "1", "MIT", ("reconstruct",), {}, latent=LatentSpec(channels=3)
    )
    model, _ = write_model(folder, manifest, plans)
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.toml", "encode.onnx", "decode.onnx", FILE}
    model.verify()
    alone = {"encode": plan(common), "decode": plan(array(2))}
    model, _ = write_model(folder, manifest, alone)  # the old one is replaced with all of its files
    assert {path.name for path in folder.iterdir()} == names - {FILE}
    assert read_manifest(folder).weights is None
    model.verify()
