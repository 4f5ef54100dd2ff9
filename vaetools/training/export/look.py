"""A codec's model folder with a second synthesis: the same files, another look."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vaetools.model.fused.chains import VIVID
from vaetools.model.manifest import read_manifest
from vaetools.training.export.codec import synthesis_plan
from vaetools.training.export.repack import repack_graphs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.model.folder import Model
    from vaetools.training.networks.codec.transforms import Synthesis
    from vaetools.training.recipe import Recipe


def export_look(
    synthesis: Synthesis, source: Path, folder: Path, recipe: Recipe
) -> tuple[Model, Mapping[str, float]]:
    """Write the codec in `source` with `synthesis` as its vivid look; id and version are the recipe's.

    Returns, raises: as `vaetools.training.export.repack.repack_model`.
    """
    manifest = read_manifest(source)
    more = {VIVID: synthesis_plan(synthesis, manifest.latent.channels)}
    written = replace(manifest, id=recipe.id, version=recipe.version)
    return repack_graphs(source, folder, manifest, written, half=False, more=more)
