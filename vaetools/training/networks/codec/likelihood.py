"""Bits: the rate term of the objective, as differentiable code lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from vaetools.training.networks.codec.config import CodecConfig


class HyperPrior(nn.Module):
    """Learned distribution of z: a logistic per channel, whose place and width follow the rate.

    It is used in training only; the exported tables are counted on real hyper-latents.
    """

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.place: nn.Parameter = nn.Parameter(torch.zeros(c.rates, c.hyper))
        self.log_width: nn.Parameter = nn.Parameter(torch.zeros(c.rates, c.hyper))

    def bits(self, z: Tensor, position: Tensor) -> Tensor:
        """Bits of every element of `z` (B, N, h, w), rounded or with noise, at the rates `position`
        (B, h, w), or (B, 1, 1) for one rate."""
        place = interpolate(self.place, position)
        width = torch.exp(interpolate(self.log_width, position))
        distance = (z - place).abs()
        upper = torch.sigmoid((0.5 - distance) / width)
        lower = torch.sigmoid((-0.5 - distance) / width)
        return bits_of(upper - lower, distance / width - 20.0)


def interpolate(units: Tensor, position: Tensor) -> Tensor:
    """Row of `units` (K, C) at every real `position` (B, h, w) in [0, K−1], linear between rows:
    (B, C, h, w)."""
    low = position.floor().clamp(0, len(units) - 2).long()
    part = (position - low)[..., None]
    rows = units[low] * (1 - part) + units[low + 1] * part
    return rows.permute(0, 3, 1, 2)


def gaussian_bits(r: Tensor, scale: Tensor) -> Tensor:
    """Bits of integers (or noisy integers) `r` under a zero-mean Gaussian of the given scale."""
    r = r.abs()
    upper = torch.special.ndtr((0.5 - r) / scale)
    lower = torch.special.ndtr((-0.5 - r) / scale)
    return bits_of(upper - lower, r / scale - 6.0)


def bits_of(probability: Tensor, excess: Tensor) -> Tensor:
    """−log2 of a probability; far in the tail, where float32 sees 0, grow with `excess` instead,
    so that the gradient still points back."""
    return -torch.log2(torch.clamp(probability, min=1e-9)) + F.relu(excess)
