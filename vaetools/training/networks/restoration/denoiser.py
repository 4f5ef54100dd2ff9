"""The denoiser: `network.py` for pictures with noise of a known level, and what finds the level.

References:
    Zhang, Zuo & Zhang, "FFDNet", TIP 2018 (a map of noise levels as an input).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaetools.training.networks.restoration.network import Given, RestoreConfig, Restorer

LEVEL_SCALE = 4.0
"""Noise levels, at most 0.2, are shown to the U-Net so much larger: about as large as pixels."""

FULL_GATE = 4.0 / 255
"""Noise level from which on the network may do what it wants; at 0 the picture stays as it is."""

FIRST_GAIN = 4.0
"""Brings noise of a middling level to about the size that later layers expect."""

OFFSET = 1.0 / 255
"""One grey level: differences of noise levels count in ratio above it, and plainly below."""


class NoiseLevel(nn.Module):
    """Picture (B, 3, H, W) in [0, 1] -> noise level (B, 1, H/8, W/8), a standard deviation.

    The first layer compares 4 x 4 pixels with filters that begin blind to brightness, and takes
    magnitudes: what grows with noise, whatever its sign. With ReLUs there, which brightness holds
    open or shut, training took several times as long.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        compare = nn.Conv2d(48, width, 1)
        self.compare = nn.Sequential(nn.PixelUnshuffle(4), compare)
        layers: list[nn.Module] = [nn.Conv2d(width, width, 2, stride=2)]
        for _ in range(3):
            layers += [nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)]
        self.judge = nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(width, 1, 1))
        with torch.no_grad():
            taps = compare.weight.view(width, 3, -1)  # of each colour
            taps.sub_(taps.mean(dim=2, keepdim=True)).mul_(FIRST_GAIN)

    def log_level(self, image: Tensor) -> Tensor:
        """ln(level / one grey level + 1), in which it is trained."""
        found: Tensor = self.judge(self.compare(image).abs())
        return found

    def forward(self, image: Tensor) -> Tensor:
        return torch.relu(torch.exp(self.log_level(image).clamp(max=6.0)) - 1.0) * OFFSET


def log_level_of(sigma: Tensor) -> Tensor:
    """Noise levels (B, 1, H, W) as `NoiseLevel.log_level` should give them for cells of 8 x 8."""
    cells = nn.functional.avg_pool2d(sigma**2, 8).sqrt()
    return torch.log(cells / OFFSET + 1.0)


class Denoiser(Restorer):
    """A `Restorer` of pictures with noise, and the network that finds the level."""

    planes = 4
    damage = "sigma"

    def __init__(self, config: RestoreConfig) -> None:
        super().__init__(config)
        self.level = NoiseLevel()

    def given(self, image: Tensor, damage: Tensor) -> Given:
        """Noisy picture (B, 3, H, W), about [0, 1], and its noise level (B, 1, H, W), a deviation."""
        gate = (damage / FULL_GATE).clamp(0.0, 1.0)
        return Given(torch.cat([image, LEVEL_SCALE * damage], dim=1), image, gate)
