"""The small networks between latents and hyper-latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.model.fused.phases import phase_at
from vaetools.training.networks.codec.blocks import Block, Blocks, Upsample
from vaetools.training.networks.precision import in_float32

if TYPE_CHECKING:
    from vaetools.training.networks.codec.config import CodecConfig


class HyperAnalysis(nn.Module):
    """y · gain (B, M, h, w) -> z (B, N, h/4, w/4). asinh tames the wide range of the latents."""

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.net: nn.Sequential = nn.Sequential(
            nn.Conv2d(c.latents, c.hyper_hidden, 1),
            nn.ReLU(),
            nn.Conv2d(c.hyper_hidden, c.hyper_hidden, 2, stride=2),
            Block(c.hyper_hidden),
            nn.Conv2d(c.hyper_hidden, c.hyper, 2, stride=2),
        )

    def forward(self, y: Tensor) -> Tensor:
        return in_float32(self.net[-1], self.net[:-1](torch.asinh(y)))


class HyperMean(nn.Module):
    """ẑ (B, N, h/4, w/4) -> mean of y (B, M, h, w)."""

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.net: nn.Sequential = nn.Sequential(
            nn.Conv2d(c.hyper, c.hyper_hidden, 3, padding=1),
            nn.ReLU(),
            Upsample(c.hyper_hidden, c.hyper_hidden, 2),
            Block(c.hyper_hidden),
            Upsample(c.hyper_hidden, c.hyper_hidden, 2),
            nn.ReLU(),
            nn.Conv2d(c.hyper_hidden, c.latents, 1),
        )

    def forward(self, z: Tensor) -> Tensor:
        return in_float32(self.net[-1], self.net[:-1](z))


class ContextMean(nn.Module):
    """What is known of ŷ (zeros elsewhere) and the mean -> better mean for what comes next. (B, M, h, w)
    each.

    Only the mean learns from context: the tables must not depend on floating-point results.
    """

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        width = c.context_width or c.channels
        self.known: nn.Conv2d = nn.Conv2d(c.latents, width, 3, padding=1)
        self.mean: nn.Conv2d = nn.Conv2d(c.latents, width, 1)
        self.blocks: Blocks = Blocks(width, c.context_blocks)
        self.exit: nn.Conv2d = nn.Conv2d(width, c.latents, 1)

    def start(self, std: Tensor) -> None:
        """Scale the initial weights to latents with these standard deviations (M,)."""
        self.exit.weight.mul_(0.1 * std[:, None, None, None])
        for layer in (self.mean, self.known):
            layer.weight.div_(1 + std[None, :, None, None])

    def forward(self, known: Tensor, mean: Tensor) -> Tensor:
        h = torch.relu(self.known(known) + self.mean(mean))
        return mean + in_float32(self.exit, self.blocks(h))


def phases(latents: int, height: int, width: int, device: torch.device) -> Tensor:
    """In which of the phases a latent is decoded, (M, h, w) int64 in 0 … 3.

    The upper half of the channels takes the other squares of the checkerboard first, every other
    quarter the other rows, so that every phase finds something known at every place.
    """
    rows = torch.arange(height, device=device)[:, None]
    columns = torch.arange(width, device=device)[None, :]
    channels = torch.arange(latents, device=device)[:, None, None]
    found: Tensor = phase_at(channels, rows, columns, latents)
    return found
