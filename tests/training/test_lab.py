"""The laboratory from data to a model folder: every network, small, with the real steps."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import vaetools
from vaetools.errors import InputError, UsageError
from vaetools.image import Image, encode_image
from vaetools.model import bounds
from vaetools.model.runtime import Runtime
from vaetools.training.data.images import ImageStack
from vaetools.training.export.vae import plan_of
from vaetools.training.networks.common import ImageShape
from vaetools.training.networks.spatial import SpatialVae
from vaetools.training.objectives.elbo import iwae, terms
from vaetools.training.recipe import SHIPPED, Recipe, read_recipe
from vaetools.training.run.checkpoint import CHECKPOINT
from vaetools.training.run.compact import COMPACT
from vaetools.training.run.curves import read_log
from vaetools.training.run.finish import export_run, read_run
from vaetools.training.run.trainer import Trainer

RECIPE = """
id = "tiny-lab"
version = "1"
task = "vae"
[network]
kind = "mlp"
hidden = [16]
latents = 4
[data]
height = 8
width = 8
binarise = true
batch = 50
hold_out = 5
[objective]
beta = 1.0
[train]
steps = 8
learning_rate = 1e-2
log_seconds = 0.0
"""

SPATIAL = (
    RECIPE.replace('kind = "mlp"\nhidden = [16]', 'kind = "spatial"\nchannels = 8\nblocks = 1')
    .replace("height = 8\nwidth = 8\nbinarise = true", "height = 32\nwidth = 32\nchannels = 3")
    .replace("batch = 50", "batch = 4")
)


def bars(count: int) -> np.ndarray:
    """(count, 8, 8) uint8: one bright row or column each, like very simple digits."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 30, (count, 8, 8), dtype=np.uint8)
    for image in images:
        place = rng.integers(8)
        image[(place, slice(None)) if rng.random() < 0.5 else (slice(None), place)] = 240
    return images


@pytest.fixture(scope="module")
def idx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("idx")
    images = bars(300)
    header = struct.pack(">HBB3I", 0, 8, 3, *images.shape)
    with gzip.open(folder / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(header + images.tobytes())
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz", "wb") as file:
        file.write(struct.pack(">HBB3I", 0, 8, 3, 10, 8, 8) + images[:10].tobytes())
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(1)
    for number in range(6):
        small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        picture = np.kron(small, np.ones((10, 10, 1), np.uint8))
        (folder / f"{number}.png").write_bytes(encode_image(Image(picture), "png"))
    return folder


def recipe_of(text: str, folder: Path, *changes: tuple[str, str]) -> Recipe:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


def train(recipe: Recipe, source: Path, run: Path) -> Trainer:
    from vaetools.training.tasks import open_task

    torch.set_num_threads(1)
    task = open_task(recipe)
    trainer = Trainer(task, task.load(source), run, device=torch.device("cpu"))
    list(trainer.fit())
    return trainer


def exported(run: Path, folder: Path) -> vaetools.Vae:
    model, differences = export_run(run, None, folder)
    assert max(differences.values()) < 1e-5
    model.verify()
    return vaetools.Vae(model.manifest, model.folder, Runtime("cpu", threads=1))


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])


@pytest.mark.train
def test_a_trained_vae_becomes_a_model_with_the_same_bounds(idx: Path, tmp_path: Path) -> None:
    recipe = recipe_of(RECIPE, tmp_path, ("steps = 8", "steps = 150"), ("0.0", "0.2"))
    trainer = train(recipe, idx, tmp_path / "run")
    last = trainer.validate()
    assert last["held_elbo"] == pytest.approx(last["held_log_likelihood"] - last["held_kl"])
    assert last["held_loss"] < 35 < 64 * np.log(2)  # far better than a fair coin per pixel
    assert (tmp_path / "run/curves.png").stat().st_size > 5000
    vae = exported(tmp_path / "run", tmp_path / "model")
    card = (tmp_path / "model/MODEL_CARD.md").read_text()
    assert "300 images of 8 x 8" in card and 'kind = "mlp"' in card and "| held elbo | -" in card
    images = bounds.binarise(bars(40)[:, None] / np.float32(255), np.random.default_rng(0))
    network = read_run(tmp_path / "run")[0].network.eval()
    found = bounds.elbo(vae, images, np.random.default_rng(1), samples=200).bound.mean()
    with torch.no_grad():
        x = torch.from_numpy(images).repeat_interleave(200, 0)
        assert found == pytest.approx(float(terms(network, x).bound().mean()), abs=0.1)
        wanted = float(iwae(network, torch.from_numpy(images), 500).mean())
    closer = bounds.iwae(vae, images, np.random.default_rng(1), samples=500).mean()
    assert closer == pytest.approx(wanted, abs=0.1)
    assert closer > found


@pytest.mark.train
@pytest.mark.parametrize("kind", ["autoencoder", "conv", "gru"])
def test_every_network_trains_and_exports(kind: str, idx: Path, tmp_path: Path) -> None:
    sizes = {"autoencoder": "hidden = [16]", "conv": "channels = 8", "gru": "hidden = 8"}
    recipe = recipe_of(
        RECIPE,
        tmp_path,
        ('"mlp"\nhidden = [16]', f'"{kind}"\n{sizes[kind]}'),
        ("steps = 8", "steps = 20"),
    )
    train(recipe, idx, tmp_path / "run")
    losses = [row["loss"] for row in read_log(tmp_path / "run")]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    model = exported(tmp_path / "run", tmp_path / "model")
    grey = np.repeat(bars(1)[0][:, :, None] / np.float32(255), 3, axis=2)
    posterior = model.encode(grey)
    assert posterior.mean.shape == (1, 4)
    assert (posterior.logvar is None) == (kind == "autoencoder")
    assert model.decode(posterior.mode()).shape == (8, 8, 3)
    if kind == "autoencoder":
        assert model.manifest.tasks == ("reconstruct",)
        with pytest.raises(vaetools.ModelError, match="no prior"):
            model.prior(np.random.default_rng(0))
        with pytest.raises(vaetools.ModelError, match="no posterior"):
            bounds.elbo(model, np.zeros((1, 1, 8, 8), np.float32), np.random.default_rng(0))
    else:
        again = model.prior(np.random.default_rng(5)).values
        assert np.array_equal(again, model.prior(np.random.default_rng(5)).values)
        assert model.decode(model.prior(np.random.default_rng(5))).shape == (8, 8, 3)


@pytest.mark.train
def test_a_spatial_network_works_on_any_size_and_in_tiles(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(recipe_of(SPATIAL, tmp_path), pictures, tmp_path / "run")
    model = exported(tmp_path / "run", tmp_path / "model")
    assert model.manifest.tiling.policy == "halo" and 8 <= model.manifest.tiling.halo <= 40
    picture = np.random.default_rng(2).random((131, 203, 3), dtype=np.float32)
    posterior = model.encode(picture)
    assert posterior.mean.shape == (1, 4, 17, 26)
    whole = model.decode(posterior.mode())
    assert whole.shape == picture.shape
    monkeypatch.setattr("vaetools.model.vae.TILE", 48)
    tiled = model.encode(picture)
    np.testing.assert_allclose(tiled.mean, posterior.mean, atol=1e-5)
    np.testing.assert_allclose(model.decode(posterior.mode()), whole, atol=1e-5)
    sampled = model.decode(model.prior(np.random.default_rng(0), height=50, width=70))
    assert sampled.shape == (50, 70, 3)


@pytest.mark.train
def test_full_batch_descent_is_sgd_with_a_batch_of_everything(idx: Path, tmp_path: Path) -> None:
    """Without noise: an autoencoder on grey values. Only the order of the sums differs."""
    changes = [
        ('kind = "mlp"', 'kind = "autoencoder"\nlikelihood = "gaussian"'),
        ("binarise = true", "binarise = false"),
        ("[train]", '[train]\noptimizer = "sgd"\naverage = 0.0'),
        ("learning_rate = 1e-2", "learning_rate = 1e-3"),
    ]
    descent, stochastic, small = (
        train(
            recipe_of(RECIPE, tmp_path, *changes, ("batch = 50", f"batch = {batch}")),
            idx,
            tmp_path / str(batch),
        )
        for batch in (0, 240, 60)
    )
    torch.testing.assert_close(weights(descent), weights(stochastic), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(weights(descent), weights(small), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_every_optimiser_raises_the_bound(optimizer: str, idx: Path, tmp_path: Path) -> None:
    rate = "3e-2" if optimizer == "sgd" else "1e-2"
    recipe = recipe_of(
        RECIPE,
        tmp_path,
        ("learning_rate = 1e-2", f'learning_rate = {rate}\noptimizer = "{optimizer}"'),
        ("steps = 8", "steps = 60"),
        ("log_seconds = 0.0", "log_seconds = 1e9\nclip = 0.0"),
    )
    trainer = train(recipe, idx, tmp_path / "run")
    assert trainer.validate()["held_elbo"] > -64 * np.log(2) + 5


@pytest.mark.train
def test_em_style_training_teaches_the_encoder_better_posteriors(idx: Path, tmp_path: Path) -> None:
    recipe = recipe_of(
        RECIPE, tmp_path, ("beta = 1.0", "e_steps = 5"), ("steps = 8", "steps = 200")
    )
    found = train(recipe, idx, tmp_path / "run").validate()
    assert found["held_elbo"] > -64 * np.log(2) + 5
    assert found["held_kl"] > 0.5  # the encoder has learned, though it is never shown the ELBO
    gaps = [row["gap"] for row in read_log(tmp_path / "run")]
    assert min(gaps) > 0 and max(gaps[-20:]) < 1  # refined posteriors are others, and near


@pytest.mark.train
def test_the_importance_weighted_objective_trains(idx: Path, tmp_path: Path) -> None:
    recipe = recipe_of(RECIPE, tmp_path, ("beta = 1.0", "samples = 4"), ("steps = 8", "steps = 60"))
    found = train(recipe, idx, tmp_path / "run").validate()
    assert found["held_bound"] > -64 * np.log(2) + 5
    assert found["held_loss"] == -found["held_bound"]
    assert found["held_bound"] > found["held_elbo"]


def test_a_run_goes_on_only_with_its_own_data(idx: Path, pictures: Path, tmp_path: Path) -> None:
    recipe = recipe_of(RECIPE, tmp_path)
    train(recipe, idx, tmp_path / "run")
    with pytest.raises(UsageError, match="was trained on 300 images"):
        train(recipe, pictures, tmp_path / "run")
    (tmp_path / "run" / CHECKPOINT).write_bytes(b"")
    (tmp_path / "run" / COMPACT).unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        train(recipe, idx, tmp_path / "run")


@pytest.mark.train
def test_resumed_training_is_that_of_one_go(idx: Path, tmp_path: Path) -> None:
    from vaetools.training.tasks import open_task

    recipe = recipe_of(RECIPE, tmp_path, ('kind = "mlp"', 'kind = "mlp"\ndropout = 0.3'))
    whole = train(recipe, idx, tmp_path / "whole")
    task = open_task(recipe)
    list(
        Trainer(task, task.load(idx), tmp_path / "halves", device=torch.device("cpu")).fit(
            until=0.5
        )
    )
    assert torch.equal(weights(train(recipe, idx, tmp_path / "halves")), weights(whole))


def test_a_log_without_a_checkpoint_is_begun_anew(idx: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "log.csv").write_text("step,other\n1,2\n")
    train(recipe_of(RECIPE, tmp_path), idx, run)
    assert [row["step"] for row in read_log(run)] == list(range(1, 9))


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_opens(path: Path) -> None:
    from vaetools.training.tasks import open_task

    recipe = read_recipe(path.stem)
    named = recipe.id == path.stem.removesuffix("-gpu")
    assert (named and recipe.summary) or recipe.task == "codec"
    assert sum(p.numel() for p in open_task(recipe).network.parameters()) > 10_000


def test_pictures_below_the_crop_are_left_out(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from vaetools.training.tasks import open_task

    folder = tmp_path / "pictures"
    shutil.copytree(pictures, folder, ignore=shutil.ignore_patterns("broken*"))
    small = encode_image(Image(np.zeros((31, 90, 3), np.uint8)), "png")
    (folder / "small.png").write_bytes(small)
    assert len(open_task(recipe_of(SPATIAL, tmp_path)).load(folder)) == 6
    assert "1 of 7 images left out" in caplog.text
    large = recipe_of(SPATIAL, tmp_path, ("height = 32\nwidth = 32", "height = 64\nwidth = 64"))
    with pytest.raises(InputError, match="64 x 64"):
        open_task(large).load(folder)


def test_the_halo_of_a_deep_network_is_measured_on_a_larger_grid() -> None:
    deep = SpatialVae(ImageShape(3, 32, 32), channels=4, blocks=20)
    shallow = SpatialVae(ImageShape(3, 32, 32), channels=4, blocks=1)
    # An encoder of n blocks sees 2 n + 1 pixels of 4, and a little more.
    assert 8 * 20 < plan_of(deep, "").tiling.halo < 8 * 26
    assert plan_of(shallow, "").tiling.halo <= 24


def test_a_training_that_diverges_ends(idx: Path, tmp_path: Path) -> None:
    recipe = recipe_of(
        RECIPE,
        tmp_path,
        (
            "learning_rate = 1e-2",
            'learning_rate = 1e9\noptimizer = "sgd"\nclip = 0.0\naverage = 0.0',
        ),
        ("steps = 8", "steps = 1000"),
        ("log_seconds = 0.0", "log_seconds = 1e9"),
    )
    with pytest.raises(UsageError, match="diverged"):
        train(recipe, idx, tmp_path / "run")


@pytest.mark.train
def test_the_weights_with_the_best_score_are_kept(idx: Path, tmp_path: Path) -> None:
    recipe = recipe_of(
        RECIPE,
        tmp_path,
        ("learning_rate = 1e-2", "learning_rate = 1e-2\npatience = 3\naverage = 0.0\nflat = 1.0"),
        ("steps = 8", "steps = 100000"),
    )
    trainer = train(recipe, idx, tmp_path / "run")
    assert trainer.best.stopped and trainer.step < 100000
    state = torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)
    kept = read_run(tmp_path / "run")[0]
    data = ImageStack.read(idx, ImageShape(1, 8, 8)).split(5)[1]
    score = kept.validate(kept.network.eval(), data)["held_loss"]
    assert score == pytest.approx(state["best"]["score"], abs=1e-3)
    assert score <= trainer.validate()["held_loss"]


def test_idx_files_of_training_are_taken_and_pictures_are_cut(
    idx: Path, pictures: Path, tmp_path: Path
) -> None:
    stack = ImageStack.read(idx, ImageShape(1, 8, 8))
    assert np.array_equal(stack.pixels[:, 0].numpy(), bars(300))
    named = ImageStack.read(idx / "t10k-images-idx3-ubyte.gz", ImageShape(1, 8, 8))
    assert len(named) == 10
    with pytest.raises(InputError, match="expects"):
        ImageStack.read(idx, ImageShape(1, 28, 28))
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    fitted = ImageStack.read(pictures, ImageShape(3, 20, 20))
    assert fitted.pixels.shape == (6, 3, 20, 20)
    with pytest.raises(InputError, match="no images"):
        ImageStack.read(tmp_path, ImageShape(1, 8, 8))
    with pytest.raises(InputError, match="no such"):
        ImageStack.read(tmp_path / "nowhere", ImageShape(1, 8, 8))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('kind = "mlp"', 'kind = "transformer"'), "known: mlp"),
        (("hidden = [16]", "hiden = [16]"), "hiden"),
        (("hidden = [16]", "hidden = []"), "widths"),
        (("height = 8", "heigth = 8"), "heigth"),
        (("height = 8", 'height = "8"'), "data.height = '8' is not an integer"),
        (("binarise = true", "binarise = false"), "binarise = true"),
        (("beta = 1.0", "gamma = 1.0"), "gamma"),
        (("beta = 1.0", "samples = 5\ne_steps = 3"), "only one of"),
        (("beta = 1.0", "beta = 4.0\ne_steps = 3"), "only one of"),
        (("beta = 1.0", "samples = -3"), "not at least 1"),
        (('kind = "mlp"', 'kind = ["mlp"]'), "known: mlp"),
        (("batch = 50", "batch = -5"), "not at least 0"),
        (("hold_out = 5", "hold_out = 1"), "not at least 2"),
        (("steps = 8", "steps = 0"), "not at least 1"),
        (("learning_rate = 1e-2", "learning_rate = nan"), "not a finite number"),
        (('id = "tiny-lab"', 'id = "My VAE"'), "lower-case"),
        (('id = "tiny-lab"', 'id = "x"\ntext = "y"'), "unknown key text"),
        (("[train]", '[train]\noptimizer = "lion"'), "adamw"),
        (('id = "tiny-lab"', 'idd = "tiny-lab"'), "idd"),
        (('id = "tiny-lab"', ""), "id"),
    ],
)
def test_bad_recipes_name_the_key(
    idx: Path, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        train(recipe_of(RECIPE, tmp_path, change), idx, tmp_path / "run")
    assert said in caught.value.line
