"""From a folder of pictures to a model that compresses: small, but every step is the real one."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

import vaetools
from tests.training.tiny import codec_recipe, read, trainer
from tests.training.trained import Trained
from vaetools.errors import InputError, UsageError
from vaetools.image import Image, encode_image
from vaetools.metrics import psnr
from vaetools.training.data.image_pack import ImagePack
from vaetools.training.networks.codec import CodecConfig, PhotoCodec
from vaetools.training.networks.codec.hyper import phases
from vaetools.training.networks.codec.likelihood import gaussian_bits, interpolate
from vaetools.training.recipe import read_recipe
from vaetools.training.run.growth import grow
from vaetools.training.run.optimizer import learning_rate
from vaetools.training.run.trainer import Trainer
from vaetools.training.tasks import open_task

RECIPE = codec_recipe()


@pytest.fixture(scope="module")
def pack(large_photos: Path) -> ImagePack:
    return ImagePack.from_folder(large_photos)


@pytest.fixture
def recipe(tmp_path: Path):
    return read(RECIPE, tmp_path)


def weights(of: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in of.network.parameters()])


def test_interrupted_training_goes_on_as_if_nothing_had_happened(
    trained_codec: Trained, recipe, pack, tmp_path
) -> None:
    whole = trained_codec.trainer
    first = trainer(recipe, pack, tmp_path / "halves")
    list(first.fit(until=0.5))
    assert first.step == 3
    log = tmp_path / "halves" / "log.csv"
    log.write_text(log.read_text() + log.read_text().splitlines()[-1].replace("3", "4", 1) + "\n")
    second = trainer(recipe, pack, tmp_path / "halves")
    assert second.step == 3
    list(second.fit())
    assert second.step == whole.step == 6
    assert torch.equal(weights(second), weights(whole))
    for run in (whole.run, second.run):
        rows = list(csv.DictReader((run / "log.csv").read_text().splitlines()))
        assert [float(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]


def test_export_gives_a_codec_that_works(trained_codec: Trained) -> None:
    model, differences = trained_codec.model, trained_codec.differences
    assert differences["hyper_scale_index"] == 0.0
    assert max(differences.values()) < 1e-4
    model.verify()
    for path in model.folder.glob("*.onnx"):
        assert str(model.folder.parent).encode() not in path.read_bytes()
        assert b"site-packages" not in path.read_bytes()
    hub = vaetools.open("cpu", models_dirs=[model.folder.parent])
    bgr = np.ascontiguousarray(data.astronaut()[100:230, 150:300, ::-1])
    step = hub.op("compress", model="tiny-codec", quality=100)
    back = hub.op("decompress", model="tiny-codec")(step(bgr))
    assert back.shape == bgr.shape
    assert psnr(bgr, back) > 22  # the linear start alone gives that


@pytest.mark.parametrize("config", [{}, {"context": "grid", "overlap_exit": 4}])
def test_the_network_starts_as_a_transform_codec(pack: ImagePack, config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    codec = PhotoCodec(CodecConfig(channels=16, middle=16, latents=192, rates=3, **config)).eval()
    generator = torch.Generator().manual_seed(0)
    patches = torch.cat([pack.crops(256, 16, generator) for _ in range(8)])
    codec.start_from_patches(patches.flatten(1))
    images = pack.crops(2, 128, generator)
    with torch.no_grad():
        out = codec(images, torch.full((2, 1, 1), 2.0))
    assert float(((out["image"] - images) ** 2).mean()) < 10**-2.8  # 28 dB


def test_rates_trade_bits_for_quality(pack: ImagePack) -> None:
    torch.manual_seed(0)
    codec = PhotoCodec(CodecConfig(channels=16, middle=16, latents=64, rates=3)).eval()
    generator = torch.Generator().manual_seed(0)
    codec.start_from_patches(pack.crops(1024, 16, generator).flatten(1))
    images = pack.crops(2, 128, generator)
    with torch.no_grad():
        runs = [codec.loss(images, torch.full((2, 1, 1), float(r)))[1] for r in range(3)]
    assert runs[0]["bpp"].mean() < runs[1]["bpp"].mean() < runs[2]["bpp"].mean()
    assert runs[0]["mse"].mean() > runs[1]["mse"].mean() > runs[2]["mse"].mean()


def test_gaussian_bits_are_a_distribution() -> None:
    r = torch.arange(-60.0, 61.0)
    for scale in (0.11, 0.7, 5.0):
        total = torch.exp2(-gaussian_bits(r, torch.tensor(scale)))
        inside = r.abs() <= 6 * scale + 0.5
        assert float(total[inside].sum()) == pytest.approx(1.0, abs=1e-4)
    far = torch.tensor([1000.0], requires_grad=True)
    gaussian_bits(far, torch.tensor(0.2)).sum().backward()
    assert float(far.grad) > 0  # the way back is felt however far out


def test_ladder_interpolation() -> None:
    ladder = torch.tensor([[0.0], [1.0], [4.0]])
    position = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0])[:, None, None]
    assert interpolate(ladder, position).flatten().tolist() == [0.0, 0.5, 1.0, 2.5, 4.0]


FIVE_RATES = 0.0009 * (0.11 / 0.0009) ** 2
"""`lambda_max` of five rates of which the first three are those of `small_codec`."""


def small_codec(**sizes: int) -> PhotoCodec:
    torch.manual_seed(0)
    return PhotoCodec(CodecConfig(channels=16, middle=16, latents=24, rates=3, **sizes)).eval()


def test_a_map_of_one_rate_is_that_rate(pack: ImagePack) -> None:
    codec = small_codec()
    images = pack.crops(2, 128, torch.Generator().manual_seed(0))
    with torch.no_grad():
        one = codec.loss(images, torch.tensor([0.5, 1.7])[:, None, None])
        everywhere = codec.loss(images, torch.tensor([0.5, 1.7])[:, None, None].expand(2, 2, 2))
    assert float(one[0]) == pytest.approx(float(everywhere[0]), rel=1e-5)
    for name, value in one[1].items():
        torch.testing.assert_close(value, everywhere[1][name])


def test_a_map_gives_each_side_its_rate(pack: ImagePack) -> None:
    codec = small_codec()
    images = pack.crops(2, 256, torch.Generator().manual_seed(0))
    position = torch.where(torch.arange(4) < 2, 0.0, 2.0).expand(2, 4, 4)
    with torch.no_grad():
        mixed, low, high = (
            codec(images, p)["bits_y"]
            for p in (position, torch.zeros(2, 1, 1), torch.full((2, 1, 1), 2.0))
        )
    torch.testing.assert_close(mixed[:, :, 0], low[:, :, 0], rtol=0.2, atol=0)
    torch.testing.assert_close(mixed[:, :, 3], high[:, :, 3], rtol=0.2, atol=0)
    assert high.sum() > 1.5 * low.sum()


def test_batches_with_two_rates(recipe) -> None:
    task = open_task(recipe)
    generator = torch.Generator().manual_seed(0)
    assert task.positions(4, 3, generator).shape == (4, 1, 1)
    task.data = replace(task.data, mixed=1.0)
    for position in (task.positions(4, 3, generator) for _ in range(20)):
        assert position.shape == (4, 3, 3)
        assert all(len(crop.unique()) == 2 for crop in position)
    assert task.positions(4, 1, generator).shape == (4, 1, 1)  # one cell has one rate


@pytest.mark.parametrize(
    "larger",
    [
        {"analysis_blocks": 5, "synthesis_blocks": 6},
        {"middle_blocks": 3, "context_blocks": 2},
        {"channels": 24, "middle": 40},
        {"overlap_entry": 2},
        {"overlap_exit": 2},
        {"centroids": True},
    ],
)
def test_a_grown_network_begins_with_what_the_small_one_knew(pack, larger) -> None:
    small = small_codec()
    sizes = {"channels": 16, "middle": 16, "latents": 24, "rates": 3, **larger}
    large = PhotoCodec(CodecConfig(**sizes))
    grow(large, small.state_dict())
    images = pack.crops(2, 128, torch.Generator().manual_seed(0))
    position = torch.full((2, 1, 1), 1.0)
    with torch.no_grad():
        ours, theirs = large.eval()(images, position), small(images, position)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-4)
    large.train().loss(images, position)[0].backward()
    new = large.synthesis.exit[0].weight.grad[:, -1] if "channels" in larger else None
    assert new is None or float(new.abs().sum()) > 0  # what is new can learn


def test_further_rates_go_on_where_the_old_ones_end(pack) -> None:
    small = small_codec()
    large = PhotoCodec(replace(small.config, rates=5, lambda_max=FIVE_RATES))
    torch.testing.assert_close(large.lambdas[:3], small.lambdas)
    grow(large, small.state_dict())
    images = pack.crops(2, 128, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for rate in (0.0, 1.3, 2.0):
            position = torch.full((2, 1, 1), rate)
            ours, theirs = large.eval()(images, position), small(images, position)
            for name, value in theirs.items():
                torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-4)
        bits = [float(large(images, torch.full((2, 1, 1), r))["bits_y"].sum()) for r in (2.0, 4.0)]
    assert bits[1] > bits[0]


def test_further_latents_are_what_the_old_ones_do_not_reach(pack) -> None:
    generator = torch.Generator().manual_seed(0)
    patches = torch.cat([pack.crops(256, 16, generator) for _ in range(16)]).flatten(1)
    small, large = small_codec(), PhotoCodec(replace(small_codec().config, latents=96))
    for codec in (small, large):
        codec.start_from_patches(patches)
    grow(large, small.state_dict())
    images = pack.crops(4, 128, generator)

    def error(codec: PhotoCodec) -> float:
        with torch.no_grad():
            image = codec.eval().synthesis.linear(codec.analysis.linear(images - 0.5))
        return float((image + 0.5 - images).square().mean())

    whole = PhotoCodec(large.config)
    whole.start_from_patches(patches)
    assert error(large) == pytest.approx(error(whole), rel=0.02)
    assert error(large) < 0.7 * error(small)


def test_a_context_of_another_kind_begins_as_the_mean_of_the_hyper_latents(pack) -> None:
    small = small_codec()
    large = PhotoCodec(replace(small.config, context="grid", element_steps=True))
    grow(large, small.state_dict())
    images = pack.crops(2, 128, torch.Generator().manual_seed(0))
    with torch.no_grad():
        coded = large.eval().code(images, torch.full((2, 1, 1), 1.0))
        torch.testing.assert_close(coded.mean, large.hyper_mean(coded.z_hat))


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [({"latents": 20}, "is"), ({"analysis_blocks": 2}, "not part"), ({"rates": 2}, "is")],
)
def test_weights_of_another_network_are_refused(sizes, problem) -> None:
    kept = {"channels": 16, "middle": 16, "latents": 24, "rates": 3, "analysis_blocks": 3}
    with pytest.raises(UsageError, match=f"cannot start from these weights: .* {problem}"):
        grow(PhotoCodec(CodecConfig(**{**kept, **sizes})), small_codec().state_dict())


def test_a_run_starts_from_the_weights_of_another(
    trained_codec: Trained, recipe, pack, tmp_path
) -> None:
    first = trained_codec.trainer
    learned = first.average.network.state_dict()
    second = trainer(recipe, pack, tmp_path / "second", weights=learned)
    assert second.step == 0
    assert second.validate() == first.validate()


@pytest.mark.parametrize("latents", [1, 2, 6, 8, 13])
def test_training_and_coding_take_the_same_phases(latents: int) -> None:
    from vaetools.model.fused.phases import groups

    ours = phases(latents, 6, 8, torch.device("cpu")).numpy()
    channel = 0
    for count, places in groups("interleaved", latents):
        for phase, (row, column) in enumerate(places):
            assert (ours[channel : channel + count, row::2, column::2] == phase).all()
        channel += count
    assert channel == latents


def test_every_phase_has_a_quarter_everywhere() -> None:
    phase = phases(8, 6, 6, torch.device("cpu"))
    for number in range(4):
        assert ((phase == number).sum(dim=0) == 2).all()  # two of eight channels at every place
        assert ((phase == number).sum(dim=(1, 2)) == 9).all()  # a quarter of every channel


def test_schedule() -> None:
    def rate(p: float) -> float:
        return learning_rate(p, warmup=0.1, flat=0.5)

    assert rate(0.05) == pytest.approx(0.5)
    assert rate(0.1) == rate(0.49) == 1.0
    assert rate(0.75) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert rate(1.0) == pytest.approx(0.0)


def test_pictures_must_fit_the_crops(recipe, large_photos: Path, tmp_path: Path) -> None:
    """Those below the first crop are left out; some must be as large as the late one."""
    task = open_task(recipe)
    assert len(task.load(large_photos)) == 4
    small = tmp_path / "small"
    small.mkdir()
    for number in range(3):
        picture = Image(np.full((70, 100, 3), 40 * number, np.uint8))
        (small / f"{number}.png").write_bytes(encode_image(picture, "png"))
    with pytest.raises(InputError, match="128 x 128"):
        task.load(small)


def test_crops_come_from_the_pictures(pack: ImagePack) -> None:
    generator = torch.Generator().manual_seed(0)
    crops = pack.crops(4, 64, generator)
    assert crops.shape == (4, 3, 64, 64)
    assert 0 <= float(crops.min()) < float(crops.max()) <= 1
    again = pack.crops(4, 64, torch.Generator().manual_seed(0))
    assert torch.equal(crops, again)
    with pytest.raises(InputError, match="as large as a crop"):
        pack.crops(1, 5000, generator)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('task = "codec"', 'task = "magic"'), "known: codec, "),
        (("batch = 2", "batsh = 2"), "batsh"),
        (("crop = 64", "crop = 65"), "not a multiple of 64"),
        (("channels = 16", "chanels = 16"), "chanels"),
        (("[data]", "[data"), "not TOML"),
    ],
)
def test_bad_recipes_name_the_key(tmp_path: Path, pack, change: tuple[str, str], said: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RECIPE.replace(*change))
    with pytest.raises(UsageError) as caught:
        trainer(read_recipe(path), pack, tmp_path / "run")
    assert said in caught.value.line


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images"):
        ImagePack.from_folder(tmp_path)
