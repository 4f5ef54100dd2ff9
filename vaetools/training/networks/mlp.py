"""A VAE of fully connected layers, and the corresponding plain autoencoder.

    x (784) -> 128 -> 64 -> mean (16), logvar (16)
                            z = mean + exp(logvar / 2) · noise
    z (16)  ->  64 -> 128 -> logits (784)

The *generator* is the decoder on samples of the prior: there is no third network. The autoencoder has
the same layers and no logvar: it is trained to reproduce, so nothing makes its codes fill the prior,
and decoding noise shows no digits.

References:
    Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014;
    Srivastava et al., "Dropout", JMLR 2014.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor, nn

from vaetools.training.networks.common import ImageShape, Likelihood, VaeNetwork, posterior, widths

if TYPE_CHECKING:
    from collections.abc import Sequence


def stack(sizes: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear, ReLU and dropout for each step from one size to the next."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


class MlpVae(VaeNetwork):
    """Fully connected encoder and its mirror image.

    Args:
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        dropout: share of hidden units that are dropped in training. The objective is then a bound for
            the thinned networks, and costs nats: see docs/theory.md.
    """

    heads = 2

    def __init__(
        self,
        shape: ImageShape,
        *,
        hidden: Sequence[int] = (128, 64),
        latents: int = 16,
        dropout: float = 0.0,
        likelihood: Likelihood = "bernoulli",
    ) -> None:
        super().__init__(shape, latents, likelihood)
        hidden = widths(hidden)
        self.encoder: nn.Sequential = stack([shape.numbers, *hidden], dropout)
        self.head: nn.Linear = nn.Linear(hidden[-1], self.heads * latents)
        self.decoder: nn.Sequential = stack([latents, *reversed(hidden)], dropout)
        self.output: nn.Linear = nn.Linear(hidden[0], shape.numbers)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return posterior(self._features(images))

    def _features(self, images: Tensor) -> Tensor:
        features: Tensor = self.head(self.encoder(images.flatten(1)))
        return features  # (B, heads · latents)

    def decode(self, latents: Tensor) -> Tensor:
        pixels: Tensor = self.output(self.decoder(latents))
        return pixels.reshape(-1, *self.shape)


class MlpAutoencoder(MlpVae):
    """The same layers as an autoencoder, without posterior and prior."""

    heads = 1

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self._features(images), None
