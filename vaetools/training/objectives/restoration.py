"""The objective of a `Restorer`: first the mean, by regression; then the uncertainty around it.

The second phase trains with the mean frozen:

    mean       E √( (x − μ)² + ε² )                                     (Charbonnier)
    std        E ½ (x − μ)² / s² + ln s                                 (Gaussian, per pixel)
    ladder     E_q ½ (u − g(z))² / ρ² + Σ KL(q(z | u, y) ‖ p(z | y))    with u = (x − μ) / s

The last line is a negative ELBO of u, the residual of the mean in units of the std, with a Gaussian
likelihood of the fixed std ρ (`grain`). The KL of a latent costs nothing below `free_bits` (Kingma et
al., "Improved variational inference with inverse autoregressive flow", 2016); its weight rises.

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

    from vaetools.training.networks.restoration.network import Conditioning, Restorer

Grain: TypeAlias = Annotated[float, Bounds(ge=0.01)]

CHARBONNIER = 1e-3
"""ε: errors below 0.25 on the 0–255 scale count as squares."""

MIN_STD = 1e-4

OUTLIER = 4.0
"""Limit of the errors that the ladder sees, in units of the std."""


SPREAD_FIGURES = ("std", "target", "kl8", "kl4", "kl2", "spread")
"""Names of the figures of `spread_loss`."""


@dataclass(frozen=True)
class RestoreObjective:
    """`[objective]`.

    Attributes:
        ladder_from: share of the training after which the mean is frozen and the std and the ladder are
            trained; 1 for a model without samples, 0 for a mean that was trained before.
        grain: ρ, the noise per pixel that samples do not model, in units of the std.
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
        """Whether the ladder is trained."""
        return self.ladder_from < 1

    def beta(self, done: float) -> float:
        """Weight of the KL after this share of the second phase."""
        return min(1.0, done / self.ramp) if self.ramp else 1.0


def charbonnier(error: Tensor) -> Tensor:
    """About the absolute error, but smooth at 0."""
    return torch.sqrt(error**2 + CHARBONNIER**2)


def spread_loss(
    network: Restorer,
    condition: Conditioning,
    clean: Tensor,
    wanted: RestoreObjective,
    beta: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """(loss of std and ladder in nats per channel of a pixel, figures). The mean gets no gradient.

    Args:
        clean: the targets, (B, 3, H, W).
        beta: weight of the KL, a scalar.

    Returns:
        Figures: `std` and `target`, the two negative log-likelihoods; `kl8`, `kl4`, `kl2`, mean
        nats per latent at 1/8, 1/4 and 1/2; `spread`, the variance of samples in units of the variance.
    """
    with torch.no_grad():
        mean, features = network.mean(condition)
    with torch.autocast(
        clean.device.type, enabled=False
    ):  # likelihoods in bfloat16 would be coarse
        features = [feature.float() for feature in features]
        return _spread_terms(network, condition, clean - mean, features, wanted, beta)


def _spread_terms(
    network: Restorer,
    condition: Conditioning,
    error: Tensor,
    features: Sequence[Tensor],
    wanted: RestoreObjective,
    beta: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """`spread_loss` for the errors of the mean (B, 3, H, W) and the features of the U-Net."""
    weight = condition.gate
    std = network.std(condition, features).clamp(min=MIN_STD)
    fit = weighted(0.5 * (error / std) ** 2 + std.log(), weight)

    unit = (error / std.detach()).clamp(-OUTLIER, OUTLIER)
    noise = standard_noise(network, len(error), error)
    reconstructed, kls = network.reconstruct(features, unit, noise)
    target = weighted(0.5 * ((unit - reconstructed) / wanted.grain) ** 2, weight)
    rate = sum(_rate(kl, wanted.free_bits, weight) for kl in kls)

    first, second = _two_samples(network, features, error)
    centre = weighted(first * second, weight)
    ladder = target + beta * rate + wanted.centre * centre
    values = fit, target, *(kl.mean() for kl in kls), weighted(first**2, weight) - centre
    return fit + ladder, dict(zip(SPREAD_FIGURES, values, strict=True))


def weighted(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of (B, 3, H, W) where the gate (B, 1, H, W) is open."""
    return (values * weight).mean() / weight.mean().clamp(min=1e-6)


def standard_noise(
    network: Restorer, count: int, like: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """(count, noise, H/8, W/8) for images such as (B, 3, H, W): one draw for each latent."""
    shape = (count, network.config.noise, like.shape[2] // CELL, like.shape[3] // CELL)
    return torch.randn(shape, generator=generator, device=like.device)


def _rate(kl: Tensor, free: float, weight: Tensor) -> Tensor:
    """Nats per channel of a pixel for a level (B, latents, h, w), above the free ones.

    Latents and pixels count only where the gate (B, 1, H, W) is open.
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
