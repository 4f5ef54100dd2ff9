"""A model folder written again, by the rules of today: smaller files, the same model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx

from vaetools.model.folder import Model, read_graph
from vaetools.model.manifest import read_manifest
from vaetools.model.runtime import Runtime
from vaetools.model.selftest import seeded_inputs
from vaetools.training.export.card import FILE_NAME as CARD
from vaetools.training.export.folder import Arrays, OnnxPlan, check_target, write_model
from vaetools.training.export.storage import compact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from vaetools.model.spec import Manifest


def repack_model(
    source: Path,
    folder: Path,
    *,
    half: bool = False,
    id: str | None = None,  # noqa: A002
    license: str | None = None,  # noqa: A002
) -> tuple[Model, Mapping[str, float]]:
    """Write a model again: weights that several graphs use once, those that float16 holds in 16 bits.

    Args:
        source: a model folder.
        folder: where to write; it may be `source`.
        half: round all large weights of graphs that are not exact to float16.
        id, license: of the new model; None for those of `source`.

    Returns:
        As `vaetools.training.export.folder.write_model`; role -> largest difference from `source`,
        which is 0 without `half`.

    Raises:
        ExistsError: `folder` contains something other than a model.
        ManifestError, ModelAlteredError, ModelBrokenError: the source is damaged.
    """
    check_target(folder)
    manifest = read_manifest(source)
    card = source / CARD
    text = card.read_text(encoding="utf-8") if card.is_file() else None
    described = replace(manifest, id=id or manifest.id, license=license or manifest.license)
    written = repack_graphs(source, folder, manifest, described, half=half)
    if text is not None:
        (folder / CARD).write_text(text, encoding="utf-8")
    return written


def repack_graphs(
    source: Path, folder: Path, manifest: Manifest, written: Manifest, *, half: bool
) -> tuple[Model, Mapping[str, float]]:
    """Write the graphs and files of a model again.

    Args:
        source: the model folder.
        folder: where to write.
        manifest: of the source.
        written: of the new model; which graphs and files it names is what is written.
        half: as `repack_model`.

    Returns, raises: as `repack_model`.
    """
    whole = Model(manifest, source, Runtime("cpu"))
    graphs = {role: _repacked(source, manifest, role, half=half) for role in written.graphs}
    cases = {role: seeded_inputs(whole.graph(role), manifest) for role in graphs}
    wanted = {role: whole.graph(role)(*case) for role, case in cases.items()}
    arrays = {name: whole.arrays(name) for name in written.files}
    plans = {
        role: OnnxPlan(graph, _run(graph), [cases[role]], exact=manifest.graphs[role].exact)
        for role, graph in graphs.items()
    }
    blank = replace(written, graphs={}, files={}, selftest=replace(manifest.selftest, values={}))
    model, _ = write_model(folder, blank, plans, arrays=arrays)
    found = {role: model.graph(role)(*case) for role, case in cases.items()}
    return model, {role: _largest(found[role], wanted[role]) for role in graphs}


def _repacked(folder: Path, manifest: Manifest, role: str, *, half: bool) -> onnx.ModelProto:
    model = onnx.load_from_string(read_graph(folder, manifest, role))
    compact(model, rounded=half and not manifest.graphs[role].exact)
    return model


def _run(graph: onnx.ModelProto) -> Callable[..., Arrays]:
    from onnxruntime import InferenceSession

    names = [value.name for value in graph.graph.input]
    session = InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda *inputs: list(session.run(None, dict(zip(names, inputs, strict=True))))


def _largest(found: Arrays, wanted: Arrays) -> float:
    return float(max(np.abs(f - w).max() for f, w in zip(found, wanted, strict=True)))
