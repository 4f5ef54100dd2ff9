"""Effects, traversals and uncertainty of linear models are exact, or exact up to sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.inspection.models import draws, opened, orthogonal
from vaetools.inspection import starts as bases
from vaetools.inspection.effect import FEWEST, STARTS, affordable, effects
from vaetools.inspection.inputs import AT_ONCE, calls_at_once, decode_all
from vaetools.inspection.latents import LatentSums
from vaetools.inspection.traversal import MOVES, traversal
from vaetools.inspection.uncertainty import uncertainty
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.testing import gradient, write_tiny_vae

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.model.vae import Vae


@pytest.fixture
def tiny(tmp_path: Path) -> Vae:
    """Averages 4 × 4 pixels and repeats them; its graphs take one picture at a time."""
    folder = write_tiny_vae(tmp_path / "tiny")
    return ModelRegistry([folder], lambda: Runtime("cpu", threads=1)).open("tiny-vae")


def test_effect_is_the_size_of_the_decoders_column(tmp_path: Path) -> None:
    linear = orthogonal()
    model = opened(linear.write(tmp_path / "m"))
    starts = np.random.default_rng(0).standard_normal((7, 3), dtype=np.float32)
    steps = np.array([1.0, 2.0, 1.0])
    found = np.stack(list(effects(model, starts, steps)))
    expected = np.abs(linear.decode.T * steps[:, None]).reshape(3, *linear.size)
    assert np.allclose(found, expected, atol=1e-6)


def test_large_images_get_fewer_starts() -> None:
    assert affordable(10, 28 * 28) == STARTS
    assert affordable(64, 64 * 64) == 8
    assert affordable(512, 512 * 512) == FEWEST


def test_effect_of_a_channel_is_everywhere_and_in_one_colour(tiny: Vae) -> None:
    starts = tiny.encode(gradient(16, 24)[..., ::-1] / np.float32(255)).mean
    found = np.stack(list(effects(tiny, starts, np.ones(3))))
    # One of three colours moves by one step; the map is the mean over colours.
    assert found.shape == (3, 16, 24)
    assert np.allclose(found, 1 / 3, atol=1e-6)


def test_traversal_moves_one_latent_per_row_about_the_base(tmp_path: Path) -> None:
    linear = orthogonal()
    model = opened(linear.write(tmp_path / "m"))
    base = bases.prior_base(model)
    steps = np.array([1.0, 0.5, 1.0])
    rows = list(traversal(model, base.latent, steps, [1, 0]))
    for row, latent in zip(rows, (1, 0), strict=True):
        moved = np.array(MOVES)[:, None] * steps[latent] * linear.decode[:, latent]
        expected = (linear.centre + moved).reshape(len(MOVES), *linear.size, 1)
        assert np.allclose(row, expected, atol=1e-6)
    middle = MOVES.index(0)
    assert np.allclose(rows[0][middle], model.decode(base.latent)[..., :1], atol=1e-6)
    assert (MOVES[0], MOVES[-1]) == (-2.5, 2.5)


def test_traversal_has_the_pictures_own_size(tiny: Vae) -> None:
    rgb = gradient(13, 18)[..., ::-1] / np.float32(255)
    latent = tiny.encode(rgb).mode()
    (row,) = traversal(tiny, latent, np.ones(3), [2])
    assert row.shape == (len(MOVES), 13, 18, 3)
    assert np.array_equal(row[MOVES.index(0)], tiny.decode(latent))


def test_uncertainty_is_the_root_of_the_decoded_variance(tmp_path: Path) -> None:
    linear = orthogonal()
    model = opened(linear.write(tmp_path / "m"))
    posterior = model.encode(np.repeat(draws(linear, 1)[0].transpose(1, 2, 0), 3, axis=2))
    found = uncertainty(model, posterior, np.random.default_rng(0), samples=4000)
    expected = np.sqrt((linear.decode**2) @ linear.deviation**2).reshape(linear.size)
    assert np.allclose(found, expected, rtol=0.06)


def test_uncertainty_is_not_biased_by_few_draws(tmp_path: Path) -> None:
    linear = orthogonal()
    model = opened(linear.write(tmp_path / "m"))
    posterior = model.encode(np.full((*linear.size, 3), 0.5, np.float32))
    rng = np.random.default_rng(0)
    variances = [uncertainty(model, posterior, rng, samples=2) ** 2 for _ in range(3000)]
    expected = ((linear.decode**2) @ linear.deviation**2).reshape(linear.size)
    assert np.allclose(np.mean(variances, axis=0), expected, rtol=0.2)
    assert np.mean(variances) == pytest.approx(expected.mean(), rel=0.05)


def test_uncertainty_of_a_grid_and_of_a_point(tiny: Vae) -> None:
    rgb = gradient(13, 18)[..., ::-1] / np.float32(255)
    posterior = tiny.encode(rgb)
    found = uncertainty(tiny, posterior, np.random.default_rng(0), samples=500)
    assert found.shape == (13, 18)
    assert found.mean() == pytest.approx(0.05, rel=0.03)
    point = type(posterior)(posterior.mean, None, 13, 18)
    assert not uncertainty(tiny, point, np.random.default_rng(0), samples=3).any()


def test_steps_are_the_priors_or_those_of_the_data(tmp_path: Path) -> None:
    linear = orthogonal()
    with_prior = opened(linear.write(tmp_path / "a", "a"))
    assert bases.steps(with_prior, None, 3).tolist() == [1, 1, 1]
    without = opened(orthogonal(deviation=None, prior="none").write(tmp_path / "b", "b"))
    assert bases.steps(without, None, 3) is None
    sums = LatentSums(prior=False)
    mean, logvar = without.encode_batch(draws(linear, 50))
    sums.add(mean, logvar)
    assert np.allclose(bases.steps(without, sums.result(), 3), mean.std(axis=0), atol=1e-5)


def test_graphs_for_one_picture_are_called_one_by_one(tiny: Vae, tmp_path: Path) -> None:
    assert calls_at_once(tiny) == 1
    linear = opened(orthogonal().write(tmp_path / "m"))
    assert calls_at_once(linear) == AT_ONCE
    latents = np.zeros((3, 3, 2, 2), np.float32)
    assert [len(images) for images in decode_all(tiny, latents)] == [1, 1, 1]
    latents = np.zeros((AT_ONCE + 4, 3), np.float32)
    assert [len(images) for images in decode_all(linear, latents)] == [AT_ONCE, 4]
