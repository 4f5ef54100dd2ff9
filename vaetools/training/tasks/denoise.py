"""Training a denoiser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.errors import UsageError
from vaetools.training.pictures import PicturePack
from vaetools.training.recipe import at_least, settings
from vaetools.training.restoration.denoiser import Denoiser, log_level_of
from vaetools.training.restoration.jpeg import SIDE
from vaetools.training.restoration.network import Given, RestoreConfig
from vaetools.training.restoration.noise import Damage, NoiseSettings, rounded_to_8_bit
from vaetools.training.restoration.objective import (
    SPREAD_FIGURES,
    RestoreObjective,
    mean_loss,
    spread_loss,
    standard_noise,
)
from vaetools.training.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.training.recipe import Recipe
    from vaetools.vae import Model

LEVEL_WEIGHT = 0.1
"""Of the noise-level network's loss: it shares only the norm of the gradient with the rest."""

VALIDATED = 12
"""Held-out crops that are looked at for each row of the log."""

VALIDATED_LEVELS = (15, 25, 50)


@dataclass(frozen=True)
class DenoiseData(NoiseSettings):
    """`[data]`: `batch` crops of `crop` pixels; from the share `late` of the training on, fewer crops
    of `late_crop`. Crops are taken up to `shrink` times larger and reduced. How they are damaged:
    see `NoiseSettings`."""

    crop: int = 80
    late_crop: int = 128
    late: float = 0.65
    batch: int = 16
    shrink: float = 2.0
    hold_out: int = 24

    def __post_init__(self) -> None:
        at_least("data", self, crop=SIDE, late_crop=SIDE, late=0, batch=1, shrink=1, hold_out=2)
        if self.crop % SIDE or self.late_crop % SIDE:
            raise UsageError(
                f"recipe: [data]: crop and late_crop of a denoiser are multiples of {SIDE}"
            )
        self.check()

    def held_size(self, held: PicturePack) -> int:
        """Side of crops of the pictures that are held out."""
        return min(self.late_crop, held.largest // SIDE * SIDE)


class DenoiseTask(Task):
    """Regression of the mean, then the ladder around it; the noise level all the time."""

    exports_with_data = True

    def __init__(self, recipe: Recipe) -> None:
        self.data = settings(DenoiseData, recipe.data, "data")
        self.objective = settings(RestoreObjective, recipe.objective, "objective")
        self.hold_out = self.data.hold_out
        self.phases = self.objective.phases
        if recipe.train.patience and len(self.phases) > 1:
            raise UsageError(
                "recipe: patience would stop before the ladder learns",
                remedy="leave it out, or set ladder_from = 1 in [objective]",
            )
        self.network: Denoiser = Denoiser(settings(RestoreConfig, recipe.network, "network"))
        self.damage = Damage(self.data)
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
        del generator  # noise is drawn where the images are, with torch's own
        images, noisy, sigma = self.damage(images)
        level = (self.network.level.log_level(noisy) - log_level_of(sigma)).abs().mean()
        given = self.network.given(noisy, sigma)
        if self.second:
            loss, figures = spread_loss(self.network, given, images, self.objective, self.beta)
        else:
            mean, _ = self.network.mean(given)
            loss, figures = mean_loss(images - mean), dict.fromkeys(SPREAD_FIGURES, self.nothing)
        return loss + LEVEL_WEIGHT * level, {**figures, "level": level}

    @torch.no_grad()
    def validate(self, network: nn.Module, data: PicturePack) -> dict[str, float]:
        assert isinstance(network, Denoiser)
        size = self.data.held_size(data)
        images = data.crops(VALIDATED, size, torch.Generator().manual_seed(1))
        noise = torch.Generator(images.device).manual_seed(2)
        errors, losses = {}, []
        for level in VALIDATED_LEVELS:
            sigma = torch.full_like(images[:, :1], level / 255.0)
            drawn = torch.randn(images.shape, generator=noise, device=images.device)
            noisy = rounded_to_8_bit(images + sigma * drawn)
            given = network.given(noisy, sigma)
            mean, _ = network.mean(given)
            losses.append(mean_loss(images - mean))
            found = network.level(noisy).flatten(1).median(dim=1).values
            errors[f"held_psnr{level}"] = psnr(images - mean)
            errors[f"held_level{level}"] = (255.0 * found - level).abs().mean()
        errors["held_gap"] = self.nothing
        if self.second:
            drawn = standard_noise(network, len(images), images, noise)
            errors["held_gap"] = gap(network, given, images, drawn)
        figures = {name: float(value) for name, value in errors.items()}
        return {"held_loss": float(torch.stack(losses).mean()), **figures}

    def export(
        self, data: PicturePack | None, folder: Path, recipe: Recipe
    ) -> tuple[Model, Mapping[str, float]]:
        from vaetools.training.export_denoise import export_denoiser

        held = None
        if len(self.phases) > 1:
            if data is None:
                raise UsageError(
                    "a denoiser's intervals are measured on pictures that it was not trained on",
                    remedy="name the training pictures with --data: those held out are used",
                )
            held = data.split(self.hold_out)[1]
        return export_denoiser(self.network, self.data, held, folder, recipe)


def psnr(error: Tensor) -> Tensor:
    """Mean of the pictures' PSNR in dB, from errors (B, 3, H, W)."""
    return (-10 * torch.log10((error**2).mean(dim=(1, 2, 3)))).mean()


def gap(network: Denoiser, given: Given, images: Tensor, noise: Tensor) -> Tensor:
    """How many dB one sample is below the mean: 3 where samples are all that could be, 0 where the
    latents carry nothing."""
    mean, features = network.mean(given)
    spread, _ = network.ladder(features, noise)
    sample = mean + network.deviation(given, features) * spread
    return psnr(images - mean) - psnr(images - sample)
