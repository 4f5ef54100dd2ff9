"""The gradient of the synthesis, written out, so that it can be exported like any other network.

ONNX has no automatic differentiation. The synthesis is made of few kinds of layers; each function
here runs one of them and returns its result and its *pullback*, which maps a gradient with respect to
the result to one with respect to the input (reverse mode; Griewank, Walther, "Evaluating
derivatives", 2008).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaetools.training.networks.codec.transforms import PIXEL_SCALE
from vaetools.training.networks.modules import convolutions

if TYPE_CHECKING:
    from vaetools.training.networks.codec.blocks import Block, Upsample
    from vaetools.training.networks.codec.transforms import Synthesis

Pullback: TypeAlias = Callable[[Tensor], Tensor]


class SynthesisGradient(nn.Module):
    """ŷ (1, M, h, w), rate, image (1, 3, H, W), weight (1, 1, H, W) -> ∂E/∂ŷ (1, M, h, w), errors
    (1, 1, H, W).

    An error is weight · |x̂ − image|², summed over the channels, of x̂ clipped to [0, 1], as a decoder
    gives it; E is the sum of all of them. Clipping counts in the error and not in the gradient, which
    would be 0 beyond the range and could never pull x̂ back.
    """

    def __init__(self, synthesis: Synthesis) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(
        self, latents: Tensor, rate: Tensor, image: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        found, pullback = with_pullback(self.synthesis, latents, rate)
        error = found.clamp(0, 1) - image
        weighted = weight * error
        return pullback(2 * weighted), (weighted * error).sum(dim=1, keepdim=True)


def with_pullback(net: Synthesis, y: Tensor, rate: Tensor) -> tuple[Tensor, Pullback]:
    """The output of the synthesis, and its pullback from images to latents."""
    h, back = _pointwise(net.entry, y)
    pullbacks = [back]
    for block in net.middle:
        h, back = _block(block, h)
        pullbacks.append(back)
    h, back = _upsample(net.up, h)
    pullbacks.append(back)
    for gate, block in zip(net.gates, net.blocks, strict=True):
        h, scale = _scaled(h, gate(rate))
        h, back = _block(block, h)
        pullbacks += [scale, back]
    trunk, back = _exit(net.exit, h)
    pullbacks.append(back)
    linear, shortcut = _upsample(net.linear, y)

    def pullback(gradient: Tensor) -> Tensor:
        gradient = gradient / PIXEL_SCALE
        through = gradient
        for back in reversed(pullbacks):
            through = back(through)
        return through + shortcut(gradient)

    return (linear + trunk) / PIXEL_SCALE + 0.5, pullback


def _block(block: Block, x: Tensor) -> tuple[Tensor, Pullback]:
    squeeze, mix, spread = convolutions(block.mix)
    widen, narrow = convolutions(block.feed)
    h, to_x = _pointwise(squeeze, x)
    h, unless_mixed = _relu(h)
    h, unmixed = _depthwise(mix, h)
    h, to_mixed = _pointwise(spread, h)
    middle = x + h
    h, to_middle = _pointwise(widen, middle)
    h, unless_fed = _relu(h)
    h, to_fed = _pointwise(narrow, h)

    def pullback(gradient: Tensor) -> Tensor:
        gradient = gradient + to_middle(unless_fed(to_fed(gradient)))
        return gradient + to_x(unless_mixed(unmixed(to_mixed(gradient))))

    return middle + h, pullback


def _upsample(layer: Upsample, x: Tensor) -> tuple[Tensor, Pullback]:
    h, back = _pointwise(layer.convolution, x)
    shuffled = F.pixel_shuffle(h, layer.factor)
    return shuffled, lambda gradient: back(F.pixel_unshuffle(gradient, layer.factor))


def _exit(layer: Upsample | nn.ConvTranspose2d, x: Tensor) -> tuple[Tensor, Pullback]:
    if not isinstance(layer, nn.ConvTranspose2d):
        return _upsample(layer, x)
    return layer(x), lambda gradient: F.conv2d(
        gradient, layer.weight, stride=layer.stride, padding=layer.padding
    )


def _pointwise(layer: nn.Conv2d, x: Tensor) -> tuple[Tensor, Pullback]:
    return layer(x), lambda gradient: F.conv2d(gradient, layer.weight.transpose(0, 1))


def _depthwise(layer: nn.Conv2d, x: Tensor) -> tuple[Tensor, Pullback]:
    def pullback(gradient: Tensor) -> Tensor:
        flipped = layer.weight.flip(2, 3)
        return F.conv2d(gradient, flipped, padding=layer.padding, groups=layer.groups)

    return layer(x), pullback


def _relu(x: Tensor) -> tuple[Tensor, Pullback]:
    h = torch.relu(x)  # asked below in place of x, so that runtimes can join it to the convolution
    return h, lambda gradient: torch.where(h > 0, gradient, 0.0)


def _scaled(x: Tensor, gain: Tensor) -> tuple[Tensor, Pullback]:
    return x * gain, lambda gradient: gradient * gain
