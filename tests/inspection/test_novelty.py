"""Scores against closed forms, and p-values against what they promise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.inspection.models import Linear, draws, opened, orthogonal
from vaetools.inspection.novelty import HELD, Reference, Score, Scorer, draw_images
from vaetools.model.bounds import binarise

if TYPE_CHECKING:
    from pathlib import Path


def scores(model, images: np.ndarray, *, samples: int = 4, binary: bool = False) -> list[Score]:
    scorer = Scorer(model, np.random.default_rng(0), samples, binary)
    return scorer.score(images, [images.shape[2:]] * len(images))[0]


def score(reconstruction: float, kl: float | None = None) -> Score:
    return Score(1, reconstruction, kl, 30.0)


def test_terms_of_a_gaussian_model(tmp_path: Path) -> None:
    linear = orthogonal()
    images = draws(linear, 5)
    found = scores(opened(linear.write(tmp_path / "m")), images, samples=3000)
    flat = images.reshape(5, -1)
    errors = flat - linear.means(images) @ linear.decode.T - linear.centre
    spread = ((linear.decode**2) @ linear.deviation**2).sum()
    expected = 0.5 * ((errors**2).sum(axis=1) + spread) / linear.noise**2
    expected += 24 * math.log(linear.noise * math.sqrt(2 * math.pi))
    assert np.allclose([s.reconstruction * 24 for s in found], expected, atol=0.1)
    assert np.allclose([s.kl for s in found], linear.kl(images).sum(axis=1), atol=1e-4)
    decibels = 10 * np.log10(1 / (errors**2).mean(axis=1))
    assert np.allclose([s.psnr for s in found], decibels, atol=1e-3)
    assert {s.dimensions for s in found} == {24}
    # Probabilistic PCA with its exact posterior: the bound is log p(x).
    covariance = linear.decode @ linear.decode.T + linear.noise**2 * np.eye(24)
    centred = flat - linear.centre
    exponents = np.einsum("nd,de,ne->n", centred, np.linalg.inv(covariance), centred)
    log_p = -0.5 * (exponents + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert np.allclose([sum(s.terms) * 24 for s in found], -log_p, atol=0.1)


def constant_bernoulli(logit: float) -> Linear:
    """Every pixel is white with the same probability, whatever the latents are."""
    return orthogonal(
        likelihood="bernoulli",
        decode=np.zeros((24, 3)),
        centre=np.full(24, logit),
    )


def test_terms_of_a_bernoulli_model(tmp_path: Path) -> None:
    model = opened(constant_bernoulli(1.0).write(tmp_path / "m"))
    white, black = -math.log(1 / (1 + math.exp(-1))), -math.log(1 / (1 + math.exp(1)))
    images = np.zeros((2, 1, 6, 4), np.float32)
    images[1] = 1
    found = scores(model, images, binary=True)
    assert [s.reconstruction for s in found] == pytest.approx([black, white], rel=1e-6)
    grey = np.full((200, 1, 6, 4), 0.25, np.float32)
    drawn = scores(model, grey, binary=True)
    mean = np.mean([s.reconstruction for s in drawn])
    assert mean == pytest.approx(0.25 * white + 0.75 * black, abs=0.03)
    assert len({s.reconstruction for s in drawn}) > 3  # drawn, not grey
    left = scores(model, grey[:2], binary=False)
    assert left[0].reconstruction == pytest.approx(0.25 * white + 0.75 * black, rel=1e-6)


def test_terms_of_a_model_without_likelihood_and_of_an_autoencoder(tmp_path: Path) -> None:
    linear = orthogonal(likelihood="none")
    images = draws(linear, 4)
    (first, *_) = scores(opened(linear.write(tmp_path / "a", "a")), images)
    decoded = linear.means(images) @ linear.decode.T + linear.centre
    errors = ((images.reshape(4, -1) - decoded) ** 2).mean(axis=1)
    assert first.reconstruction == pytest.approx(errors[0], rel=1e-3)
    assert first.kl is not None and len(first.terms) == 2
    points = orthogonal(likelihood="none", deviation=None, prior="none")
    (first, *_) = scores(opened(points.write(tmp_path / "b", "b")), images)
    assert first.kl is None and first.terms == (first.reconstruction,)
    assert first.reconstruction == pytest.approx(errors[0], rel=1e-3)


def test_percentiles_and_p_values_by_hand() -> None:
    reference = Reference(HELD, [score(float(i)) for i in range(1, 100)])  # 1 … 99
    middle = reference.compare(score(50))
    assert middle.percentiles == (50.0,) and middle.p_value == 1.0 and middle.distance == 0
    above = reference.compare(score(1000))
    assert above.percentiles == (100.0,) and above.high
    assert above.p_value == pytest.approx(2 * 1 / 100)
    below = reference.compare(score(1.5))  # one is lower
    assert below.percentiles[0] == pytest.approx(100 / 99)
    assert below.p_value == pytest.approx(2 * 2 / 100) and not below.high
    assert above.distance == pytest.approx((1000 - 50) / (1.4826 * 25))
    tie = reference.compare(score(99))  # as high as the highest: ties count against strangeness
    assert tie.p_value == pytest.approx(2 * 2 / 100)


def test_two_terms_share_the_level() -> None:
    reference = Reference(HELD, [score(float(i), float(i)) for i in range(1, 100)])
    one = reference.compare(score(50, 1000))
    assert one.percentiles == (50.0, 100.0)
    assert (one.term, one.high) == (1, True)
    assert one.p_value == pytest.approx(2 * 2 / 100)
    assert one.unlike
    stranger = reference.compare(score(-1, 1e6))  # equal p-values: the distance decides
    assert stranger.term == 1


def test_a_reference_without_spread_is_no_division_by_zero() -> None:
    reference = Reference(HELD, [score(2.0)] * 50)
    same, other = reference.compare(score(2.0)), reference.compare(score(2.1))
    assert same.p_value == 1 and same.distance == 0
    assert other.unlike and math.isfinite(other.distance) and other.distance > 1000


def test_a_small_reference_cannot_tell() -> None:
    for terms, fewest in ((1, 40), (2, 80)):
        far = score(1e9, 1e9 if terms == 2 else None)
        near = [score(float(i), float(i) if terms == 2 else None) for i in range(fewest)]
        enough, short = Reference(HELD, near), Reference(HELD, near[:-1])
        assert (enough.fewest, enough.large_enough, short.large_enough) == (fewest, True, False)
        assert enough.compare(far).unlike and not short.compare(far).unlike


def test_draws_of_the_model_are_its_distribution(tmp_path: Path) -> None:
    linear = orthogonal()
    model = opened(linear.write(tmp_path / "a", "a"))
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((3000, 3), dtype=np.float32)
    flat = draw_images(model, latents, rng).reshape(3000, -1)
    covariance = linear.decode @ linear.decode.T + linear.noise**2 * np.eye(24)
    assert np.allclose(np.cov(flat.T), covariance, atol=0.004)
    assert flat.min() >= 0 and flat.max() <= 1
    bernoulli = opened(constant_bernoulli(1.0).write(tmp_path / "b", "b"))
    means = draw_images(bernoulli, latents[:2], rng)
    assert np.allclose(means, 1 / (1 + math.exp(-1)))


def test_pictures_of_the_model_are_known_others_not_and_simple_ones_neither(
    tmp_path: Path,
) -> None:
    """The likelihood prefers the plain grey page to all pictures of the model; we do not."""
    linear = orthogonal(size=(12, 10), scales=(0.9, 0.7, 0.5), noise=0.05)
    model = opened(linear.write(tmp_path / "m"))
    held = scores(model, draws(linear, 300, seed=1))
    reference = Reference(HELD, held)
    share = {}
    plain = np.full((20, 1, 12, 10), 0.5, np.float32)
    shuffled = draws(linear, 200, seed=3)[..., ::-1, ::-1].copy()
    for name, images in {
        "alike": draws(linear, 600, seed=2),
        "turned": shuffled,
        "plain": plain,
    }.items():
        found = [reference.compare(one) for one in scores(model, images)]
        share[name] = np.mean([one.unlike for one in found])
        if name == "plain":
            assert not found[0].high
    assert share["alike"] <= 0.08  # 5 % promised, within sampling
    assert share["turned"] > 0.5
    assert share["plain"] == 1
    bounds = sorted(sum(one.terms) for one in held)
    assert sum(scores(model, plain[:1])[0].terms) < bounds[0]


def test_binarised_pictures_stay_as_they_are(tmp_path: Path) -> None:
    """Black and white pictures need no drawing: their scores do not depend on the seed."""
    model = opened(orthogonal(likelihood="bernoulli", scales=(9, 5, 0.1)).write(tmp_path / "m"))
    rng = np.random.default_rng(4)
    images = binarise(rng.random((3, 1, 6, 4), dtype=np.float32), rng)
    kls = [
        [s.kl for s in Scorer(model, np.random.default_rng(seed), 2, True).score(
            images, [(6, 4)] * 3)[0]]
        for seed in (1, 2)
    ]  # fmt: skip
    assert kls[0] == kls[1]
