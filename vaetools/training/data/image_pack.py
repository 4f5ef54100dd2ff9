"""Training images: decoded once, stored as one flat array, cropped on the device of the training."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vaetools.errors import InputError
from vaetools.image import SUFFIXES, read_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger
    from pathlib import Path

log: Logger = logging.getLogger(__name__)


@dataclass
class ImagePack:
    """Many images of different sizes in one tensor.

    Attributes:
        pixels: (total, 3) uint8, all images one after the other, row by row, RGB.
        start, height, width: (n,) int64, offset and size of image i; always on the CPU, where crops are
            chosen.
    """

    pixels: Tensor
    start: Tensor
    height: Tensor
    width: Tensor

    @classmethod
    def from_folder(cls, folder: Path, *, smallest: int = 1) -> ImagePack:
        """Decode every image below `folder`. Files that cannot be decoded, and images with a side below
        `smallest` pixels, are left out with a warning.

        Raises:
            InputError: there is no image, or none is large enough.
        """
        found = read_rgb_files(folder)
        images = [image for image in found if min(image.shape[:2]) >= smallest]
        if len(images) < len(found):
            left_out = f"{len(found) - len(images)} of {len(found)} images"
            log.warning("%s left out: a side is below %d pixels", left_out, smallest)
        if not images:
            raise InputError(
                f"no image has {smallest} x {smallest} pixels",
                file=folder,
                remedy="use larger images or a smaller crop",
            )
        heights = torch.tensor([p.shape[0] for p in images])
        widths = torch.tensor([p.shape[1] for p in images])
        sizes = heights * widths
        pixels = torch.from_numpy(np.concatenate([p.reshape(-1, 3) for p in images]))
        return cls(pixels, torch.cumsum(sizes, 0) - sizes, heights, widths)

    @classmethod
    def for_crops(cls, folder: Path, *sides: int, hold_out: int) -> ImagePack:
        """The images below `folder` that are large enough for square crops of the smallest of `sides`.

        Raises:
            InputError: there are less than two, or none that remains for training (see `split`) is large
                enough for the largest of `sides`.
        """
        pack = cls.from_folder(folder, smallest=min(sides))
        used, _ = pack.split(hold_out)
        if used.largest < max(sides):
            held_out = "" if pack.largest < max(sides) else " but for those held out"
            raise InputError(
                f"no image has {max(sides)} x {max(sides)} pixels{held_out}",
                file=folder,
                remedy="use larger images or a smaller crop",
            )
        return pack

    def __len__(self) -> int:
        return len(self.start)

    @property
    def summary(self) -> str:
        return f"{len(self)} images, {len(self.pixels) / 1e6:.0f} megapixels"

    @property
    def largest(self) -> int:
        """Side of the largest square crop of any image."""
        return int(torch.minimum(self.height, self.width).max())

    def to(self, device: torch.device) -> ImagePack:
        return ImagePack(self.pixels.to(device), self.start, self.height, self.width)

    def split(self, every: int) -> tuple[ImagePack, ImagePack]:
        """(training, validation): every `every`-th image, and at least one, is for validation.

        Raises:
            InputError: there is only one image.
        """
        if len(self) < 2:
            raise InputError("one image is not enough to train on")
        every = min(every, len(self))
        held = torch.arange(len(self)) % every == every - 1
        return self._subset(~held), self._subset(held)

    def _subset(self, mask: Tensor) -> ImagePack:
        return ImagePack(self.pixels, self.start[mask], self.height[mask], self.width[mask])

    def crops(
        self, count: int, size: int, generator: torch.Generator, *, shrink: float = 1.0
    ) -> Tensor:
        """`count` random square crops, (count, 3, size, size) float32 in [0, 1].

        One factor in [1, shrink] is drawn for the batch. Crops are taken larger by this factor and then
        reduced, which removes JPEG artefacts and shows textures at several scales. Images are drawn in
        proportion to their area, with random flips and quarter turns.
        """
        factor = 1.0 + (shrink - 1.0) * float(torch.rand(1, generator=generator))
        side = max(size, min(round(size * factor), self.largest))
        crop = self._raw_crops(count, side, generator).permute(0, 3, 1, 2).float() / 255.0
        if side != size:
            crop = F.interpolate(crop, size=(size, size), mode="bilinear", antialias=True)
        return _turn(crop, generator)

    def _raw_crops(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        fits = (self.height >= side) & (self.width >= side)
        if not bool(fits.any()):
            raise InputError(
                f"no training image is as large as a crop of {side} x {side}",
                remedy="use larger images or a smaller crop",
            )
        area = (self.height * self.width * fits).double()
        chosen = torch.multinomial(area, count, replacement=True, generator=generator)
        random = torch.rand(2, count, generator=generator)
        top = (random[0] * (self.height[chosen] - side + 1)).long()
        left = (random[1] * (self.width[chosen] - side + 1)).long()
        first = self.start[chosen] + top * self.width[chosen] + left
        # One small transfer to the device, without waiting for it.
        first, width = torch.stack([first, self.width[chosen]]).to(self.pixels.device)
        steps = torch.arange(side, device=self.pixels.device)
        rows = first[:, None] + steps * width[:, None]  # (count, side)
        return self.pixels[rows[:, :, None] + steps]  # (count, side, side, 3)


def _turn(batch: Tensor, generator: torch.Generator) -> Tensor:
    """The same random flips and quarter turn for a whole batch (B, C, S, S)."""
    flip_rows, flip_columns, transpose = (torch.rand(3, generator=generator) < 0.5).tolist()
    if flip_rows:
        batch = batch.flip(2)
    if flip_columns:
        batch = batch.flip(3)
    return batch.transpose(2, 3).contiguous() if transpose else batch.contiguous()


def read_rgb_files(
    folder: Path, change: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> list[np.ndarray]:
    """Every image below `folder`, or that one file: (H, W, 3) uint8 each, sorted by path.

    Files that cannot be decoded are left out with a warning.

    Args:
        change: applied to each image when it is read, such as a reduction that saves memory.

    Raises:
        InputError: there is no image.
    """
    if not folder.exists():
        raise InputError("no such file or folder", file=folder)
    files = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    files = [p for p in files if p.suffix.lower() in SUFFIXES]
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda file: _read_rgb(file, change), files)
        images = [image for image in read if image is not None]
    if not images:
        raise InputError(
            "no images to train on", file=folder, remedy="give a folder of photographs"
        )
    return images


def _read_rgb(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
    """(H, W, 3) uint8, changed, or None with a warning."""
    try:
        rgb = read_image(path).to_rgb()
    except InputError as error:
        log.warning("%s", error.line)
        return None
    return change(np.rint(rgb * 255).astype(np.uint8))
