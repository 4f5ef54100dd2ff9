"""JPEG compression artefacts, computed on the device of the image without writing a file.

    RGB -> YCbCr -> chroma at half the size -> 8 x 8 DCT -> quantisation -> and back

The quantisation tables are those of libjpeg, for 4:2:0. Entropy coding is lossless and left out.

Reference: ITU-T T.81, Annex K; libjpeg's `jpeg_quality_scaling`.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8 for _ in range(4)),
)
YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))

SIDE = 16
"""Sides of images must be multiples of this: two blocks of chroma."""


def jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] after JPEG compression with `quality` (B,) in 1 … 100.

    The sides must be multiples of `SIDE`. The result is clipped and rounded to 8 bits.
    """
    matrix, inverse, luma, chroma = _constants(images.device)
    planes = torch.einsum("dc,bchw->bdhw", matrix, 255.0 * images)
    scale = torch.where(quality < 50, 5000.0 / quality, 200.0 - 2.0 * quality)[:, None, None]
    y = _coded(planes[:, :1] - 128.0, _table(luma, scale)) + 128.0
    small = F.avg_pool2d(planes[:, 1:], 2)
    colours = F.interpolate(
        _coded(small, _table(chroma, scale)), scale_factor=2.0, mode="bilinear", align_corners=False
    )
    rgb = torch.einsum("cd,bdhw->bchw", inverse, torch.cat([y, colours], dim=1))
    return rgb.round().clamp(0.0, 255.0) / 255.0


def _table(base: Tensor, scale: Tensor) -> Tensor:
    """(8, 8) and (B, 1, 1) -> steps (B, 1, 1, 8, 1, 8), as blocks lie in `_coded`."""
    steps = torch.floor((base * scale + 50.0) / 100.0).clamp(1.0, 255.0)
    return steps[:, None, None, :, None, :]


def _coded(plane: Tensor, steps: Tensor) -> Tensor:
    """(B, C, H, W) around 0 -> the same with quantised 8 x 8 DCT coefficients."""
    batch, channels, height, width = plane.shape
    blocks = plane.reshape(batch, channels, height // 8, 8, width // 8, 8)
    dct = _dct(plane.device)
    coefficients = torch.einsum("ui,bcyixj,vj->bcyuxv", dct, blocks, dct)
    rounded = torch.round(coefficients / steps) * steps
    return torch.einsum("ui,bcyuxv,vj->bcyixj", dct, rounded, dct).reshape(plane.shape)


@functools.cache
def _dct(device: torch.device) -> Tensor:
    """The orthonormal DCT-II of eight numbers, (frequency, place)."""
    place = torch.arange(8, device=device)
    basis = torch.cos(math.pi / 8 * (place[None, :] + 0.5) * place[:, None])
    basis[0] /= math.sqrt(2)
    return basis / 2


@functools.cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    matrix = torch.tensor(YCBCR, device=device)
    tables = (torch.tensor(table, dtype=torch.float32, device=device) for table in (LUMA, CHROMA))
    luma, chroma = tables
    return matrix, torch.linalg.inv(matrix), luma, chroma
