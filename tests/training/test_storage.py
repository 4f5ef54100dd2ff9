"""Weights stored in 16 bits: half the bytes, the same results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession
from torch import nn

from tests.training.tiny import codec_recipe, read
from vaetools.graphcheck import check_graph
from vaetools.training.export.codec import plans
from vaetools.training.export.rounding import round_weights
from vaetools.training.export.storage import STORED, compact, weights_of
from vaetools.training.tasks import open_task

if TYPE_CHECKING:
    from pathlib import Path


def multiplying(weight: np.ndarray) -> onnx.ModelProto:
    """x @ weight."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "layer.weight"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, weight.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, weight.shape[1]])],
        [numpy_helper.from_array(weight, "layer.weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def output(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_a_weight_that_float16_holds_is_stored_in_half_the_bytes() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(64, 64)).astype(np.float16).astype(np.float32)
    x = rng.normal(size=(2, 64)).astype(np.float32)
    model = multiplying(weight)
    before, size = output(model, x), model.ByteSize()
    compact(model)
    onnx.checker.check_model(model)
    assert model.ByteSize() < 0.6 * size
    assert np.array_equal(output(model, x), before)
    assert np.array_equal(weights_of(model.graph)["layer.weight"], weight)
    once = model.SerializeToString()
    compact(model)
    assert model.SerializeToString() == once


def test_other_weights_stay_as_they_are() -> None:
    """Not exact in float16, beyond its range, or too small to be worth a node."""
    rng = np.random.default_rng(0)
    for weight in (
        rng.normal(size=(64, 64)).astype(np.float32),
        np.full((64, 64), 1e6, np.float32),
        np.ones((4, 4), np.float32),
    ):
        model = multiplying(weight)
        before = model.SerializeToString()
        compact(model)
        assert model.SerializeToString() == before


def test_rounding_leaves_integers_and_gains_alone(tmp_path: Path) -> None:
    codec = open_task(read(codec_recipe(), tmp_path)).network
    nn.init.normal_(codec.log_gain)
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    round_weights(codec)
    changed = {n for n, value in codec.state_dict().items() if not torch.equal(value, before[n])}
    assert all(name.endswith(".weight") for name in changed)
    assert not [name for name in changed if name.startswith(("hyper_scale_index", "hyper_prior"))]
    assert any(name.startswith("synthesis") for name in changed)


@pytest.mark.train
def test_graphs_of_a_rounded_codec_pass_the_check_and_name_their_weights(tmp_path: Path) -> None:
    text = codec_recipe().replace("channels = 16\nmiddle = 16", "channels = 48\nmiddle = 64")
    codec = open_task(read(text, tmp_path)).network.eval()
    plan = plans(codec)["analysis"]
    whole = len(plan.graph("whole"))
    round_weights(codec)
    data = plan.graph("rounded")
    assert len(data) < 0.65 * whole
    model = onnx.load_from_string(data)
    stored = [tensor.name for tensor in model.graph.initializer if tensor.name.endswith(STORED)]
    assert stored
    found, own = weights_of(model.graph), codec.analysis.state_dict()
    for name in stored:
        plain = name.removesuffix(STORED)
        assert np.array_equal(found[plain], own[plain].numpy())
    check_graph(data, "analysis", sizes={"height": 192, "width": 128})
