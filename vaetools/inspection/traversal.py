"""Images along each latent: the row of latent j decodes a base with z_j moved by −2.5 … 2.5 steps.

As in the figures of Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained
Variational Framework", 2017. The middle column is the base itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaetools.inspection.inputs import decode_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vaetools.model.latent import Latent
    from vaetools.model.vae import Vae

MOVES = tuple(x / 2 for x in range(-5, 6))
"""Columns of the grid, in steps."""


def traversal(
    model: Vae, base: Latent, steps: np.ndarray, order: Sequence[int]
) -> Iterator[np.ndarray]:
    """For each latent of `order`, images (len(MOVES), H, W, C) in the base's size, not clipped.

    Args:
        base: where all rows cross.
        steps: (C,) how far each latent moves per unit.
        order: numbers of latents.
    """
    for latent in order:
        moved = np.repeat(base.values, len(MOVES), axis=0)
        for row, move in zip(moved, MOVES, strict=True):
            row[latent] += np.float32(move * steps[latent])
        images = np.concatenate(list(decode_all(model, moved))).transpose(0, 2, 3, 1)
        yield images[:, : base.height, : base.width]
