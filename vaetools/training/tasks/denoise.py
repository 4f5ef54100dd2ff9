"""Training a denoiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from vaetools.training.data.crops import CropSettings
from vaetools.training.data.jpeg import SIDE
from vaetools.training.data.noise import Damage, NoiseSettings, rounded_to_8_bit
from vaetools.training.networks.precision import in_float32
from vaetools.training.networks.restoration.denoiser import LEVEL_SCALE, Denoiser, log_level_of
from vaetools.training.objectives.restoration import charbonnier
from vaetools.training.recipe import NotNegative, Share
from vaetools.training.tasks.restore import HeldCase, RestoreTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from vaetools.model.folder import Model
    from vaetools.training.data.image_pack import ImagePack
    from vaetools.training.export.restorer import HeldOutCrops
    from vaetools.training.networks.restoration.network import Conditioning
    from vaetools.training.recipe import Recipe

LEVEL_WEIGHT = 0.1
"""Weight of the loss of the noise-level network, which shares only gradient clipping with the rest."""

VALIDATED_LEVELS = (15, 25, 50)

REFERENCE_LEVEL = 25.0 / 255
"""Noise level at which the weight of errors is 1 for any `balance`."""

USUAL_ERROR = 0.05
"""Twice the error at which a squared error pulls as much as an absolute one."""

LEVEL_FLOOR = 5.0 / 255
"""Added to noise levels, to limit the weight of the weakest noise."""


@dataclass(frozen=True)
class DenoiseData(NoiseSettings, CropSettings):
    """`[data]`: crops, and the noise that is added to them.

    Attributes:
        balance: errors are divided by the noise level to this power, because they grow with the noise;
            with about 0.7 all levels contribute alike.
        squared: share of the training from which errors count squared, as PSNR counts them.
    """

    cell = SIDE
    crop: int = 80
    late_crop: int = 128
    late: float = 0.65
    batch: int = 16
    balance: NotNegative = 0.0
    squared: Share = 1.0


class DenoiseTask(RestoreTask[Denoiser]):
    """Regression of the mean, then of its uncertainty; the noise level in both phases."""

    noun = "a denoiser"
    shown_case: ClassVar[int] = VALIDATED_LEVELS.index(25)
    crops: ClassVar[type[CropSettings]] = DenoiseData
    restorer: type[Denoiser] = Denoiser
    data: DenoiseData
    recordable = True
    splits = True

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.damage: Damage = Damage(self.data)
        self.squares: Tensor = torch.zeros((), dtype=torch.bool)

    def batch(self, data: ImagePack, generator: torch.Generator, progress: float) -> Tensor:
        images = super().batch(data, generator, progress)
        self.squares = self.squares.to(images.device)
        self.squares.fill_(progress >= self.data.squared)  # in place: a recorded pass reads it
        return images

    def loss_of(self, images: Tensor, *drawn: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        del drawn  # noise is drawn where the images are, by torch's own generator
        images, noisy, sigma = self.damage(images)
        found = in_float32(self.network.level.log_level, noisy)
        level = (found - log_level_of(sigma)).abs().mean()
        loss, figures = self.phase_loss(self.network.condition(noisy, sigma), images)
        return loss + LEVEL_WEIGHT * level, {**figures, "level": level}

    def mean_loss(self, images: Tensor, error: Tensor, condition: Conditioning) -> Tensor:
        del images
        relative = error / self._usual(condition)
        squared = relative.square() / USUAL_ERROR
        return torch.where(self.squares, squared, self._absolute(error, condition)).mean()

    def held_loss(self, images: Tensor, error: Tensor, condition: Conditioning) -> Tensor:
        del images
        return self._absolute(error, condition).mean()

    def _absolute(self, error: Tensor, condition: Conditioning) -> Tensor:
        return charbonnier(error) / self._usual(condition)

    def _usual(self, condition: Conditioning) -> Tensor:
        """What errors are divided by, (B, 1, 1, 1)."""
        level = condition.planes[:, 3:].mean(dim=(1, 2, 3), keepdim=True) / LEVEL_SCALE
        return ((level + LEVEL_FLOOR) / (REFERENCE_LEVEL + LEVEL_FLOOR)) ** self.data.balance

    def psnr(self, error: Tensor, condition: Conditioning) -> Tensor:
        del condition
        return (-10 * torch.log10((error**2).mean(dim=(1, 2, 3)))).mean()

    def held_cases(
        self, network: Denoiser, images: Tensor, generator: torch.Generator
    ) -> Iterator[HeldCase]:
        for level in VALIDATED_LEVELS:
            sigma = torch.full_like(images[:, :1], level / 255.0)
            drawn = torch.randn(images.shape, generator=generator, device=images.device)
            noisy = rounded_to_8_bit(images + sigma * drawn)
            condition = network.condition(noisy, sigma)
            error = images - network.mean(condition)[0]
            found = network.level(noisy).flatten(1).median(dim=1).values
            yield HeldCase(
                condition,
                images,
                error,
                {
                    f"held_psnr{level}": self.psnr(error, condition),
                    f"held_level{level}": (255.0 * found - level).abs().mean(),
                },
            )

    def damaged(self, images: Tensor, condition: Conditioning) -> Tensor:
        del images
        return condition.base

    def write(self, crops: HeldOutCrops | None, folder: Path) -> tuple[Model, Mapping[str, float]]:
        from vaetools.training.export.denoiser import export_denoiser

        return export_denoiser(
            self.network, folder, self.recipe, strongest=self.data.strongest, crops=crops
        )
