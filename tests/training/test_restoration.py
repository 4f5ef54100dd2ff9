"""Damage, network and objective of restoration, and a denoiser from photographs to a model folder."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from skimage import data
from torch.utils.flop_counter import FlopCounterMode

from tests.training.tiny import SMALL, read, restore_recipe, trainer, write_photos
from tests.training.trained import DENOISER_STEPS, Trained
from vaetools import Denoiser
from vaetools.errors import InputError, UsageError
from vaetools.image import Image
from vaetools.metrics import psnr
from vaetools.model.folder import Model
from vaetools.model.runtime import Runtime
from vaetools.restoration import patches as parts
from vaetools.training.data.image_pack import ImagePack
from vaetools.training.data.jpeg import jpeg
from vaetools.training.data.noise import Damage, NoiseSettings, rounded_to_8_bit
from vaetools.training.export.denoiser import graphs
from vaetools.training.networks.restoration import denoiser as networks
from vaetools.training.networks.restoration.network import Binomial, relative_kl
from vaetools.training.objectives.restoration import (
    RestoreObjective,
    charbonnier,
    spread_loss,
    standard_noise,
)
from vaetools.training.recipe import read_recipe
from vaetools.training.run.finish import export_run
from vaetools.training.run.growth import grow
from vaetools.training.run.trainer import Trainer
from vaetools.training.tasks import open_task

RECIPE = restore_recipe("denoise", steps=DENOISER_STEPS)

pytestmark = pytest.mark.usefixtures("no_curves")

NONE = NoiseSettings(
    strongest=50.0, clean=0.0, varying=0.0, camera=0.0, grey=0.0, clipped=0.0, jpeg=0.0
)


def damaged(
    images: torch.Tensor, **shares: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    settings = NoiseSettings(**{**vars(NONE), **shares})
    return Damage(settings, torch.Generator().manual_seed(0))(images)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = "astronaut", "coffee", "chelsea", "rocket"
    return write_photos(tmp_path_factory.mktemp("photos"), names, 256, 320)


@pytest.fixture(scope="module")
def crops(photos: Path) -> torch.Tensor:
    """(32, 3, 64, 64)."""
    pack = ImagePack.from_folder(photos)
    return pack.crops(32, 64, torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> networks.Denoiser:
    torch.manual_seed(0)
    return networks.Denoiser(SMALL).eval()


# --- damage


def test_plain_noise_has_the_deviation_that_is_told(crops: torch.Tensor) -> None:
    clean, noisy, sigma = damaged(crops)
    assert torch.equal(clean, crops)
    assert sigma.shape == (32, 1, 64, 64)
    assert torch.all(sigma == sigma[:, :, :1, :1])
    assert 0.01 < float(sigma.min()) + 0.01 < 0.04 and 0.15 < float(sigma.max()) <= 50 / 255
    measured = (noisy - clean).std(dim=(1, 2, 3))
    assert torch.allclose(measured, sigma[:, 0, 0, 0], rtol=0.05)


def test_some_pictures_are_clean_some_rounded(crops: torch.Tensor) -> None:
    clean, noisy, sigma = damaged(crops, clean=0.5, clipped=1.0)
    without = (sigma == 0).flatten(1).all(dim=1)
    assert 8 <= int(without.sum()) <= 24
    assert torch.equal(noisy[without], rounded_to_8_bit(clean[without]))
    assert torch.allclose(255 * noisy, (255 * noisy).round(), atol=1e-3)
    assert float(noisy.min()) == 0 and float(noisy.max()) == 1


def test_levels_may_vary_smoothly(crops: torch.Tensor) -> None:
    clean, noisy, sigma = damaged(crops, varying=1.0)
    steps = (sigma[..., 1:] - sigma[..., :-1]).abs()
    assert 0 < float(steps.max()) < 0.01
    ratio = (noisy - clean) / sigma.clamp(min=1e-4)
    assert float(ratio.std()) == pytest.approx(1, abs=0.02)


def test_camera_noise_is_of_the_level_and_alike_in_neighbours(crops: torch.Tensor) -> None:
    flat = torch.full((64, 3, 64, 64), 0.5)
    clean, noisy, sigma = damaged(flat, strongest=30.0, camera=1.0)
    measured = (noisy - clean).square().mean(dim=(1, 2, 3)).sqrt()
    told = sigma.mean(dim=(1, 2, 3))
    strong = told > 5 / 255  # else rounding shows
    assert torch.allclose(measured[strong], told[strong], rtol=0.1)
    clean, noisy, _ = damaged(crops, camera=1.0)
    error = noisy - clean
    beside = (error[..., 1:] * error[..., :-1]).mean() / (error**2).mean()
    assert float(beside) > 0.2
    white = damaged(crops)[1] - crops
    assert abs(float((white[..., 1:] * white[..., :-1]).mean() / (white**2).mean())) < 0.02


def test_the_told_level_of_a_camera_is_coarse() -> None:
    stripes = torch.zeros(16, 3, 32, 32)
    stripes[..., ::2] = 0.9  # the noise differs from column to column, and nobody must be told so
    _, _, sigma = damaged(stripes, camera=1.0)
    assert float((sigma[..., 1:] / sigma[..., :-1] - 1).abs().max()) < 0.05


def test_even_pictures_are_one_colour_with_noise(crops: torch.Tensor) -> None:
    clean, noisy, sigma = damaged(crops, even=0.5)
    even = (clean == clean[:, :, :1, :1]).flatten(1).all(dim=1)
    assert 8 <= int(even.sum()) <= 24
    colours = clean[even][:, :, 0, 0]
    assert len(colours.unique(dim=0)) > int(even.sum()) / 2  # each has its own, unless it is white
    measured = (noisy - clean)[even].std(dim=(1, 2, 3))
    assert torch.allclose(measured, sigma[even][:, 0, 0, 0], rtol=0.05)
    assert torch.equal(clean[~even], crops[~even])


def test_even_pictures_are_often_black_or_white(crops: torch.Tensor) -> None:
    colours = damaged(crops, even=1.0)[0][:, :, 0, 0]
    for value in (0.0, 1.0):
        assert (
            4 <= int((colours == value).sum()) <= 36
        )  # 16 of 96 on average, three at a time for grey


def test_exposed_pictures_are_darker_or_brighter(crops: torch.Tensor) -> None:
    clean, noisy, sigma = damaged(crops, exposed=0.5)
    ratio = clean.mean(dim=(1, 2, 3)) / crops.mean(dim=(1, 2, 3))
    assert 4 <= int((ratio < 0.75).sum()) <= 15 and 2 <= int((ratio > 1.05).sum()) <= 15
    assert 6 <= int((ratio == 1).sum()) <= 26
    assert float(clean.max()) <= 1
    assert torch.allclose((noisy - clean).std(dim=(1, 2, 3)), sigma[:, 0, 0, 0], rtol=0.05)


def test_errors_count_squared_at_the_end(tmp_path: Path, photos: Path) -> None:
    task = open_task(read(restore_recipe("denoise", steps=1, data="squared = 0.5"), tmp_path))
    condition = task.network.condition(torch.zeros(1, 3, 32, 32), torch.full((1, 1, 32, 32), 0.1))
    pack, generator = task.load(photos), torch.Generator().manual_seed(0)

    def ratio(progress: float) -> float:
        task.batch(pack, generator, progress)
        one, two = (torch.full((1, 3, 32, 32), e) for e in (0.05, 0.1))
        return float(task.mean_loss(two, two, condition) / task.mean_loss(one, one, condition))

    assert ratio(0.4) == pytest.approx(2, rel=1e-3) and ratio(0.6) == pytest.approx(4)
    assert ratio(0.4) == pytest.approx(2, rel=1e-3)


def test_deeper_networks_begin_as_the_same_function() -> None:
    torch.manual_seed(0)
    small = networks.Denoiser(SMALL)
    deep = networks.Denoiser(dataclasses.replace(SMALL, deeper=2))
    grow(deep, small.state_dict())
    image, sigma = torch.rand(1, 3, 32, 32), torch.full((1, 1, 32, 32), 0.1)
    means = [n.mean(n.condition(image, sigma))[0] for n in (small, deep)]
    assert torch.equal(*means) and len(deep.trunk.bottom) == len(small.trunk.bottom) + 2


def test_smoothing_takes_out_what_has_a_period_of_two_pixels() -> None:
    x = torch.arange(64.0).expand(1, 1, 64, 64)
    smooth = Binomial()
    comb = smooth(torch.cos(torch.pi * x))[..., 4:-4, 4:-4]
    coarser = smooth(torch.cos(torch.pi / 2 * x))[..., 4:-4, 4:-4]
    assert float(comb.abs().max()) < 1e-5
    assert float(coarser.abs().max()) == pytest.approx(0.25, abs=1e-3)
    assert torch.allclose(smooth(x)[..., 4:-4], x[..., 4:-4], atol=1e-4)


def test_a_balance_makes_weak_noise_matter_as_much(tmp_path: Path) -> None:
    error = torch.full((2, 3, 32, 32), 0.02)
    sigma = torch.tensor([5.0, 50.0]).view(2, 1, 1, 1).expand(-1, 1, 32, 32) / 255

    def losses(lines: str) -> list[float]:
        task = open_task(read(restore_recipe("denoise", steps=1, data=lines), tmp_path))
        return [
            float(task.mean_loss(e[None], e[None], task.network.condition(e[None], s[None])))
            for e, s in zip(error, sigma, strict=True)
        ]

    weak, strong = losses("")
    assert weak == strong
    weak, strong = losses("balance = 0.7")
    assert weak / strong == pytest.approx((55 / 10) ** 0.7)


def test_grey_pictures_have_one_noise(crops: torch.Tensor) -> None:
    clean, noisy, _ = damaged(crops, grey=1.0, camera=0.5)
    for images in (clean, noisy):
        assert torch.allclose(images[:, 0], images[:, 2], atol=1e-6)
    assert torch.allclose(clean[:, 0], crops.mean(dim=1), atol=1e-6)


def test_jpeg_is_that_of_libjpeg() -> None:
    photo = data.astronaut()[:128, 100:260]
    for quality, least in ((30, 38), (75, 40), (95, 42)):
        file = io.BytesIO()
        Pillow.fromarray(photo).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        expected = np.asarray(Pillow.open(file))
        image = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None] / 255.0
        found = jpeg(image, torch.tensor([float(quality)]))[0].permute(1, 2, 0).numpy()
        back = np.rint(255 * found).astype(np.uint8)
        assert psnr(back, expected) > least > psnr(photo, expected) - 5
        assert abs(psnr(photo, back) - psnr(photo, expected)) < 0.4


def test_jpeg_comes_last(crops: torch.Tensor) -> None:
    clean, plain, sigma = damaged(crops, clean=0.5, clipped=1.0)
    again, coded, same = damaged(crops, clean=0.5, clipped=1.0, jpeg=1.0)
    assert torch.equal(sigma, same) and torch.equal(clean, again)
    assert (coded != plain).flatten(1).any(dim=1).all()


def test_cameras_write_jpeg(crops: torch.Tensor) -> None:
    _, plain, sigma = damaged(crops, camera=0.5)
    _, coded, same = damaged(crops, camera=0.5, camera_jpeg=1.0)
    camera = (plain * 255 - (plain * 255).round()).abs().flatten(1).amax(dim=1) < 1e-3
    assert torch.equal(sigma, same) and 0 < int(camera.sum()) < len(crops)
    assert torch.equal((coded != plain).flatten(1).any(dim=1), camera)


# --- network


def test_costs_of_the_shipped_recipe() -> None:
    network = open_task(read_recipe("photo-denoise")).network
    image, sigma = torch.rand(1, 3, 256, 256), torch.full((1, 1, 256, 256), 0.1)
    condition = network.condition(image, sigma)

    def cost(function: object) -> float:
        """Thousands of multiplications per pixel."""
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            function()
        return counter.get_total_flops() / 2 / 256**2 / 1000

    assert cost(lambda: network.mean(condition)) <= 60
    assert cost(lambda: network.level(image)) < 1
    exported = [network.trunk, network.scale, network.ladder, network.level]
    assert sum(p.numel() for part in exported for p in part.parameters()) <= 1.22e6
    assert sum(p.numel() for p in network.trunk.parameters()) <= 1.1e6


def test_the_gate_decides_where_pictures_may_change(network: networks.Denoiser) -> None:
    image = torch.rand(2, 3, 32, 48)
    sigma = torch.zeros(2, 1, 32, 48)
    sigma[..., 24:] = 0.1
    noise = standard_noise(network, 2, image)
    with torch.no_grad():
        sample, deviation = network.sample(network.condition(image, sigma), noise, torch.ones(()))
    assert torch.equal(sample[..., :24], image[..., :24])
    assert not torch.any(sample[..., 24:] == image[..., 24:])
    assert not deviation[..., :24].any() and deviation[..., 24:].all()


def test_temperature_0_is_the_mean(network: networks.Denoiser) -> None:
    image = torch.rand(1, 3, 32, 32)
    condition = network.condition(image, torch.full((1, 1, 32, 32), 0.1))
    noise = standard_noise(network, 1, image)
    with torch.no_grad():
        mean, _ = network.mean(condition)
        cold, _ = network.sample(condition, noise, torch.zeros(()))
        warm, _ = network.sample(condition, noise, torch.ones(()))
    assert torch.equal(cold, mean)
    assert not torch.equal(warm, mean)


def test_the_trunk_scales_with_its_input(network: networks.Denoiser) -> None:
    planes = torch.rand(1, 4, 32, 32)
    with torch.no_grad():
        _, once = network.trunk(planes)
        _, twice = network.trunk(2 * planes)
    assert torch.allclose(twice, 2 * once, atol=1e-5)


def test_every_number_of_noise_counts(network: networks.Denoiser) -> None:
    image = torch.rand(1, 3, 32, 32)
    condition = network.condition(image, torch.full((1, 1, 32, 32), 0.1))
    noise = standard_noise(network, 1, image).requires_grad_()
    sample, _ = network.sample(condition, noise, torch.ones(()))
    sample.square().sum().backward()
    assert noise.shape == (1, SMALL.noise, 4, 4) == (1, 21 * 4, 4, 4)
    assert torch.all(noise.grad != 0)


def test_kl_is_that_of_two_gaussians() -> None:
    from torch.distributions import Normal, kl_divergence

    shift, log_ratio = torch.randn(50), torch.randn(50)
    mean, deviation = torch.randn(50), torch.rand(50) + 0.1
    prior = Normal(mean, deviation)
    posterior = Normal(mean + deviation * shift, deviation * log_ratio.exp())
    expected = kl_divergence(posterior, prior)
    assert torch.allclose(relative_kl(shift, log_ratio), expected, rtol=1e-4, atol=1e-5)


def test_levels_of_cells() -> None:
    sigma = torch.zeros(1, 1, 16, 16)
    sigma[..., :8, 8:] = 10 / 255
    found = networks.log_level_of(sigma)
    assert torch.allclose(found[0, 0], torch.tensor([[0.0, math.log(11)], [0.0, 0.0]]))
    level = networks.NoiseLevel()
    with torch.no_grad():
        level.judge[-1].weight.zero_()
        level.judge[-1].bias.fill_(math.log(11))
    assert torch.allclose(level(torch.rand(1, 3, 32, 16)), torch.full((1, 1, 4, 2), 10 / 255))


# --- objective


def test_the_mean_learns_nothing_from_the_ladder(network: networks.Denoiser) -> None:
    images = torch.rand(2, 3, 32, 32)
    condition = network.condition(
        images + 0.1 * torch.randn_like(images), torch.full_like(images[:, :1], 0.1)
    )
    loss, figures = spread_loss(network, condition, images, RestoreObjective(), torch.ones(()))
    loss.backward()
    assert all(p.grad is None for p in network.trunk.parameters())
    for part in (network.scale, network.ladder, network.posterior):
        assert all(p.grad is not None and p.grad.any() for p in part.parameters())
    assert all(torch.isfinite(value) for value in figures.values())
    mean, _ = network.mean(condition)
    charbonnier(images - mean).mean().backward()
    assert all(p.grad is not None for p in network.trunk.parameters())


def test_clean_pictures_give_finite_losses(network: networks.Denoiser) -> None:
    images = torch.rand(2, 3, 32, 32)
    condition = network.condition(rounded_to_8_bit(images), torch.zeros(2, 1, 32, 32))
    loss, _ = spread_loss(network, condition, images, RestoreObjective(), torch.ones(()))
    loss.backward()
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    assert torch.isfinite(loss) and all(torch.isfinite(grad).all() for grad in grads)


def test_phases_and_ramp() -> None:
    objective = RestoreObjective(ladder_from=0.75, ramp=0.5)
    assert objective.phases == (0.75, 1.0)
    assert [objective.beta(done) for done in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.5, 1.0, 1.0]
    assert RestoreObjective(ramp=0.0).beta(0.0) == 1.0
    assert RestoreObjective(ladder_from=1.0).phases == (1.0,)


# --- from photographs to a model


@pytest.fixture(scope="module")
def trained(trained_denoiser: Trained) -> tuple[Trainer, list[dict[str, float]], Model]:
    """A tiny denoiser after some seconds of training, its log and its model."""
    assert max(trained_denoiser.differences.values()) < 1e-5
    assert trained_denoiser.differences.keys() == {"denoise", "denoise_sample", "noise_level"}
    model = trained_denoiser.model
    opened = Model(model.manifest, model.folder, Runtime("cpu", threads=1))
    return trained_denoiser.trainer, trained_denoiser.rows, opened


def noisy_photo(sigma: float, height: int = 120, width: int = 168) -> tuple[Image, Image]:
    """(clean, noisy), 8 bit."""
    clean = data.chelsea()[20 : 20 + height, 60 : 60 + width, ::-1].copy()
    drawn = clean + np.random.default_rng(0).normal(0, sigma, clean.shape)
    return Image(clean), Image(np.clip(np.rint(drawn), 0, 255).astype(np.uint8))


def test_both_phases_learn(trained) -> None:
    run, (first, last), _ = trained
    assert math.isnan(first["kl2"]) and math.isnan(first["held_gap"])
    assert last["held_psnr25"] == pytest.approx(
        first["held_psnr25"], abs=0.05
    )  # the mean is frozen
    assert last["held_psnr25"] > 22.5  # noisy: about 20.5
    assert min(last[name] for name in ("kl2", "kl4", "kl8")) > 0.01  # no level has collapsed
    assert last["spread"] > 0.02 and last["held_gap"] > 0.05
    assert run.phase == 1
    with (run.run / "log.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["120", "200"]


def test_the_model_takes_noise_off(trained) -> None:
    _, _, model = trained
    model.verify()
    clean, noisy = noisy_photo(25)
    found = Denoiser(model).denoise(noisy, 25.0, seeds=[1], uncertainty=True)
    better = psnr(found.image.pixels, clean.pixels)
    assert better > psnr(noisy.pixels, clean.pixels) + 2
    assert psnr(found.samples[0].pixels, clean.pixels) < better
    error = np.abs(found.image.pixels.astype(float) - clean.pixels)
    held = (error <= found.uncertainty[..., None] + 0.5).mean()
    assert 0.75 < held < 0.99
    clean_too = Denoiser(model).denoise(clean, 0.0)
    assert np.array_equal(clean_too.image.pixels, clean.pixels)


def test_tiles_are_exact_and_the_mean_is_one(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, model = trained
    _, noisy = noisy_photo(25, 200, 390)
    denoiser = Denoiser(model)
    plain = denoiser.denoise(noisy, 25.0).image.pixels
    whole = denoiser.denoise(noisy, 25.0, seeds=[1], uncertainty=True)
    assert np.array_equal(whole.image.pixels, plain)
    monkeypatch.setattr(parts, "TILE", 128)
    tiled = denoiser.denoise(noisy, 25.0, seeds=[1], uncertainty=True)
    for a, b in ((tiled.image, whole.image), (tiled.samples[0], whole.samples[0])):
        assert np.abs(a.pixels.astype(int) - b.pixels).max() <= 1
        assert (a.pixels != b.pixels).mean() < 1e-3
    assert np.allclose(tiled.uncertainty, whole.uncertainty, atol=0.01)


def test_temperature_0_is_the_mean_in_onnx_as_well(trained) -> None:
    _, _, model = trained
    rng = np.random.default_rng(0)
    image, sigma = rng.random((1, 3, 64, 72), np.float32), np.full((1, 1, 64, 72), 0.1, np.float32)
    noise = rng.standard_normal((1, SMALL.noise, 8, 9), np.float32)
    (mean,) = model.graph("denoise")(image, sigma)
    cold, _ = model.graph("denoise_sample")(image, sigma, noise, np.zeros((1, 1, 1, 1), np.float32))
    assert np.array_equal(cold, mean)


def test_nothing_of_training_is_exported(trained) -> None:
    _, _, model = trained
    for path in model.folder.glob("*.onnx"):
        content = path.read_bytes()
        assert b"posterior" not in content and str(model.folder.parent).encode() not in content
    text = (model.folder / "MODEL_CARD.md").read_text()
    assert "| held psnr25 |" in text and "4 images" in text


def test_a_model_without_samples_is_exported_without_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = open_task(read(RECIPE.replace("ladder_from = 0.6", "ladder_from = 1"), tmp_path))
    assert task.phases == (1.0,)
    written = []
    monkeypatch.setattr(
        "vaetools.training.export.restorer.write_model", lambda *a: written.append(a)
    )
    task.export(None, tmp_path / "model")
    ((_, manifest, plans),) = written
    assert plans.keys() == {"denoise", "noise_level"}
    assert (manifest.denoise.levels, manifest.denoise.interval) == ((), ())
    assert (manifest.denoise.strongest, manifest.latent.prior) == (55.0, "none")


def test_an_export_with_samples_needs_pictures(trained, tmp_path: Path) -> None:
    run, _, _ = trained
    with pytest.raises(UsageError, match="--data"):
        export_run(run.run, None, tmp_path / "model")


@pytest.mark.train
def test_an_interrupted_run_goes_on_in_its_phase(photos: Path, tmp_path: Path) -> None:
    recipe = read(RECIPE.replace("steps = 200", "steps = 10"), tmp_path)
    whole = trainer(recipe, photos, tmp_path / "whole")
    list(whole.fit())
    for until in (0.3, 0.8, 1.0):
        halves = trainer(recipe, photos, tmp_path / "halves")
        list(halves.fit(until=until))
    assert halves.phase == whole.phase == 1
    assert halves.average.since == whole.average.since == 6
    pairs = zip(
        halves.average.network.parameters(), whole.average.network.parameters(), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_ladder_learns_around_a_mean_of_another_run(
    trained, photos: Path, tmp_path: Path
) -> None:
    run, _, _ = trained
    learned = run.average.network.state_dict()
    text = RECIPE.replace("ladder_from = 0.6", "ladder_from = 0.0").replace("= 200", "= 5")
    more = trainer(read(text, tmp_path), photos, tmp_path / "more", weights=learned)
    assert more.task.phases == (1.0,) and more.task.second
    list(more.fit())
    for name, value in more.network.state_dict().items():
        if name.startswith("trunk"):
            assert torch.equal(value, learned[name])
    assert any(
        not torch.equal(value, learned[name])
        for name, value in more.network.state_dict().items()
        if name.startswith("ladder")
    )


def test_a_finished_run_that_gets_more_time_learns_its_mean_again(
    photos: Path, tmp_path: Path
) -> None:
    recipe = read(RECIPE.replace("steps = 200", "steps = 5"), tmp_path)
    run = trainer(recipe, photos, tmp_path / "run")
    list(run.fit())
    more = trainer(recipe, photos, tmp_path / "run", minutes=60)
    assert more.phase == 1
    before = more.network.trunk.head[0].weight.clone()
    next(iter(more.fit(until=more.progress + 1e-6)))
    assert more.phase == 0 and not more.task.second
    assert not torch.equal(more.network.trunk.head[0].weight, before)


def test_how_far_the_network_sees(network: networks.Denoiser) -> None:
    assert graphs(network).halo() == 80
    assert graphs(network).plans(samples=False).keys() == {"denoise", "noise_level"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[8, 12, 16]", "[8, 12]"), "widths"),
        (("[8, 12, 16]", "[8, 12, 0]"), "widths"),
        (("latents = 4", "latents = 0"), "latents"),
        (("latents = 4", "latent = 4"), "unknown key network.latent"),
        (("crop = 48", "crop = 40"), "not a multiple of 16"),
        (("hold_out = 3", "hold_out = 3\nclipped = 1.5"), "clipped"),
        (("hold_out = 3", "hold_out = 3\nstrongest = 1"), "strongest"),
        (("hold_out = 3", "hold_out = 3\nsigma = 1"), "unknown key data.sigma"),
        (("ladder_from = 0.6", "ladder_from = 1.2"), "objective.ladder_from = 1.2 is not 0 … 1"),
        (("ladder_from = 0.6", "ladder_from = -0.1"), "ladder_from"),
        (("ladder_from = 0.6", "grain = 0"), "grain"),
        (("steps = 200", "steps = 200\npatience = 3"), "patience"),
    ],
)
def test_bad_recipes_name_the_key(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in RECIPE
    with pytest.raises(UsageError) as caught:
        open_task(read(RECIPE.replace(*change), tmp_path))
    assert said in caught.value.line


def test_pictures_must_fit_the_crops(photos: Path, tmp_path: Path) -> None:
    task = open_task(read(RECIPE.replace("late_crop = 64", "late_crop = 512"), tmp_path))
    with pytest.raises(InputError, match="512 x 512"):
        task.load(photos)
