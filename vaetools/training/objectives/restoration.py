"""What a `Restorer` learns: first the mean, by regression; then what remains uncertain around it.

Both phases minimise one objective in turn, the second with the mean frozen:

    mean       E √( (x − μ)² + ε² )                                     (Charbonnier)
    deviation  E ½ (x − μ)² / s² + ln s                                 (Gaussian, per pixel)
    ladder     E_q ½ (u − g(z))² / ρ² + Σ KL(q(z | u, y) ‖ p(z | y))    with u = (x − μ) / s

The last line is a negative ELBO of u, what the mean lacks in units of the deviation, with a Gaussian
likelihood of the fixed deviation ρ (`grain`). A latent's KL costs nothing below `free_bits` (Kingma
et al., "Improved variational inference with inverse autoregressive flow", 2016); its weight rises.

So that the mean of many samples stays μ, E[g] under the prior must be 0: for two independent draws
E[g₁ g₂] = E[g]², and this product is the penalty. (The square of their mean would also punish
their spread, which is wanted.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from vaetools.tomlfile import Bounds
from vaetools.training.networks.restoration.network import CELL
from vaetools.training.recipe import NotNegative, Share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.training.networks.restoration.network import Given, Restorer

Grain: TypeAlias = Annotated[float, Bounds(ge=0.01)]

CHARBONNIER = 1e-3
"""ε: errors below a quarter of a grey level count as squares."""

LEAST_DEVIATION = 1e-4

OUTLIER = 4.0
"""Deviations beyond which an error counts as this large for the ladder."""


SPREAD_FIGURES = ("deviation", "answer", "kl8", "kl4", "kl2", "spread")
"""What `spread_loss` tells."""


@dataclass(frozen=True)
class RestoreObjective:
    """`[objective]`.

    Attributes:
        ladder_from: share of the training after which the mean is frozen and the deviation and the
            ladder learn; 1 for a model without samples, 0 for a mean that has learned before.
        grain: ρ, what samples leave to chance in every pixel, in deviations.
        free_bits: nats per latent that cost nothing.
        ramp: share of the second phase over which the weight of the KL rises to 1.
        centre: weight of the penalty on the mean of samples.
    """

    ladder_from: Share = 0.8
    grain: Grain = 0.4
    free_bits: NotNegative = 0.1
    ramp: Share = 0.3
    centre: NotNegative = 2.0

    @property
    def phases(self) -> tuple[float, ...]:
        """Ends of the phases, as shares of the training."""
        return (self.ladder_from, 1.0) if 0 < self.ladder_from < 1 else (1.0,)

    @property
    def samples(self) -> bool:
        """Whether the ladder learns at all."""
        return self.ladder_from < 1

    def beta(self, done: float) -> float:
        """Weight of the KL when this share of the second phase is done."""
        return min(1.0, done / self.ramp) if self.ramp else 1.0


def charbonnier(error: Tensor) -> Tensor:
    """About the absolute error, but smooth at 0."""
    return torch.sqrt(error**2 + CHARBONNIER**2)


def spread_loss(
    network: Restorer, given: Given, clean: Tensor, wanted: RestoreObjective, beta: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """(loss of deviation and ladder in nats per sample of a pixel, figures). Only they learn.

    Args:
        clean: the answers, (B, 3, H, W).
        beta: weight of the KL, a scalar.

    Returns:
        Figures: `deviation` and `answer`, the two negative log-likelihoods; `kl8`, `kl4`, `kl2`, mean
        nats per latent at 1/8, 1/4 and 1/2; `spread`, the variance of samples in deviations².
    """
    with torch.no_grad():
        mean, features = network.mean(given)
    with torch.autocast(
        clean.device.type, enabled=False
    ):  # likelihoods in bfloat16 would be coarse
        features = [feature.float() for feature in features]
        return _spread_terms(network, given, clean - mean, features, wanted, beta)


def _spread_terms(
    network: Restorer,
    given: Given,
    error: Tensor,
    features: Sequence[Tensor],
    wanted: RestoreObjective,
    beta: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The same, given the errors of the mean (B, 3, H, W) and the features of the U-Net."""
    weight = given.gate
    deviation = network.deviation(given, features).clamp(min=LEAST_DEVIATION)
    fit = weighted(0.5 * (error / deviation) ** 2 + deviation.log(), weight)

    unit = (error / deviation.detach()).clamp(-OUTLIER, OUTLIER)
    noise = standard_noise(network, len(error), error)
    explained, kls = network.explain(features, unit, noise)
    answer = weighted(0.5 * ((unit - explained) / wanted.grain) ** 2, weight)
    rate = sum(_rate(kl, wanted.free_bits, weight) for kl in kls)

    first, second = _two_samples(network, features, error)
    centre = weighted(first * second, weight)
    ladder = answer + beta * rate + wanted.centre * centre
    told = fit, answer, *(kl.mean() for kl in kls), weighted(first**2, weight) - centre
    return fit + ladder, dict(zip(SPREAD_FIGURES, told, strict=True))


def weighted(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of (B, 3, H, W) where the gate (B, 1, H, W) is open."""
    return (values * weight).mean() / weight.mean().clamp(min=1e-6)


def standard_noise(
    network: Restorer, count: int, like: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """(count, noise, H/8, W/8) for pictures like (B, 3, H, W): one draw for each latent."""
    shape = (count, network.config.noise, like.shape[2] // CELL, like.shape[3] // CELL)
    return torch.randn(shape, generator=generator, device=like.device)


def _rate(kl: Tensor, free: float, weight: Tensor) -> Tensor:
    """Nats per sample of a pixel that a level (B, latents, h, w) costs, above those that are free.

    Both are counted where the gate (B, 1, H, W) is open: latents elsewhere have nothing to tell.
    """
    used = F.max_pool2d(weight, weight.shape[2] // kl.shape[2])
    per_channel = ((kl * used).sum(dim=(0, 2, 3)) / used.sum().clamp(min=1e-6)).clamp(min=free)
    return per_channel.sum() * used.sum() / (3 * weight.sum()).clamp(min=1e-6)


def _two_samples(
    network: Restorer, features: Sequence[Tensor], images: Tensor
) -> tuple[Tensor, Tensor]:
    """g of two independent draws from the prior."""
    noise = standard_noise(network, 2 * len(images), images)
    spread, _ = network.ladder([torch.cat([f, f]) for f in features], noise)
    first, second = spread.chunk(2)
    return first, second
