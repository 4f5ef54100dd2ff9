"""A codec model that only decodes: what files of an older version need, in half the bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx

from vaetools.errors import UsageError
from vaetools.model.folder import Model, read_verified
from vaetools.model.manifest import read_manifest
from vaetools.model.runtime import Runtime
from vaetools.model.selftest import seeded_inputs
from vaetools.training.export.folder import Arrays, OnnxPlan, write_model
from vaetools.training.export.storage import compact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from vaetools.model.spec import GraphSpec

ENCODING = frozenset({"analysis", "hyper_analysis", "synthesis_gradient"})
"""Graphs that only an encoder needs."""


def export_decoder(
    source: Path,
    folder: Path,
    *,
    id: str,  # noqa: A002
    license: str | None = None,  # noqa: A002
) -> tuple[Model, Mapping[str, float]]:
    """Write the decoder of a codec model as a model for the task `decompress`.

    Float weights are rounded to float16, integers stay exact, and the stream id stays: the new model
    decodes the files of the old one, with the same symbols and nearly the same pixels.

    Args:
        source: a model folder for the task `compress`.
        id: of the new model.

    Returns:
        As `vaetools.training.export.folder.write_model`; role -> largest difference from `source`.

    Raises:
        UsageError: the source is not a codec, or `folder` itself.
        ManifestError, ModelAlteredError: it is damaged.
    """
    if source.resolve() == folder.resolve():
        raise UsageError(
            "would lose its encoder", file=source, remedy="give another folder with --to"
        )
    manifest = read_manifest(source)
    if "compress" not in manifest.tasks or manifest.codec is None:
        raise UsageError(f"is a model for {', '.join(manifest.tasks)}, not a codec", file=source)
    whole = Model(manifest, source, Runtime("cpu"))
    roles = {role: spec for role, spec in manifest.graphs.items() if role not in ENCODING}
    rounded = {role: _rounded(source, spec) for role, spec in roles.items()}
    cases = {role: seeded_inputs(whole.graph(role), manifest) for role in roles}
    wanted = {role: whole.graph(role)(*case) for role, case in cases.items()}
    written = replace(
        manifest,
        id=id,
        license=license or manifest.license,
        tasks=("decompress",),
        graphs={},
        files={},
        selftest=replace(manifest.selftest, values={}),
        codec=replace(manifest.codec, refine=None),
    )
    plans = {
        role: OnnxPlan(graph, _run(graph), [cases[role]], exact=roles[role].exact)
        for role, graph in rounded.items()
    }
    model, _ = write_model(folder, written, plans, arrays={"tables": whole.arrays("tables")})
    found = {role: model.graph(role)(*case) for role, case in cases.items()}
    return model, {role: _largest(found[role], wanted[role]) for role in roles}


def _rounded(folder: Path, spec: GraphSpec) -> onnx.ModelProto:
    """A graph with its large float weights rounded to float16, and stored so."""
    model = onnx.load_from_string(read_verified(folder, spec))
    compact(model, rounded=not spec.exact)
    return model


def _run(graph: onnx.ModelProto) -> Callable[..., Arrays]:
    from onnxruntime import InferenceSession

    names = [value.name for value in graph.graph.input]
    session = InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda *inputs: list(session.run(None, dict(zip(names, inputs, strict=True))))


def _largest(found: Arrays, wanted: Arrays) -> float:
    return float(max(np.abs(f - w).max() for f, w in zip(found, wanted, strict=True)))
