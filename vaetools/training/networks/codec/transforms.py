"""Analysis and synthesis: images to latents and back, each with a linear shortcut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.training.networks.codec.blocks import Block, Blocks, Upsample
from vaetools.training.networks.modules import ModuleList
from vaetools.training.networks.precision import in_float32

if TYPE_CHECKING:
    from vaetools.training.networks.codec.config import CodecConfig

PIXEL_SCALE = 8.5
"""Pixels enter as (x − ½)·8.5, so that one unit is 30 of 255 grey levels: a quantisation step of
one unit belongs to a middling rate."""


class Analysis(nn.Module):
    """x (B, 3, H, W) -> y (B, M, H/16, W/16)."""

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.linear: nn.Conv2d = nn.Conv2d(3, c.latents, 16, stride=16, bias=False)
        beyond = c.overlap_entry
        self.entry: nn.Conv2d = nn.Conv2d(3, c.channels, 8 + 2 * beyond, stride=8, padding=beyond)
        self.blocks: Blocks = Blocks(c.channels, c.analysis_blocks)
        self.down: nn.Conv2d = nn.Conv2d(c.channels, c.middle, 2, stride=2)
        self.middle: Blocks = Blocks(c.middle, c.middle_blocks)
        self.exit: nn.Conv2d = nn.Conv2d(c.middle, c.latents, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - 0.5) * PIXEL_SCALE
        h = self.middle(self.down(self.blocks(self.entry(x))))
        return in_float32(self.linear, x) + in_float32(self.exit, h)


class RateGate(nn.Module):
    """Channel gains that depend on the rate: (B, 1, h, w) in [0, 1] -> (B, C, h, w) around 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net: nn.Sequential = nn.Sequential(
            nn.Conv2d(1, 16, 1), nn.ReLU(), nn.Conv2d(16, channels, 1)
        )
        self.be_identity()

    def forward(self, rate: Tensor) -> Tensor:
        gain: Tensor = self.net(rate)
        return 1.0 + gain

    @torch.no_grad()
    def be_identity(self) -> None:
        """Set all gains to 1."""
        for parameter in self.net[2].parameters():
            parameter.zero_()


class Synthesis(nn.Module):
    """ŷ (B, M, H/16, W/16), rate -> x̂ (B, 3, H, W), not clamped.

    The rate is an input of the trunk, because coarser steps need more smoothing: (B, 1, 1, 1) for one
    rate, (B, 1, H/8, W/8) for a map of rates.
    """

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.linear: Upsample = Upsample(c.latents, 3, 16)
        self.entry: nn.Conv2d = nn.Conv2d(c.latents, c.middle, 1)
        self.middle: Blocks = Blocks(c.middle, c.middle_blocks)
        self.up: Upsample = Upsample(c.middle, c.channels, 2)
        self.gates: ModuleList[RateGate] = ModuleList[RateGate](
            RateGate(c.channels) for _ in range(c.synthesis_blocks)
        )
        self.blocks: ModuleList[Block] = ModuleList[Block](
            Block(c.channels) for _ in range(c.synthesis_blocks)
        )
        beyond = c.overlap_exit
        self.exit: Upsample | nn.ConvTranspose2d = Upsample(c.channels, 3, 8)
        if beyond:
            self.exit = nn.ConvTranspose2d(
                c.channels, 3, 8 + 2 * beyond, stride=8, padding=beyond, bias=False
            )

    def forward(self, y: Tensor, rate: Tensor) -> Tensor:
        h = self.up(self.middle(self.entry(y)))
        for gate, block in zip(self.gates, self.blocks, strict=True):
            h = block(h * gate(rate))
        return (in_float32(self.linear, y) + in_float32(self.exit, h)) / PIXEL_SCALE + 0.5
