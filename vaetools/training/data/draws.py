"""Random numbers for damage to images, drawn on the device of the images."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import Tensor

Settings = TypeVar("Settings")


class Draws(Generic[Settings]):
    """A kind of random damage.

    Args:
        settings: parameters of the damage.
        generator: on the device of the images; None for torch's default one, which a run saves.
    """

    def __init__(self, settings: Settings, generator: torch.Generator | None = None) -> None:
        self.settings = settings
        self.generator = generator

    def _uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=like.device)

    def _normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=like.device)
