"""The classical fill of a hole that the inpainter starts from. It has no parameters.

    known pixels ─> sums over 2 x 2, 4 x 4, 8 x 8 pixels, then over ever wider squares of cells    push
    coarse fill ─> enlarged, where nothing finer is known; smoothed in the holes; and so on        pull

It is part of the graph: plain convolutions with fixed weights, so that tiles are exact. Its receptive
field has a radius of `DEEPEST` pixels; in the middle of larger holes it is grey, and callers fill those
from a smaller image first.

References:
    Gortler et al., "The lumigraph", SIGGRAPH 1996 (push-pull);
    Oliveira et al., "Fast digital image inpainting", VIIP 2001 (diffusion by convolution).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vaetools.training.networks.restoration.network import CELL

HALVINGS = int(math.log2(CELL))

SPREADS = (1, 2, 4)
"""Dilations, in cells, of the sums over squares of cells."""

DEEPEST = CELL * sum(SPREADS)
"""Largest distance from a known pixel, in pixels, at which the fill is defined."""

SMOOTHINGS = (4, 4, 4, 4)
"""Diffusion steps at 1, 1/2, 1/4 and 1/8 of the image size."""

STENCIL = ((1 / 12, 1 / 6, 1 / 12), (1 / 6, 0.0, 1 / 6), (1 / 12, 1 / 6, 1 / 12))
"""Weights of the neighbours in one diffusion step; corners count half."""

UNKNOWN = 0.5
"""The fill where no known pixel is in reach."""

FAINT = 1e-4
"""Weight of `UNKNOWN`, relative to that of a known pixel."""


def fill(image: Tensor, mask: Tensor) -> Tensor:
    """The image (B, 3, H, W) with a smooth fill in the hole; sides are multiples of `CELL`."""
    finer = [_Layer(image * (1.0 - mask), 1.0 - mask)]
    for _ in range(HALVINGS):
        finer.append(finer[-1].halved())
    coarse = finer.pop()
    wide = [coarse]
    for distance in SPREADS:
        wide.append(wide[-1].spread(distance))
    last = wide.pop()
    filled = (last.total + FAINT * UNKNOWN) / (last.weight + FAINT)
    for layer in reversed(wide):
        filled = layer.total + layer.gap * filled
    filled = coarse.smoothed(filled, SMOOTHINGS[-1])
    for layer, steps in zip(reversed(finer), reversed(SMOOTHINGS[:-1]), strict=True):
        larger = F.interpolate(filled, layer.weight.shape[2:], mode="bilinear")
        filled = layer.smoothed(layer.total + layer.gap * larger, steps)
    return filled


class _Layer:
    """Known pixels at one scale.

    Attributes:
        total: (B, 3, h, w), weighted sums of colours.
        weight: (B, 1, h, w), number of known pixels, at most 1.
        gap: 1 − weight.
    """

    def __init__(self, total: Tensor, weight: Tensor) -> None:
        several = weight.clamp(min=1.0)
        self.total = total / several
        self.weight = weight / several
        self.gap = 1.0 - self.weight

    def halved(self) -> _Layer:
        """Sums over 2 x 2."""
        return _Layer(4.0 * F.avg_pool2d(self.total, 2), 4.0 * F.avg_pool2d(self.weight, 2))

    def spread(self, distance: int) -> _Layer:
        """Sums over 3 x 3 with this dilation."""
        both = torch.cat([self.total, self.weight], dim=1)
        ones = both.new_ones(4, 1, 3, 3)
        sums = F.conv2d(both, ones, padding=distance, dilation=distance, groups=4)
        return _Layer(sums[:, :3], sums[:, 3:])

    def smoothed(self, filled: Tensor, steps: int) -> Tensor:
        """A fill after `steps` of diffusion into the unknown pixels."""
        stencil = filled.new_tensor(STENCIL).expand(3, 1, 3, 3)
        inside = F.conv2d(torch.ones_like(self.weight), stencil[:1], padding=1)
        gap = self.gap / inside  # at the border, there are fewer neighbours
        for _ in range(steps):
            filled = self.total + gap * F.conv2d(filled, stencil, padding=1, groups=3)
        return filled
