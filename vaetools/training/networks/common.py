"""Base class of the VAE networks."""

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


START_STD = 0.1
"""Initial standard deviation of a Gaussian likelihood: about the error of a first, blurred image."""


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
            learned standard deviation for all pixels: Rybkin, Daniilidis & Levine, "Simple and effective
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
        start = torch.tensor(math.log(START_STD))
        self.log_deviation: nn.Parameter = nn.Parameter(
            start, requires_grad=likelihood == "gaussian"
        )

    @abstractmethod
    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """(mean, logvar) of the posterior for images (B, C, H, W) in [0, 1]; logvar may be None."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, H, W): logits of a Bernoulli likelihood, or the mean of a Gaussian one."""

    def image(self, decoded: Tensor) -> Tensor:
        """The mean of the likelihood, about [0, 1], for the output of `decode`."""
        return torch.sigmoid(decoded) if self.likelihood == "bernoulli" else decoded


def posterior(head: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, logvar) from one tensor with twice the channels."""
    mean, logvar = head.chunk(2, dim=1)
    return mean, logvar.clamp(-LOGVAR_LIMIT, LOGVAR_LIMIT)


def widths(values: Sequence[int]) -> list[int]:
    """Widths of layers from a recipe. Raises `ValueError` for an empty list or a width below 1."""
    if not values or min(values) < 1:
        raise ValueError(f"widths {list(values)} are not all at least 1")
    return list(values)
