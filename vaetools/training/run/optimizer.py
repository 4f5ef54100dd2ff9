"""Optimizers by name, and the schedule of the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vaetools.training.run.soap import Soap

if TYPE_CHECKING:
    from vaetools.training.recipe import TrainSettings


def make_optimizer(
    groups: list[dict[str, object]], settings: TrainSettings
) -> torch.optim.Optimizer:
    """The optimizer of `[train]`."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, betas=(0.9, 0.99), fused=True)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), weight_decay=decay, fused=True)
    if settings.optimizer == "soap":
        return Soap(groups, lr=rate, every=settings.basis_every)
    return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, weight_decay=decay)


def learning_rate(progress: float, *, warmup: float, flat: float) -> float:
    """Learning rate factor at `progress` in [0, 1]: linear warm-up, constant, then cosine to 0."""
    if progress < warmup:
        return progress / warmup
    if progress < flat or flat >= 1:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - flat) / (1 - flat))))


NOT_DONE = 1 - 1e-9
"""Progress of a training of which something is left."""


@dataclass(frozen=True)
class Decay:
    """The final decay of a learning rate that was held constant for as long as wanted: a cosine to 0.

    Attributes:
        start, steps: the step at which it began, and its number of steps.
        begun: progress at its start.
        level: factor on the learning rate at its start.
    """

    start: int
    steps: int
    begun: float
    level: float

    def progress(self, step: int) -> float:
        """Progress of the whole training, which ends with the decay, and not before."""
        done = (step - self.start) / self.steps
        return 1.0 if done >= 1 else min(NOT_DONE, self.begun + (1 - self.begun) * done)

    def factor(self, step: int) -> float:
        """Factor on the learning rate."""
        done = min(1.0, (step - self.start) / self.steps)
        return self.level * 0.5 * (1 + math.cos(math.pi * done))

    def state(self) -> tuple[int, int, float, float]:
        """The arguments that give it back."""
        return self.start, self.steps, self.begun, self.level
