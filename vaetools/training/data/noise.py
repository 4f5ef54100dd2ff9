"""Noise like that of photographs, drawn on the device of the images.

    white     independent, with the same standard deviation everywhere, as in the literature
    varying   white, with a smooth map of standard deviations
    camera    of photons and read-out, processed by a camera: see `camera.py`
    grey      the same in all three channels of an image that was made grey
    then      some images are clipped and rounded to 8 bits, as in files; some are JPEG-compressed

Every choice is made per image and by masks, so that no number leaves the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from vaetools.tomlfile import Bounds
from vaetools.training.data.camera import Camera
from vaetools.training.data.draws import Draws
from vaetools.training.data.jpeg import SIDE, jpeg
from vaetools.training.recipe import Share

JPEG_QUALITY = (70.0, 98.0)

EXPOSURES = ((0.1, 0.7), (1.2, 2.5))
"""Factors of dark and of bright images, log-uniform between these."""

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
        exposed: share of the images that is made dark, or bright and cut off at white.
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
    exposed: Share = 0.0
    even: Share = 0.0
    clipped: Share = 0.5
    jpeg: Share = 0.1
    camera_jpeg: Share = 0.0


class Damage(Draws[NoiseSettings]):
    """Draws noise for images."""

    def __init__(self, settings: NoiseSettings, generator: torch.Generator | None = None) -> None:
        super().__init__(settings, generator)
        self.camera: Camera = Camera(None, generator)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(clean images, damaged images, level map) for clean images.

        Args:
            images: (B, 3, H, W) float32 in [0, 1], sides multiples of 16.

        Returns:
            The images, some of them grey or of one colour; the same with noise, clipped to [0, 1] only
            if they are also rounded; and the std of the noise (B, 1, H, W) before clipping and JPEG. For
            the noise of cameras, which depends on the image, it is that after clipping, and coarse or
            constant: it must not reveal the image.
        """
        with torch.autocast(
            images.device.type, enabled=False
        ):  # rounding to bfloat16 would add noise
            return self._damaged(images)

    def _damaged(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wanted = self.settings
        if wanted.exposed:
            exposed = self._chosen(wanted.exposed, images)
            images = torch.where(exposed, self._exposed(images), images)
        if wanted.even:
            images = torch.where(self._chosen(wanted.even, images), self._even(images), images)
        sigma = self._levels(images)
        noise = self._normal(images.shape, images)
        grey = self._chosen(wanted.grey, images)
        images = torch.where(grey, images.mean(dim=1, keepdim=True), images)
        noise = torch.where(grey, noise[:, :1], noise)
        noisy, level_map = images + sigma * noise, sigma
        rounded = self._chosen(wanted.clipped, images)
        coded = self._chosen(wanted.jpeg, images)
        if wanted.camera:
            camera, added = self._chosen(wanted.camera, images), self.camera(images)
            added = torch.where(grey, added.mean(dim=1, keepdim=True), added)
            noisy = torch.where(camera, images + added, noisy)
            level_map = torch.where(camera, self._level_of(added), level_map)
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

    def _exposed(self, images: Tensor) -> Tensor:
        """Images as if under- or overexposed: what is too bright is cut off."""
        count = len(images)
        (low, dark), (bright, high) = EXPOSURES
        drawn = self._uniform((count, 1, 1, 1), images)
        darker, brighter = low * (dark / low) ** drawn, bright * (high / bright) ** drawn
        factor = torch.where(self._chosen(0.5, images), darker, brighter)
        return (images * factor).clamp(max=1.0)

    def _even(self, images: Tensor) -> Tensor:
        """Random colours, (B, 3, 1, 1); one in three channels is black or white, half are grey."""
        colours = self._uniform((len(images), 3, 1, 1), images)
        grey = self._chosen(0.5, images)
        return (1.5 * torch.where(grey, colours[:, :1], colours) - 0.25).clamp(0.0, 1.0)

    def _level_of(self, noise: Tensor) -> Tensor:
        """The std of noise (B, 3, H, W): one per image, or one per 16 x 16 pixels, interpolated."""
        cells = F.avg_pool2d(noise.square().mean(dim=1, keepdim=True), SIDE)
        smooth = F.interpolate(
            cells, scale_factor=float(SIDE), mode="bilinear", align_corners=False
        )
        single = cells.mean(dim=(2, 3), keepdim=True)
        return torch.where(self._chosen(0.5, noise), smooth, single).sqrt()

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
