"""Noise as it leaves a camera: photons and read-out on the sensor, then the processing of the image.

    image ─> linear light ─> colours of the sensor ─> raw values                          unprocessing
    noise of one plane ─> demosaicing ─> white balance, colours ─> added to linear light
    ─> gamma and tone curve ─> minus the image

Demosaicing is linear, so that the noise can be demosaiced alone: the image keeps its sharpness. Colour
matrices, gains, curves and noise levels are those of the reference; smoothing and the reduction of
colour noise are ours.

Reference: Brooks et al., "Unprocessing images for learned raw denoising", CVPR 2019.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vaetools.training.data.draws import Draws

SHOT = (1e-4, 1.2e-2)
"""Variance of the photon noise per raw value, log-uniform between these."""

READ = (2.18, 1.20, 0.26)
"""ln(variance of the read-out) = READ[0] · ln(SHOT) + READ[1] ± READ[2]."""

BRIGHTNESS = (0.8, 0.1)
"""Mean and standard deviation of 1 / gain of all channels."""

RED, BLUE = (1.9, 2.4), (1.5, 1.9)
"""White balance gains, uniform between these."""

SMOOTHED = 0.3
"""Share of the cameras that smooth the noise."""

COLOURED = (0.2, 1.5)
"""Share of the coloured noise that cameras leave, uniform between these; 1 at most."""

GAMMA = 2.2

XYZ_TO_CAMERA = (
    ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)),
    ((0.4913, -0.0541, -0.0202), (-0.6130, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),
    ((0.8380, -0.2630, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.0970, 0.1581, 0.5181)),
)

RGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)

BAYER = (((1, 0), (0, 0)), ((0, 1), (1, 0)), ((0, 0), (0, 1)))
"""Which pixels of 2 x 2 see red, green and blue."""

BILINEAR = (
    ((0.25, 0.5, 0.25), (0.5, 1.0, 0.5), (0.25, 0.5, 0.25)),
    ((0.0, 0.25, 0.0), (0.25, 1.0, 0.25), (0.0, 0.25, 0.0)),
    ((0.25, 0.5, 0.25), (0.5, 1.0, 0.5), (0.25, 0.5, 0.25)),
)
"""Demosaicing of each channel, from its pixels and zeros."""


class Camera(Draws[None]):
    """Draws the noise of random cameras."""

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """What noise adds to images (B, 3, H, W) in [0, 1]. Sides are even."""
        count = len(images)
        to_camera, gains = self._colours(count, images), self._gains(count, images)
        linear = to_linear(images)
        raw = torch.einsum("bij,bjhw->bihw", to_camera, linear) / gains
        noise = self._demosaiced(self._on_sensor(raw)) * gains
        noise = torch.einsum("bij,bjhw->bihw", inverse_of(to_camera), noise)
        found = from_linear((linear + noise).clamp(0.0, 1.0)) - images
        found = self._less_coloured(found)
        softer = self._uniform((count, 1, 1, 1), images) < SMOOTHED
        return torch.where(softer, smoothed(found), found)

    def _colours(self, count: int, like: Tensor) -> Tensor:
        """(B, 3, 3), from linear sRGB to a random mixture of cameras, with white at (1, 1, 1)."""
        cameras = constants(like.device).to_camera
        shares = self._uniform((count, len(cameras)), like) + 1e-3
        mixed = torch.einsum("bk,kij->bij", shares / shares.sum(dim=1, keepdim=True), cameras)
        return mixed / mixed.sum(dim=2, keepdim=True)

    def _gains(self, count: int, like: Tensor) -> Tensor:
        """(B, 3, 1, 1) of red, green and blue."""
        mean, std = BRIGHTNESS
        whole = 1.0 / (mean + std * self._normal((count, 1), like).clamp(-3, 3))
        red, blue = (
            low + (high - low) * self._uniform((count, 1), like) for low, high in (RED, BLUE)
        )
        return (whole * torch.cat([red, torch.ones_like(red), blue], dim=1))[:, :, None, None]

    def _on_sensor(self, raw: Tensor) -> Tensor:
        """Noise for raw values (B, 3, H, W): each pixel of the sensor has one colour, others are 0."""
        low, high = (math.log(value) for value in SHOT)
        shot = low + (high - low) * self._uniform((len(raw), 1, 1, 1), raw)
        slope, offset, spread = READ
        read = slope * shot + offset + spread * self._normal((len(raw), 1, 1, 1), raw)
        variance = raw.clamp(min=0.0) * shot.exp() + read.exp()
        return variance.sqrt() * self._normal((len(raw), 1, *raw.shape[2:]), raw) * mosaic_of(raw)

    def _less_coloured(self, noise: Tensor) -> Tensor:
        """Noise as after the reduction of colour noise that most cameras do."""
        low, high = COLOURED
        kept = (low + (high - low) * self._uniform((len(noise), 1, 1, 1), noise)).clamp(max=1.0)
        grey = noise.mean(dim=1, keepdim=True)
        return grey + kept * (noise - grey)

    def _demosaiced(self, planes: Tensor) -> Tensor:
        kernels = constants(planes.device).bilinear
        return F.conv2d(F.pad(planes, (1, 1, 1, 1), mode="reflect"), kernels, groups=3)


def mosaic_of(raw: Tensor) -> Tensor:
    """(1, 3, H, W): 1 where a pixel of the sensor sees this colour."""
    bayer = constants(raw.device).bayer
    return bayer.repeat(1, raw.shape[2] // 2, raw.shape[3] // 2)[None]


def to_linear(images: Tensor) -> Tensor:
    """Display values in [0, 1] -> linear light: the inverse of gamma and tone curve."""
    flat = 0.5 - torch.sin(torch.asin((1.0 - 2.0 * images).clamp(-1.0, 1.0)) / 3.0)
    return flat.clamp(min=1e-8) ** GAMMA


def from_linear(light: Tensor) -> Tensor:
    """Linear light in [0, 1] -> display values: gamma, then the tone curve 3 x² − 2 x³."""
    flat = light.clamp(min=1e-8) ** (1.0 / GAMMA)
    return 3.0 * flat**2 - 2.0 * flat**3


def smoothed(noise: Tensor) -> Tensor:
    """Each pixel averaged with its neighbours, (B, 3, H, W)."""
    kernels = constants(noise.device).binomial
    return F.conv2d(F.pad(noise, (1, 1, 1, 1), mode="reflect"), kernels, groups=3)


def inverse_of(matrices: Tensor) -> Tensor:
    """Inverses of matrices (B, 3, 3), without the checks for which a GPU would have to be waited for."""
    a, b, c = matrices.unbind(dim=2)  # columns
    rows = torch.stack([torch.linalg.cross(*pair) for pair in ((b, c), (c, a), (a, b))], dim=1)
    determinants: Tensor = (a * rows[:, 0]).sum(dim=1)
    inverse: Tensor = rows / determinants[:, None, None]
    return inverse


class Constants(NamedTuple):
    """Tables as tensors.

    Attributes:
        to_camera: (4, 3, 3), from linear sRGB to the colours of each camera.
        bayer: (3, 2, 2). bilinear, binomial: kernels (3, 1, 3, 3).
    """

    to_camera: Tensor
    bayer: Tensor
    bilinear: Tensor
    binomial: Tensor


@functools.cache
def constants(device: torch.device) -> Constants:
    """On a device, where they are copied once only: a copy would end the recording of a pass."""
    cameras = torch.tensor(XYZ_TO_CAMERA) @ torch.tensor(RGB_TO_XYZ)
    row = torch.tensor([0.25, 0.5, 0.25])
    binomial = (row[:, None] * row).repeat(3, 1, 1, 1)
    tables = (cameras, torch.tensor(BAYER).float(), torch.tensor(BILINEAR)[:, None], binomial)
    return Constants(*(table.to(device) for table in tables))
