"""From a run, finished or interrupted, to a model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch

from vaetools.errors import UsageError
from vaetools.training.export.card import FILE_NAME as CARD
from vaetools.training.export.card import trained_card
from vaetools.training.export.rounding import round_weights
from vaetools.training.recipe import read_recipe
from vaetools.training.run.compact import is_run, read_run_state
from vaetools.training.run.curves import read_log
from vaetools.training.tasks import open_task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from logging import Logger
    from pathlib import Path

    from vaetools.model.folder import Model
    from vaetools.training.tasks import AnyTask


log: Logger = logging.getLogger(__name__)


def read_run(run: Path) -> tuple[AnyTask, dict[str, Any]]:
    """(task with the best weights, or else the averaged ones; checkpoint) of a run folder.

    Raises:
        UsageError: there is no recipe or no checkpoint.
    """
    if not is_run(run):
        remedy = "give the folder of a run, or say with --from what SOURCE is"
        raise UsageError("contains no checkpoint", file=run, remedy=remedy)
    task = open_task(read_recipe(run / "recipe.toml"))
    state = read_run_state(run, torch.device("cpu"))
    task.network.load_state_dict(state["best"]["weights"] or state["average"])
    return task, state


def export_run(
    run: Path, data: Path | None, folder: Path, *, half: bool = False
) -> tuple[Model, Mapping[str, float]]:
    """Write the model of a run, with a model card; see `vaetools.training.export.folder.write_model`.

    Args:
        data: the training images, if the task needs them for the export.
        half: round the weights of layers to float16, which halves the files.
    """
    task, state = read_run(run)
    if half:
        round_weights(task.network)
    images = None if data is None else task.load(data)
    if images is not None and images.summary != state["data"]:
        log.warning(
            "%s: %s, but the run was trained on %s: what is measured on images that were held out "
            "from it may be wrong",
            data,
            images.summary,
            state["data"],
        )
    model, differences = task.export(images, folder)
    card = trained_card(model.manifest, differences, _facts(run, state), task.recipe.text)
    (folder / CARD).write_text(card, encoding="utf-8")
    return model, differences


def _facts(run: Path, state: Mapping[str, Any]) -> dict[str, str]:
    """Facts about a run for the model card."""
    facts = {
        "data": state["data"],
        "steps": f"{state['step']:,}",
        "time": f"{state['seconds'] / 60:.0f} minutes",
    }
    rows = read_log(run)
    if state["best"]["weights"]:  # those are exported
        rows.sort(key=lambda row: row["held_loss"], reverse=True)
    held = {name: value for name, value in (rows[-1] if rows else {}).items() if "held" in name}
    return facts | {name.replace("_", " "): f"{value:.5g}" for name, value in held.items()}
