"""Training an inpainter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from vaetools.errors import UsageError
from vaetools.training.data.blur import RADIUS, Blur, BlurSettings, blurred
from vaetools.training.data.crops import CropSettings
from vaetools.training.data.holes import KINDS, Holes, HoleSettings
from vaetools.training.networks.restoration.inpainter import Inpainter
from vaetools.training.networks.restoration.network import CELL
from vaetools.training.objectives.restoration import charbonnier
from vaetools.training.recipe import NotNegative
from vaetools.training.tasks.restore import HeldCase, RestoreTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from vaetools.model.folder import Model
    from vaetools.training.export.restorer import HeldOutCrops
    from vaetools.training.networks.restoration.network import Conditioning
    from vaetools.training.recipe import Recipe


HOLE_COLOUR = (1.0, 0.0, 1.0)
"""RGB of holes in sheets: rare in photographs."""


USUAL = 12.0 / 255
"""Mean absolute error of the fill at which the weight of an image is 1 for any `balance`."""

SMOOTH = 4.0
"""Standard deviation in pixels of the blur of the case `smooth` of the log, with blocks as holes."""

FLOOR = 1.0 / 255
"""Added to errors of the fill, to limit the weight of the smoothest images."""


@dataclass(frozen=True)
class InpaintData(HoleSettings, BlurSettings, CropSettings):
    """`[data]`: crops, and the holes that are cut into them.

    Attributes:
        balance: errors are divided by those of the fill to this power. With 0 textures, where errors are
            large, decide alone; with 1 all images gain alike, in decibels.
    """

    cell = CELL
    crop: int = 96
    late_crop: int = 160
    late: float = 0.7
    batch: int = 16
    balance: NotNegative = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()
        for name in ("crop", "late_crop"):
            if (side := getattr(self, name)) <= RADIUS:
                problem = f"recipe: data.{name} = {side} is not larger than {RADIUS}"
                raise UsageError(problem, remedy=f"use at least {RADIUS + CELL}")


class InpaintTask(RestoreTask[Inpainter]):
    """Regression of the mean in the holes, then of its uncertainty."""

    noun = "an inpainter"
    shown_case: ClassVar[int] = 1 + KINDS.index("brush")
    crops: ClassVar[type[CropSettings]] = InpaintData
    restorer: type[Inpainter] = Inpainter
    data: InpaintData
    splits = True

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.holes: Holes = Holes(self.data)
        self.blur: Blur = Blur(self.data)

    def loss_of(self, images: Tensor, *drawn: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        del drawn  # holes are drawn where the images are, by torch's own generator
        images = self.blur(images)
        mask = self.holes(images)
        with torch.autocast(images.device.type, enabled=False):  # known pixels stay exact
            condition = self.network.condition(images, mask)
        loss, figures = self.phase_loss(condition, images)
        return loss, {**figures, "fill": hole_loss(images - condition.base, condition.gate)}

    def mean_loss(self, images: Tensor, error: Tensor, condition: Conditioning) -> Tensor:
        begun = in_holes(charbonnier(images - condition.base), condition.gate)
        usual = ((begun + FLOOR) / (USUAL + FLOOR)) ** self.data.balance
        return (in_holes(charbonnier(error), condition.gate) / usual).mean()

    def psnr(self, error: Tensor, condition: Conditioning) -> Tensor:
        return hole_psnr(error, condition.gate)

    def held_cases(
        self, network: Inpainter, images: Tensor, generator: torch.Generator
    ) -> Iterator[HeldCase]:
        holes = Holes(self.data, generator)
        smooth = blurred(images, torch.full((len(images),), SMOOTH, device=images.device))
        for name, kind, shown in [("smooth", "block", smooth), *((k, k, images) for k in KINDS)]:
            condition = network.condition(shown, holes.of_kind(kind, shown))
            error = shown - network.mean(condition)[0]
            found, filled = (self.psnr(e, condition) for e in (error, shown - condition.base))
            figures = {f"held_{name}": found, f"held_{name}_gain": found - filled}
            yield HeldCase(condition, shown, error, figures)

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
