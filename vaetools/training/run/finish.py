"""Finished (or interrupted) runs, and how they become models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from vaetools.errors import UsageError
from vaetools.training.export.card import FILE_NAME as CARD
from vaetools.training.export.card import trained_card
from vaetools.training.recipe import Recipe, read_recipe
from vaetools.training.run.curves import read_log
from vaetools.training.run.trainer import CHECKPOINT, read_checkpoint
from vaetools.training.tasks import Task, open_task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.model.vae import Model


def read_run(run: Path) -> tuple[Recipe, Task, dict[str, Any]]:
    """(recipe, task with the best or the averaged weights, checkpoint) of a run folder.

    Raises:
        UsageError: there is no recipe or no checkpoint.
    """
    if not (run / CHECKPOINT).exists():
        remedy = "name the folder of a run, or say with --from what it is"
        raise UsageError("holds no checkpoint", file=run, remedy=remedy)
    recipe = read_recipe(run / "recipe.toml")
    task = open_task(recipe)
    state = read_checkpoint(run, torch.device("cpu"))
    task.network.load_state_dict(state["best"]["weights"] or state["average"])
    return recipe, task, state


def export_run(run: Path, data: Path | None, folder: Path) -> tuple[Model, Mapping[str, float]]:
    """Write the model of a run, with a model card; see `vaetools.training.export.graphs.write_model`.

    Args:
        data: the training images, where the task needs them for the export.
    """
    recipe, task, state = read_run(run)
    model, differences = task.export(None if data is None else task.load(data), folder, recipe)
    told = trained_card(model.manifest, differences, _told(run, state), recipe.text)
    (folder / CARD).write_text(told, encoding="utf-8")
    return model, differences


def _told(run: Path, state: Mapping[str, Any]) -> dict[str, str]:
    """What a run says of itself."""
    told = {
        "data": state["data"],
        "steps": f"{state['step']:,}",
        "time": f"{state['seconds'] / 60:.0f} minutes",
    }
    rows = read_log(run)
    if state["best"]["weights"]:  # those are exported
        rows.sort(key=lambda row: row["held_loss"], reverse=True)
    held = {name: value for name, value in (rows[-1] if rows else {}).items() if "held" in name}
    return told | {name.replace("_", " "): f"{value:.5g}" for name, value in held.items()}
