"""EM-style training: the posterior of each image is refined by gradient ascent on its bound.

The encoder predicts a posterior in one pass; it is not the best one (the "amortisation gap"). The
E-step starts from it and improves the mean and the log-variance of each image with the decoder fixed.
The M-step is the ordinary optimizer step, which trains the decoder on the refined posteriors and the
encoder to predict them.

References:
    Neal & Hinton, "A view of the EM algorithm that justifies incremental, sparse, and other
        variants", 1998;
    Cremer, Li & Duvenaud, "Inference suboptimality in variational autoencoders", ICML 2018;
    Kim et al., "Semi-amortized variational autoencoders", ICML 2018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaetools.training.objectives.elbo import gaussian_kl, log_likelihood

if TYPE_CHECKING:
    from vaetools.training.networks.common import VaeNetwork


def refine(
    network: VaeNetwork,
    images: Tensor,
    mean: Tensor,
    logvar: Tensor,
    noise: Tensor,
    *,
    steps: int = 20,
    rate: float = 0.05,
) -> tuple[Tensor, Tensor]:
    """The E-step: (mean, logvar) with a higher ELBO; the decoder is fixed.

    All steps use the same noise (common random numbers), and each image keeps its best step, so that
    the bound of no image decreases under this noise.

    Args:
        images: (B, C, H, W).
        mean, logvar: initial values, such as the encoder's posterior.
        noise: (S, B, ...), standard normal. With S = 1 the posterior would overfit the noise: it would
            place z where it fits best and let the variance grow, which then costs nothing.
        steps: of Adam, with learning rate `rate`.
    """
    best = [mean.detach().clone(), logvar.detach().clone()]
    current = [t.clone().requires_grad_() for t in best]
    highest = torch.full((len(images),), -torch.inf, device=mean.device)
    optimizer = torch.optim.Adam(current, lr=rate)
    for step in range(steps + 1):
        with torch.enable_grad():
            bound = shared_bound(network, images, current[0], current[1], noise)
        better = bound.detach() > highest
        highest = torch.where(better, bound.detach(), highest)
        for kept, now in zip(best, current, strict=True):
            kept[better] = now.detach()[better]
        if step < steps:
            current[0].grad, current[1].grad = torch.autograd.grad(-bound.sum(), current)
            optimizer.step()
    return best[0], best[1]


def shared_bound(
    network: VaeNetwork, images: Tensor, mean: Tensor, logvar: Tensor, noise: Tensor
) -> Tensor:
    """(B,) ELBO for fixed noise (S, B, ...): a deterministic function of the parameters."""
    latents = mean + torch.exp(0.5 * logvar) * noise
    total = torch.stack([log_likelihood(network, images, network.decode(z)) for z in latents])
    return total.mean(0) - gaussian_kl(mean, logvar)


def distance(mean: Tensor, logvar: Tensor, to_mean: Tensor, to_logvar: Tensor) -> Tensor:
    """(B,) KL(N(mean, exp logvar) ‖ N(to_mean, exp to_logvar)), nats."""
    ratio = torch.exp(logvar - to_logvar)
    error = (mean - to_mean) ** 2 * torch.exp(-to_logvar)
    return 0.5 * (ratio + error - 1.0 + to_logvar - logvar).flatten(1).sum(1)
