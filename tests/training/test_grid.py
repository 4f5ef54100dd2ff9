"""A codec with a 2x2-grid context, element steps and centroids: training and coding agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch
from skimage import data

import vaetools
from tests.codec import independent
from tests.training.tiny import read, trainer, write_photos
from vaetools.codec.codec import Codec
from vaetools.errors import UsageError
from vaetools.image import Image
from vaetools.metrics import psnr
from vaetools.training.export.codec import rate_points
from vaetools.training.export.recover import model_weights
from vaetools.training.networks.codec import CodecConfig, PhotoCodec
from vaetools.training.networks.codec.grid import join, split
from vaetools.training.networks.codec.photo_codec import restored
from vaetools.training.run.finish import export_run, read_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.model.folder import Model

RECIPE = """
id = "tiny-grid"
version = "1"
task = "codec"
[network]
channels = 16
middle = 16
latents = 48
hyper = 8
hyper_hidden = 16
analysis_blocks = 1
synthesis_blocks = 1
context = "grid"
context_width = 24
context_blocks = 1
element_steps = true
centroids = true
overlap_entry = 2
overlap_exit = 2
rates = 3
knee = 1.2
[data]
crop = 64
late_crop = 128
batch = 2
hold_out = 3
shrink = 1.5
[train]
steps = 4
log_seconds = 1000.0
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[PhotoCodec, Model]:
    """The network of a short run with a context that matters, and the model exported from it."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "photos").mkdir()
    photos = write_photos(folder / "photos", ["astronaut", "coffee", "chelsea"])
    run = trainer(read(RECIPE, folder), photos, folder / "run")
    list(run.fit())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for grid_pass in run.average.network.context_mean.passes:
            for last in (grid_pass.exit, grid_pass.step):
                noise = torch.randn(last.weight.shape, generator=generator)
                last.weight.copy_(0.1 * noise)
        run.average.network.centroid.fill_(0.2)
    run.save()
    model, differences = export_run(folder / "run", photos, folder / "models" / "tiny-grid")
    assert max(differences.values()) < 1e-4
    task, _ = read_run(folder / "run")
    return task.network.eval(), model


def picture() -> Image:
    return Image(np.ascontiguousarray(data.astronaut()[100:356, 60:380, ::-1]))


@pytest.mark.train
def test_coding_takes_the_symbols_that_training_took(trained: tuple[PhotoCodec, Model]) -> None:
    network, model = trained
    codec, image = Codec(model), picture()
    level = 75
    found = codec.code(codec.analyse(image), level)
    levels = codec.levels_of(found.container)
    networks, z = codec.networks(levels), codec.hyper(found.container, levels)
    r = codec.symbols(found.container, networks, z)
    rgb = torch.from_numpy(image.pixels[..., ::-1].copy()).permute(2, 0, 1)[None] / 255.0
    with torch.no_grad():
        position = rate_points(network.config)[level].reshape(1, 1, 1)
        coded = network.code(rgb, position)
        ours = torch.round(coded.residual)
        decoded = network.synthesis(
            restored(coded.mean, ours, coded.step, coded.inward), network.rate(position)
        )
    assert float((torch.from_numpy(r) == ours[0]).float().mean()) > 0.999
    assert float(coded.step.std(dim=(2, 3)).mean()) > 0  # element steps are in use
    theirs = codec.reconstruct(found.container).pixels
    expected = (decoded[0].clamp(0, 1) * 255).permute(1, 2, 0).numpy()[..., ::-1]
    assert np.abs(theirs - expected).mean() < 0.6


@pytest.mark.train
def test_parts_of_an_image_are_what_the_whole_is(trained: tuple[PhotoCodec, Model]) -> None:
    codec, image = Codec(trained[1]), picture()
    analysis = codec.analyse(image)
    rows, columns = (side // 4 for side in analysis.latents.shape[2:])
    networks = codec.networks(np.full((rows, columns), 50, np.uint8))
    z = networks.hyper(analysis.latents)
    r, whole = networks.restored(analysis.latents, z, (slice(0, rows), slice(0, columns)))
    found, part = networks.restored(analysis.latents, z, (slice(1, 2), slice(2, 3)))
    same = whole.within((slice(4, 8), slice(8, 12)))
    assert np.array_equal(found, r[:, 4:8, 8:12])
    assert part.inward is not None and same.inward is not None
    for ours, theirs in zip(
        (part.latents, part.step, part.inward), (same.latents, same.step, same.inward), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.train
@pytest.mark.parametrize("mixed", [False, True])
def test_the_format_as_documented_decodes_it(
    trained: tuple[PhotoCodec, Model], mixed: bool
) -> None:
    """An independent decoder, written from docs/format.md."""
    folder, codec, image = trained[1].folder, Codec(trained[1]), picture()
    drop = (np.arange(20).reshape(4, 5) * 3).astype(np.int32) if mixed else None
    data_ = codec.code(codec.analyse(image, drop), 70).container.pack()
    with np.load(folder / "tables.npz") as archive:
        tables = dict(archive)

    def graph(role: str) -> Callable[..., list[np.ndarray]]:
        session = onnxruntime.InferenceSession(folder / f"{role}.onnx")
        names = [i.name for i in session.get_inputs()]
        return lambda *values: session.run(None, dict(zip(names, values, strict=True)))

    file = independent.parse(data_)
    levels = independent.level_map(file, tables)
    z = independent.hyper_latents(file, tables)
    base = graph("hyper_scale_index")(z[None].astype(np.float32))[0][0].astype(np.int64)
    index = independent.table_index(base, tables, levels)
    r = independent.residuals(file, tables, index)
    passes = [graph(f"context_{number}") for number in (1, 2, 3)]
    hyper_mean, synthesis = graph("hyper_mean"), graph("synthesis")
    latents = independent.restored_on_grid(
        z, r, tables, levels, index, lambda v: hyper_mean(v)[0], passes
    )
    rgb = independent.picture(latents, file, tables, levels, lambda *v: synthesis(*v)[0])
    theirs = independent.samples(rgb, file)[..., ::-1]
    assert np.abs(codec.decode(data_).pixels.astype(int) - theirs).max() <= 1


@pytest.mark.train
def test_refinement_saves_bits_or_error(trained: tuple[PhotoCodec, Model]) -> None:
    hub = vaetools.open("cpu", models_dirs=[trained[1].folder.parent])
    bgr = picture().pixels
    sizes = []
    for refine in (0, 3):
        data_ = hub.op("compress", model="tiny-grid", quality=75, refine=refine)(bgr)
        back = hub.op("decompress", model="tiny-grid")(data_)
        sizes.append((len(data_), psnr(bgr, back)))
    (bits, decibels), (refined_bits, refined_decibels) = sizes
    assert refined_bits < bits or refined_decibels > decibels


@pytest.mark.train
def test_a_grid_codec_comes_back_from_its_export(trained: tuple[PhotoCodec, Model]) -> None:
    network, model = trained
    weights = model_weights(model.folder, PhotoCodec(network.config))
    assert weights.keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        if name.startswith("context_mean") or name == "centroid":
            torch.testing.assert_close(weights[name], value)


def test_planes_of_a_grid_join_again() -> None:
    x = torch.randn(2, 3, 4, 6)
    assert torch.equal(join(split(x)), x)


def test_quality_75_keeps_its_rate_point_on_a_longer_range() -> None:
    points = rate_points(CodecConfig(rates=11, knee=5.25))
    assert points[[0, 75, 100]].tolist() == [0.0, 5.25, 10.0]
    assert (points.diff() > 0).all()
    assert rate_points(CodecConfig())[75] == pytest.approx(5.25)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [({"element_steps": True}, 'needs context = "grid"'), ({"knee": 7.0}, "not below the last")],
)
def test_keys_that_exclude_each_other(keys: dict[str, bool | float], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        CodecConfig(**keys)  # type: ignore[arg-type]
