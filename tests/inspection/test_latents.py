"""Statistics of latents against their definitions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.inspection.models import draws, opened, orthogonal
from vaetools.inspection.latents import LatentStatistics, LatentSums

if TYPE_CHECKING:
    from pathlib import Path


def statistics(
    mean: np.ndarray, logvar: np.ndarray | None = None, *, prior: bool = True, parts: int = 1
) -> LatentStatistics:
    sums = LatentSums(prior=prior)
    for some in np.array_split(np.arange(len(mean)), parts):
        sums.add(mean[some], None if logvar is None else logvar[some])
    result = sums.result()
    assert result is not None
    return result


def test_the_figures_of_a_linear_model_are_its_closed_forms(tmp_path: Path) -> None:
    linear = orthogonal()
    images = draws(linear, 300)
    mean, logvar = opened(linear.write(tmp_path / "m")).encode_batch(images)
    found = statistics(mean, logvar, parts=7)
    means = linear.means(images)
    assert found.images == 300
    assert np.allclose(found.kl, linear.kl(images).mean(axis=0), atol=1e-5)
    assert np.allclose(found.variance, means.var(axis=0), atol=1e-5)
    assert np.allclose(found.mean, means.mean(axis=0), atol=1e-5)
    total = means.var(axis=0) + linear.deviation**2
    assert np.allclose(found.deviation, np.sqrt(total), atol=1e-5)
    # The prior of pictures drawn from the model is their aggregate posterior.
    assert np.allclose(found.deviation, 1, atol=0.15)
    assert found.active.tolist() == [True, True, False]
    assert found.kl[2] == pytest.approx(0, abs=1e-6)


def test_a_grid_is_summed_over_positions_per_channel() -> None:
    rng = np.random.default_rng(0)
    mean = rng.standard_normal((5, 2, 3, 4)) * np.array([2, 0.01])[:, None, None]
    logvar = np.log(rng.uniform(0.1, 1, mean.shape))
    found = statistics(mean, logvar, parts=2)
    kl = 0.5 * (mean**2 + np.exp(logvar) - 1 - logvar)
    assert np.allclose(found.kl, kl.sum(axis=(2, 3)).mean(axis=0))
    assert np.allclose(found.variance, mean.var(axis=(0, 2, 3)))
    assert np.allclose(found.posterior_variance, np.exp(logvar).mean(axis=(0, 2, 3)))
    assert found.active.tolist() == [True, False]


def test_correlations_are_those_of_numpy_and_survive_far_origins() -> None:
    rng = np.random.default_rng(1)
    mean = rng.standard_normal((400, 3)) @ rng.standard_normal((3, 3)) * 1e-3 + 1000
    found = statistics(mean, np.zeros_like(mean), parts=9)
    assert np.allclose(found.correlation, np.corrcoef(mean.T), atol=1e-6)
    assert np.allclose(found.variance, mean.var(axis=0), rtol=1e-6)


def test_a_latent_that_never_varies_has_no_correlation() -> None:
    mean = np.stack([np.arange(4.0), np.ones(4)], axis=1)
    found = statistics(mean, np.zeros_like(mean))
    assert found.variance[1] == 0
    assert np.isnan(found.correlation[1]).all() and np.isnan(found.correlation[:, 1]).all()
    assert found.correlation[0, 0] == pytest.approx(1)


@pytest.mark.parametrize(("active", "collapsed"), [(0, True), (1, True), (2, False), (10, False)])
def test_collapse_is_below_a_fifth(active: int, collapsed: bool) -> None:
    mean = np.random.default_rng(2).standard_normal((50, 10))
    mean[:, active:] *= 1e-3
    assert statistics(mean, np.zeros_like(mean)).collapsed is collapsed


def test_what_cannot_be_said_is_none() -> None:
    mean = np.random.default_rng(3).standard_normal((6, 2))
    points = statistics(mean)
    assert points.kl is None and points.posterior_variance is None and points.active is None
    assert np.allclose(points.deviation, mean.std(axis=0))
    no_prior = statistics(mean, np.zeros_like(mean), prior=False)
    assert no_prior.kl is None and no_prior.collapsed is None
    assert no_prior.variance is not None
    one = statistics(mean[:1], np.zeros((1, 2)))
    assert one.variance is None and one.active is None and one.deviation is None
    assert one.kl is not None
    assert LatentSums(prior=True).result() is None


def test_active_is_above_the_threshold_not_at_it() -> None:
    mean = np.array([[-0.1], [0.1]])
    at = statistics(mean, np.zeros_like(mean))
    assert replace(at, variance=np.array([0.01])).active.tolist() == [False]
    assert replace(at, variance=np.array([0.0101])).active.tolist() == [True]
