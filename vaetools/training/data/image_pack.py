"""Training pictures: decoded once, kept as one flat array, cropped on the device that trains."""

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
    from pathlib import Path

log = logging.getLogger(__name__)


@dataclass
class PicturePack:
    """Many pictures of different sizes behind one tensor.

    Attributes:
        pixels: (total, 3) uint8, all pictures one after the other, row by row, RGB.
        start, height, width: (n,) int64, where picture i begins and its size; always on the CPU, where
            crops are chosen.
    """

    pixels: Tensor
    start: Tensor
    height: Tensor
    width: Tensor

    @classmethod
    def from_folder(cls, folder: Path, *, smallest: int = 1) -> PicturePack:
        """Decode every picture below `folder`; what cannot be decoded, and what has a side below
        `smallest` pixels, is left out, with a warning.

        Raises:
            InputError: there is none, or none that is large enough.
        """
        found = read_rgb_files(folder)
        pictures = [picture for picture in found if min(picture.shape[:2]) >= smallest]
        if len(pictures) < len(found):
            left_out = f"{len(found) - len(pictures)} of {len(found)} pictures"
            log.warning("%s left out: a side is below %d pixels", left_out, smallest)
        if not pictures:
            raise InputError(
                f"no picture has {smallest} x {smallest} pixels",
                file=folder,
                remedy="use larger pictures or a smaller crop",
            )
        heights = torch.tensor([p.shape[0] for p in pictures])
        widths = torch.tensor([p.shape[1] for p in pictures])
        sizes = heights * widths
        pixels = torch.from_numpy(np.concatenate([p.reshape(-1, 3) for p in pictures]))
        return cls(pixels, torch.cumsum(sizes, 0) - sizes, heights, widths)

    @classmethod
    def for_crops(cls, folder: Path, *sides: int) -> PicturePack:
        """The pictures below `folder` that square crops of the smallest of these sides fit into.

        Raises:
            InputError: as `from_folder`, or there is none for the largest.
        """
        pack = cls.from_folder(folder, smallest=min(sides))
        if pack.largest < max(sides):
            raise InputError(
                f"no picture has {max(sides)} x {max(sides)} pixels",
                file=folder,
                remedy="use larger pictures or a smaller crop",
            )
        return pack

    def __len__(self) -> int:
        return len(self.start)

    @property
    def summary(self) -> str:
        return f"{len(self)} pictures, {len(self.pixels) / 1e6:.0f} megapixels"

    @property
    def largest(self) -> int:
        """Side of the largest square that fits into some picture."""
        return int(torch.minimum(self.height, self.width).max())

    def to(self, device: torch.device) -> PicturePack:
        return PicturePack(self.pixels.to(device), self.start, self.height, self.width)

    def split(self, every: int) -> tuple[PicturePack, PicturePack]:
        """(training, validation): each `every`-th picture, and at least one, is for validation.

        Raises:
            InputError: there is only one picture.
        """
        if len(self) < 2:
            raise InputError("one picture is not enough to train on")
        every = min(every, len(self))
        held = torch.arange(len(self)) % every == every - 1
        return self._subset(~held), self._subset(held)

    def _subset(self, mask: Tensor) -> PicturePack:
        return PicturePack(self.pixels, self.start[mask], self.height[mask], self.width[mask])

    def crops(
        self, count: int, size: int, generator: torch.Generator, *, shrink: float = 1.0
    ) -> Tensor:
        """`count` random square crops, (count, 3, size, size) float32 in [0, 1].

        One shrink factor in [1, shrink] is drawn for the batch: that much more is cropped and then
        reduced, which hides JPEG grain and shows textures at more than one scale. A picture is
        drawn in proportion to its area. Flips and quarter turns at random.
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
                f"no training picture is as large as a crop of {side} x {side}",
                remedy="use larger pictures or a smaller crop",
            )
        area = (self.height * self.width * fits).double()
        chosen = torch.multinomial(area, count, replacement=True, generator=generator)
        random = torch.rand(2, count, generator=generator)
        top = (random[0] * (self.height[chosen] - side + 1)).long()
        left = (random[1] * (self.width[chosen] - side + 1)).long()
        first = self.start[chosen] + top * self.width[chosen] + left
        # One small transfer, and nothing comes back: the device need not be waited for.
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
    """Every picture below `folder`, or that one file: (H, W, 3) uint8 each, sorted by path.

    What cannot be decoded is left out, with a warning.

    Args:
        change: applied to each at once, such as a reduction that saves memory.

    Raises:
        InputError: there is none.
    """
    if not folder.exists():
        raise InputError("there is no such file or folder", file=folder)
    files = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    files = [p for p in files if p.suffix.lower() in SUFFIXES]
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda file: _read_rgb(file, change), files)
        pictures = [picture for picture in read if picture is not None]
    if not pictures:
        raise InputError("no pictures to train on", file=folder, remedy="name photographs")
    return pictures


def _read_rgb(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
    """(H, W, 3) uint8, changed, or None with a warning."""
    try:
        rgb = read_image(path).to_rgb()
    except InputError as error:
        log.warning("%s", error.line)
        return None
    return change(np.rint(rgb * 255).astype(np.uint8))
