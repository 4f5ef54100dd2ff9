"""The inpainter: `network.py` for pictures with holes, and the classical fill that it starts from.

    known pixels ─> sums over 2 x 2, 4 x 4, 8 x 8 pixels, then over ever wider squares of cells    push
    coarse fill ─> enlarged, where nothing finer is known; smoothed in the holes; and so on        pull

The fill has no parameters and is part of the graph: plain convolutions with fixed weights, the same
everywhere, so that tiles are exact. It sees `DEEPEST` pixels far; in the middle of larger holes it is
grey, and whoever runs the graph fills those from a smaller picture first.

Outside of the hole the answer is the input, to the last bit: the mean starts there, and the gate, which
is the mask, is shut. What lies under the mask is never seen.

References:
    Gortler et al., "The lumigraph", SIGGRAPH 1996 (push-pull);
    Oliveira et al., "Fast digital image inpainting", VIIP 2001 (diffusion by convolution).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vaetools.training.networks.restoration.network import CELL, Given, Restorer

HALVINGS = int(math.log2(CELL))

SPREADS = (1, 2, 4)
"""Distances of the squares of cells, in cells, that sums are taken over beyond those of one cell."""

DEEPEST = CELL * sum(SPREADS)
"""How far from a known pixel the fill is still one, in pixels."""

SMOOTHINGS = (4, 4, 4, 4)
"""Steps of diffusion at 1, 1/2, 1/4 and 1/8 of the picture's size."""

STENCIL = ((1 / 12, 1 / 6, 1 / 12), (1 / 6, 0.0, 1 / 6), (1 / 12, 1 / 6, 1 / 12))
"""What a pixel becomes the mean of: its neighbours, those at the corners for half."""

UNKNOWN = 0.5
"""The fill where nothing known is near."""

FAINT = 1e-4
"""Weight of `UNKNOWN`, where one known pixel has 1."""


class Inpainter(Restorer):
    """A `Restorer` of pictures with holes."""

    planes = 7
    damage = "mask"

    def given(self, image: Tensor, damage: Tensor) -> Given:
        """Picture (B, 3, H, W), about [0, 1], and mask (B, 1, H, W): 1 in the hole, else 0.

        The planes are the known pixels, the mask, and the picture with the hole filled.
        """
        known = image * (1.0 - damage)
        base = known + damage * fill(image, damage)
        return Given(torch.cat([known, damage, base], dim=1), base, damage)


def fill(image: Tensor, mask: Tensor) -> Tensor:
    """The picture (B, 3, H, W) with a smooth fill in the hole; sides multiples of `CELL`."""
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
    """What is known at one scale.

    Attributes:
        total: (B, 3, h, w), sums of colours; means where more than one pixel counts.
        weight: (B, 1, h, w), how many pixels count, at most 1.
        gap: what the weight lacks to 1.
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
        """Sums over 3 x 3 that are so far apart."""
        both = torch.cat([self.total, self.weight], dim=1)
        ones = both.new_ones(4, 1, 3, 3)
        sums = F.conv2d(both, ones, padding=distance, dilation=distance, groups=4)
        return _Layer(sums[:, :3], sums[:, 3:])

    def smoothed(self, filled: Tensor, steps: int) -> Tensor:
        """A fill after so many steps of diffusion into what is not known."""
        stencil = filled.new_tensor(STENCIL).expand(3, 1, 3, 3)
        inside = F.conv2d(torch.ones_like(self.weight), stencil[:1], padding=1)
        gap = self.gap / inside  # at the border, there are fewer neighbours
        for _ in range(steps):
            filled = self.total + gap * F.conv2d(filled, stencil, padding=1, groups=3)
        return filled
