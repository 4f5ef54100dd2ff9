"""Torch modules -> single-file ONNX graphs, and how far they see."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError
from vaetools.training.export.folder import (
    PARITY,
    Arrays,
    finished,
    parity,
    save_manifest,
    strip,
    write_model,
)

if TYPE_CHECKING:
    import onnx

__all__ = [
    "OPSET",
    "PARITY",
    "Dims",
    "GraphPlan",
    "check_finite",
    "parity",
    "reach",
    "save_manifest",
    "to_onnx",
    "write_model",
]

OPSET = 20

PORT = "port."
"""Before the names of inputs and outputs while the exporter is at work; no operator is called so."""

Dims = Mapping[str, Mapping[int, str]]
"""Per tensor: axis -> symbolic name, such as `{"image": {2: "height", 3: "width"}}`."""


@dataclass(frozen=True)
class GraphPlan:
    """One graph to export.

    Attributes:
        module: in evaluation mode.
        example: one tensor per input; sides that differ, so that none is baked in.
        inputs, outputs: tensor names, in order.
        dims: symbolic axes of inputs.
        exact: computes with integers; parity must be 0.
        unseen: further inputs for parity, of sizes that the exporter never saw.
        broadcast: axes whose example is 1 and that may also fit the other inputs; the exporter, which
            cannot express that, takes them for fixed.
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
        with torch.no_grad():
            outputs = self.module(*(torch.from_numpy(array) for array in inputs))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return [t.numpy() for t in outputs]


def check_finite(module: nn.Module) -> None:
    """Raise `ModelBrokenError` where a weight is NaN or infinite."""
    for name, value in module.state_dict().items():
        if not torch.isfinite(value).all():
            raise ModelBrokenError(f"weights {name!r} hold NaN or infinite values")


def to_onnx(plan: GraphPlan, doc: str) -> bytes:
    """The graph as one file's bytes, without local paths and source lines."""
    shapes = tuple(dict(plan.dims.get(name, {})) for name in plan.inputs)
    named = tuple({axis: torch.export.Dim(dim) for axis, dim in s.items()} for s in shapes)
    # It reports operators of torchvision, which we do not use, as missing.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecated parts
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
    model = program.model_proto
    _name_ports(model.graph)
    _free(model.graph, plan.broadcast)
    strip(model, doc)
    return finished(model)


def _name_ports(graph: onnx.GraphProto) -> None:
    """Give inputs and outputs their names. The exporter names inner values after operators, such as
    `mean`, and does not see that an output is called so as well; those give way."""
    ports = {v.name.removeprefix(PORT) for v in (*graph.input, *graph.output)}

    def named(name: str) -> str:
        return f"inner.{name}" if name in ports else name.removeprefix(PORT)

    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [named(name) for name in names]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = named(value.name)


def _free(graph: onnx.GraphProto, dims: Dims) -> None:
    """Give axes of inputs a symbolic size in place of 1, and forget the inner sizes."""
    for value in graph.input:
        for axis, name in dims.get(value.name, {}).items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    if dims:
        del graph.value_info[:]


@torch.no_grad()
def reach(
    module: Callable[..., Tensor], example: Sequence[Tensor], cell_in: int, cell_out: int
) -> int:
    """How far one cell of the first input is felt, in cells.

    The middle cell is changed and the outputs compared: everything beyond the receptive field
    stays the same to the last bit. It is changed twice. NaN spreads through sums and activations
    whatever the weights are, so that no dead unit hides a connection; other values spread through
    comparisons, which NaN may not.

    Args:
        module: maps `example` to one tensor (1, C, H, W).
        example: inputs; the first has an odd number of cells per side.
        cell_in, cell_out: side of a cell in elements of the first input and of the output.
    """
    first, *others = example
    middle = first.shape[2] // cell_in // 2, first.shape[3] // cell_in // 2
    rows, columns = (slice(m * cell_in, (m + 1) * cell_in) for m in middle)
    cell = first[:, :, rows, columns]
    before = module(first, *others)
    moved = torch.zeros(before.shape[2:], dtype=torch.bool)
    for other in (cell + torch.randn_like(cell), torch.full_like(cell, torch.nan)):
        changed = first.clone()
        changed[:, :, rows, columns] = other
        moved |= (module(changed, *others) != before).any(dim=1)[0]
    where = torch.nonzero(moved) // cell_out
    if not len(where):  # a network that ignores its input
        return 0
    return int(max((where[:, i] - middle[i]).abs().max() for i in range(2)))
