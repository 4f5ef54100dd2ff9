"""Torch modules -> single-file ONNX graphs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError
from vaetools.training.export.folder import Arrays, finished, strip
from vaetools.training.export.foreign import complaint
from vaetools.training.export.storage import compact

if TYPE_CHECKING:
    import onnx

OPSET = 20

PORT = "port."
"""Prefix of input and output names during the export; no operator has such a name."""

Outputs: TypeAlias = "Tensor | tuple[Tensor, ...]"

Dims = Mapping[str, Mapping[int, str]]
"""Per tensor: axis -> symbolic name, such as `{"image": {2: "height", 3: "width"}}`."""


class Forward(nn.Module):
    """A function of a network as a module, which is what the exporter takes.

    Args:
        network: the module whose weights `function` uses.
        function: tensors -> one tensor or a tuple.
    """

    def __init__(self, network: nn.Module, function: Callable[..., Outputs]) -> None:
        super().__init__()
        self.network = network
        # Not a method with *args: the exporter reads the signature of `forward`.
        self.forward = function


@dataclass(frozen=True)
class GraphPlan:
    """One graph to export.

    Attributes:
        module: in evaluation mode.
        example: one tensor per input; the sides differ, so that none is baked in.
        inputs, outputs: tensor names, in order.
        dims: symbolic axes of inputs.
        exact: the graph computes with integers; parity must be 0.
        unseen: further inputs for the parity check, of sizes that the exporter did not see.
        broadcast: axes of size 1 in the example that may also have the size of the other inputs. The
            exporter cannot express this and makes them static.
    """

    module: nn.Module
    example: Mapping[str, Tensor]
    outputs: Sequence[str]
    dims: Dims = field(default_factory=dict)
    exact: bool = False
    unseen: Sequence[Mapping[str, Tensor]] = ()
    broadcast: Dims = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(self.example)

    def graph(self, doc: str) -> bytes:
        check_finite(self.module)
        return to_onnx(self, doc)

    def cases(self) -> Sequence[Arrays]:
        return [[t.numpy() for t in case.values()] for case in (self.example, *self.unseen)]

    def expected(self, inputs: Arrays) -> Arrays:
        shapes = ", ".join(str(array.shape) for array in inputs)
        with torch.no_grad(), complaint(f"the network fails on inputs of shape {shapes}"):
            outputs = self.module(*(torch.from_numpy(array) for array in inputs))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return [t.numpy() for t in outputs]


def check_finite(module: nn.Module) -> None:
    """Raise `ModelBrokenError` if a weight is NaN or infinite."""
    for name, value in module.state_dict().items():
        if not torch.isfinite(value).all():
            raise ModelBrokenError(f"weights {name!r} hold NaN or infinite values")


def to_onnx(plan: GraphPlan, doc: str) -> bytes:
    """The graph as one file's bytes, without local paths and source lines."""
    shapes = tuple(dict(plan.dims.get(name, {})) for name in plan.inputs)
    named = tuple({axis: torch.export.Dim(dim) for axis, dim in s.items()} for s in shapes)
    # It reports the operators of torchvision, which we do not use, as missing.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    cannot = complaint(
        "torch cannot export the network",
        remedy="it exports operations on tensors, of any batch size, without branches that depend on "
        "their values",
    )
    with warnings.catch_warnings(), torch.no_grad(), cannot:
        warnings.simplefilter("ignore")  # the exporter calls deprecated parts of itself
        program = torch.onnx.export(
            plan.module.eval(),
            tuple(plan.example.values()),
            dynamo=True,
            input_names=[PORT + name for name in plan.inputs],
            output_names=[PORT + name for name in plan.outputs],
            dynamic_shapes=named,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    if program is None:  # only without `dynamo`
        raise ModelBrokenError("torch exported no graph")
    model = program.model_proto
    _name_ports(model.graph)
    _free(model.graph, plan.broadcast)
    compact(model)
    strip(model, doc)
    return finished(model)


def _name_ports(graph: onnx.GraphProto) -> None:
    """Remove the prefix `PORT`. The exporter names inner values after operators, such as `mean`, even
    if an output has that name too; such inner values are renamed."""
    ports = {v.name.removeprefix(PORT) for v in (*graph.input, *graph.output)}

    def named(name: str) -> str:
        return f"inner.{name}" if name in ports else name.removeprefix(PORT)

    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [named(name) for name in names]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = named(value.name)


def _free(graph: onnx.GraphProto, dims: Dims) -> None:
    """Make axes of inputs symbolic instead of 1, and drop the inferred inner shapes."""
    for value in graph.input:
        for axis, name in dims.get(value.name, {}).items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    if dims:
        del graph.value_info[:]
