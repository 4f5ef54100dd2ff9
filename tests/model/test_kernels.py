"""Replaced operators compute the same, and only on devices other than the CPU."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from vaetools.model import session
from vaetools.model.devices import Device
from vaetools.model.kernels import with_device_kernels
from vaetools.model.session import Session


def graph_of(*kinds: str) -> bytes:
    """A chain of operators with one input each."""
    names = [f"v{i}" for i in range(len(kinds) + 1)]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(kind, [names[i]], [names[i + 1]]) for i, kind in enumerate(kinds)],
        "chain",
        [value(names[0], TensorProto.FLOAT, ["n"])],
        [value(names[-1], TensorProto.FLOAT, ["n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def kinds(graph: bytes) -> set[str]:
    return {node.op_type for node in onnx.load_from_string(graph).graph.node}


def test_asinh_is_accurate_to_the_last_places() -> None:
    """Small, large and ordinary values of either sign: at most 4 units in the last place."""
    magnitudes = np.concatenate([np.logspace(-30, 15, 4001), np.linspace(0, 20, 4001)])
    x = np.concatenate([magnitudes, -magnitudes]).astype(np.float32)
    changed = with_device_kernels(graph_of("Asinh"))
    onnx.checker.check_model(onnx.load_from_string(changed), full_check=True)
    assert "Asinh" not in kinds(changed)
    (found,) = Session(changed, "g", Device("cpu"), 1)(x)
    exact = np.array([math.asinh(value) for value in x.astype(float)])
    assert (np.abs(found - exact) <= 4 * np.spacing(np.abs(exact).astype(np.float32))).all()


def test_several_are_replaced_and_other_nodes_stay() -> None:
    changed = with_device_kernels(graph_of("Neg", "Asinh", "Abs", "Asinh"))
    assert "Asinh" not in kinds(changed)
    x = np.linspace(-9, 9, 101, dtype=np.float32)
    (found,) = Session(changed, "g", Device("cpu"), 1)(x)
    np.testing.assert_allclose(found, np.arcsinh(np.abs(np.arcsinh(-x))), rtol=1e-6)


def test_a_graph_with_all_kernels_is_not_touched() -> None:
    graph = graph_of("Neg", "Abs")
    assert with_device_kernels(graph) is graph


@pytest.mark.parametrize(("kind", "kept"), [("cpu", True), ("cuda", False)])
def test_the_cpu_keeps_its_own_operators(
    monkeypatch: pytest.MonkeyPatch, kind: str, kept: bool
) -> None:
    opened: list[bytes] = []

    def opened_with(graph: bytes, *_: object) -> None:
        opened.append(graph)
        raise EOFError

    monkeypatch.setattr(session, "create_session", opened_with)
    with pytest.raises(EOFError):
        Session(graph_of("Asinh"), "g", Device(kind), 1)
    assert ("Asinh" in kinds(opened[0])) is kept
