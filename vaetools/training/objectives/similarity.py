"""Multi-scale structural similarity with gradients; `vaetools.metrics.ms_ssim` is the measure."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vaetools.metrics import MS_SSIM_WEIGHTS, SSIM_K1, SSIM_K2, SSIM_SIGMA, SSIM_SMALLEST

SMALLEST = 1e-3
"""Least similarity of a scale: a root of 0 has no gradient."""


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """MS-SSIM of images (B, C, H, W) in [0, 1]: (B,), the mean over the channels.

    As the measure, with as many of the five scales as the sides have windows for; their exponents grow
    to the sum of all five. Negative similarities count as `SMALLEST`.
    """
    scales = [n for n in range(len(MS_SSIM_WEIGHTS)) if min(x.shape[2:]) >> n >= SSIM_SMALLEST]
    total = sum(MS_SSIM_WEIGHTS[scale] for scale in scales) / sum(MS_SSIM_WEIGHTS)
    logs = x.new_zeros(x.shape[:2])
    for scale in scales:
        luminance, structure = _maps(x, y)
        similarity = luminance * structure if scale == scales[-1] else structure
        mean = similarity.mean(dim=(2, 3)).clamp(min=SMALLEST)
        logs = logs + MS_SSIM_WEIGHTS[scale] / total * mean.log()
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return logs.exp().mean(dim=1)


def _maps(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The luminance and the contrast-times-structure terms of SSIM at every window."""
    first, second = SSIM_K1**2, SSIM_K2**2
    mean_x, mean_y = _blur(x), _blur(y)
    variances = _blur(x * x) - mean_x**2 + _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + first) / (mean_x**2 + mean_y**2 + first)
    return luminance, (2 * covariance + second) / (variances + second)


def _blur(x: Tensor) -> Tensor:
    """Means under Gaussian windows that lie wholly inside."""
    at = torch.arange(SSIM_SMALLEST, device=x.device, dtype=x.dtype) - SSIM_SMALLEST // 2
    kernel = torch.exp(-(at**2) / (2 * SSIM_SIGMA**2))
    kernel = kernel / kernel.sum()
    channels = x.shape[1]
    rows = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    columns = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    return F.conv2d(F.conv2d(x, rows, groups=channels), columns, groups=channels)
