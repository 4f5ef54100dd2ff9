"""Images of one size in memory: MNIST files, or a folder of images that are cropped and resized."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor

from vaetools.errors import InputError
from vaetools.image.idx import is_idx, read_idx
from vaetools.training.data.image_pack import read_rgb_files

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path

    from vaetools.training.networks.common import ImageShape

log: Logger = logging.getLogger(__name__)


@dataclass
class ImageStack:
    """Many images of one size.

    Attributes:
        pixels: (N, C, H, W) uint8.
    """

    pixels: Tensor

    @classmethod
    def read(cls, path: Path, shape: ImageShape) -> ImageStack:
        """Read an IDX file, a folder with IDX files (the training ones, if their names say so), or every
        image below a folder, cropped around the middle to the aspect ratio of `shape` and resized.

        Raises:
            InputError: there is nothing to read, or an IDX file has images of another size.
        """
        files = _idx_files(path)
        if files:
            pixels = np.concatenate([_read_idx(file, shape) for file in files])[:, None]
        else:
            pixels = np.stack(read_rgb_files(path, lambda image: _fit(image, shape)))
        return cls(torch.from_numpy(pixels))

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def summary(self) -> str:
        _, channels, height, width = self.pixels.shape
        return f"{len(self)} images of {width} x {height}, {channels} channel(s)"

    def to(self, device: torch.device) -> ImageStack:
        return ImageStack(self.pixels.to(device))

    def split(self, every: int) -> tuple[ImageStack, ImageStack]:
        """(training, validation): each `every`-th image is for validation.

        Raises:
            InputError: there is only one image.
        """
        if len(self) < 2:
            raise InputError("one image is not enough to train on")
        held = torch.arange(len(self)) % min(every, len(self)) == min(every, len(self)) - 1
        return ImageStack(self.pixels[~held]), ImageStack(self.pixels[held])

    def batch(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` different images in random order, (count, C, H, W) float32 in [0, 1].

        With 0 all images in their order, for full-batch gradient descent.
        """
        if count == 0:
            return self.pixels.float() / 255
        chosen = torch.randperm(len(self), generator=generator)[:count].to(self.pixels.device)
        return self.pixels[chosen].float() / 255


def _idx_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if is_idx(path) else []
    found = sorted(p for p in path.iterdir() if is_idx(p)) if path.is_dir() else []
    return [p for p in found if "train" in p.name] or found


def _read_idx(path: Path, shape: ImageShape) -> np.ndarray:
    pixels = read_idx(path)
    if (1, *pixels.shape[1:]) != tuple(shape):
        raise InputError(
            f"has images of shape {pixels.shape[1:]}, but the recipe expects {tuple(shape)}",
            file=path,
            remedy="set channels, height and width in [data] of the recipe",
        )
    return pixels


def _fit(image: np.ndarray, shape: ImageShape) -> np.ndarray:
    """(H, W, 3) uint8 -> (C, height, width): cropped around the middle, then resized."""
    height, width = image.shape[:2]
    scale = min(height / shape.height, width / shape.width)
    rows, columns = (max(1, round(side * scale)) for side in (shape.height, shape.width))
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = image[top : top + rows, left : left + columns]
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(cut, (shape.width, shape.height), interpolation=method)
    if shape.channels == 1:
        return cv2.cvtColor(scaled, cv2.COLOR_RGB2GRAY)[None]
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))
