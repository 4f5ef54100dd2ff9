"""A model folder written again, by the rules of today: smaller files, the same model. No torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx

from vaetools.errors import ModelBrokenError
from vaetools.model.folder import Model, read_verified
from vaetools.model.manifest import read_manifest
from vaetools.model.runtime import Runtime
from vaetools.model.selftest import seeded_inputs
from vaetools.tomlfile import read_small
from vaetools.training.export.card import FILE_NAME as CARD
from vaetools.training.export.folder import Arrays, OnnxPlan, Plan, check_target, write_model
from vaetools.training.export.storage import compact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from vaetools.model.spec import Manifest

ROUNDED = 0.05
"""Largest difference of graphs whose weights were rounded, relative to their largest output."""


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
        ManifestError, ModelAlteredError, ModelBrokenError: the source is damaged, or a graph of the
            new model gives other results; then `folder` stays as it is.
    """
    check_target(folder)
    manifest = read_manifest(source)
    card = source / CARD
    text = read_small(card, ModelBrokenError) if card.is_symlink() or card.exists() else None
    written = replace(manifest, id=id or manifest.id, license=license or manifest.license)
    return repack_graphs(source, folder, manifest, written, half=half, card=text)


def repack_graphs(
    source: Path,
    folder: Path,
    manifest: Manifest,
    written: Manifest,
    *,
    half: bool,
    card: bytes | None = None,
    more: Mapping[str, Plan] | None = None,
) -> tuple[Model, Mapping[str, float]]:
    """Write graphs and data files of a model again.

    Args:
        source: the model folder.
        folder: where to write.
        manifest: of the source.
        written: of the new model; it names the graphs and files to write.
        half: as `repack_model`.
        card: content of MODEL_CARD.md.
        more: role -> further graphs, which replace those that are there.

    Returns, raises: as `repack_model`.
    """
    whole = Model(manifest, source, Runtime("cpu", isolate=None))
    plans: dict[str, Plan] = {}
    limits = {}
    for role in written.graphs:
        exact = manifest.graphs[role].exact
        case = seeded_inputs(whole.graph(role), manifest)
        wanted = whole.graph(role)(*case)
        graph = _repacked(whole.graph_bytes(role), rounded=half and not exact)
        plans[role] = OnnxPlan(graph, _always(wanted), [case], exact=exact)
        limits[role] = ROUNDED * _largest(wanted) if half and not exact else 0.0
    blank = replace(
        written,
        graphs={},
        weights=None,
        files={},
        selftest=replace(manifest.selftest, values={}),
    )
    files = {name: read_verified(source, spec) for name, spec in written.files.items()}
    plans |= more or {}
    limits = {role: limit for role, limit in limits.items() if role not in (more or {})}
    return write_model(folder, blank, plans, files=files, card=card, limits=limits)


def _repacked(data: bytes, *, rounded: bool) -> onnx.ModelProto:
    model = onnx.load_from_string(data)
    stored = {tensor.name for tensor in model.graph.initializer}
    free = [value for value in model.graph.input if value.name not in stored]
    del model.graph.input[:]  # old graphs list their weights, which may take another type now
    model.graph.input.extend(free)
    compact(model, rounded=rounded)
    return model


def _always(results: Arrays) -> Callable[..., Arrays]:
    return lambda *_: results


def _largest(results: Arrays) -> float:
    return max(1.0, *(float(np.abs(result).max()) for result in results))
