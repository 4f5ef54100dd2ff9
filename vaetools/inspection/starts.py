"""Where moves of the latents start, and how far one step goes.

For a model with the prior N(0, 1) a step is the prior's standard deviation and moves start at its
mean, or at the posterior mean of an image. A plain autoencoder has no prior: there a step is the
standard deviation of the codes of the user's images, and moves start at the code of one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vaetools.inspection.inputs import central

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.inspection.inputs import InputImage
    from vaetools.inspection.latents import LatentStatistics
    from vaetools.model.latent import Latent
    from vaetools.model.vae import Vae

SIDE = 128
"""Side, in pixels, of the part of an image that is moved, for models of any size."""

PRIOR_SIDE = 64
"""Side of images from the prior, for models of any size."""


@dataclass(frozen=True)
class Base:
    """A latent to move from.

    Attributes:
        latent: of one image.
        around: what it is, in words.
    """

    latent: Latent
    around: str


def prior_size(model: Vae) -> tuple[int, int]:
    """(height, width) of images drawn from the prior."""
    height, width = model.manifest.size.fixed or (PRIOR_SIDE, PRIOR_SIDE)
    return height, width


def has_prior(model: Vae) -> bool:
    """Whether latents can be drawn from N(0, 1)."""
    return model.manifest.latent.prior == "normal"


def prior_base(model: Vae) -> Base:
    """The mean of the prior."""
    height, width = prior_size(model)
    latent = model.prior(np.random.default_rng(0), height=height, width=width, temperature=0)
    return Base(latent, "the mean of the prior")


def image_base(model: Vae, original: InputImage) -> Base:
    """The code of an image, its posterior mean, or that of the middle of a large one."""
    rgb = original.rgb if model.manifest.size.fixed else central(original.rgb, SIDE)
    return Base(model.encode(rgb).mode(), f"the code of {original.name}")


def prior_latents(
    model: Vae, count: int, rng: np.random.Generator, size: tuple[int, int]
) -> np.ndarray:
    """(count, channels, ...) draws from the prior, for images of that (height, width)."""
    height, width = size
    return np.concatenate(
        [model.prior(rng, height=height, width=width).values for _ in range(count)]
    )


def steps(model: Vae, statistics: LatentStatistics | None, channels: int) -> np.ndarray | None:
    """(channels,) length of one step of each latent; None where nothing tells it."""
    if has_prior(model):
        return np.ones(channels)
    return None if statistics is None else statistics.deviation


def alike(latents: Sequence[Latent]) -> np.ndarray:
    """Those latents that have the first one's shape, as (N, channels, ...)."""
    shape = latents[0].values.shape
    return np.concatenate([one.values for one in latents if one.values.shape == shape])
