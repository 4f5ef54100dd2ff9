"""What graphs may do: nothing that a model needs is refused, and sizes are told as they come out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, defs, helper, numpy_helper

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck import check_graph
from vaetools.graphcheck.operators import ALLOWED, HEAVY, SAME_SHAPE, SIZE_OPERANDS
from vaetools.graphcheck.sizes import check_sizes
from vaetools.graphcheck.tensor import Origin
from vaetools.graphcheck.values import EVALUATED
from vaetools.graphcheck.whitelist import constants_of
from vaetools.model.folder import Model
from vaetools.model.manifest import read_manifest
from vaetools.model.registry import shipped_folder
from vaetools.model.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def model_of(
    nodes: Sequence[onnx.NodeProto],
    arrays: dict[str, Any],
    *,
    inputs: Sequence[onnx.ValueInfoProto] = (),
    opset: int = 20,
) -> onnx.ModelProto:
    """A graph whose output is `y`."""
    constants = [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]
    output = onnx.ValueInfoProto(name="y")
    graph = helper.make_graph(list(nodes), "g", list(inputs), [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def test_every_name_is_an_operator_of_onnx() -> None:
    names = {schema.name for schema in defs.get_all_schemas() if schema.domain == ""}
    for some in (ALLOWED, HEAVY, SAME_SHAPE, SIZE_OPERANDS, EVALUATED):
        assert set(some) <= names
        assert set(some) <= ALLOWED


@pytest.mark.parametrize("operator", sorted(ALLOWED))
def test_no_operator_holds_a_graph_or_draws_numbers(operator: str) -> None:
    for schema in defs.get_all_schemas_with_history():
        if schema.name == operator and schema.domain == "":
            kinds = {attribute.type.name for attribute in schema.attributes.values()}
            assert not kinds & {"GRAPH", "GRAPHS"}
            assert "seed" not in schema.attributes


def test_all_shipped_graphs_pass() -> None:
    shipped = shipped_folder()
    assert shipped is not None
    folders = [path.parent for path in shipped.glob("*/model.toml")]
    assert folders
    for folder in folders:
        model = Model(read_manifest(folder), folder, Runtime("cpu"))
        for role, spec in model.manifest.graphs.items():
            data = model.unchecked_graph(role)
            check_graph(data, spec.file, inputs=spec.inputs, outputs=spec.outputs)


def test_no_bytes_are_refused() -> None:
    with pytest.raises(ModelBrokenError, match="empty: graph does not load: it has no nodes"):
        check_graph(b"", "empty")


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


VALUES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "Abs": ([ints(-3, 4)], {}),
    "Add": ([ints(1, 2), ints(3)], {}),
    "And": ([np.array([True, True]), np.array([True, False])], {}),
    "Cast": ([np.array([-2.7, 2.7], np.float32)], {"to": INT64}),
    "Ceil": ([np.array([-1.5, 1.5], np.float32)], {}),
    "Concat": ([ints(1, 2), ints(3)], {"axis": 0}),
    "ConstantOfShape": ([ints(2, 3)], {"value": numpy_helper.from_array(ints(7))}),
    "Div": ([ints(-7, 7, -7, 7), ints(2, 2, -2, -2)], {}),
    "Equal": ([ints(1, 2), ints(1, 3)], {}),
    "Expand": ([ints(1, 2), ints(3, 1)], {}),
    "Floor": ([np.array([-1.5, 1.5], np.float32)], {}),
    "Gather": ([ints(5, 6, 7), ints(-1, 0)], {"axis": 0}),
    "Greater": ([ints(1, 2), ints(1, 1)], {}),
    "GreaterOrEqual": ([ints(1, 2), ints(1, 3)], {}),
    "Identity": ([ints(1, 2)], {}),
    "Less": ([ints(1, 2), ints(1, 3)], {}),
    "LessOrEqual": ([ints(1, 2), ints(1, 1)], {}),
    "Max": ([ints(1, 9), ints(5, 5), ints(6, 6)], {}),
    "Min": ([ints(1, 9), ints(5, 5), ints(6, 6)], {}),
    "Mod": ([ints(-7, 7, -7, 7), ints(2, 2, -2, -2)], {}),
    "Mul": ([ints(2**20, -3), ints(2**20, 5)], {}),
    "Neg": ([ints(1, -2)], {}),
    "Not": ([np.array([True, False])], {}),
    "Or": ([np.array([True, False]), np.array([False, False])], {}),
    "Range": ([np.array(10), np.array(0), np.array(-3)], {}),
    "ReduceProd": ([ints(2, 3, 4), ints(0)], {"keepdims": 0}),
    "Reshape": ([ints(1, 2, 3, 4, 5, 6), ints(3, -1)], {}),
    "Slice": ([ints(0, 1, 2, 3, 4), ints(-1), ints(-(2**63)), ints(0), ints(-2)], {}),
    "Sqrt": ([np.array([2, 9], np.float32)], {}),
    "Squeeze": ([ints(1, 2).reshape(1, 2), ints(0)], {}),
    "Sub": ([ints(1, 2), ints(3)], {}),
    "Tile": ([ints(1, 2), ints(3)], {}),
    "Transpose": ([ints(1, 2, 3, 4, 5, 6).reshape(2, 3)], {}),
    "Unsqueeze": ([ints(1, 2), ints(1)], {}),
    "Where": ([np.array([True, False]), ints(1, 2), ints(3, 4)], {}),
}


@pytest.mark.parametrize("operator", sorted(EVALUATED))
def test_values_are_those_of_onnx_runtime(operator: str) -> None:
    operands, attributes = VALUES[operator]
    arrays = {f"x{number}": array for number, array in enumerate(operands)}
    model = model_of([helper.make_node(operator, [*arrays], ["y"], **attributes)], arrays)
    told = check_sizes(model, constants_of(model), {})["y"].value
    (expected,) = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    ).run(None, {})
    assert told is not None
    assert told.dtype == expected.dtype and told.shape == expected.shape
    assert np.array_equal(told, expected)


@pytest.mark.parametrize(
    ("operator", "operands", "attributes"),
    [
        ("Mul", [ints(2**40), ints(2**40)], {}),
        ("Add", [ints(2**63 - 1), ints(1)], {}),
        ("Mod", [ints(-7), ints(2)], {"fmod": 1}),
        ("Cast", [np.array([1e30], np.float32)], {"to": INT64}),
        ("Cast", [np.array([np.inf], np.float32)], {"to": INT64}),
        ("Cast", [ints(2**40)], {"to": TensorProto.INT32}),
        ("Gather", [ints(1, 2), ints(5)], {}),
        ("ReduceProd", [ints(1, 2, 3, 4).reshape(2, 2), ints(0)], {}),
        ("ConstantOfShape", [ints(65)], {}),
        ("Exp", [np.array([1], np.float32)], {}),
    ],
)
def test_what_differs_between_machines_has_no_value(
    operator: str, operands: list[np.ndarray], attributes: dict[str, Any]
) -> None:
    arrays = {f"x{number}": array for number, array in enumerate(operands)}
    model = model_of([helper.make_node(operator, [*arrays], ["y"], **attributes)], arrays)
    told = check_sizes(model, constants_of(model), {})["y"]
    assert told.value is None and told.origin == Origin.CONSTANT


@pytest.mark.parametrize("opset", [9, 20])
def test_old_and_new_ways_to_slice_agree(opset: int) -> None:
    end = 2**63 - 1
    if opset == 9:
        node = helper.make_node("Slice", ["x"], ["y"], starts=[1], ends=[end], axes=[0])
        model = model_of([node], {"x": ints(5, 6, 7)}, opset=opset)
    else:
        node = helper.make_node("Slice", ["x", "from", "to"], ["y"])
        arrays = {"x": ints(5, 6, 7), "from": ints(1), "to": ints(end)}
        model = model_of([node], arrays, opset=opset)
    told = check_sizes(model, constants_of(model), {})["y"].value
    assert told is not None and told.tolist() == [6, 7]


def image(*sides: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("image", FLOAT, [1, 3, *sides])


def test_sizes_follow_the_input_with_open_and_with_known_sides() -> None:
    """Padding to a multiple of 8, as exporters write it."""
    nodes = [
        helper.make_node("Shape", ["image"], ["height"], start=2, end=3),
        helper.make_node("Neg", ["height"], ["minus"]),
        helper.make_node("Mod", ["minus", "eight"], ["missing"]),
        helper.make_node("Concat", ["none", "missing", "zero"], ["pads"], axis=0),
        helper.make_node("Pad", ["image", "pads"], ["y"]),
    ]
    arrays = {"eight": ints(8), "none": ints(0, 0, 0, 0, 0, 0), "zero": ints(0)}
    for height, expected in ((13, (1, 3, 16, 5)), ("height", (None, None, None, None))):
        model = model_of(nodes, arrays, inputs=[image(height, 5)])
        found = check_sizes(model, constants_of(model), {"height": 64})
        assert found["y"].shape == expected
        assert found["missing"].origin == Origin.SIZES


def test_sides_may_be_divided_by() -> None:
    """As a roll by a part of the picture is exported."""
    nodes = [
        helper.make_node("Shape", ["image"], ["sides"]),
        helper.make_node("Gather", ["sides", "two"], ["height"]),
        helper.make_node("Mul", ["height", "two"], ["twice"]),
        helper.make_node("Mod", ["start", "twice"], ["from"]),
        helper.make_node("Slice", ["image", "from", "end", "two"], ["y"]),
    ]
    arrays = {"two": ints(2), "start": ints(-3), "end": ints(2**63 - 1)}
    model = model_of(nodes, arrays, inputs=[image("height", "width")])
    check_graph(model.SerializeToString(), "roll")


def test_masks_and_missing_bounds_may_be_infinite() -> None:
    inputs = [image("height", "width")]
    mask = np.array([0, -np.inf, -np.inf, 0], np.float32)
    for infinite in (np.float32(np.inf), mask):
        node = helper.make_node("Min", ["image", "bound"], ["y"])
        model = model_of([node], {"bound": infinite}, inputs=inputs)
        check_graph(model.SerializeToString(), "mask")
    model = model_of([node], {"bound": np.float32(np.nan)}, inputs=inputs)
    with pytest.raises(ModelBrokenError, match="weights are not finite"):
        check_graph(model.SerializeToString(), "mask")


def test_numbers_that_do_not_suit_a_graph_are_not_held_against_it() -> None:
    """The side of an input with an unknown name is a guess, and 16 is no multiple of 7 · 7."""
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["less"], strides=[7, 7]),
        helper.make_node("Conv", ["less", "weight"], ["y"], strides=[7, 7]),
    ]
    weight = np.ones((3, 3, 7, 7), np.float32)
    model = model_of(nodes, {"weight": weight}, inputs=[image("s40", "s41")])
    check_graph(model.SerializeToString(), "strange")


def test_old_layers_without_rules_keep_their_shape() -> None:
    nodes = [
        helper.make_node("MeanVarianceNormalization", ["image"], ["even"]),
        helper.make_node("GreaterOrEqual", ["even", "zero"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["y"], to=FLOAT),
    ]
    model = model_of(nodes, {"zero": np.float32(0)}, inputs=[image(8, 8)], opset=13)
    found = check_sizes(model, constants_of(model), {})
    assert found["y"].shape == (1, 3, 8, 8)
