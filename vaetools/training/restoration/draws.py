"""Random numbers for what damages pictures, drawn on the device where the pictures are."""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """Where a kind of damage takes its random numbers from.

    Args:
        generator: of the pictures' device; None for torch's own, which a run saves.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def _uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=like.device)

    def _normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=like.device)
