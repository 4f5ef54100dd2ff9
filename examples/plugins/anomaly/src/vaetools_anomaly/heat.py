"""Heat maps: how much each pixel of an image differs from what a VAE knows."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

import vaetools

if TYPE_CHECKING:
    from collections.abc import Iterator

By: TypeAlias = Literal["kl", "residual"]

BATCH = 256
"""Windows per call of the model."""


def heat_map(model: vaetools.Vae, image: np.ndarray, by: By, step: int) -> np.ndarray:
    """The heat of an image, (H, W) float32.

    `kl` is KL(q(z | x) ‖ N(0, 1)) in nats, the information needed to encode what is seen: of a window
    for a model of a single size, else of the latents at that position. `residual` is
    |x − decode(mean)|, averaged over the channels, on the 0–255 scale.

    A model for any size gets the whole image. A model of a single size gets a window every `step`
    pixels; images that are too small are mirrored at their border. A pixel gets the mean of all
    windows that contain it.

    Args:
        image: float32 RGB (H, W, 3) in [0, 1].

    Raises:
        vaetools.InputError: a colour image for a greyscale model.
        vaetools.ModelError: the graph fails.
    """
    height, width = image.shape[:2]
    if not model.manifest.size.fixed:
        return _heat(model, model.tensor(image), by)[0, :height, :width]
    rows, columns = model.manifest.size.fixed
    below, right = max(0, rows - height), max(0, columns - width)
    image = np.pad(image, [(0, below), (0, right), (0, 0)], mode="symmetric")
    total, count = np.zeros((2, *image.shape[:2]), np.float32)
    tops = _starts(image.shape[0], rows, step)
    lefts = _starts(image.shape[1], columns, step)
    for corners in _batches(list(product(tops, lefts))):
        windows = [image[top : top + rows, left : left + columns] for top, left in corners]
        heats = _heat(model, np.concatenate([model.tensor(window) for window in windows]), by)
        for (top, left), heat in zip(corners, heats, strict=True):
            total[top : top + rows, left : left + columns] += heat[:rows, :columns]
            count[top : top + rows, left : left + columns] += 1
    return np.asarray((total / count)[:height, :width])


def _heat(model: vaetools.Vae, tensors: np.ndarray, by: By) -> np.ndarray:
    """The heat (N, H, W) of images (N, C, H, W) that need no padding."""
    sides = tensors.shape[2:]
    mean, logvar = model.encode_batch(tensors)
    if by == "residual":
        decoded, _ = model.decode_batch(mean)
        return np.asarray(255 * np.abs(tensors - decoded).mean(axis=1))
    kl = vaetools.Posterior(mean, logvar, *sides).kl().sum(axis=1)
    if kl.ndim == 1:  # one vector of latents
        return np.broadcast_to(kl[:, None, None], (len(kl), *sides))
    down = model.manifest.latent.downscale
    rows, columns = (
        np.minimum(np.arange(side) // down, cells - 1)
        for side, cells in zip(sides, kl.shape[1:], strict=True)
    )
    return np.asarray(kl[:, rows[:, None], columns])


def _starts(length: int, side: int, step: int) -> list[int]:
    """Positions of windows; the last one ends at the border of the image."""
    last = length - side
    return sorted({*range(0, last, step), last})


def _batches(corners: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    return (corners[start : start + BATCH] for start in range(0, len(corners), BATCH))
