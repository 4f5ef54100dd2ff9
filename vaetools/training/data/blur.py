"""Blurred photographs: skies, walls and backgrounds out of focus are rare in crops of sharp images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vaetools.training.data.draws import Draws
from vaetools.training.recipe import Share

STDS = (1.0, 8.0)
"""Smallest and largest standard deviation of the blur in pixels; uniform in its logarithm."""

RADIUS = 24
"""Of the kernels in pixels: three standard deviations of the widest."""


@dataclass(frozen=True)
class BlurSettings:
    """A key of `[data]` in a recipe.

    Attributes:
        blurred: share of the images that are blurred.
    """

    blurred: Share = 0.0


class Blur(Draws[BlurSettings]):
    """Blurs some images with Gaussian kernels of random width."""

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """The images (B, 3, H, W), some of them blurred; sides are larger than `RADIUS`."""
        if not self.settings.blurred:
            return images
        chosen = self._uniform((len(images), 1, 1, 1), images) < self.settings.blurred
        low, high = STDS
        stds = low * (high / low) ** self._uniform((len(images),), images)
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 would leave steps
            return torch.where(chosen, blurred(images, stds), images)


def blurred(images: Tensor, stds: Tensor) -> Tensor:
    """Images (B, C, H, W), convolved with Gaussians of standard deviations (B,) in pixels."""
    count, channels = images.shape[:2]
    places = torch.arange(-RADIUS, RADIUS + 1, device=images.device, dtype=images.dtype)
    kernels = torch.exp(-0.5 * (places / stds[:, None]) ** 2)
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    planes = F.pad(images, (RADIUS,) * 4, mode="reflect").flatten(0, 1)[None]
    for shape in ((-1, 1, 2 * RADIUS + 1, 1), (-1, 1, 1, 2 * RADIUS + 1)):
        planes = F.conv2d(planes, kernels.view(shape), groups=count * channels)
    return planes.view_as(images)
