"""Puts ONNX graphs together: nodes one by one, and whole graphs between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import ModelBrokenError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from onnx import ModelProto, NodeProto

MIN_OPSET = 18
"""Version of the operators that nodes are written for; older graphs are converted."""

Shape = tuple["int | str", ...]


class Builder:
    """One graph under construction. Values are known by their names.

    Args:
        parts: the graphs that will be included, by role.

    Raises:
        ModelBrokenError: their operators are too old, or cannot be brought to one version.
    """

    def __init__(self, parts: dict[str, ModelProto]) -> None:
        versions = {role: _opset(model) for role, model in parts.items()}
        self.opset: int = max(MIN_OPSET, *versions.values())
        self.parts: dict[str, ModelProto] = {
            role: _at_opset(model, self.opset) for role, model in parts.items()
        }
        self._ir = max(8, *(model.ir_version for model in parts.values()))
        self._nodes: list[NodeProto] = []
        self._initializers: dict[str, Any] = {}
        self._constants: dict[Any, str] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, kind: type[np.generic], shape: Shape) -> str:
        """Declare an input of the graph."""
        self._inputs.append(_value(name, kind, shape))
        return name

    def output(
        self, name: str, value: str, kind: type[np.generic], shape: Shape, *, first: bool = False
    ) -> None:
        """Declare an output of the graph, the last one or the first, with the content of `value`."""
        self._add("Identity", [value], [name], {})
        self._outputs.insert(0 if first else len(self._outputs), _value(name, kind, shape))

    def constant(self, array: Any, kind: type[np.generic]) -> str:
        """The name of an initializer with this content."""
        import onnx

        values = np.ascontiguousarray(np.asarray(array, kind)).reshape(np.shape(array))
        key = values.dtype, values.shape, values.tobytes()
        if key not in self._constants:
            name = self._constants[key] = f"constant.{len(self._constants)}"
            self._initializers[name] = onnx.numpy_helper.from_array(values, name)
        return self._constants[key]

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        (output,) = self.ops(kind, *inputs, count=1, **attributes)
        return output

    def ops(self, kind: str, *inputs: str, count: int, **attributes: Any) -> list[str]:
        """Add a node with `count` outputs."""
        outputs = [f"value.{len(self._nodes)}.{number}" for number in range(count)]
        self._add(kind, inputs, outputs, attributes)
        return outputs

    def number(self, kind: str, value: str, number: float, **attributes: Any) -> str:
        """Add a node that takes a value and a float."""
        return self.op(kind, value, self.constant(number, np.float32), **attributes)

    def cast(self, value: str, kind: type[np.generic]) -> str:
        import onnx

        return self.op("Cast", value, to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind)))

    def reduce(self, kind: str, value: str) -> str:
        """Sum or maximum of each image of a batch: (B, …, h, w) -> (B,)."""
        return self.op(kind, value, self.constant([1, 2, 3], np.int64), keepdims=0)

    def concat(self, values: Sequence[str], axis: int = 1) -> str:
        return values[0] if len(values) == 1 else self.op("Concat", *values, axis=axis)

    def split(self, value: str, sizes: Sequence[int], axis: int = 1) -> list[str]:
        """Consecutive parts of the given sizes along an axis."""
        if len(sizes) == 1:
            return [value]
        lengths = self.constant(sizes, np.int64)
        return self.ops("Split", value, lengths, count=len(sizes), axis=axis)

    def include(self, role: str, *inputs: str) -> list[str]:
        """The outputs of a part for these inputs. Its weights are stored once, whatever its uses."""
        model = self.parts[role]
        known = dict(zip((v.name for v in model.graph.input), inputs, strict=True))
        self.nodes_of(role, model.graph.node, known)
        return [known[value.name] for value in model.graph.output]

    def nodes_of(self, role: str, nodes: Collection[NodeProto], known: dict[str, str]) -> None:
        """Add nodes of a part.

        Args:
            role: of the part.
            nodes: in order.
            known: name in the part -> value here; extended by the weights and by the results.
        """
        import onnx

        weights = {tensor.name: tensor for tensor in self.parts[role].graph.initializer}
        for node in nodes:
            for name in node.input:
                if name and name not in known:
                    known[name] = self._weight(role, weights[name])
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = ""
            copy.input[:] = [name and known[name] for name in node.input]
            outputs = [
                name and f"value.{len(self._nodes)}.{i}" for i, name in enumerate(node.output)
            ]
            copy.output[:] = outputs
            known |= {name: value for name, value in zip(node.output, outputs, strict=True) if name}
            self._nodes.append(copy)

    def _weight(self, role: str, tensor: Any) -> str:
        name = f"{role}/{tensor.name}"
        if name not in self._initializers:
            copy = type(tensor)()
            copy.CopyFrom(tensor)
            copy.name = name
            self._initializers[name] = copy
        return name

    def _add(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], attributes: dict[str, Any]
    ) -> None:
        import onnx

        self._nodes.append(onnx.helper.make_node(kind, inputs, outputs, **attributes))

    def finished(self) -> bytes:
        """The graph as ONNX bytes."""
        from onnx import helper

        graph = helper.make_graph(
            self._nodes, "fused", self._inputs, self._outputs, [*self._initializers.values()]
        )
        opsets = [helper.make_opsetid("", self.opset)]
        return bytes(
            helper.make_model(graph, opset_imports=opsets, ir_version=self._ir).SerializeToString()
        )


def weights_of(model: ModelProto) -> dict[str, np.ndarray]:
    """The initializers of a graph by name."""
    import onnx

    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _opset(model: ModelProto) -> int:
    standard = {"", "ai.onnx"}
    return max(int(entry.version) for entry in model.opset_import if entry.domain in standard)


def _at_opset(model: ModelProto, opset: int) -> ModelProto:
    if _opset(model) == opset:
        return model
    from onnx import version_converter

    try:
        return version_converter.convert_version(model, opset)
    except Exception as error:  # noqa: BLE001 - it raises many unrelated types
        raise ModelBrokenError(f"graph cannot be brought to opset {opset}: {error}") from None


def _value(name: str, kind: type[np.generic], shape: Shape) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape
    )
