"""The gradient of the codec's synthesis that is exported, against automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vaetools.training.export.folder import apart
from vaetools.training.networks.codec import CodecConfig, PhotoCodec
from vaetools.training.networks.codec.gradient import SynthesisGradient

SMALL = CodecConfig(
    channels=8,
    middle=12,
    latents=10,
    hyper=4,
    hyper_hidden=8,
    analysis_blocks=1,
    synthesis_blocks=2,
    middle_blocks=2,
    rates=3,
)


@pytest.mark.parametrize("rates", [(1, 1), (24, 16)])
def test_it_is_the_gradient(rates: tuple[int, int]) -> None:
    torch.manual_seed(0)
    synthesis = PhotoCodec(SMALL).synthesis
    for gate in synthesis.gates:  # they begin with doing nothing
        torch.nn.init.normal_(gate.net[2].weight, std=0.5)
    latents = 3 * torch.randn(1, SMALL.latents, 12, 8)
    image, weight = torch.rand(1, 3, 192, 128), torch.rand(1, 1, 192, 128)
    rate = torch.rand(1, 1, *rates)

    latents.requires_grad_(True)
    found = synthesis(latents, rate)
    assert (found < 0).any() and (found > 1).any()
    # Clipping takes part in the error, and not in the gradient.
    error = found + (found.clamp(0, 1) - found).detach() - image
    expected = weight * error.square()
    (slope,) = torch.autograd.grad(expected.sum(), latents)

    with torch.no_grad():
        gradient, errors = SynthesisGradient(synthesis)(latents, rate, image, weight)
    torch.testing.assert_close(gradient, slope)
    torch.testing.assert_close(errors, expected.sum(dim=1, keepdim=True))


def test_a_jump_at_a_relu_is_no_difference_and_a_wrong_gradient_is_one() -> None:
    right = np.random.default_rng(0).standard_normal((1, 8, 20, 20)).astype(np.float32)
    jumped = right.copy()
    jumped[0, :, 3, 4] += 0.01  # at one place, in all channels
    assert apart("gradient", jumped, right) < 1e-6
    assert apart("image", jumped, right) > 0.009
    assert apart("gradient", 1.001 * right, right) > 1e-4
    jumped[0, 0, 0, 0] = np.nan
    assert np.isnan(apart("gradient", jumped, right))
