"""Noise like that of photographs, drawn on the device of the images.

    white     independent, with the same standard deviation everywhere, as in the literature
    varying   white, with a smooth map of standard deviations
    camera    depends on brightness (photons and read-out, in linear light), correlated between
              neighbouring pixels (demosaicing) and between channels
    grey      the same in all three channels of an image that was made grey
    then      some images are clipped and rounded to 8 bits, as in files; some are JPEG-compressed

Every choice is made per image and by masks, so that no number leaves the device.

References:
    Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data",
        TIP 2008;
    Guo et al., "Toward convolutional blind denoising of real photographs" (CBDNet), CVPR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from vaetools.tomlfile import Bounds
from vaetools.training.data.draws import Draws
from vaetools.training.data.jpeg import jpeg
from vaetools.training.recipe import Share

JPEG_QUALITY = (70.0, 98.0)

Strongest: TypeAlias = Annotated[float, Bounds(ge=5, le=255)]


@dataclass(frozen=True)
class NoiseSettings:
    """Noise; keys of `[data]` in a recipe. All but `strongest` are shares of the images.

    Attributes:
        strongest: largest standard deviation (0–255 scale); noise levels are uniform up to it.
        clean: share without noise.
        varying: share with a smooth map of levels.
        camera: share with camera noise.
        grey: share that is made grey.
        even: share of images of a single colour, whose mean must not change despite clipping.
        clipped: share that is clipped and rounded to 8 bits; images with camera noise always are.
        jpeg: share that is JPEG-compressed afterwards. It includes images without noise, because JPEG
            artefacts are not noise.
        camera_jpeg: share of the images with camera noise that is JPEG-compressed.
    """

    strongest: Strongest = 55.0
    clean: Share = 0.05
    varying: Share = 0.3
    camera: Share = 0.2
    grey: Share = 0.06
    even: Share = 0.0
    clipped: Share = 0.5
    jpeg: Share = 0.1
    camera_jpeg: Share = 0.0


class Damage(Draws[NoiseSettings]):
    """Draws noise for images."""

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(clean images, damaged images, level map) for clean images.

        Args:
            images: (B, 3, H, W) float32 in [0, 1], sides multiples of 16.

        Returns:
            The images, some of them grey or of one colour; the same with noise, clipped to [0, 1] only
            if they are also rounded; and the std of the noise (B, 1, H, W) before clipping and JPEG. For
            noise that depends on the image the map is coarse or constant: it must not reveal the image.
        """
        with torch.autocast(
            images.device.type, enabled=False
        ):  # rounding to bfloat16 would add noise
            return self._damaged(images)

    def _damaged(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wanted = self.settings
        if wanted.even:
            even = self._chosen(wanted.even, images)
            images = torch.where(even, self._uniform((len(images), 3, 1, 1), images), images)
        sigma = self._levels(images)
        noise = self._normal(images.shape, images)
        grey = self._chosen(wanted.grey, images)
        images = torch.where(grey, images.mean(dim=1, keepdim=True), images)
        noise = torch.where(grey, noise[:, :1], noise)
        noisy, level_map = images + sigma * noise, sigma
        rounded = self._chosen(wanted.clipped, images)
        coded = self._chosen(wanted.jpeg, images)
        if wanted.camera:
            camera = self._chosen(wanted.camera, images)
            shape = self._camera_shape(images)
            level = sigma.mean(dim=(2, 3), keepdim=True)
            local = level**2 / (wanted.strongest / 255.0) * shape  # weak noise is the most common
            noisy = torch.where(camera, images + local * self._correlated(noise), noisy)
            level_map = torch.where(camera, self._coarse(local), level_map)
            rounded = rounded | camera
            coded = coded | (camera & self._chosen(wanted.camera_jpeg, images))
        noisy = torch.where(rounded, rounded_to_8_bit(noisy), noisy)
        if wanted.jpeg or (wanted.camera and wanted.camera_jpeg):
            noisy = torch.where(coded, self._coded(noisy), noisy)
        return images, noisy, level_map

    def _levels(self, images: Tensor) -> Tensor:
        """(B, 1, H, W): constant, or smooth, or 0."""
        strongest, size = self.settings.strongest / 255.0, images.shape[2:]
        constant = strongest * self._uniform((len(images), 1, 1, 1), images)
        corners = strongest * self._uniform((len(images), 1, 3, 3), images)
        smooth = F.interpolate(corners, size=size, mode="bilinear", align_corners=True)
        levels = torch.where(self._chosen(self.settings.varying, images), smooth, constant)
        return torch.where(self._chosen(self.settings.clean, images), 0.0, levels)

    def _camera_shape(self, images: Tensor) -> Tensor:
        """Std of the noise as a function of brightness, (B, 1, H, W); its mean square is 1 per image.

        In linear light the variance is a · x + b; the transfer curve's slope brings it to sRGB.
        """
        x = images.mean(dim=1, keepdim=True).clamp(min=0.02)  # below, the curve is a straight line
        linear, slope = x**2.2, x**-1.2
        b = 10.0 ** (-3.0 * self._uniform((len(images), 1, 1, 1), images))
        shape = slope * (linear + b).sqrt()
        return shape / (shape**2).mean(dim=(2, 3), keepdim=True).sqrt()

    def _correlated(self, noise: Tensor) -> Tensor:
        """White noise -> noise of the same std, correlated between neighbours and channels."""
        count = len(noise)
        alike = 0.7 * self._uniform((count, 1, 1, 1), noise)
        grey = self._normal((count, 1, *noise.shape[2:]), noise)
        noise = (1 - alike).sqrt() * noise + alike.sqrt() * grey
        beside = 0.6 * self._uniform((count, 1, 1, 1), noise)
        for axis in (2, 3):
            around = noise.roll(1, axis) + noise.roll(-1, axis)
            noise = (noise + beside * around) / (1 + 2 * beside**2).sqrt()
        return noise

    def _coarse(self, local: Tensor) -> Tensor:
        """One number per image, or one per 8 x 8 pixels with interpolation."""
        square = local**2
        cells = F.avg_pool2d(square, 8).sqrt()
        smooth = F.interpolate(cells, scale_factor=8.0, mode="bilinear", align_corners=False)
        single = square.mean(dim=(2, 3), keepdim=True).sqrt()
        return torch.where(self._chosen(0.5, local), smooth, single)

    def _coded(self, images: Tensor) -> Tensor:
        """The images after JPEG compression, each with a random quality."""
        low, high = JPEG_QUALITY
        quality = low + (high - low) * self._uniform((len(images),), images)
        return jpeg(rounded_to_8_bit(images), quality)

    def _chosen(self, share: float, like: Tensor) -> Tensor:
        """(B, 1, 1, 1) bool: true for about this share of the images."""
        return self._uniform((len(like), 1, 1, 1), like) < share


def rounded_to_8_bit(images: Tensor) -> Tensor:
    """Clipped to [0, 1] and rounded to multiples of 1/255, as in a file."""
    return (255.0 * images).round().clamp(0.0, 255.0) / 255.0
