"""The bounds against what can be computed exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaetools.training.networks.common import ImageShape, VaeNetwork
from vaetools.training.networks.mlp import MlpAutoencoder, MlpVae
from vaetools.training.objectives.elbo import gaussian_kl, iwae, log_likelihood, sample, terms
from vaetools.training.objectives.em import distance, refine, shared_bound

SHAPE = ImageShape(1, 2, 3)
FACTORS = 2


class LinearVae(VaeNetwork):
    """x = W z + b + noise; the posterior is exactly Gaussian, and diagonal for a suitable W.

    Lucas et al., "Don't blame the ELBO!", NeurIPS 2019.
    """

    def __init__(self) -> None:
        super().__init__(SHAPE, FACTORS, "gaussian")
        self.encoder = nn.Linear(SHAPE.numbers, FACTORS)
        self.logvar = nn.Parameter(torch.zeros(FACTORS))
        self.decoder = nn.Linear(FACTORS, SHAPE.numbers)
        nn.init.zeros_(self.log_deviation)  # the data spread by 1, not by 0.1 as pixels do

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.encoder(images.flatten(1))
        return mean, self.logvar.expand_as(mean)

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(latents).unflatten(1, tuple(SHAPE))

    def log_evidence(self, images: Tensor) -> Tensor:
        """(B,) log p(x) = log N(x; b, W Wᵀ + σ² I), exact."""
        weight = self.decoder.weight.double()
        variance = torch.exp(2 * self.log_deviation.double()) * torch.eye(SHAPE.numbers)
        return torch.distributions.MultivariateNormal(
            self.decoder.bias.double(), weight @ weight.T + variance
        ).log_prob(images.flatten(1).double())


@pytest.fixture(scope="module")
def images() -> Tensor:
    """(400, 1, 2, 3) drawn from a linear model with two factors."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.tensor([[2.0, 0], [1, 0], [0, 1.5], [0, -1], [1, 1], [0.5, 0]])
    z = torch.randn(400, FACTORS, generator=generator)
    noise = 0.3 * torch.randn(400, SHAPE.numbers, generator=generator)
    return (z @ weight.T + 0.5 + noise).unflatten(1, tuple(SHAPE))


def exact_ppca(images: Tensor) -> float:
    """Mean log-likelihood of the maximum-likelihood pPCA (Tipping & Bishop 1999, eq. 7 and 8)."""
    x = images.flatten(1).double().numpy()
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    kept, rest = eigenvalues[:FACTORS], eigenvalues[FACTORS:]
    log_determinant = np.log(kept).sum() + len(rest) * math.log(rest.mean())
    return -0.5 * (SHAPE.numbers * (math.log(2 * math.pi) + 1) + log_determinant)


@pytest.mark.train
def test_a_linear_vae_reaches_the_exact_likelihood_of_ppca(images: Tensor) -> None:
    torch.manual_seed(0)
    network = LinearVae()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2000)
    for _ in range(2000):
        loss = -terms(network, images, generator).bound().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    exact = exact_ppca(images)
    with torch.no_grad():
        noise = torch.randn((200, len(images), FACTORS), generator=generator)
        found = shared_bound(network, images, *network.encode(images), noise).mean()
        bound = iwae(network, images, 200, generator).mean()
        assert float(found) == pytest.approx(exact, abs=0.1)
        assert float(bound) == pytest.approx(exact, abs=0.1)
        assert float(network.log_evidence(images).mean()) == pytest.approx(exact, abs=0.05)


def test_the_importance_weighted_bound_rises_with_k_to_the_evidence(images: Tensor) -> None:
    torch.manual_seed(1)
    network = LinearVae()  # its posterior is wrong: the ELBO is far below
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        exact = float(network.log_evidence(images).mean())
        noise = torch.randn((500, len(images), FACTORS), generator=generator)
        elbo = float(shared_bound(network, images, *network.encode(images), noise).mean())
        bounds = [float(iwae(network, images, k, generator).mean()) for k in (1, 4, 16, 64, 2000)]
    assert bounds[0] == pytest.approx(elbo, abs=0.3)
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(exact, abs=0.1)
    assert elbo < exact - 0.5


def test_closed_kl_is_the_monte_carlo_one() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(5, 4, generator=generator)
    logvar = torch.randn(5, 4, generator=generator) - 1
    other, other_logvar = torch.zeros(5, 4) + 0.3, torch.zeros(5, 4) - 0.5
    z = sample(mean.expand(200_000, 5, 4), logvar.expand(200_000, 5, 4), generator)

    def log_normal(m: Tensor, lv: Tensor) -> Tensor:
        return -0.5 * ((z - m) ** 2 * torch.exp(-lv) + lv + math.log(2 * math.pi)).sum(2)

    log_q = log_normal(mean, logvar)
    to_prior = (log_q - log_normal(torch.zeros(4), torch.zeros(4))).mean(0)
    to_other = (log_q - log_normal(other, other_logvar)).mean(0)
    torch.testing.assert_close(gaussian_kl(mean, logvar), to_prior, rtol=0, atol=0.05)
    torch.testing.assert_close(
        distance(mean, logvar, other, other_logvar), to_other, rtol=0, atol=0.05
    )


def test_likelihoods_are_sums_over_pixels_in_nats() -> None:
    torch.manual_seed(0)
    x = torch.tensor([[[[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]]])
    bernoulli = MlpVae(SHAPE, hidden=[4], latents=2)
    even = log_likelihood(bernoulli, x, torch.zeros_like(x))
    assert float(even) == pytest.approx(-6 * math.log(2))
    gaussian = MlpVae(SHAPE, hidden=[4], latents=2, likelihood="gaussian")
    with torch.no_grad():
        gaussian.log_deviation.fill_(math.log(0.5))
    wanted = torch.distributions.Normal(0.25, 0.5).log_prob(x).sum()
    found = log_likelihood(gaussian, x, torch.full_like(x, 0.25))
    assert float(found.detach()) == pytest.approx(float(wanted), rel=1e-5)


def test_an_autoencoder_has_no_bound() -> None:
    network = MlpAutoencoder(SHAPE, hidden=[4], latents=2)
    with pytest.raises(ValueError, match="no posterior"):
        iwae(network, torch.zeros(1, *SHAPE), 5)
    assert float(terms(network, torch.zeros(1, *SHAPE)).kl) == 0.0


def digits(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return (torch.rand(count, *SHAPE, generator=generator) < 0.4).float()


def test_an_e_step_lowers_the_bound_of_no_image() -> None:
    torch.manual_seed(2)
    network, x = MlpVae(SHAPE, hidden=[16], latents=2), digits(64)
    mean, logvar = network.encode(x)
    same = torch.randn((8, *mean.shape), generator=torch.Generator().manual_seed(5))
    better = refine(network, x, mean, logvar, same, steps=30)
    with torch.no_grad():
        before = shared_bound(network, x, mean, logvar, same)
        after = shared_bound(network, x, *better, same)
        assert bool((after >= before - 1e-4).all())
        fresh = torch.randn((400, *mean.shape), generator=torch.Generator().manual_seed(6))
        gain = shared_bound(network, x, *better, fresh) - shared_bound(
            network, x, mean, logvar, fresh
        )
        assert float(gain.mean()) > 0  # not only under the noise that it saw
    assert all(p.grad is None for p in network.parameters())
