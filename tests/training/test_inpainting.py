"""Holes, classical fill and network, and an inpainter from photographs to a model folder."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from tests.training.tiny import SMALL, read, restore_recipe, trainer, write_photos
from vaetools import Inpainter as Runtime_
from vaetools.errors import UsageError
from vaetools.image import Image
from vaetools.model.folder import Model
from vaetools.model.runtime import Runtime
from vaetools.restoration import patches as parts
from vaetools.training.data.holes import KINDS, Holes, HoleSettings
from vaetools.training.data.image_pack import ImagePack
from vaetools.training.export.inpainter import graphs
from vaetools.training.networks.restoration.fill import DEEPEST, fill
from vaetools.training.networks.restoration.inpainter import Inpainter
from vaetools.training.objectives.restoration import RestoreObjective, spread_loss, standard_noise
from vaetools.training.recipe import read_recipe
from vaetools.training.run.finish import export_run
from vaetools.training.tasks import open_task
from vaetools.training.tasks.inpaint import hole_loss, hole_psnr

RECIPE = restore_recipe("inpaint", steps=150, data="block = 0")

pytestmark = pytest.mark.usefixtures("no_curves")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = "astronaut", "coffee", "chelsea", "rocket"
    return write_photos(tmp_path_factory.mktemp("photos"), names, 192, 256)


@pytest.fixture(scope="module")
def crops(photos: Path) -> torch.Tensor:
    """(12, 3, 64, 64)."""
    return ImagePack.from_folder(photos).crops(12, 64, torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> Inpainter:
    torch.manual_seed(0)
    made = Inpainter(SMALL).eval()
    torch.nn.init.normal_(made.trunk.head[0].weight, std=0.05)  # as if it had learnt something
    return made


def holes(seed: int = 0, **settings: float) -> Holes:
    return Holes(HoleSettings(**settings), torch.Generator().manual_seed(seed))


# --- holes


@pytest.mark.parametrize("kind", KINDS)
def test_holes_of_each_kind(kind: str) -> None:
    images = torch.zeros(24, 3, 96, 128)
    masks = holes().of_kind(kind, images)
    assert masks.shape == (24, 1, 96, 128) and masks.dtype == torch.float32
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    areas = masks.mean(dim=(1, 2, 3))
    assert 0.002 < float(areas.mean()) < 0.3
    assert len({mask.numpy().tobytes() for mask in masks}) > 20
    assert torch.equal(masks, holes().of_kind(kind, images))
    assert not torch.equal(masks, holes(1).of_kind(kind, images))


def widest(masks: torch.Tensor) -> list[float]:
    """Diameter of the largest disc within the hole of each picture."""
    planes = masks[:, 0].byte().numpy()
    return [2 * cv2.distanceTransform(p, cv2.DIST_L2, 5).max() - 1 for p in planes if p.any()]


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [("scratch", 1, 6), ("dust", 1, 14), ("brush", 6, 34), ("block", 8, 96)],
)
def test_holes_are_as_wide_as_they_say(kind: str, least: float, most: float) -> None:
    found = widest(holes().of_kind(kind, torch.zeros(24, 3, 128, 128)))
    assert max(found) <= most and np.median(found) >= least


def test_a_square_has_its_side() -> None:
    masks = holes().of_kind("block", torch.zeros(64, 3, 128, 128))
    areas = masks.sum(dim=(1, 2, 3)).tolist()
    assert 32.0 * 32.0 in areas


def test_shares_decide_what_is_drawn() -> None:
    images = torch.zeros(16, 3, 64, 64)
    nothing = dict.fromkeys([*KINDS, "mixed"], 0.0)
    for kind in ("block", "dust"):
        drawn = holes(**{**nothing, kind: 1.0})(images)
        others = holes(5, **{**nothing, kind: 1.0, "mixed": 1000.0})(images)
        assert others.mean() >= drawn.mean() * 0.9
    thin = holes(**{**nothing, "scratch": 1.0})(images)
    assert float(thin.mean(dim=(1, 2, 3)).max()) < 0.2


def test_no_hole_is_larger_than_it_may_be() -> None:
    images = torch.zeros(64, 3, 48, 48)
    assert float(holes(most=1.0)(images).mean(dim=(1, 2, 3)).max()) > 0.5
    cut = holes(most=0.3)(images)
    assert float(cut.mean(dim=(1, 2, 3)).max()) <= 0.5


# --- network


def test_known_pixels_stay_and_hidden_ones_are_not_seen(
    network: Inpainter, crops: torch.Tensor
) -> None:
    masks = holes()(crops)
    noise = standard_noise(network, len(crops), crops)
    covered = torch.where(masks > 0, torch.rand_like(crops), crops)
    with torch.no_grad():
        sample, deviation = network.sample(network.condition(crops, masks), noise, torch.ones(()))
        other, _ = network.sample(network.condition(covered, masks), noise, torch.ones(()))
    known = (masks == 0).expand_as(crops)
    assert torch.equal(sample[known], crops[known])
    assert torch.equal(sample, other)
    assert torch.equal(deviation > 0, masks > 0)
    assert float((sample - crops)[~known].abs().mean()) > 0.01


def test_before_training_the_mean_is_the_fill(crops: torch.Tensor) -> None:
    torch.manual_seed(0)
    fresh = Inpainter(SMALL)
    masks = holes()(crops)
    mean, _ = fresh.mean(fresh.condition(crops, masks))
    assert torch.equal(mean, crops * (1 - masks) + masks * fill(crops, masks))


@pytest.mark.train
def test_how_far_the_network_sees(network: Inpainter) -> None:
    found = graphs(network).halo()
    assert DEEPEST + 80 <= found <= 256 and found % 8 == 0


# --- objective


def test_a_balance_makes_smooth_images_matter_as_much(tmp_path: Path, crops: torch.Tensor) -> None:
    """An error of a tenth of that of the fill, in an even image and in texture."""
    masks = holes().of_kind("block", crops)
    images = torch.stack([torch.full_like(crops[0], 0.3) + 0.02 * crops[0], crops[1]])
    masks = masks[:1].expand(2, -1, -1, -1)

    def losses(lines: str) -> list[float]:
        task = open_task(read(RECIPE.replace("block = 0", lines), tmp_path))
        found = []
        for image, mask in zip(images, masks, strict=True):
            condition = task.network.condition(image[None], mask[None])
            error = (image[None] - condition.base) / 10
            found.append(float(task.mean_loss(image[None], error, condition)))
        return found

    smooth, rough = losses("block = 0")
    assert smooth < rough / 3
    smooth, rough = losses("block = 0\nbalance = 1")
    assert smooth > rough / 3


def test_small_holes_count_as_much_as_large_ones() -> None:
    error = torch.zeros(2, 3, 16, 16)
    masks = torch.zeros(2, 1, 16, 16)
    masks[0, 0, 0, 0] = 1
    masks[1] = 1
    error[0] = 0.5
    assert float(hole_loss(error, masks)) == pytest.approx(0.25, abs=1e-3)
    assert float(hole_loss(error, torch.zeros_like(masks))) == 0
    assert float(hole_psnr(0.1 + 0 * error, masks)) == pytest.approx(20)


def test_latents_outside_of_holes_cost_nothing(network: Inpainter) -> None:
    images = torch.rand(2, 3, 64, 64)
    wanted = RestoreObjective(free_bits=0.0)

    def loss(masks: torch.Tensor) -> float:
        torch.manual_seed(0)
        condition = network.condition(images, masks)
        return float(spread_loss(network, condition, images, wanted, torch.ones(()))[0].detach())

    masks = torch.zeros(2, 1, 64, 64)
    assert math.isfinite(loss(masks))
    masks[..., 24:40, 24:40] = 1
    with_hole = loss(masks)
    moved = network.posterior.offsets

    def elsewhere(number: int, state: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, ...]:
        shift, ratio = moved(number, state, seen)
        far = torch.zeros_like(shift)
        far[..., :1, :1] = 3.0  # a corner, far from the hole
        return shift + far, ratio

    network.posterior.offsets = elsewhere
    assert loss(masks) == pytest.approx(with_hole, rel=0.02)


# --- from photographs to a model


@pytest.fixture(scope="module")
def trained(
    photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[dict[str, float]], Model]:
    """A tiny inpainter after some seconds of training: its log and its model."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = read(RECIPE, folder)
    run = trainer(recipe, photos, folder / "run")
    rows = [*run.fit(until=0.6), *run.fit()]
    model, differences = export_run(folder / "run", photos, folder / "models" / "tiny-inpaint")
    assert max(differences.values()) < 1e-5
    assert differences.keys() == {"inpaint", "inpaint_sample"}
    return rows, Model(model.manifest, model.folder, Runtime("cpu", threads=1))


@pytest.mark.train
def test_both_phases_learn(trained) -> None:
    (first, last), _ = trained
    assert math.isnan(first["kl2"]) and math.isnan(first["held_gap"])
    assert last["held_dust"] == pytest.approx(first["held_dust"], abs=0.05)  # the mean is frozen
    gains = [first[f"held_{kind}_gain"] for kind in KINDS]
    assert max(gains) > 0 and min(gains) > -0.5
    assert max(last[name] for name in ("kl2", "kl4", "kl8")) > 0.01
    assert last["spread"] > 0.01


@pytest.mark.train
def test_the_model_fills_holes(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = trained
    model.verify()
    assert model.manifest.inpaint.deepest == DEEPEST
    assert model.manifest.inpaint.depths[:2] == (1.0, 2.0)
    picture = Image(np.ascontiguousarray(data.chelsea()[20:170, 60:300, ::-1]))
    hole = np.zeros((150, 240), np.uint8)
    cv2.line(hole, (10, 5), (230, 140), 1, 3)
    cv2.circle(hole, (60, 110), 12, 1, -1)
    hole[:8, 100:140] = 1
    hole = hole > 0
    covered = picture.pixels.copy()
    covered[hole] = 0
    inpainter = Runtime_(model)
    found = inpainter.inpaint(Image(covered), hole, seeds=[1], uncertainty=True)
    for result in (found.image, found.samples[0]):
        assert np.array_equal(result.pixels[~hole], covered[~hole])
    error = np.abs(found.image.pixels.astype(float) - picture.pixels)[hole]
    assert error.mean() < 20 < np.abs(covered.astype(float) - picture.pixels)[hole].mean()
    held = (error <= found.uncertainty[hole][:, None] + 0.5).mean()
    assert 0.6 < held <= 1
    assert not np.array_equal(found.samples[0].pixels, found.image.pixels)
    monkeypatch.setattr(parts, "TILE", 64)
    tiled = inpainter.inpaint(Image(covered), hole, seeds=[1], uncertainty=True)
    for one, other in ((tiled.image, found.image), (tiled.samples[0], found.samples[0])):
        assert np.abs(one.pixels.astype(int) - other.pixels).max() <= 1
    assert np.allclose(tiled.uncertainty, found.uncertainty, atol=0.05)


def test_an_export_with_samples_needs_pictures(tmp_path: Path) -> None:
    recipe = read(RECIPE, tmp_path)
    with pytest.raises(UsageError, match="--data"):
        open_task(recipe).export(None, tmp_path / "model")


@pytest.mark.train
def test_a_model_without_samples_is_exported_without_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = read(RECIPE.replace("ladder_from = 0.6", "ladder_from = 1"), tmp_path)
    written = []
    monkeypatch.setattr(
        "vaetools.training.export.restorer.write_model", lambda *a: written.append(a)
    )
    open_task(recipe).export(None, tmp_path / "model")
    ((_, manifest, plans),) = written
    assert plans.keys() == {"inpaint"}
    assert (manifest.inpaint.depths, manifest.inpaint.deepest) == ((), DEEPEST)
    assert manifest.latent.prior == "none"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("crop = 48", "crop = 44"), "not a multiple of 8"),
        (("block = 0", "block = -1"), "block"),
        (("block = 0", "most = 0"), "most"),
        (("block = 0", "scratch = 0\ntext = 0\ndust = 0\nbrush = 0\nblock = 0"), "all kinds"),
        (("block = 0", "blurred = 2"), "blurred"),
        (("crop = 48", "crop = 24"), "not larger than 24"),
        (("block = 0", "stars = 1"), "unknown key data.stars"),
        (("steps = 150", "steps = 150\npatience = 3"), "patience"),
    ],
)
def test_bad_recipes_name_the_key(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in RECIPE
    with pytest.raises(UsageError) as caught:
        open_task(read(RECIPE.replace(*change), tmp_path))
    assert said in caught.value.line


def test_the_shipped_recipe_is_read() -> None:
    task = open_task(read_recipe("photo-inpaint"))
    exported = [task.network.trunk, task.network.scale, task.network.ladder]
    assert sum(p.numel() for part in exported for p in part.parameters()) < 2.1e6
