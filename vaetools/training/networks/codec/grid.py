"""Context on a 2x2 grid: the latents become known one place of every 2x2 square at a time.

All channels of a place are decoded together. Each pass computes only what it is asked for, the
quarter of the places that come next, from the nearest places that are known; its features go on to
the next pass.

References: He et al., "ELIC: efficient learned image compression with unevenly grouped space-channel
contextual adaptive coding", CVPR 2022; Li et al., "Neural video compression with feature modulation",
CVPR 2024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaetools.model.fused.phases import GRID
from vaetools.training.networks.codec.blocks import Blocks
from vaetools.training.networks.modules import ModuleList
from vaetools.training.networks.precision import in_float32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.training.networks.codec.config import CodecConfig

STEP_RANGE = 0.5
"""Largest magnitude of the logarithm of a factor on a quantisation step."""


class Neighbours(nn.Module):
    """A convolution from the latents of one place to the nearest ones of another place.

    (B, M, h, w) -> (B, W, h, w), both with one value per 2x2 square. The kernel has two taps along
    an axis in which the places differ, one to each side, and one along the other.
    """

    def __init__(
        self, inputs: int, outputs: int, source: tuple[int, int], target: tuple[int, int]
    ) -> None:
        super().__init__()
        self.padding: list[int] = []  # left, right, top, bottom
        size: list[int] = []
        for axis in (1, 0):
            before, after = int(target[axis] < source[axis]), int(target[axis] > source[axis])
            self.padding += [before, after]
            size.append(1 + before + after)
        width, height = size
        self.taps: nn.Conv2d = nn.Conv2d(inputs, outputs, (height, width), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.taps(F.pad(x, self.padding))
        return found


class GridPass(nn.Module):
    """One pass: the known phases, the mean so far and the former features -> mean, log step, features.

    Args:
        c: sizes.
        phase: the phase whose mean is asked for, 1 … 3.
    """

    def __init__(self, c: CodecConfig, phase: int) -> None:
        super().__init__()
        width = c.context_width or c.channels
        self.latents: int = c.latents
        self.width: int = width
        self.known: ModuleList[Neighbours] = ModuleList[Neighbours](
            Neighbours(c.latents, width, GRID[source], GRID[phase]) for source in range(phase)
        )
        self.mean: nn.Conv2d = nn.Conv2d(c.latents, width, 1)
        self.former: nn.Conv2d | None = (
            nn.Conv2d(width, width, 1, bias=False) if phase > 1 else None
        )
        self.blocks: Blocks = Blocks(width, c.context_blocks)
        self.exit: nn.Conv2d = nn.Conv2d(width, c.latents, 1)
        self.step: nn.Conv2d | None = nn.Conv2d(width, c.latents, 1) if c.element_steps else None
        with torch.no_grad():
            for last in filter(None, (self.exit, self.step)):  # the mean and the step as they come
                for parameter in last.parameters():
                    parameter.zero_()

    def forward(
        self, known: Sequence[Tensor], mean: Tensor, former: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        h = self.mean(mean)
        for taps, latents in zip(self.known, known, strict=True):
            h = h + taps(latents)
        if self.former is not None:
            h = h + self.former(former)
        h = self.blocks(torch.relu(h))
        better = mean + in_float32(self.exit, h)
        if self.step is None:
            return better, None, h
        return better, STEP_RANGE * torch.tanh(in_float32(self.step, h)), h


class GridContext(nn.Module):
    """The three passes, for the phases 1 … 3."""

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.passes: ModuleList[GridPass] = ModuleList[GridPass](
            GridPass(c, phase) for phase in range(1, len(GRID))
        )

    def start(self, std: Tensor) -> None:
        """Scale the initial weights to latents with these standard deviations (M,)."""
        for one in self.passes:
            for layer in (one.mean, *(neighbours.taps for neighbours in one.known)):
                layer.weight.div_(1 + std[None, :, None, None])


def split(x: Tensor) -> list[Tensor]:
    """(B, M, h, w) -> the latents of each phase, (B, M, h/2, w/2); what is broadcast stays so."""
    if x.shape[-2:] == (1, 1):
        return [x] * len(GRID)
    return [x[..., row::2, column::2] for row, column in GRID]


def join(parts: Sequence[Tensor]) -> Tensor:
    """The inverse of `split`."""
    order = sorted(range(len(GRID)), key=GRID.__getitem__)
    return F.pixel_shuffle(torch.stack([parts[phase] for phase in order], dim=2).flatten(1, 2), 2)
