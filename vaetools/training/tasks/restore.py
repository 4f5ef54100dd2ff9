"""Training a restorer: first the mean, then its uncertainty."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

from vaetools.errors import UsageError
from vaetools.training.data.image_pack import ImagePack
from vaetools.training.networks.restoration.network import RestoreConfig, Restorer
from vaetools.training.objectives.restoration import (
    SPREAD_FIGURES,
    RestoreObjective,
    spread_loss,
    standard_noise,
)
from vaetools.training.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from vaetools.model.folder import Model
    from vaetools.training.data.crops import CropSettings
    from vaetools.training.export.restorer import HeldOutCrops
    from vaetools.training.networks.restoration.network import Conditioning
    from vaetools.training.recipe import Recipe

SHOWN = 4
"""Number of crops in a row of a sheet."""

R = TypeVar("R", bound=Restorer)

VALIDATED = 12
"""Number of held-out crops for each row of the log and each kind of damage."""


class HeldCase(NamedTuple):
    """A kind of damage, on held-out images.

    Attributes:
        condition: of the damaged images.
        images: the targets, (B, 3, H, W).
        error: of the mean, (B, 3, H, W).
        figures: for the log.
    """

    condition: Conditioning
    images: Tensor
    error: Tensor
    figures: dict[str, Tensor]


class RestoreTask(Task[R, ImagePack]):
    """Base of the restoration tasks. Subclasses define the damage and the measure of errors.

    Attributes:
        noun: name of the network in messages.
        shown_case: index of the case of `held_cases` that sheets show.
        crops: type of `[data]`.
        restorer: type of the network, made from `[network]`.
        second: whether this is the phase that trains the uncertainty, not the mean.
    """

    exports_with_data = True
    noun: ClassVar[str]
    shown_case: ClassVar[int]
    crops: ClassVar[type[CropSettings]]
    restorer: type[R]

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.data: CropSettings = recipe.table("data", self.crops)
        self.objective: RestoreObjective = recipe.table("objective", RestoreObjective)
        self.hold_out: int = self.data.hold_out
        self.phases: tuple[float, ...] = self.objective.phases
        if recipe.train.patience and self.objective.samples:
            raise UsageError(
                "recipe: patience would stop the training before its second phase",
                remedy="leave it out, or set ladder_from = 1 in [objective]",
            )
        self.network: R = self.restorer(recipe.table("network", RestoreConfig))
        self.second: bool = False
        self.beta: Tensor = torch.ones(())
        self.undefined: Tensor = torch.tensor(math.nan)  # for the figures of the other phase

    def load(self, path: Path) -> ImagePack:
        return self.data.load(path)

    def enter(self, phase: int) -> None:
        self.second = self.objective.samples and phase == len(self.phases) - 1

    def batch(self, data: ImagePack, generator: torch.Generator, progress: float) -> Tensor:
        images = self.data.draw(data, generator, progress)
        if self.second:
            begun = self.objective.ladder_from
            beta = self.objective.beta((progress - begun) / (1 - begun))
            if self.beta.device != images.device:
                self.beta = self.beta.to(images.device)
            self.beta.fill_(beta)  # in place: a recorded pass reads this tensor
        return images

    def phase_loss(
        self, condition: Conditioning, images: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(loss of the current phase, figures) for targets (B, 3, H, W)."""
        if self.second:
            return spread_loss(self.network, condition, images, self.objective, self.beta)
        mean, _ = self.network.mean(condition)
        return self.mean_loss(images, images - mean, condition), dict.fromkeys(
            SPREAD_FIGURES, self.undefined
        )

    @torch.no_grad()
    def validate(self, network: R, data: ImagePack) -> dict[str, float]:
        size = self.data.held_size(data)
        images = data.crops(VALIDATED, size, torch.Generator().manual_seed(1))
        drawn = torch.Generator(images.device).manual_seed(2)
        found, losses = {}, []
        for case in self.held_cases(network, images, drawn):
            losses.append(self.held_loss(case.images, case.error, case.condition))
            found.update(case.figures)
        found["held_gap"] = self.undefined
        if self.second:
            noise = standard_noise(network, len(images), images, drawn)
            found["held_gap"] = self.gap(network, case.condition, case.images, noise)
        loss = float(torch.stack(losses).mean())
        return {"held_loss": loss, **{name: float(value) for name, value in found.items()}}

    def show(self, network: R, data: ImagePack) -> dict[str, Tensor]:
        size = self.data.held_size(data)
        images = data.crops(SHOWN, size, torch.Generator().manual_seed(1))
        drawn = torch.Generator(images.device).manual_seed(2)
        cases = self.held_cases(network, images, drawn)
        case = next(itertools.islice(cases, self.shown_case, None))
        quality = float(self.psnr(case.error, case.condition))
        rows = {
            "held-out images": case.images,
            "damaged": self.damaged(case.images, case.condition),
            f"restored\n{quality:.1f} dB": case.images - case.error,
        }
        if self.second:
            noise = standard_noise(network, len(images), images, drawn)
            sample, _ = network.sample(case.condition, noise, torch.ones((), device=images.device))
            rows["a sample"] = sample
        return rows

    def gap(self, network: R, condition: Conditioning, images: Tensor, noise: Tensor) -> Tensor:
        """PSNR of the mean minus that of a posterior sample, in dB: 3 for the true posterior, 0 if the
        latents have no effect."""
        mean, _ = network.mean(condition)
        sample, _ = network.sample(condition, noise, torch.ones((), device=images.device))
        return self.psnr(images - mean, condition) - self.psnr(images - sample, condition)

    def export(self, data: ImagePack | None, folder: Path) -> tuple[Model, Mapping[str, float]]:
        return self.write(self._held_out(data) if self.objective.samples else None, folder)

    def _held_out(self, data: ImagePack | None) -> HeldOutCrops:
        if data is None:
            raise UsageError(
                f"the intervals of {self.noun} are measured on images that it was not trained on",
                remedy="give the training images with --data: those held out are used",
            )
        held = data.split(self.hold_out)[1]
        size = self.data.held_size(held)
        return lambda count, generator: held.crops(count, size, generator)

    @abstractmethod
    def mean_loss(self, images: Tensor, error: Tensor, condition: Conditioning) -> Tensor:
        """Loss of the mean, a scalar, from its errors (B, 3, H, W); `images` are the targets."""

    def held_loss(self, images: Tensor, error: Tensor, condition: Conditioning) -> Tensor:
        """The same for the log; it has one meaning during the whole run."""
        return self.mean_loss(images, error, condition)

    @abstractmethod
    def psnr(self, error: Tensor, condition: Conditioning) -> Tensor:
        """Mean PSNR in dB, a scalar, from errors (B, 3, H, W)."""

    @abstractmethod
    def held_cases(
        self, network: R, images: Tensor, generator: torch.Generator
    ) -> Iterator[HeldCase]:
        """A case for each kind of damage of held-out images."""

    @abstractmethod
    def damaged(self, images: Tensor, condition: Conditioning) -> Tensor:
        """The damaged images (B, 3, H, W) of a case of `held_cases`, to be shown."""

    @abstractmethod
    def write(self, crops: HeldOutCrops | None, folder: Path) -> tuple[Model, Mapping[str, float]]:
        """Export; `crops` are for the intervals, None for a model without posterior samples."""
