"""A second synthesis that is trained for looks: it decodes the files of a finished codec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from skimage import data

from tests.training.tiny import codec_recipe, read, trainer
from vaetools import metrics
from vaetools.codec import Codec
from vaetools.errors import UsageError
from vaetools.image import Image
from vaetools.model.registry import shipped_folder
from vaetools.training.networks.vgg import Features, read_features
from vaetools.training.objectives.similarity import ms_ssim
from vaetools.training.run.finish import export_run
from vaetools.training.tasks import open_task

if TYPE_CHECKING:
    from tests.training.trained import Trained

pytestmark = pytest.mark.train

SIZES = ((3, 64), (64, 64)), ((64, 128), (128, 128))
"""Channels of the convolutions of the first two blocks of VGG-16."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random ones, laid out as Keras does."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("vgg") / "random.weights.h5"
    with h5py.File(path, "w") as file:
        for block, layers in enumerate(SIZES, start=1):
            for number, (count, wide) in enumerate(layers):
                place = f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars"
                scale = (2 / (9 * count)) ** 0.5
                file[f"{place}/0"] = rng.normal(0, scale, (3, 3, count, wide)).astype(np.float32)
                file[f"{place}/1"] = np.zeros(wide, np.float32)
    return path


def recipe(model: Path | str, weights: Path | str, steps: int = 12) -> str:
    text = codec_recipe().replace('task = "codec"', 'task = "look"')
    text = text.replace('"tiny-codec"', '"tiny-look"').replace('version = "1"', 'version = "2"')
    text = text.replace("steps = 6", f"steps = {steps}\nlearning_rate = 3e-3\naverage = 0.0")
    return f'{text}\n[objective]\nmodel = "{model}"\nfeatures = "{weights}"\nblocks = 2\n'


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("side", [176, 192])
def test_the_similarity_is_that_of_the_measure(noise: float, side: int) -> None:
    image = data.astronaut()[:side, :side].astype(np.float32) / 255
    rng = np.random.default_rng(0)
    other = (image + rng.normal(0, noise, image.shape)).clip(0, 1).astype(np.float32)
    tensors = (torch.from_numpy(a).double().permute(2, 0, 1)[None] for a in (image, other))
    assert float(ms_ssim(*tensors)) == pytest.approx(metrics.ms_ssim(image, other), abs=1e-6)


def test_the_similarity_has_a_gradient_everywhere() -> None:
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for other in (image, 1 - image, torch.zeros_like(image), image.new_full((1, 3, 64, 64), 0.5)):
        x = other.clone().requires_grad_()
        ms_ssim(x, image).sum().backward()
        assert torch.isfinite(x.grad).all()


def test_activations_tell_images_apart(weights: Path) -> None:
    features = read_features(weights, 2)
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    none, little, much = (features.distance(image + s * noise, image) for s in (0, 0.05, 0.2))
    assert none.abs().max() < 1e-6
    assert (little < much).all()
    x = (image + 0.1 * noise).requires_grad_()
    features.distance(x, image).sum().backward()
    assert float(x.grad.abs().sum()) > 0


def test_colours_enter_as_vgg_was_trained() -> None:
    """BGR minus the mean, in 0 … 255."""
    kernel = torch.zeros(3, 3, 3, 3)
    kernel[[0, 1, 2], [0, 1, 2], 1, 1] = 1
    features = Features([[(kernel, torch.zeros(3))]])
    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 1
    (found,) = features(red)
    assert found[0, :, 0, 0].tolist() == pytest.approx([0, 0, 1], abs=1e-4)


def test_bad_weights_are_one_line(weights: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.h5"
    text.write_text("notes")
    for path in (tmp_path / "nothing.h5", text):
        with pytest.raises(UsageError, match=r"\.h5: no weights of VGG-16"):
            read_features(path, 2)
    with pytest.raises(UsageError, match=r"no weights of VGG-16: there is no block3/"):
        read_features(weights, 3)


def test_bad_recipes_are_one_line(trained_codec: Trained, weights: Path, tmp_path: Path) -> None:
    good = recipe(trained_codec.model.folder, weights)
    wide = good.replace("channels = 16", "channels = 24")
    denoiser = recipe(Path(str(shipped_folder())) / "photo-denoise", weights)
    for text, said in (
        (wide, r"is a codec of other sizes than \[network\]"),
        (denoiser, "is a model for denoise, not for compress"),
        (good.replace("blocks = 2", "blocks = 9"), "blocks = 9 is above 4"),
        (good.replace("blocks = 2", "colour = 1"), "unknown key objective.colour"),
    ):
        with pytest.raises(UsageError, match=said):
            open_task(read(text, tmp_path))


def test_a_look_is_trained_and_added(trained_codec: Trained, weights: Path, tmp_path: Path) -> None:
    before = trained_codec.model
    run = trainer(
        read(recipe(before.folder, weights), tmp_path), trained_codec.photos, tmp_path / "run"
    )
    rows = [*run.fit()]
    assert rows[-1]["held_loss"] < -0.005  # 0 is the codec's own synthesis
    codec, look = run.task.codec, run.network
    assert torch.equal(look.linear[0].weight, codec.synthesis.linear[0].weight)
    assert not torch.equal(look.exit[0].weight, codec.synthesis.exit[0].weight)

    model, differences = export_run(
        tmp_path / "run", None, tmp_path / "models" / "vivid", half=True
    )
    model.verify()
    assert {role for role, apart in differences.items() if apart} <= {"synthesis_vivid"}
    assert model.manifest.codec == before.manifest.codec  # the same files
    assert (model.id, model.manifest.version) == ("tiny-look", "2")
    photo = Image(np.ascontiguousarray(data.rocket()[:128, :192, ::-1]))
    old, new = Codec(before), Codec(model)
    written = old.encode(photo, 50)
    faithful = old.decode(written).pixels
    assert np.array_equal(new.decode(written).pixels, faithful)
    assert np.array_equal(old.decode(new.encode(photo, 50)).pixels, faithful)
    assert not np.array_equal(new.decode(written, look="vivid").pixels, faithful)
