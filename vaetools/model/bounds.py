"""Bounds on log p(image), computed from a model's ONNX graphs.

With z ~ q(z | x), the encoder's Gaussian, and the prior p(z) = N(0, 1):

    ELBO    =  E log p(x | z) − KL(q(z | x) ‖ p(z))                         ≤ log p(x)
    IWAE_K  =  E log 1/K Σ_k p(x | z_k) p(z_k) / q(z_k | x)                 ≤ log p(x), rising with K

Everything is in nats per image, summed over pixels and channels. Kingma & Welling, "Auto-Encoding
Variational Bayes", 2014; Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import ModelBrokenError
from vaetools.model.latent import gaussian_kl

if TYPE_CHECKING:
    from vaetools.model.vae import Vae

AT_ONCE = 2**21
"""Samples of images that one call of a graph may give, about; 2,675 images of 28 x 28."""


@dataclass(frozen=True)
class Elbo:
    """The two terms of the bound.

    Attributes:
        log_likelihood: (N,) E log p(x | z), nats.
        kl: (N, ...) KL(q(z | x) ‖ N(0, 1)) per latent, nats, shaped like the latents.
    """

    log_likelihood: np.ndarray
    kl: np.ndarray

    @property
    def bound(self) -> np.ndarray:
        """(N,) nats per image."""
        bound: np.ndarray = self.log_likelihood - _per_image(self.kl)
        return bound


def binarise(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each sample drawn as 0 or 1 with its grey value as probability ("dynamic binarisation")."""
    drawn: np.ndarray = rng.random(images.shape, dtype=np.float32) < images
    return drawn.astype(np.float32)


def log_likelihood(model: Vae, images: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """(N,) log p(x | z) in nats, of images (N, C, H, W) in [0, 1] given one latent each.

    Of a Bernoulli likelihood it is one for black and white images only: for grey values it is a
    cross-entropy, and what is computed from it is no bound. `binarise` first.

    Raises:
        ModelBrokenError: the model names no likelihood.
    """
    likelihood = model.manifest.likelihood
    decoded, logits = model.decode_batch(latents)
    if logits is not None:
        return _per_image(images * logits - _softplus(logits))
    if likelihood.kind != "gaussian":
        raise ModelBrokenError(f"model {model.id} names no likelihood", file=model.folder)
    deviation = likelihood.deviation
    terms = -0.5 * ((images - decoded) / deviation) ** 2
    constant = math.log(deviation) + 0.5 * math.log(2 * math.pi)
    total: np.ndarray = _per_image(terms) - constant * terms[0].size
    return total


def elbo(model: Vae, images: np.ndarray, rng: np.random.Generator, *, samples: int = 1) -> Elbo:
    """The ELBO of images (N, C, H, W); the expectation is a mean over `samples` latents.

    Raises:
        ModelBrokenError: the model has no posterior (a plain autoencoder), or names no likelihood.
    """
    count = _at_once(images)
    parts = [images[first : first + count] for first in range(0, len(images), count)]
    found = [_elbo(model, part, rng, samples) for part in parts]
    return Elbo(*(np.concatenate(terms) for terms in zip(*found, strict=True)))


def _elbo(
    model: Vae, images: np.ndarray, rng: np.random.Generator, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    mean, logvar = _posterior(model, images)
    deviation = np.exp(0.5 * logvar)
    total = np.zeros(len(images))
    for _ in range(samples):
        noise = rng.standard_normal(mean.shape, dtype=np.float32)
        total += log_likelihood(model, images, mean + deviation * noise)
    return total / samples, gaussian_kl(mean, logvar)


def iwae(
    model: Vae, images: np.ndarray, rng: np.random.Generator, *, samples: int = 1000
) -> np.ndarray:
    """(N,) importance-weighted bound with K = `samples`, nats. Raises as `elbo` does."""
    means, logvars = _posterior(model, images)
    pairs = zip(images, means, logvars, strict=True)
    return np.array([_iwae_of_one(model, *pair, rng=rng, samples=samples) for pair in pairs])


def _iwae_of_one(
    model: Vae,
    image: np.ndarray,
    mean: np.ndarray,
    logvar: np.ndarray,
    *,
    rng: np.random.Generator,
    samples: int,
) -> float:
    weights = []
    most = _at_once(image[None])
    for first in range(0, samples, most):
        count = min(most, samples - first)
        noise = rng.standard_normal((count, *mean.shape), dtype=np.float32)
        latents = mean + np.exp(0.5 * logvar) * noise
        # log p(z) − log q(z | x); the constants of the two Gaussians cancel
        ratio = _per_image(0.5 * (noise**2 + logvar - latents**2))
        weights.append(log_likelihood(model, image[None], latents) + ratio)
    return float(np.logaddexp.reduce(np.concatenate(weights)) - math.log(samples))


def _at_once(images: np.ndarray) -> int:
    """How many such images, or latents of them, go through a graph in one call."""
    return max(1, AT_ONCE // math.prod(images.shape[1:]))


def _posterior(model: Vae, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, logvar = model.encode_batch(images)
    if logvar is None:
        raise ModelBrokenError(
            f"model {model.id} is a plain autoencoder: it has no posterior and no bound",
            file=model.folder,
        )
    return mean, logvar


def _softplus(x: np.ndarray) -> np.ndarray:
    """ln(1 + e^x), right for any x; four times as fast as `np.logaddexp(0, x)`."""
    result: np.ndarray = np.maximum(x, 0) + np.log(1 + np.exp(-np.abs(x)))
    return result


def _per_image(values: np.ndarray) -> np.ndarray:
    """(N,) sums in float64, so that thousands of small terms do not lose digits."""
    total: np.ndarray = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
    return total
