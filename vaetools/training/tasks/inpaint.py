"""Training an inpainter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.errors import UsageError
from vaetools.training.pictures import PicturePack
from vaetools.training.recipe import at_least, settings
from vaetools.training.restoration.holes import KINDS, Holes, HoleSettings
from vaetools.training.restoration.inpainter import Inpainter, fill
from vaetools.training.restoration.network import CELL, Given, RestoreConfig
from vaetools.training.restoration.objective import (
    CHARBONNIER,
    SPREAD_FIGURES,
    RestoreObjective,
    spread_loss,
    standard_noise,
)
from vaetools.training.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.training.recipe import Recipe
    from vaetools.vae import Model

VALIDATED = 12
"""Held-out crops that are looked at for each row of the log, with holes of each kind."""


@dataclass(frozen=True)
class InpaintData(HoleSettings):
    """`[data]`: `batch` crops of `crop` pixels; from the share `late` of the training on, fewer crops
    of `late_crop`. Crops are taken up to `shrink` times larger and reduced. What they lose: see
    `HoleSettings`."""

    crop: int = 96
    late_crop: int = 160
    late: float = 0.7
    batch: int = 16
    shrink: float = 2.0
    hold_out: int = 24

    def __post_init__(self) -> None:
        at_least("data", self, crop=CELL, late_crop=CELL, late=0, batch=1, shrink=1, hold_out=2)
        if self.crop % CELL or self.late_crop % CELL:
            raise UsageError(
                f"recipe: [data]: crop and late_crop of an inpainter are multiples of {CELL}"
            )
        self.check()

    def held_size(self, held: PicturePack) -> int:
        """Side of crops of the pictures that are held out."""
        return min(self.late_crop, held.largest // CELL * CELL)


class InpaintTask(Task):
    """Regression of the mean in the holes, then the ladder around it."""

    exports_with_data = True

    def __init__(self, recipe: Recipe) -> None:
        self.data = settings(InpaintData, recipe.data, "data")
        self.objective = settings(RestoreObjective, recipe.objective, "objective")
        self.hold_out = self.data.hold_out
        self.phases = self.objective.phases
        if recipe.train.patience and len(self.phases) > 1:
            raise UsageError(
                "recipe: patience would stop before the ladder learns",
                remedy="leave it out, or set ladder_from = 1 in [objective]",
            )
        self.network: Inpainter = Inpainter(settings(RestoreConfig, recipe.network, "network"))
        self.holes = Holes(self.data)
        self.second = False
        self.beta = torch.ones(())
        self.nothing = torch.tensor(math.nan)  # a figure of the other phase

    def load(self, path: Path) -> PicturePack:
        return PicturePack.for_crops(path, self.data.crop, self.data.late_crop)

    def enter(self, phase: int) -> None:
        self.second = phase == 1

    def batch(self, data: PicturePack, generator: torch.Generator, progress: float) -> Tensor:
        wanted = self.data
        size = wanted.late_crop if progress >= wanted.late else wanted.crop
        count = max(1, wanted.batch * wanted.crop**2 // size**2)
        images = data.crops(count, size, generator, shrink=wanted.shrink)
        if self.second:
            begun = self.objective.ladder_from
            beta = self.objective.beta((progress - begun) / (1 - begun))
            self.beta = torch.full((), beta, device=images.device)
        return images

    def loss(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        del generator  # holes are drawn where the images are, with torch's own
        mask = self.holes(images)
        with torch.autocast(images.device.type, enabled=False):  # known pixels stay exact
            given = self.network.given(images, mask)
        start = hole_loss(images - given.base, mask)
        if self.second:
            loss, figures = spread_loss(self.network, given, images, self.objective, self.beta)
        else:
            mean, _ = self.network.mean(given)
            loss = hole_loss(images - mean, mask)
            figures = dict.fromkeys(SPREAD_FIGURES, self.nothing)
        return loss, {**figures, "fill": start}

    @torch.no_grad()
    def validate(self, network: nn.Module, data: PicturePack) -> dict[str, float]:
        assert isinstance(network, Inpainter)
        size = self.data.held_size(data)
        images = data.crops(VALIDATED, size, torch.Generator().manual_seed(1))
        drawn = torch.Generator(images.device).manual_seed(2)
        holes = Holes(self.data, drawn)
        errors, losses = {}, []
        for kind in KINDS:
            mask = holes.of_kind(kind, images)
            given = network.given(images, mask)
            mean, _ = network.mean(given)
            losses.append(hole_loss(images - mean, mask))
            found = hole_psnr(images - mean, mask)
            errors[f"held_{kind}"] = found
            errors[f"held_{kind}_gain"] = found - hole_psnr(images - fill(images, mask), mask)
        errors["held_gap"] = self.nothing
        if self.second:
            noise = standard_noise(network, len(images), images, drawn)
            errors["held_gap"] = gap(network, given, images, noise)
        figures = {name: float(value) for name, value in errors.items()}
        return {"held_loss": float(torch.stack(losses).mean()), **figures}

    def export(
        self, data: PicturePack | None, folder: Path, recipe: Recipe
    ) -> tuple[Model, Mapping[str, float]]:
        from vaetools.training.export_inpaint import export_inpainter

        held = None
        if len(self.phases) > 1:
            if data is None:
                raise UsageError(
                    "an inpainter's intervals are measured on pictures that it was not trained on",
                    remedy="name the training pictures with --data: those held out are used",
                )
            held = data.split(self.hold_out)[1]
        return export_inpainter(self.network, self.data, held, folder, recipe)


def hole_loss(error: Tensor, mask: Tensor) -> Tensor:
    """Charbonnier's, of errors (B, 3, H, W) in the holes. Each picture counts as much as any other,
    however small its hole is: else blocks and brushes would drown scratches and dust."""
    return in_holes(torch.sqrt(error**2 + CHARBONNIER**2), mask).mean()


def hole_psnr(error: Tensor, mask: Tensor) -> Tensor:
    """Mean of the pictures' PSNR in the holes, in dB; pictures without a hole are left out."""
    there = mask.sum(dim=(1, 2, 3)) > 0
    return (-10 * torch.log10(in_holes(error**2, mask)[there])).mean()


def in_holes(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, 3, H, W) in the hole of each picture, (B,); 0 where there is none."""
    pixels = mask.sum(dim=(1, 2, 3)).clamp(min=1.0)
    return (values * mask).sum(dim=(1, 2, 3)) / (3 * pixels)


def gap(network: Inpainter, given: Given, images: Tensor, noise: Tensor) -> Tensor:
    """How many dB one sample is below the mean in the holes: 3 where samples are all that could be, 0
    where the latents carry nothing."""
    mean, _ = network.mean(given)
    sample, _ = network.sample(given, noise, torch.ones((), device=images.device))
    return hole_psnr(images - mean, given.gate) - hole_psnr(images - sample, given.gate)
