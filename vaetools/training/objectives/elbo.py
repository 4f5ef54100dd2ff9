"""The objective of the VAEs: bounds on log p(x), in nats per image.

    ELBO(x)   = E_q log p(x | z) − β · KL(q(z | x) ‖ N(0, 1))       (a bound for β ≥ 1; the ELBO for 1)
    IWAE_K(x) = E log 1/K Σ_k p(x | z_k) p(z_k) / q(z_k | x)

Both terms are sums, over pixels and over latents: a mean over one of them would weight the other by a
factor of hundreds (docs/theory.md). The noise comes from a generator, so that two calls can share it.

References:
    Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014;
    Higgins et al., "β-VAE", ICLR 2017;
    Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from vaetools.training.networks.common import VaeNetwork

LOG_TWO_PI = math.log(2 * math.pi)


class Terms(NamedTuple):
    """(B,) nats each."""

    log_likelihood: Tensor
    kl: Tensor

    def bound(self, beta: float = 1.0) -> Tensor:
        """(B,) the ELBO for β = 1."""
        return self.log_likelihood - beta * self.kl


def gaussian_kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """(B,) KL(N(mean, exp(logvar)) ‖ N(0, 1)), nats."""
    return 0.5 * (mean**2 + logvar.exp() - 1.0 - logvar).flatten(1).sum(1)


def log_likelihood(network: VaeNetwork, images: Tensor, decoded: Tensor) -> Tensor:
    """(B,) log p(images | z) for the output of `decode`, nats."""
    if network.likelihood == "bernoulli":
        terms = -F.binary_cross_entropy_with_logits(decoded, images, reduction="none")
    else:
        log_deviation = network.log_deviation
        error = (images - decoded) * torch.exp(-log_deviation)
        terms = -0.5 * (error**2 + LOG_TWO_PI) - log_deviation
    return terms.flatten(1).sum(1)


def sample(mean: Tensor, logvar: Tensor | None, generator: torch.Generator | None) -> Tensor:
    """mean + exp(logvar / 2) · noise; the mean if there is no logvar."""
    if logvar is None:
        return mean
    noise = torch.randn(mean.shape, generator=generator).to(mean.device)
    return mean + torch.exp(0.5 * logvar) * noise


def terms_at(
    network: VaeNetwork,
    images: Tensor,
    mean: Tensor,
    logvar: Tensor | None,
    generator: torch.Generator | None,
) -> Terms:
    """Both terms for given variational parameters. The KL of an autoencoder is 0."""
    decoded = network.decode(sample(mean, logvar, generator))
    kl = torch.zeros_like(images[:, 0, 0, 0]) if logvar is None else gaussian_kl(mean, logvar)
    return Terms(log_likelihood(network, images, decoded), kl)


def terms(network: VaeNetwork, images: Tensor, generator: torch.Generator | None = None) -> Terms:
    """Both terms with the encoder's posterior and one sample of it."""
    mean, logvar = network.encode(images)
    return terms_at(network, images, mean, logvar, generator)


def iwae(
    network: VaeNetwork, images: Tensor, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """(B,) importance-weighted bound with K = `samples`, nats.

    Raises:
        ValueError: the network has no posterior.
    """
    mean, logvar = network.encode(images)
    if logvar is None:
        raise ValueError("a plain autoencoder has no posterior and no bound")
    mean, logvar = (t.repeat_interleave(samples, 0) for t in (mean, logvar))
    latents = sample(mean, logvar, generator)
    noise = (latents - mean) * torch.exp(-0.5 * logvar)
    ratio = 0.5 * (noise**2 + logvar - latents**2).flatten(1).sum(1)  # log p(z) − log q(z | x)
    decoded = network.decode(latents)
    weights = log_likelihood(network, images.repeat_interleave(samples, 0), decoded) + ratio
    return torch.logsumexp(weights.reshape(-1, samples), 1) - math.log(samples)


def psnr(images: Tensor, wanted: Tensor) -> Tensor:
    """(B,) PSNR in dB of images (B, C, H, W), clipped to [0, 1], against those wanted."""
    error = (images.clamp(0, 1) - wanted) ** 2
    return -10 * torch.log10(error.flatten(1).mean(1))
