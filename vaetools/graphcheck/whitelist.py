"""Graphs consist of allowed standard operators and plain numbers, all in the given bytes."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck.operators import (
    ALLOWED,
    FREE_NUMBERS,
    MAX_ELEMENTS,
    MAY_BE_NEGATIVE,
)
from vaetools.graphcheck.tensor import Tensor, constant
from vaetools.graphcheck.text import first_line, shown

if TYPE_CHECKING:
    from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

MAX_NODES = 10_000

MAX_INITIALIZERS = 20_000
"""ONNX Runtime takes time in proportion to the square of their number to open a graph."""

MAX_NAMES = 100_000
"""Inputs and outputs of all nodes together."""

MIN_OPSET = 9
"""Oldest version of the ONNX operators; earlier ones specify sizes in other ways."""

STANDARD = frozenset({"", "ai.onnx"})
"""Names of the domain of the standard operators."""


def check_parts(model: ModelProto) -> None:
    """Refuse operators, attributes and inputs that are not allowed. Raises `ModelBrokenError`."""
    if model.functions:
        raise ModelBrokenError(
            "graph has functions of its own", remedy="inline them when exporting"
        )
    if model.training_info:
        raise ModelBrokenError("graph has a training part", remedy="export it for inference")
    if model.graph.sparse_initializer:
        raise ModelBrokenError("graph has sparse weights", remedy="export them as dense ones")
    _check_counts(model)
    version = _version(model)
    for node in model.graph.node:
        _check_operator(node)
        _check_names(node, version)
        for attribute in node.attribute:
            _check_attribute(node, attribute)
    for value in model.graph.input:
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type" or value.type.tensor_type.elem_type not in element_types():
            raise ModelBrokenError(f"input {shown(value.name)} is not a tensor of numbers")


def _check_counts(model: ModelProto) -> None:
    graph = model.graph
    names = sum(len(node.input) + len(node.output) for node in graph.node)
    for what, count, most in (
        ("nodes", len(graph.node), MAX_NODES),
        ("weights", len(graph.initializer), MAX_INITIALIZERS),
        ("inputs and outputs of nodes", names, MAX_NAMES),
    ):
        if count > most:
            raise ModelBrokenError(f"graph has {count} {what}, the limit is {most}")


def _version(model: ModelProto) -> int:
    """The version of the operators. Raises `ModelBrokenError` for one that is not known."""
    from onnx import defs

    versions = [o.version for o in model.opset_import if o.domain in STANDARD]
    newest = defs.onnx_opset_version()
    if len(versions) != 1 or not MIN_OPSET <= versions[0] <= newest:
        found = ", ".join(map(str, versions)) or "none"
        raise ModelBrokenError(
            f"graph is for version {found} of the ONNX operators, known are {MIN_OPSET} to {newest}",
            remedy="export it for version 20",
        )
    return int(versions[0])


def _check_operator(node: NodeProto) -> None:
    if node.domain not in STANDARD:
        raise ModelBrokenError(
            f"operator {shown(node.op_type)} is of the domain {shown(node.domain)}",
            remedy="export standard operators only, and quantised graphs as QDQ",
        )
    if node.op_type not in ALLOWED:
        raise ModelBrokenError(
            f"operator {shown(node.op_type)} is not allowed in a model",
            remedy="docs/safety.md lists those that are",
        )
    parts = next((a.i for a in node.attribute if a.name == "num_outputs"), len(node.output))
    if node.op_type == "Split" and parts != len(node.output):
        # ONNX's inference, which ONNX Runtime shares, would read out of bounds.
        raise ModelBrokenError(f"operator 'Split' has {len(node.output)} outputs for {parts} parts")


def _check_names(node: NodeProto, version: int) -> None:
    """Inputs and outputs are as many as the operator has, and blank only where it calls them optional.

    ONNX Runtime reads a blank input of `Max`, `Sum` and others that take any number as if it were there.
    """
    from onnx import defs

    try:
        schema = defs.get_schema(node.op_type, version, "")
    except defs.SchemaError:
        raise ModelBrokenError(
            f"operator {shown(node.op_type)} is not in version {version} of the ONNX operators"
        ) from None
    groups = (
        ("inputs", node.input, schema.inputs, schema.min_input, schema.max_input),
        ("outputs", node.output, schema.outputs, schema.min_output, schema.max_output),
    )
    for what, names, parameters, least, most in groups:
        if not least <= len(names) <= most:
            raise ModelBrokenError(f"operator {shown(node.op_type)} has {len(names)} {what}")
        for number, name in enumerate(names):
            parameter = parameters[min(number, len(parameters) - 1)]
            if not name and parameter.option != defs.OpSchema.FormalParameterOption.Optional:
                raise ModelBrokenError(
                    f"operator {shown(node.op_type)} has blank {what} that are not optional"
                )


def _check_attribute(node: NodeProto, attribute: AttributeProto) -> None:
    where = f"attribute {shown(attribute.name)} of {node.op_type}"
    # The second half: a file may fill fields that do not belong to the type.
    if attribute.type not in _attribute_types() or attribute.HasField("g") or attribute.graphs:
        raise ModelBrokenError(f"{where} is not a number, a text or a tensor")
    if any(math.isnan(number) for number in (attribute.f, *attribute.floats)):
        raise ModelBrokenError(f"{where} is not a number (NaN)")
    numbers = (attribute.i, *attribute.ints)
    least = 0 if attribute.name not in MAY_BE_NEGATIVE else -MAX_ELEMENTS
    if (
        node.op_type not in FREE_NUMBERS
        and not least <= min(numbers) <= max(numbers) <= MAX_ELEMENTS
    ):
        raise ModelBrokenError(f"{where} is out of range")
    if attribute.HasField("t") and node.op_type != "Constant":
        _array(attribute.t, f"{node.op_type}.{attribute.name}")


def constants_of(model: ModelProto) -> dict[str, Tensor]:
    """The initializers and constants of a graph, by name.

    Raises:
        ModelBrokenError: one is not in the file, damaged, not finite, or defined twice.
    """
    found: dict[str, Tensor] = {}

    def add(name: str, array: np.ndarray, element: int) -> None:
        if name in found:
            raise ModelBrokenError(f"{shown(name)} is defined twice")
        found[name] = constant(array, element)

    for tensor in model.graph.initializer:
        add(tensor.name, _array(tensor, tensor.name), tensor.data_type)
    for node in model.graph.node:
        if node.op_type == "Constant":
            add(node.output[0], *_constant(node))
    return found


def _constant(node: NodeProto) -> tuple[np.ndarray, int]:
    """Array and element type of a `Constant` node."""
    from onnx import TensorProto, helper

    (attribute,) = node.attribute
    if attribute.name == "value":
        return _array(attribute.t, node.output[0]), attribute.t.data_type
    kinds = {
        "value_float": (np.float32, TensorProto.FLOAT),
        "value_floats": (np.float32, TensorProto.FLOAT),
        "value_int": (np.int64, TensorProto.INT64),
        "value_ints": (np.int64, TensorProto.INT64),
    }
    if attribute.name not in kinds:
        raise ModelBrokenError(f"{shown(node.output[0])} is a constant without numbers")
    kind, element = kinds[attribute.name]
    return np.array(helper.get_attribute_value(attribute), kind), element


def _array(tensor: TensorProto, name: str) -> np.ndarray:
    """The numbers of a tensor; they must be in the file, match its shape and be finite."""
    from onnx import TensorProto, numpy_helper

    if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
        raise ModelBrokenError(
            f"{shown(name)} is stored neither in the graph's file nor in that of [weights]",
            remedy="export a single file",
        )
    if tensor.data_type not in element_types():
        raise ModelBrokenError(f"{shown(name)} is not a tensor of numbers")
    try:
        array: np.ndarray = numpy_helper.to_array(tensor)
    except (TypeError, ValueError) as error:
        raise ModelBrokenError(f"{shown(name)} is damaged: {first_line(error)}") from None
    if list(array.shape) != list(tensor.dims):  # a side of -1 would have been guessed
        raise ModelBrokenError(f"{shown(name)} is damaged: its shape is {list(tensor.dims)[:8]}")
    _check_finite(array, name)
    return array


def _check_finite(array: np.ndarray, name: str) -> None:
    if array.dtype.kind in "iub":
        return
    finite = np.isfinite(array)
    # Exporters write "no bound" and attention masks with zeros and infinities.
    if not finite.all() and (np.isnan(array).any() or array[finite].any()):
        count = array.size - int(finite.sum())
        raise ModelBrokenError(f"weights are not finite: {count} of {array.size} in {shown(name)}")


@functools.cache
def element_types() -> frozenset[int]:
    """Allowed element types: numbers."""
    from onnx import TensorProto

    words = "FLOAT DOUBLE FLOAT16 BFLOAT16 BOOL INT4 UINT4 INT8 UINT8 INT16 UINT16 INT32 UINT32"
    return frozenset(TensorProto.DataType.Value(w) for w in (*words.split(), "INT64", "UINT64"))


@functools.cache
def _attribute_types() -> frozenset[int]:
    from onnx import AttributeProto

    words = "FLOAT INT STRING TENSOR FLOATS INTS STRINGS"
    return frozenset(AttributeProto.AttributeType.Value(word) for word in words.split())
