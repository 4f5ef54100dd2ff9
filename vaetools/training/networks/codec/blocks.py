"""Building blocks of the photo codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.training.networks.modules import convolutions

if TYPE_CHECKING:
    from collections.abc import Iterator


class Block(nn.Module):
    """Depthwise-separable 3x3 convolution, then a 1x1 feed-forward; each with a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix: nn.Sequential = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.Conv2d(channels, channels, 1),
        )
        self.feed: nn.Sequential = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1), nn.ReLU(), nn.Conv2d(2 * channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(x)
        fed: Tensor = x + self.feed(x)
        return fed

    @torch.no_grad()
    def be_identity(self) -> None:
        """Make the block the identity, to add it to a trained network."""
        for layers in (self.mix, self.feed):
            for parameter in layers[-1].parameters():
                parameter.zero_()


class Blocks(nn.Sequential):
    """A sequence of `count` blocks."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__(*(Block(channels) for _ in range(count)))

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[Block]: ...


class Upsample(nn.Sequential):
    """1x1 convolution, then the channels become `factor` x `factor` pixels."""

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs * factor**2, 1), nn.PixelShuffle(factor))
        self.factor = factor

    @property
    def convolution(self) -> nn.Conv2d:
        (layer,) = convolutions(self)
        return layer
