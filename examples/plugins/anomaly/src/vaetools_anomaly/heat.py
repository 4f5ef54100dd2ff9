"""How unlike what a VAE knows each pixel of a picture is."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

import vaetools

if TYPE_CHECKING:
    from collections.abc import Iterator

By: TypeAlias = Literal["kl", "residual"]

BATCH = 256
"""Windows that the model is shown at once."""


def heat_map(model: vaetools.Vae, image: np.ndarray, by: By, step: int) -> np.ndarray:
    """The heat of a picture, (H, W) float32.

    `kl` is KL(q(z | x) ‖ N(0, 1)) in nats, what it costs to say what is seen: of a window for a model
    of one size, else of the latents that stand for a place. `residual` is |x − decode(mean)|, the
    mean of the channels, in grey levels of 255.

    A model of any size sees the whole picture. One of a single size sees a window at every `step`
    pixels, with the picture mirrored at its edge where it is too small; a pixel gets the mean of all
    windows that it lies in.

    Args:
        image: float32 RGB (H, W, 3) in [0, 1].

    Raises:
        vaetools.InputError: colours for a model of grey pictures.
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
    """The heat of pictures (N, C, H, W) that the model takes as they are, (N, H, W)."""
    sides = tensors.shape[2:]
    mean, logvar = model.encode_batch(tensors)
    if by == "residual":
        decoded, _ = model.decode_batch(mean)
        return np.asarray(255 * np.abs(tensors - decoded).mean(axis=1))
    kl = vaetools.Posterior(mean, logvar, *sides).kl().sum(axis=1)
    if kl.ndim == 1:  # one latent for all of it
        return np.broadcast_to(kl[:, None, None], (len(kl), *sides))
    down = model.manifest.latent.downscale
    rows, columns = (
        np.minimum(np.arange(side) // down, cells - 1)
        for side, cells in zip(sides, kl.shape[1:], strict=True)
    )
    return np.asarray(kl[:, rows[:, None], columns])


def _starts(length: int, side: int, step: int) -> list[int]:
    """Where windows begin so that the last one ends with the picture."""
    last = length - side
    return sorted({*range(0, last, step), last})


def _batches(corners: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    return (corners[start : start + BATCH] for start in range(0, len(corners), BATCH))
