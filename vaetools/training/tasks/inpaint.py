"""Training an inpainter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaetools.training.data.crops import CropSettings
from vaetools.training.data.holes import KINDS, Holes, HoleSettings
from vaetools.training.networks.restoration.inpainter import Inpainter
from vaetools.training.networks.restoration.network import CELL
from vaetools.training.objectives.restoration import charbonnier
from vaetools.training.tasks.restore import RestoreTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from vaetools.model.folder import Model
    from vaetools.training.export.restorer import HeldOutCrops
    from vaetools.training.networks.restoration.network import Given
    from vaetools.training.recipe import Recipe


@dataclass(frozen=True)
class InpaintData(HoleSettings, CropSettings):
    """`[data]`: which crops, and what they lose."""

    cell = CELL
    crop: int = 96
    late_crop: int = 160
    late: float = 0.7
    batch: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()


class InpaintTask(RestoreTask[Inpainter]):
    """Regression of the mean in the holes, then the ladder around it."""

    noun = "an inpainter"
    crops = InpaintData
    restorer = Inpainter
    data: InpaintData

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.holes = Holes(self.data)

    def loss(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        del generator  # holes are drawn where the images are, with torch's own
        mask = self.holes(images)
        with torch.autocast(images.device.type, enabled=False):  # known pixels stay exact
            given = self.network.given(images, mask)
        loss, figures = self.learned(given, images)
        return loss, {**figures, "fill": self.mean_loss(images - given.base, given)}

    def mean_loss(self, error: Tensor, given: Given) -> Tensor:
        return hole_loss(error, given.gate)

    def psnr(self, error: Tensor, given: Given) -> Tensor:
        return hole_psnr(error, given.gate)

    def held_cases(
        self, network: Inpainter, images: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Given, Tensor, dict[str, Tensor]]]:
        holes = Holes(self.data, generator)
        for kind in KINDS:
            given = network.given(images, holes.of_kind(kind, images))
            error = images - network.mean(given)[0]
            found, filled = self.psnr(error, given), self.psnr(images - given.base, given)
            yield given, error, {f"held_{kind}": found, f"held_{kind}_gain": found - filled}

    def write(self, crops: HeldOutCrops | None, folder: Path) -> tuple[Model, Mapping[str, float]]:
        from vaetools.training.export.inpainter import export_inpainter

        return export_inpainter(self.network, folder, self.recipe, holes=self.data, crops=crops)


def hole_loss(error: Tensor, mask: Tensor) -> Tensor:
    """Charbonnier's, of errors (B, 3, H, W) in the holes. Each picture counts as much as any other,
    however small its hole is: else blocks and brushes would drown scratches and dust."""
    return in_holes(charbonnier(error), mask).mean()


def hole_psnr(error: Tensor, mask: Tensor) -> Tensor:
    """Mean of the pictures' PSNR in the holes, in dB; pictures without a hole are left out."""
    there = mask.sum(dim=(1, 2, 3)) > 0
    return (-10 * torch.log10(in_holes(error**2, mask)[there])).mean()


def in_holes(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, 3, H, W) in the hole of each picture, (B,); 0 where there is none."""
    pixels = mask.sum(dim=(1, 2, 3)).clamp(min=1.0)
    return (values * mask).sum(dim=(1, 2, 3)) / (3 * pixels)
