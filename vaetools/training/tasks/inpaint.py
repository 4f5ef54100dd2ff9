"""Training an inpainter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

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
    from vaetools.training.networks.restoration.network import Conditioning
    from vaetools.training.recipe import Recipe


HOLE_COLOUR = (1.0, 0.0, 1.0)
"""RGB of holes in sheets: rare in photographs."""


@dataclass(frozen=True)
class InpaintData(HoleSettings, CropSettings):
    """`[data]`: crops, and the holes that are cut into them."""

    cell = CELL
    crop: int = 96
    late_crop: int = 160
    late: float = 0.7
    batch: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()


class InpaintTask(RestoreTask[Inpainter]):
    """Regression of the mean in the holes, then of its uncertainty."""

    noun = "an inpainter"
    shown_case: ClassVar[int] = KINDS.index("brush")
    crops: ClassVar[type[CropSettings]] = InpaintData
    restorer: type[Inpainter] = Inpainter
    data: InpaintData

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.holes: Holes = Holes(self.data)

    def loss(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        del generator  # holes are drawn where the images are, with torch's own
        mask = self.holes(images)
        with torch.autocast(images.device.type, enabled=False):  # known pixels stay exact
            condition = self.network.condition(images, mask)
        loss, figures = self.phase_loss(condition, images)
        return loss, {**figures, "fill": self.mean_loss(images - condition.base, condition)}

    def mean_loss(self, error: Tensor, condition: Conditioning) -> Tensor:
        return hole_loss(error, condition.gate)

    def psnr(self, error: Tensor, condition: Conditioning) -> Tensor:
        return hole_psnr(error, condition.gate)

    def held_cases(
        self, network: Inpainter, images: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Conditioning, Tensor, dict[str, Tensor]]]:
        holes = Holes(self.data, generator)
        for kind in KINDS:
            condition = network.condition(images, holes.of_kind(kind, images))
            error = images - network.mean(condition)[0]
            found, filled = (
                self.psnr(error, condition),
                self.psnr(images - condition.base, condition),
            )
            yield condition, error, {f"held_{kind}": found, f"held_{kind}_gain": found - filled}

    def damaged(self, images: Tensor, condition: Conditioning) -> Tensor:
        colour = torch.tensor(HOLE_COLOUR, device=images.device).view(1, 3, 1, 1)
        return torch.where(condition.gate > 0, colour, images)

    def write(self, crops: HeldOutCrops | None, folder: Path) -> tuple[Model, Mapping[str, float]]:
        from vaetools.training.export.inpainter import export_inpainter

        return export_inpainter(self.network, folder, self.recipe, holes=self.data, crops=crops)


def hole_loss(error: Tensor, mask: Tensor) -> Tensor:
    """Charbonnier loss of errors (B, 3, H, W) in the holes. Each image has the same weight, however
    small its hole: otherwise blocks and brushes would dominate scratches and dust."""
    return in_holes(charbonnier(error), mask).mean()


def hole_psnr(error: Tensor, mask: Tensor) -> Tensor:
    """Mean PSNR in the holes, in dB; images without a hole are left out."""
    there = mask.sum(dim=(1, 2, 3)) > 0
    return (-10 * torch.log10(in_holes(error**2, mask)[there])).mean()


def in_holes(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, 3, H, W) in the hole of each image, (B,); 0 if there is none."""
    pixels = mask.sum(dim=(1, 2, 3)).clamp(min=1.0)
    return (values * mask).sum(dim=(1, 2, 3)) / (3 * pixels)
