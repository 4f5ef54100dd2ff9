"""Training tasks: each combines a network with its data and its objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vaetools.errors import UsageError
from vaetools.training.tasks.codec import CodecTask
from vaetools.training.tasks.denoise import DenoiseTask
from vaetools.training.tasks.inpaint import InpaintTask
from vaetools.training.tasks.look import LookTask
from vaetools.training.tasks.task import AnyTask, Data, Task
from vaetools.training.tasks.vae import VaeTask

if TYPE_CHECKING:
    from vaetools.training.recipe import Recipe

__all__ = [
    "TASKS",
    "AnyTask",
    "CodecTask",
    "Data",
    "DenoiseTask",
    "InpaintTask",
    "LookTask",
    "Task",
    "VaeTask",
    "open_task",
]

TASKS: dict[str, type[AnyTask]] = {
    "codec": CodecTask,
    "denoise": DenoiseTask,
    "inpaint": InpaintTask,
    "look": LookTask,
    "vae": VaeTask,
}


def open_task(recipe: Recipe) -> AnyTask:
    """The task of a recipe, with a network initialised from the recipe's seed.

    Raises:
        UsageError: an unknown task, or a key or value that the task does not know.
    """
    if recipe.task not in TASKS:
        known = ", ".join(sorted(TASKS))
        raise UsageError(f"recipe: unknown task {recipe.task!r}", remedy=f"known: {known}")
    torch.manual_seed(recipe.train.seed)
    return TASKS[recipe.task](recipe)
