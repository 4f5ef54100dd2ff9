"""Noise as pictures have it, made on the device where the pictures are.

    white     the same deviation everywhere, independent: the literature's noise
    varying   white, with a smooth map of deviations
    camera    depends on brightness (photons and read-out, in linear light), is alike in neighbouring
              pixels (demosaicing) and in the three channels
    grey      the same in all three channels, of a picture that was made grey
    then      some pictures are clipped and rounded to 8 bit, as files are; some pass through JPEG

Every choice is made for each picture alone, and by masks, so that no number leaves the device.

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
    """How pictures are damaged; keys of `[data]` in a recipe. Shares of the pictures, each in [0, 1].

    Attributes:
        strongest: noise levels are uniform up to this deviation, in grey levels of 255.
        clean: share without noise.
        varying: share with a smooth map of levels.
        camera: share with the noise of cameras.
        grey: share that is made grey.
        even: share that is one colour all over: means must not move, whatever noise and clipping do.
        clipped: share of the others that is clipped and rounded to 8 bit; that of cameras always is.
        jpeg: share that passes through JPEG afterwards, those without noise among them: what JPEG does
            is not noise.
        camera_jpeg: share of those of cameras that does so as well, as cameras write files.
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
    """Draws noise for pictures."""

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(clean pictures, damaged pictures, level map) of clean ones.

        Args:
            images: (B, 3, H, W) float32 in [0, 1], sides multiples of 16.

        Returns:
            The pictures, some of them grey or of one colour; the same with noise, clipped to [0, 1]
            only where they are rounded as well; and the deviation of the noise (B, 1, H, W), that
            before clipping and JPEG. For noise that depends on the picture the map is coarse, or one
            number: it must not give the picture away.
        """
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 would be noise as well
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
        noisy, told = images + sigma * noise, sigma
        rounded = self._chosen(wanted.clipped, images)
        coded = self._chosen(wanted.jpeg, images)
        if wanted.camera:
            camera = self._chosen(wanted.camera, images)
            shape = self._camera_shape(images)
            level = sigma.mean(dim=(2, 3), keepdim=True)
            local = level**2 / (wanted.strongest / 255.0) * shape  # weak noise is the usual one
            noisy = torch.where(camera, images + local * self._correlated(noise), noisy)
            told = torch.where(camera, self._told(local), told)
            rounded = rounded | camera
            coded = coded | (camera & self._chosen(wanted.camera_jpeg, images))
        noisy = torch.where(rounded, rounded_to_8_bit(noisy), noisy)
        if wanted.jpeg or (wanted.camera and wanted.camera_jpeg):
            noisy = torch.where(coded, self._coded(noisy), noisy)
        return images, noisy, told

    def _levels(self, images: Tensor) -> Tensor:
        """(B, 1, H, W): constant, or smooth, or 0."""
        strongest, size = self.settings.strongest / 255.0, images.shape[2:]
        constant = strongest * self._uniform((len(images), 1, 1, 1), images)
        corners = strongest * self._uniform((len(images), 1, 3, 3), images)
        smooth = F.interpolate(corners, size=size, mode="bilinear", align_corners=True)
        levels = torch.where(self._chosen(self.settings.varying, images), smooth, constant)
        return torch.where(self._chosen(self.settings.clean, images), 0.0, levels)

    def _camera_shape(self, images: Tensor) -> Tensor:
        """How the deviation depends on brightness, (B, 1, H, W); its mean square is 1 per picture.

        In linear light the variance is a · x + b; the transfer curve's slope brings it to sRGB.
        """
        x = images.mean(dim=1, keepdim=True).clamp(min=0.02)  # below, the curve is a straight line
        linear, slope = x**2.2, x**-1.2
        b = 10.0 ** (-3.0 * self._uniform((len(images), 1, 1, 1), images))
        shape = slope * (linear + b).sqrt()
        return shape / (shape**2).mean(dim=(2, 3), keepdim=True).sqrt()

    def _correlated(self, noise: Tensor) -> Tensor:
        """White noise -> alike in neighbours and channels, of the same deviation."""
        count = len(noise)
        alike = 0.7 * self._uniform((count, 1, 1, 1), noise)
        grey = self._normal((count, 1, *noise.shape[2:]), noise)
        noise = (1 - alike).sqrt() * noise + alike.sqrt() * grey
        beside = 0.6 * self._uniform((count, 1, 1, 1), noise)
        for axis in (2, 3):
            around = noise.roll(1, axis) + noise.roll(-1, axis)
            noise = (noise + beside * around) / (1 + 2 * beside**2).sqrt()
        return noise

    def _told(self, local: Tensor) -> Tensor:
        """One number per picture, or one for each 8 x 8 pixels, smoothly between them."""
        square = local**2
        cells = F.avg_pool2d(square, 8).sqrt()
        smooth = F.interpolate(cells, scale_factor=8.0, mode="bilinear", align_corners=False)
        single = square.mean(dim=(2, 3), keepdim=True).sqrt()
        return torch.where(self._chosen(0.5, local), smooth, single)

    def _coded(self, images: Tensor) -> Tensor:
        """What JPEG makes of them, each at a quality of its own."""
        low, high = JPEG_QUALITY
        quality = low + (high - low) * self._uniform((len(images),), images)
        return jpeg(rounded_to_8_bit(images), quality)

    def _chosen(self, share: float, like: Tensor) -> Tensor:
        """(B, 1, 1, 1) bool: true for about this share of the pictures."""
        return self._uniform((len(like), 1, 1, 1), like) < share


def rounded_to_8_bit(images: Tensor) -> Tensor:
    """Clipped to [0, 1] and rounded to 255 steps, as a file holds it."""
    return (255.0 * images).round().clamp(0.0, 255.0) / 255.0
