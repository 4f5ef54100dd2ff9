"""How far samples of one posterior differ, pixel by pixel.

    U(pixel)² = mean over channels of Var_{z ~ q(z | x)} D(z)

where D(z) is the decoded image: what the code of an image leaves open. The noise that a likelihood
adds around D(z) is the same for every image of a Gaussian model and is not in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaetools.inspection.inputs import decode_all

if TYPE_CHECKING:
    from vaetools.model.latent import Posterior
    from vaetools.model.vae import Vae

FEWEST_DRAWS = 32
"""Draws for a map that is looked at: a deviation over 32 is known to about an eighth."""


def uncertainty(
    model: Vae, posterior: Posterior, rng: np.random.Generator, *, samples: int
) -> np.ndarray:
    """(H, W) standard deviation over `samples` ≥ 2 draws (n − 1 in the denominator), image values.

    Images are not clipped; zeros for a point.
    """
    mode = posterior.mode()
    start = next(decode_all(model, mode.values)).astype(np.float64)
    first, second = np.zeros(start.shape[1:]), np.zeros(start.shape[1:])
    latents = np.concatenate([posterior.sample(rng).values for _ in range(samples)])
    for images in decode_all(model, latents):
        differences = images - start  # from the mode, so that squares lose no digits
        first += differences.sum(axis=0)
        second += (differences**2).sum(axis=0)
    variance = np.maximum(second - first**2 / samples, 0) / (samples - 1)
    deviation: np.ndarray = np.sqrt(variance.mean(axis=0))
    return deviation[: mode.height, : mode.width]
