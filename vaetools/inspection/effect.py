"""Where in the image each latent shows.

    E_j(pixel) = mean over starts z of | D(z + ½ s_j e_j) − D(z − ½ s_j e_j) |

the change of the decoded image D while latent j moves by one step s_j (see `base`) about each
start, a central difference; no gradients. For a linear decoder it is exactly |W_j| s_j. Of a grid of
latents the whole channel moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaetools.inspection.inputs import decode_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.model.vae import Vae

STARTS, FEWEST = 32, 4
"""Starts to average over: most, and fewest where images are large."""

PIXELS = 2**22
"""Pixels to decode for all maps of a model, about."""


def affordable(latents: int, pixels: int) -> int:
    """How many starts to average over, for images of so many pixels."""
    return min(STARTS, max(FEWEST, PIXELS // (2 * latents * pixels)))


def effects(model: Vae, starts: np.ndarray, steps: np.ndarray) -> Iterator[np.ndarray]:
    """For each latent (H, W): mean change of the image's channels, in image values ([0, 1]) per step.

    Args:
        starts: (N, C) or (N, C, h, w).
        steps: (C,).
    """
    for latent, step in enumerate(steps):
        moved = [starts.copy(), starts.copy()]
        moved[0][:, latent] += step / 2
        moved[1][:, latent] -= step / 2
        sides = zip(decode_all(model, moved[0]), decode_all(model, moved[1]), strict=True)
        total = sum(np.abs(a - b).mean(axis=1).sum(axis=0) for a, b in sides)
        yield np.asarray(total) / len(starts)
