"""Torch modules -> a model folder: single-file ONNX graphs, manifest, self-test."""

from __future__ import annotations

import hashlib
import logging
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import tomli_w
import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError
from vaetools.manifest import FILE_NAME, FileSpec, GraphSpec, Manifest, manifest_table
from vaetools.runtime import Runtime
from vaetools.vae import Model, self_test

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

OPSET = 20
PARITY = 1e-4
"""Largest difference between torch and ONNX Runtime that an export may have."""

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
    """

    module: nn.Module
    example: Mapping[str, Tensor]
    outputs: Sequence[str]
    dims: Dims = field(default_factory=dict)
    exact: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(self.example)


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
            input_names=list(plan.inputs),
            output_names=list(plan.outputs),
            dynamic_shapes=named,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    model = program.model_proto
    _strip(model, doc)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _strip(model: onnx.ModelProto, doc: str) -> None:
    """Remove stack traces, which name local paths, and say what the graph is."""
    del model.metadata_props[:]
    for part in (
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
        tensor.doc_string = ""
    del model.graph.metadata_props[:]
    model.graph.doc_string = ""
    model.graph.name = "vaetools"
    model.producer_name = "vaetools"
    model.doc_string = doc


def write_model(
    folder: Path,
    manifest: Manifest,
    plans: Mapping[str, GraphPlan],
    *,
    arrays: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> tuple[Model, dict[str, float]]:
    """Write a model folder.

    Args:
        folder: replaced as a whole, once everything is checked.
        manifest: everything but graphs, files and self-test.
        plans: role -> graph.
        arrays: data files, name -> arrays of an .npz.

    Returns:
        The model, opened on the CPU, and for each role the largest difference to torch.

    Raises:
        ModelBrokenError: a graph differs from torch by more than `PARITY`.
    """
    target, folder = folder, folder.with_name(f".{folder.name}.part")
    shutil.rmtree(folder, ignore_errors=True)  # of an export that failed
    folder.mkdir(parents=True)
    graphs = {
        role: _write_graph(folder, role, plan, f"{manifest.id} {manifest.version}: {role}")
        for role, plan in plans.items()
    }
    files = {name: _write_arrays(folder, name, content) for name, content in (arrays or {}).items()}
    manifest = replace(manifest, graphs=graphs, files=files)
    runtime = Runtime("cpu")
    model = Model(manifest, folder, runtime)
    differences = {role: parity(model, role, plan) for role, plan in plans.items()}
    for role, difference in differences.items():
        if difference > (0.0 if plans[role].exact else PARITY):
            raise ModelBrokenError(f"{role} differs from torch by {difference:.2g}", file=folder)
    values = {role: float(f"{self_test(model, role):.7g}") for role in plans}
    manifest = replace(manifest, selftest=replace(manifest.selftest, values=values))
    save_manifest(folder, manifest)
    if target.exists():
        shutil.rmtree(target)
    folder.replace(target)
    return Model(manifest, target, runtime), differences


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `model.toml`."""
    (folder / FILE_NAME).write_text(tomli_w.dumps(manifest_table(manifest)), encoding="utf-8")


def _write_graph(folder: Path, role: str, plan: GraphPlan, doc: str) -> GraphSpec:
    data = to_onnx(plan, doc)
    name = f"{role}.onnx"
    (folder / name).write_bytes(data)
    log.info("%s: %.2f MB", name, len(data) / 1e6)
    return GraphSpec(
        name, _sha256(data), len(data), plan.inputs, tuple(plan.outputs), exact=plan.exact
    )


def _write_arrays(folder: Path, name: str, arrays: Mapping[str, np.ndarray]) -> FileSpec:
    path = folder / f"{name}.npz"
    np.savez_compressed(path, **arrays)
    data = path.read_bytes()
    return FileSpec(path.name, _sha256(data), len(data))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def parity(model: Model, role: str, plan: GraphPlan) -> float:
    """Largest absolute difference between torch and the exported graph, on the example."""
    with torch.no_grad():
        expected = plan.module(*plan.example.values())
    expected = expected if isinstance(expected, tuple) else (expected,)
    found = model.graph(role)(*(t.numpy() for t in plan.example.values()))
    found = found if isinstance(found, list) else [found]
    return max(float(np.abs(f - e.numpy()).max()) for f, e in zip(found, expected, strict=True))


@torch.no_grad()
def reach(module: nn.Module, example: Sequence[Tensor], cell_in: int, cell_out: int) -> int:
    """How far one cell of the first input is felt, in cells.

    The middle cell is changed and the outputs compared: exact, because everything beyond the
    receptive field stays the same to the last bit.

    Args:
        module: maps `example` to one tensor (1, C, H, W).
        example: inputs; the first has an odd number of cells per side.
        cell_in, cell_out: side of a cell in elements of the first input and of the output.
    """
    first, *others = example
    middle = first.shape[2] // cell_in // 2, first.shape[3] // cell_in // 2
    changed = first.clone()
    rows, columns = (slice(m * cell_in, (m + 1) * cell_in) for m in middle)
    changed[:, :, rows, columns] += torch.randn_like(changed[:, :, rows, columns])
    moved = (module(first, *others) != module(changed, *others)).any(dim=1)[0]
    where = torch.nonzero(moved) // cell_out
    return int(max((where[:, i] - middle[i]).abs().max() for i in range(2)))
