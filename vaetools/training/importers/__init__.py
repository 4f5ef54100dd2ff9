"""Models from other sources -> model folders.

    module            the user's own network, in Python
    diffusers         AutoencoderKL, AutoencoderTiny, VQModel
    taesd             TAESD, TAEF1, TAEF2 …
    disentangling-vae checkpoints of that repository
    pythae            its default networks
    optimum           graphs that optimum exported

Each is a module here with a function `read(source, **options)`, which returns a `ModelPlan`.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vaetools.errors import UsageError
from vaetools.model.spec import MODEL_ID
from vaetools.training.export.card import FILE_NAME, imported_card
from vaetools.training.export.model_plan import About

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.model.folder import Model
    from vaetools.training.export.model_plan import ModelPlan


@dataclass(frozen=True)
class Kind:
    """Something that can be imported.

    Attributes:
        module: in this package; imported when needed, because most import torch.
        takes: what SOURCE is.
        torch: whether it needs torch.
    """

    module: str
    takes: str
    torch: bool = True


KINDS = {
    "module": Kind(
        "module", "FILE.py:NAME, an nn.Module or a function that returns one; FILE.py is executed"
    ),
    "diffusers": Kind("diffusers_folder", "a folder with config.json and safetensors"),
    "taesd": Kind("taesd", "the encoder's file, or the folder of encoder and decoder"),
    "disentangling-vae": Kind("disentangling_vae", "model.pt, or the folder with it"),
    "pythae": Kind("pythae_folder", "a folder with model.pt and model_config.json"),
    "optimum": Kind("optimum_folder", "a folder with vae_encoder and vae_decoder", torch=False),
}


def import_model(
    kind: str,
    source: str,
    folder: Path,
    *,
    id: str | None = None,  # noqa: A002 - the word of the manifest
    version: str = "1",
    license: str = "unknown",  # noqa: A002
    origin: str = "",
    **options: Any,
) -> tuple[Model, Mapping[str, float]]:
    """Write a model folder from someone's weights.

    Args:
        kind: a key of `KINDS`.
        source: as the kind takes it.
        folder: of the model; its name is the default of `id`.
        license, origin: of the weights, for the manifest and the card.
        options: what the kind's `read` takes.

    Returns:
        As `vaetools.training.export.folder.write_model`.

    Raises:
        UsageError: an unknown kind, a missing file or library, or an invalid id.
        ModelBrokenError: weights that are not safe to read, do not fit, or are not finite.
        ExistsError: the folder contains something other than a model.
    """
    from vaetools.training.export.folder import check_target

    if kind not in KINDS:
        raise UsageError(f"unknown kind {kind!r}", remedy=f"known: {', '.join(KINDS)}")
    if KINDS[kind].torch:
        from vaetools.training.importers.weights import check_torch

        check_torch()
    about = about_of(folder, id=id, version=version, license=license, origin=origin)
    check_target(folder)
    read = importlib.import_module(f"{__name__}.{KINDS[kind].module}").read
    return write(read(source, **options), about, folder, kind=kind)


def about_of(
    folder: Path,
    *,
    id: str | None,  # noqa: A002
    version: str,
    license: str,  # noqa: A002
    origin: str,
) -> About:
    """What the user states about the model. Raises `UsageError` for an invalid id."""
    name = id or re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._")
    if not MODEL_ID.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid model id",
            remedy="give one of lower-case letters, digits, dots and dashes with --id",
        )
    return About(name, version, license, origin)


def write(
    plan: ModelPlan, about: About, folder: Path, *, kind: str = "module"
) -> tuple[Model, Mapping[str, float]]:
    """Write the model folder and its card."""
    from vaetools.training.export.folder import write_model

    model, differences = write_model(folder, plan.manifest(about), plan.graphs)
    text = imported_card(model.manifest, differences, kind)
    (folder / FILE_NAME).write_text(text, encoding="utf-8")
    return model, differences
