"""The denoiser: a `Restorer` for noise of a known level, and the estimator of that level.

References:
    Zhang, Zuo & Zhang, "FFDNet", TIP 2018 (a map of noise levels as an input).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaetools.training.networks.restoration.network import Conditioning, RestoreConfig, Restorer

LEVEL_SCALE = 4.0
"""Factor of the noise levels in the input of the U-Net: they are at most 0.2, and pixels 1."""

FULL_GATE = 4.0 / 255
"""Noise level from which the gate is fully open; at level 0 the image does not change."""

FIRST_GAIN = 4.0
"""Scales noise of a medium level to about unit size for the later layers."""

OFFSET = 1.0 / 255
"""1 on the 0–255 scale: levels are compared by ratio above it and by difference below."""


class NoiseLevel(nn.Module):
    """Image (B, 3, H, W) in [0, 1] -> noise level (B, 1, H/8, W/8), a standard deviation.

    The first layer compares 4 x 4 pixels with filters that are initially invariant to brightness, and
    takes magnitudes, which grow with the noise. With ReLUs, which brightness holds open or closed,
    training took several times as long.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        compare = nn.Conv2d(48, width, 1)
        self.compare: nn.Sequential = nn.Sequential(nn.PixelUnshuffle(4), compare)
        layers: list[nn.Module] = [nn.Conv2d(width, width, 2, stride=2)]
        for _ in range(3):
            layers += [nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)]
        self.judge: nn.Sequential = nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(width, 1, 1))
        with torch.no_grad():
            taps = compare.weight.view(width, 3, -1)  # of each colour
            taps.sub_(taps.mean(dim=2, keepdim=True)).mul_(FIRST_GAIN)

    def log_level(self, image: Tensor) -> Tensor:
        """ln(level / `OFFSET` + 1), the quantity that is trained."""
        found: Tensor = self.judge(self.compare(image).abs())
        return found

    def forward(self, image: Tensor) -> Tensor:
        return torch.relu(torch.exp(self.log_level(image).clamp(max=6.0)) - 1.0) * OFFSET


def log_level_of(sigma: Tensor) -> Tensor:
    """Noise levels (B, 1, H, W) -> target of `NoiseLevel.log_level` for cells of 8 x 8."""
    cells = nn.functional.avg_pool2d(sigma**2, 8).sqrt()
    return torch.log(cells / OFFSET + 1.0)


class Denoiser(Restorer):
    """A `Restorer` of noisy images, and the estimator of the noise level."""

    planes = 4
    damage = "sigma"

    def __init__(self, config: RestoreConfig) -> None:
        super().__init__(config)
        self.level: NoiseLevel = NoiseLevel()

    def condition(self, image: Tensor, damage: Tensor) -> Conditioning:
        """Noisy image (B, 3, H, W), about [0, 1], and the std of its noise (B, 1, H, W)."""
        gate = (damage / FULL_GATE).clamp(0.0, 1.0)
        return Conditioning(torch.cat([image, LEVEL_SCALE * damage], dim=1), image, gate)
