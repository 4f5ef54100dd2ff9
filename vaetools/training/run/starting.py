"""The weights that a run starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaetools.errors import UsageError
from vaetools.model.manifest import FILE_NAME as MANIFEST
from vaetools.training.export.recover import model_weights
from vaetools.training.run.compact import is_run, read_run_state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import Tensor, nn


def starting_weights(path: Path, network: nn.Module, device: torch.device) -> Mapping[str, Tensor]:
    """The weights of a run's folder or a model's, to start a new run from.

    Raises:
        UsageError: it is neither, or a model for another task.
        ManifestError, ModelAlteredError, ModelBrokenError: the model is damaged.
    """
    if is_run(path):
        averaged: Mapping[str, Tensor] = read_run_state(path, device)["average"]
        return averaged
    if (path / MANIFEST).exists():
        return model_weights(path, network)
    raise UsageError(
        "neither a run nor a model", file=path, remedy="give the folder of a run or a model"
    )
