"""Tiny networks that several test files share: trained and exported once per session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.training.tiny import codec_recipe, read, restore_recipe, trainer, write_photos
from vaetools.model.folder import Model
from vaetools.training.run.finish import export_run
from vaetools.training.run.trainer import Trainer

DENOISER_STEPS = 200


@dataclass(frozen=True)
class Trained:
    """A finished run and its model.

    Attributes:
        photos: folder of the training images.
        trainer: after the last step.
        rows: of the log, as `Trainer.fit` gave them.
        differences: by role, between the network and its graph.
    """

    photos: Path
    trainer: Trainer
    rows: list[dict[str, float]]
    model: Model
    differences: Mapping[str, float]


def train_denoiser(folder: Path) -> Trained:
    """Both phases, with a row of the log at the end of each."""
    names = "astronaut", "coffee", "chelsea", "rocket"
    (folder / "photos").mkdir()
    photos = write_photos(folder / "photos", names, 256, 320)
    recipe = read(restore_recipe("denoise", steps=DENOISER_STEPS), folder)
    return _trained(trainer(recipe, photos, folder / "run"), photos, until=(0.6, 1.0))


def train_codec(photos: Path, folder: Path) -> Trained:
    """Six steps, with a row of the log for each."""
    return _trained(trainer(read(codec_recipe(), folder), photos, folder / "run"), photos)


def _trained(run: Trainer, photos: Path, *, until: tuple[float, ...] = (1.0,)) -> Trained:
    with pytest.MonkeyPatch.context() as patch:  # drawing takes longer than these trainings
        patch.setattr("vaetools.training.run.trainer.draw_curves", lambda run: None)
        rows = [row for end in until for row in run.fit(until=end)]
    target = run.run.parent / "models" / run.task.recipe.id
    model, differences = export_run(run.run, photos, target)
    return Trained(photos, run, rows, model, differences)
