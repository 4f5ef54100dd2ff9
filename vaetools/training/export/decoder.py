"""A codec model that only decodes: what files of an older version need, in half the bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vaetools.errors import UsageError
from vaetools.model.manifest import read_manifest
from vaetools.training.export.repack import repack_graphs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.model.folder import Model

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
    decoder = replace(
        manifest,
        id=id,
        license=license or manifest.license,
        tasks=("decompress",),
        graphs={role: spec for role, spec in manifest.graphs.items() if role not in ENCODING},
        files={"tables": manifest.files["tables"]},
        codec=replace(manifest.codec, refine=None),
    )
    return repack_graphs(source, folder, manifest, decoder, half=True)
