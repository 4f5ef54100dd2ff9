"""What all networks of the laboratory have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

Likelihood: TypeAlias = Literal["bernoulli", "gaussian"]

LIKELIHOODS = get_args(Likelihood)

LOGVAR_LIMIT = 12.0
"""Bound on |ln variance| of a posterior: beyond it exp() loses its meaning in float32."""


START_DEVIATION = 0.1
"""Of a Gaussian likelihood before training: what a first, blurred image is off by."""


class ImageShape(NamedTuple):
    """(channels, height, width) of the images that a network is trained on."""

    channels: int
    height: int
    width: int

    @property
    def numbers(self) -> int:
        return self.channels * self.height * self.width


class VaeNetwork(nn.Module, ABC):
    """Encoder and decoder of a VAE.

    Args:
        shape: of one image.
        likelihood: `bernoulli` (pixels are probabilities of black and white) or `gaussian` (one
            deviation for all pixels, learned: Rybkin, Daniilidis & Levine, "Simple and effective
            VAE training with calibrated decoders", ICML 2021).

    Attributes:
        latent_kind: `vector` (B, latents), or `spatial` (B, latents, h, w).
        downscale: pixels per side of a spatial latent.
    """

    latent_kind = "vector"
    downscale = 1

    def __init__(self, shape: ImageShape, latents: int, likelihood: Likelihood) -> None:
        super().__init__()
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood = {likelihood!r} is none of {', '.join(LIKELIHOODS)}")
        if latents < 1:
            raise ValueError(f"latents = {latents} is not at least 1")
        self.shape = shape
        self.latents = latents
        self.likelihood = likelihood
        start = torch.tensor(math.log(START_DEVIATION))
        self.log_deviation = nn.Parameter(start, requires_grad=likelihood == "gaussian")

    @abstractmethod
    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """(mean, logvar) of the posterior of images (B, C, H, W) in [0, 1]; a point has no logvar."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, H, W): logits of a Bernoulli likelihood, or the mean of a Gaussian one."""

    def image(self, decoded: Tensor) -> Tensor:
        """What `decode` gives as an image, the mean of the likelihood, about [0, 1]."""
        return torch.sigmoid(decoded) if self.likelihood == "bernoulli" else decoded


def posterior(head: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, logvar) from one tensor with twice the channels."""
    mean, logvar = head.chunk(2, dim=1)
    return mean, logvar.clamp(-LOGVAR_LIMIT, LOGVAR_LIMIT)


def widths(values: Sequence[int]) -> list[int]:
    """Widths of layers, as a recipe gives them. Raises `ValueError` for none, or for a zero."""
    if not values or min(values) < 1:
        raise ValueError(f"widths {list(values)} are not all at least 1")
    return list(values)
