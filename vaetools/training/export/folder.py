"""ONNX graphs -> a model folder: files, parity with the source, self-test, manifest. No torch."""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnx

from vaetools.errors import ExistsError, ManifestError, ModelBrokenError, UsageError
from vaetools.model.folder import Model
from vaetools.model.manifest import FILE_NAME, manifest_table, read_manifest
from vaetools.model.runtime import Runtime
from vaetools.model.selftest import self_test
from vaetools.model.spec import FileSpec, GraphSpec, Manifest
from vaetools.model.speed import slow_graph
from vaetools.training.export.card import FILE_NAME as CARD
from vaetools.training.export.shared_weights import FILE as WEIGHTS
from vaetools.training.export.shared_weights import shared_weights

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path

log: Logger = logging.getLogger(__name__)

PARITY = 1e-4
"""Largest allowed difference between an exported graph and its source."""

Arrays = Sequence[np.ndarray]


class Plan(Protocol):
    """A graph to write, and the source that it must agree with."""

    @property
    def inputs(self) -> Sequence[str]:
        """Names of the input tensors, in order."""

    @property
    def outputs(self) -> Sequence[str]:
        """Names of the output tensors, in order."""

    @property
    def exact(self) -> bool:
        """Whether the graph computes with integers; then the difference must be 0."""

    def graph(self, doc: str) -> bytes:
        """The graph as the bytes of one file; `doc` is its description."""

    def cases(self) -> Sequence[Arrays]:
        """Inputs on which parity is measured."""

    def expected(self, inputs: Arrays) -> Arrays:
        """The outputs of the source for one of the cases."""


@dataclass(frozen=True)
class OnnxPlan:
    """A graph that exists as ONNX.

    Attributes:
        model: the graph.
        reference: inputs -> outputs, which the graph must reproduce.
        examples: inputs, of several sizes.
    """

    model: onnx.ModelProto
    reference: Callable[..., Arrays]
    examples: Sequence[Arrays]
    exact: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(value.name for value in self.model.graph.input)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(value.name for value in self.model.graph.output)

    def graph(self, doc: str) -> bytes:
        strip(self.model, doc)
        return finished(self.model)

    def cases(self) -> Sequence[Arrays]:
        return self.examples

    def expected(self, inputs: Arrays) -> Arrays:
        return self.reference(*inputs)


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, including those of subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes_of(inner)


def strip(model: onnx.ModelProto, doc: str) -> None:
    """Remove stack traces, which contain local paths, and set the description."""
    graph = model.graph
    functions = [node for function in model.functions for node in function.node]
    for part in (
        *nodes_of(graph),
        *functions,
        *graph.value_info,
        *graph.input,
        *graph.output,
        *graph.initializer,
        graph,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    del model.metadata_props[:]
    graph.name = "vaetools"
    model.producer_name = "vaetools"
    model.doc_string = doc


def finished(model: onnx.ModelProto) -> bytes:
    """The bytes of a valid model."""
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_model(
    folder: Path,
    manifest: Manifest,
    plans: Mapping[str, Plan],
    *,
    files: Mapping[str, bytes] | None = None,
    card: bytes | None = None,
    limits: Mapping[str, float] | None = None,
) -> tuple[Model, dict[str, float]]:
    """Write a model folder.

    Args:
        folder: an existing model in it is replaced after all checks have passed.
        manifest: without graphs, weights, files and self-test.
        plans: role -> graph.
        files: data files, name -> content of an .npz; see `npz`.
        card: content of MODEL_CARD.md.
        limits: role -> largest allowed difference from the source; `PARITY`, and 0 for exact graphs.

    Returns:
        The model, opened on the CPU, and role -> largest difference from its source.

    Raises:
        ExistsError: the folder contains something other than a model.
        ModelBrokenError: a graph differs from its source by more than its limit, or returns
            values that are not finite.
    """
    check_target(folder)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of an export that was killed
    part.mkdir(parents=True)
    bounds = {role: 0.0 if plan.exact else PARITY for role, plan in plans.items()}
    try:
        written, differences = _write(
            part, folder, manifest, plans, files or {}, bounds | dict(limits or {})
        )
        if card is not None:
            (part / CARD).write_bytes(card)
        check_target(folder)  # again: an export takes minutes
        _replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)  # there only if something failed
    return Model(written, folder, Runtime("cpu")), differences


def _replace(part: Path, folder: Path) -> None:
    """Put a finished model in the place of another one, which is deleted last."""
    if folder.exists():
        folder.replace(_old(folder))
    try:
        part.replace(folder)
    finally:
        _restore(folder)


def _restore(folder: Path) -> None:
    """Delete the model that was replaced, or put it back if no other has taken its place."""
    if _old(folder).exists() and not folder.exists():
        _old(folder).replace(folder)
    shutil.rmtree(_old(folder), ignore_errors=True)


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.vaetools-old")


def check_target(folder: Path) -> None:
    """Raise `ExistsError` if writing a model would overwrite something else.

    A model that an interrupted export had moved away is put back first.

    Raises:
        UsageError: the folder has no name, such as `.`.
    """
    if not folder.name:
        raise UsageError("has no name", file=folder, remedy="give a new folder with --to")
    if folder.is_symlink() or folder.is_file():
        raise ExistsError("exists and is not a folder", file=folder, remedy="give a new folder")
    _restore(folder)
    others = sorted(_names(folder) - _written(folder))
    if others:
        raise ExistsError(
            f"exists and is not a model: it contains {others[0]}",
            file=folder,
            remedy="give a new folder",
        )


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def _written(folder: Path) -> set[str]:
    """Names of the files of the model in this folder, if there is one."""
    try:
        parts = read_manifest(folder).parts
    except ManifestError:
        return set()
    return {FILE_NAME, CARD, *(part.file for part in parts)}


def _write(
    part: Path,
    target: Path,
    manifest: Manifest,
    plans: Mapping[str, Plan],
    files: Mapping[str, bytes],
    limits: Mapping[str, float],
) -> tuple[Manifest, dict[str, float]]:
    about = f"{manifest.id} {manifest.version}"
    contents = {role: plan.graph(f"{about}: {role}") for role, plan in plans.items()}
    contents, shared = shared_weights(contents)
    graphs = {role: _write_graph(part, role, plan, contents[role]) for role, plan in plans.items()}
    weights = write_file(part, WEIGHTS, shared) if shared else None
    data = {name: write_file(part, f"{name}.npz", content) for name, content in files.items()}
    manifest = replace(manifest, graphs=graphs, weights=weights, files=data)
    model = Model(manifest, part, Runtime("cpu"))
    differences = {role: parity(model, role, plan) for role, plan in plans.items()}
    for role, difference in differences.items():
        if not difference <= limits[role]:  # true for NaN as well
            raise ModelBrokenError(_disagreement(role, difference, limits[role]), file=target)
    values = {role: float(f"{self_test(model.graph(role), manifest):.7g}") for role in plans}
    manifest = replace(manifest, selftest=replace(manifest.selftest, values=values))
    for role in plans:
        for finding in slow_graph(model.graph_bytes(role), manifest, role):
            log.warning("%s, slow on a GPU: %s", role, finding)
    save_manifest(part, manifest)
    read_manifest(part)  # raises if the manifest could not be opened again
    return manifest, differences


def _disagreement(role: str, difference: float, limit: float) -> str:
    if np.isfinite(difference):
        return f"{role} differs from its source by {difference:.2g}, more than {limit:.2g}"
    return f"{role} returns values that are not finite"


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `model.toml`."""
    import tomli_w  # here, because training itself does without it

    (folder / FILE_NAME).write_text(tomli_w.dumps(manifest_table(manifest)), encoding="utf-8")


def _write_graph(folder: Path, role: str, plan: Plan, data: bytes) -> GraphSpec:
    file = write_file(folder, f"{role}.onnx", data)
    names = tuple(plan.inputs), tuple(plan.outputs)
    return GraphSpec(file.file, file.sha256, file.bytes, *names, exact=plan.exact)


def write_file(folder: Path, name: str, data: bytes) -> FileSpec:
    """Write a file of a model; returns what the manifest says of it."""
    (folder / name).write_bytes(data)
    log.info("%s: %.2f MB", name, len(data) / 1e6)
    return FileSpec(name, _sha256(data), len(data))


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of an .npz file."""
    file = io.BytesIO()
    contents: dict[str, Any] = dict(arrays)  # numpy types further keywords as its own options
    np.savez_compressed(file, **contents)
    return file.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def parity(model: Model, role: str, plan: Plan) -> float:
    """Largest absolute difference between the written graph and its source, over all cases.

    Logits are compared relative to the largest, if that is above 1: a confident decoder returns
    thousands, for which float32 has only three decimals. Of a gradient, the 1 % of values that differ
    most are ignored: it jumps where the input of a ReLU is 0, and both sides of the jump are correct.
    NaN if either side returns NaN, or both return the same infinity.
    """
    return float(np.max([_difference(model, role, plan, inputs) for inputs in plan.cases()]))


def _difference(model: Model, role: str, plan: Plan, inputs: Arrays) -> float:
    found = model.graph(role)(*inputs)
    expected = plan.expected(inputs)
    for f, e in zip(found, expected, strict=True):
        if f.shape != e.shape:
            raise ModelBrokenError(f"{role} returns shape {f.shape}, but its source {e.shape}")
    triples = zip(plan.outputs, found, expected, strict=True)
    return float(np.max([apart(name, f, e) for name, f, e in triples]))


def apart(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    """Difference between two outputs of this name; see `parity`."""
    with np.errstate(invalid="ignore"):  # inf - inf
        away = np.abs(found - expected)
    if name == "gradient" and np.isfinite(away).all():
        return float(np.quantile(away, 0.99))
    scale = max(1.0, float(np.abs(expected).max())) if name == "logits" else 1.0
    return float(away.max()) / scale
