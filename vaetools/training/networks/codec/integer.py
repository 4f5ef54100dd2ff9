"""Networks whose results are exact integers on every machine.

An entropy decoder must pick the very table that the encoder picked: one index that differs, and
the rest of the stream is noise. Floating-point networks cannot promise that, since the order of a
sum changes its last bits. So the network that picks tables computes with integers, kept in float32:
as long as every operand is an integer and every partial sum stays below 2^24, float32 addition is
exact in any order, on any device, with any number of threads.

The layers train with a straight-through estimator: the forward pass already is the integer
arithmetic, so there is no gap between the network that was trained and the one that ships.

References: Ballé, Johnston, Minnen, "Integer networks for data compression with latent-variable
models", ICLR 2019; JPEG AI (ISO/IEC 6048-1) uses an integer scale decoder in the same place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaetools.training.networks.modules import ModuleList

if TYPE_CHECKING:
    from typing import Any


EXACT_LIMIT = 2**24
"""Float32 holds every integer of smaller magnitude exactly."""

WEIGHT_LIMIT = 1023
"""Weights fit 11 bits with sign, so that even TF32 units (11-bit operands) multiply exactly."""

ACTIVATION_LIMIT = 255
"""Activations between layers are unsigned 8-bit integers."""


INDEX_UNITS = 16
"""Table indexes per float unit at the end of the scale network."""


def round_through(x: Tensor) -> Tensor:
    """Round to the nearest integer; the gradient passes as if nothing had happened."""
    return x + (torch.round(x) - x).detach()


def floor_through(x: Tensor) -> Tensor:
    """Round down; the gradient passes as if nothing had happened."""
    return x + (torch.floor(x) - x).detach()


class IntegerConv1x1(nn.Module):
    """A 1x1 convolution with integer weights: `floor((W x + b) / 2^shift)`.

    Only 1x1: no library computes those by Winograd or FFT, which would leave the integers.

    The parameters are those of an ordinary float layer, so that ordinary learning rates suit
    them; `units_in` and `units_out` say how many integers make one unit of the float values.

    Args:
        inputs, outputs: numbers of channels.
        units_in, units_out: integers per float unit, before and after the layer.
        shift: the integer result is divided by 2^shift.
        input_limit: largest magnitude of an input integer, needed to bound the partial sums.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        units_in: int,
        units_out: int,
        shift: int,
        input_limit: int,
    ) -> None:
        super().__init__()
        self.weight_units: Any = units_out / units_in * 2**shift
        self.bias_units: Any = units_out * 2**shift
        self.shift = shift
        self.input_limit = input_limit
        self.weight: nn.Parameter = nn.Parameter(torch.randn(outputs, inputs, 1, 1) * inputs**-0.5)
        self.bias: nn.Parameter = nn.Parameter(torch.zeros(outputs))

    def integer_weight(self) -> Tensor:
        scaled = self.weight * self.weight_units
        return round_through(torch.clamp(scaled, -WEIGHT_LIMIT, WEIGHT_LIMIT))

    def integer_bias(self) -> Tensor:
        return round_through(self.bias * self.bias_units)

    def largest_sum(self) -> float:
        """Bound on the magnitude of any partial sum, over all inputs and orders."""
        weight = self.integer_weight().abs().sum(dim=(1, 2, 3)) * self.input_limit
        return float((weight + self.integer_bias().abs()).detach().max())

    def forward(self, x: Tensor) -> Tensor:  # (B, inputs, H, W) integers -> (B, outputs, H, W)
        total = F.conv2d(x, self.integer_weight(), self.integer_bias())
        return floor_through(total * 2.0**-self.shift)


class IntegerReLU(nn.Module):
    """Clamp to 0 … 255."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(x, 0, ACTIVATION_LIMIT)


def neighbourhood(x: Tensor) -> Tensor:
    """Stack the 3x3 neighbours of every position as channels: (B, C, H, W) -> (B, 9 C, H, W).

    Outside the image stand zeros. A 1x1 convolution of the result is a 3x3 convolution, made
    only of copies and a 1x1 convolution, so that it stays exact everywhere.
    """
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1))
    shifted = [padded[..., dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    return torch.cat(shifted, dim=1)


class IntegerScaleNetwork(nn.Module):
    """Integer hyper-latents -> index of the entropy table of every latent, before the rate offset.

    (B, hyper, h, w) -> (B, latents, 4 h, 4 w): hyper-latents stand at 1/64 of the image's size,
    latents at 1/16; `PixelShuffle(4)` is a copy and therefore exact.
    """

    def __init__(self, hyper: int, latents: int, *, hidden: int, hyper_limit: int) -> None:
        super().__init__()
        self.hyper_limit = hyper_limit

        def layer(
            inputs: int, outputs: int, units: tuple[int, int], **bounds: int
        ) -> IntegerConv1x1:
            return IntegerConv1x1(inputs, outputs, units_in=units[0], units_out=units[1], **bounds)

        self.layers: ModuleList[IntegerConv1x1] = ModuleList[IntegerConv1x1](
            [
                layer(9 * hyper, hidden, (1, 64), shift=4, input_limit=hyper_limit),
                layer(hidden, hidden, (64, 64), shift=10, input_limit=ACTIVATION_LIMIT),
                layer(
                    hidden, 16 * latents, (64, INDEX_UNITS), shift=10, input_limit=ACTIVATION_LIMIT
                ),
            ]
        )
        self.relu: IntegerReLU = IntegerReLU()
        self.shuffle: nn.PixelShuffle = nn.PixelShuffle(4)

    def forward(self, z: Tensor) -> Tensor:
        first, second, third = self.layers
        h = self.relu(first(neighbourhood(z)))
        h = self.relu(second(h))
        index: Tensor = self.shuffle(third(h))
        return index

    def check_exact(self) -> None:
        """Raise `ValueError` if some partial sum could leave the exact range of float32."""
        for number, layer in enumerate(self.layers, start=1):
            if not layer.largest_sum() < EXACT_LIMIT:  # NaN is refused as well
                raise ValueError(
                    f"integer layer {number}: a partial sum can reach {layer.largest_sum():.0f}, "
                    f"float32 is exact only below {EXACT_LIMIT}"
                )
