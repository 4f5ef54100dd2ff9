"""Noise as it leaves a camera."""

from __future__ import annotations

import pytest
import torch

from vaetools.training.data import camera as module
from vaetools.training.data.camera import Camera, from_linear, mosaic_of, to_linear


def camera(seed: int = 0) -> Camera:
    return Camera(None, torch.Generator().manual_seed(seed))


def even(value: float, count: int = 64) -> torch.Tensor:
    return torch.full((count, 3, 64, 64), value)


def stds(noise: torch.Tensor) -> torch.Tensor:
    return 255 * noise.flatten(1).std(dim=1)


def test_the_curve_and_its_inverse() -> None:
    values = torch.linspace(0, 1, 1001)
    assert torch.allclose(from_linear(to_linear(values)), values, atol=1e-6)
    assert float(to_linear(torch.tensor(0.5))) == pytest.approx(0.5**2.2, abs=1e-6)


def test_an_image_without_noise_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the camera does is undone before: neither colours nor sharpness are lost."""
    monkeypatch.setattr(module, "SHOT", (1e-14, 1.1e-14))
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert float(camera()(images).abs().max()) < 1e-4


def test_levels_are_those_of_cameras() -> None:
    found = stds(camera()(even(0.5)))
    low, middle, high = found.quantile(torch.tensor([0.05, 0.5, 0.95])).tolist()
    assert 1 < low < 5 < middle < 15 < high < 45


def test_all_values_are_finite() -> None:
    images = torch.rand(32, 3, 32, 32, generator=torch.Generator().manual_seed(2)).round()
    summed = images + camera()(images)
    assert torch.isfinite(summed).all()
    assert float(summed.min()) > -0.5 and float(summed.max()) < 1.5


def test_noise_depends_on_brightness() -> None:
    """Of the same cameras: weak where the curve is flat, at black and white."""
    dark, middle, bright = (float(stds(camera()(even(v))).mean()) for v in (0.01, 0.5, 0.99))
    assert dark < 0.7 * middle and bright < 0.7 * middle


def test_neighbours_are_alike_as_after_demosaicing() -> None:
    noise = camera()(even(0.5))
    noise = noise - noise.mean(dim=(2, 3), keepdim=True)
    beside = (noise[..., 1:] * noise[..., :-1]).mean() / (noise**2).mean()
    apart = (noise[..., 5:] * noise[..., :-5]).mean() / (noise**2).mean()
    assert float(beside) > 0.3 and abs(float(apart)) < 0.05


def test_a_pixel_of_the_sensor_has_one_colour() -> None:
    mosaic = mosaic_of(torch.zeros(1, 3, 4, 6))
    assert torch.equal(mosaic.sum(dim=1), torch.ones(1, 4, 6))
    assert mosaic.sum(dim=(0, 2, 3)).tolist() == [6, 12, 6]


def test_demosaicing_interpolates() -> None:
    """Even planes stay even, whatever the colour."""
    planes = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    found = camera()._demosaiced(planes * mosaic_of(planes))
    assert torch.allclose(found[..., 1:-1, 1:-1], planes[..., 1:-1, 1:-1], atol=1e-6)


def test_white_stays_white() -> None:
    colours = camera()._colours(16, torch.zeros(1))
    white = torch.einsum("bij,j->bi", colours, torch.ones(3))
    assert torch.allclose(white, torch.ones(16, 3), atol=1e-5)


def test_a_seed_gives_the_same_noise() -> None:
    images = even(0.4, 2)
    assert torch.equal(camera(3)(images), camera(3)(images))
    assert not torch.equal(camera(3)(images), camera(4)(images))


def test_inverses_of_small_matrices() -> None:
    matrices = torch.randn(16, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(
        module.inverse_of(matrices), torch.linalg.inv(matrices), rtol=1e-3, atol=1e-4
    )
