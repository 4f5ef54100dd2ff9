"""Random numbers for what damages pictures, drawn on the device where the pictures are."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import Tensor

Settings = TypeVar("Settings")


class Draws(Generic[Settings]):
    """A kind of damage that is drawn at random.

    Args:
        settings: what to draw.
        generator: of the pictures' device; None for torch's own, which a run saves.
    """

    def __init__(self, settings: Settings, generator: torch.Generator | None = None) -> None:
        self.settings = settings
        self.generator = generator

    def _uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=like.device)

    def _normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=like.device)
