"""EM-style inference: variational parameters of single images, improved by gradient ascent.

The encoder guesses a posterior in one pass; its guess is not the best one ("amortisation gap"). An
E-step starts from it and improves mean and logvar of each image while the decoder stands still; an
M-step then improves the decoder while the posteriors stand still. Alternating the two is variational
EM: neither step lowers the bound.

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
    """The E-step: (mean, logvar) with a higher ELBO, decoder fixed.

    All steps share their noise (common random numbers), and each image keeps the best of them: the
    bound under this noise never falls, for no image.

    Args:
        images: (B, C, H, W).
        mean, logvar: where to start, such as the encoder's posterior.
        noise: (S, B, ...), standard normal. With S = 1 the posterior would learn that very noise: it
            would put z where it fits best and let its variance grow, as that costs nothing then.
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


def m_step(
    network: VaeNetwork,
    images: Tensor,
    mean: Tensor,
    logvar: Tensor,
    noise: Tensor,
    *,
    rate: float = 1e-2,
    halvings: int = 10,
) -> float:
    """The M-step: one gradient ascent of the decoder on all images, posteriors fixed.

    The step is halved until it does not lower the bound, and left out where none helps.

    Args:
        mean, logvar, noise: as `refine` takes and gives them; neither step lowers the bound under
            noise that both share.
        rate: length of the first step along the gradient of the mean bound.

    Returns:
        The mean bound after the step, nats per image.
    """
    mean, logvar = mean.detach(), logvar.detach()
    before = shared_bound(network, images, mean, logvar, noise).mean()
    moving = [p for p in network.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(before, moving, allow_unused=True)  # the encoder has none
    pairs = [(p, g) for p, g in zip(moving, slopes, strict=True) if g is not None]
    with torch.no_grad():
        start = [p.clone() for p, _ in pairs]
        for halving in range(halvings):
            for (parameter, slope), old in zip(pairs, start, strict=True):
                parameter.copy_(old + rate * 0.5**halving * slope)
            after = shared_bound(network, images, mean, logvar, noise).mean()
            if after >= before:
                return float(after)
        for (parameter, _), old in zip(pairs, start, strict=True):
            parameter.copy_(old)
    return float(before)


def shared_bound(
    network: VaeNetwork, images: Tensor, mean: Tensor, logvar: Tensor, noise: Tensor
) -> Tensor:
    """(B,) ELBO with given noise (S, B, ...): the same function of the parameters at every call."""
    latents = mean + torch.exp(0.5 * logvar) * noise
    total = torch.stack([log_likelihood(network, images, network.decode(z)) for z in latents])
    return total.mean(0) - gaussian_kl(mean, logvar)


def distance(mean: Tensor, logvar: Tensor, to_mean: Tensor, to_logvar: Tensor) -> Tensor:
    """(B,) KL(N(mean, exp logvar) ‖ N(to_mean, exp to_logvar)), nats: teaches an encoder a posterior."""
    ratio = torch.exp(logvar - to_logvar)
    error = (mean - to_mean) ** 2 * torch.exp(-to_logvar)
    return 0.5 * (ratio + error - 1.0 + to_logvar - logvar).flatten(1).sum(1)
