"""Pictures of any size and kind, part by part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import data

import vaetools
from tests.restoration.models import BLUR, INTERVAL, LEVELS, SPREAD, write_denoiser
from vaetools import Denoiser, Image
from vaetools.errors import ImageValueError, ManifestError, ModelBrokenError, OptionError
from vaetools.image.array import quantise
from vaetools.model.folder import Model
from vaetools.model.manifest import read_manifest
from vaetools.model.registry import shipped_folder
from vaetools.model.runtime import Runtime
from vaetools.restoration import patches as parts
from vaetools.testing import gradient


def opened(folder: Path) -> Model:
    return Model(read_manifest(folder), folder, Runtime("cpu", threads=1))


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Denoiser:
    return Denoiser(opened(write_denoiser(tmp_path_factory.mktemp("models") / BLUR)))


def noisy(sigma: float, height: int = 160, width: int = 200, base: float = 128) -> Image:
    """A grey level with noise, 8 bit."""
    drawn = np.random.default_rng(0).normal(base, sigma, (height, width, 3))
    return Image(np.clip(np.rint(drawn), 0, 255).astype(np.uint8))


def test_tiles_give_what_the_whole_gives(
    denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noisy(20, 203, 149)
    sigma = np.linspace(0, 50, image.pixels[..., 0].size, dtype=np.float32).reshape(203, 149)
    whole = denoiser.denoise(image, sigma, seeds=[3], uncertainty=True)
    level, places = denoiser.noise_level(image), denoiser.noise_map(image)
    monkeypatch.setattr(parts, "TILE", 64)
    tiled = denoiser.denoise(image, sigma, seeds=[3], uncertainty=True)
    assert np.array_equal(tiled.image.pixels, whole.image.pixels)
    assert np.array_equal(tiled.samples[0].pixels, whole.samples[0].pixels)
    assert np.allclose(tiled.uncertainty, whole.uncertainty)
    assert denoiser.noise_level(image) == pytest.approx(level)
    assert np.allclose(denoiser.noise_map(image), places, atol=1e-4)


def test_windows_of_one_shape_give_what_the_whole_gives(
    denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch, windows: dict[str, set[tuple[int, ...]]]
) -> None:
    image = noisy(20, 203, 149)
    whole = denoiser.denoise(image, 20, seeds=[3])
    level = denoiser.noise_level(image)
    monkeypatch.setattr(parts, "TILE", 64)
    windows.clear()
    tiled = denoiser.denoise(image, 20, seeds=[3])
    assert denoiser.noise_level(image) == pytest.approx(level)
    assert np.array_equal(tiled.image.pixels, whole.image.pixels)
    assert np.array_equal(tiled.samples[0].pixels, whole.samples[0].pixels)
    side = 64 + 2 * denoiser.model.manifest.tiling.halo
    assert windows
    assert all(shapes == {(1, side, side, 3)} for shapes in windows.values())


def test_smaller_tiles_for_lack_of_memory_give_the_same(
    denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch, lacking: list[str]
) -> None:
    image = noisy(20, 203, 149)
    lacking += [denoiser.model.graph(role).name for role in denoiser.model.manifest.graphs]
    whole = denoiser.denoise(image, 20, seeds=[3])
    level = denoiser.noise_level(image)
    monkeypatch.setattr(parts, "TILE", 64)
    lacking.clear()
    tiled = denoiser.denoise(image, 20, seeds=[3])
    assert denoiser.noise_level(image) == pytest.approx(level)
    assert len(lacking) == 2  # once for each of the two
    assert np.array_equal(tiled.image.pixels, whole.image.pixels)
    assert np.array_equal(tiled.samples[0].pixels, whole.samples[0].pixels)


def test_the_border_of_any_size_is_as_clean_as_the_middle() -> None:
    """Seven more rows are made up to fill whole cells: they must look like noise, not like streaks."""
    shipped = shipped_folder()
    if shipped is None or not (shipped / "photo-denoise").exists():
        pytest.skip("the model is not here")
    clean = np.ascontiguousarray(data.astronaut()[:345, :200])
    drawn = np.random.default_rng(0).normal(clean, 50)
    image = Image(np.clip(np.rint(drawn), 0, 255).astype(np.uint8))
    after = Denoiser(opened(shipped / "photo-denoise")).denoise(image, 50).image.pixels
    squares = np.square(after.astype(float) - clean)
    assert squares[-3:].mean() < 1.6 * squares[100:200].mean()  # streaks: 2.0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 9), (33, 50), (33, 50, 3), (8, 130, 4)])
def test_dtype_shape_and_alpha_survive(
    denoiser: Denoiser, dtype: type, shape: tuple[int, ...]
) -> None:
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}[dtype]
    array = (np.random.default_rng(0).random(shape) * top).astype(dtype)
    image = replace(Image.from_array(array), icc=b"profile", exif=b"II*\0")
    found = denoiser.denoise(image, 25.0, seeds=[0, 1], uncertainty=True)
    assert found.uncertainty is not None and found.uncertainty.shape == shape[:2]
    for result in (found.image, *found.samples):
        back = result.to_array()
        assert back.dtype == dtype and back.shape == shape
        assert (result.icc, result.exif) == (b"profile", b"II*\0")
        if shape[-1] == 4:
            assert np.array_equal(back[..., 3], array[..., 3])
    assert np.array_equal(Image.from_array(array).pixels, image.pixels)


def test_noise_goes_and_colour_stays(denoiser: Denoiser) -> None:
    image = noisy(20)
    out = denoiser.denoise(image, 20.0).image.pixels.astype(float)
    assert out[2:-2, 2:-2].std() < 5 < image.pixels.std()
    assert abs(out[8:-8, 8:-8].mean() - image.pixels[8:-8, 8:-8].mean()) < 0.5


def test_nothing_changes_where_there_is_no_noise(denoiser: Denoiser) -> None:
    image = Image(gradient(64, 80))
    found = denoiser.denoise(image, 0.0, seeds=[1], uncertainty=True)
    assert np.array_equal(found.image.pixels, image.pixels)
    assert np.array_equal(found.samples[0].pixels, image.pixels)
    assert not found.uncertainty.any()
    half = np.zeros((64, 80), np.float32)
    half[:, 40:] = 25
    found = denoiser.denoise(image, half, seeds=[1], uncertainty=True)
    for result in (found.image, found.samples[0]):
        assert np.array_equal(result.pixels[:, :40], image.pixels[:, :40])
        assert not np.array_equal(result.pixels[:, 40:], image.pixels[:, 40:])
    assert not found.uncertainty[:, :40].any() and found.uncertainty[:, 40:].all()


def test_strength_goes_from_nothing_to_all(denoiser: Denoiser) -> None:
    image = replace(noisy(20), pixels=noisy(20).pixels.astype(np.float32) / 255)

    def pixels(strength: float) -> np.ndarray:
        return denoiser.denoise(image, 20.0, strength=strength).image.pixels

    assert np.array_equal(pixels(0.0), image.pixels)
    assert np.allclose(pixels(0.25), 0.75 * image.pixels + 0.25 * pixels(1.0), atol=1e-6)


def test_the_level_is_found(denoiser: Denoiser) -> None:
    for sigma in (5, 15, 40):
        assert denoiser.noise_level(noisy(sigma)) == pytest.approx(sigma, rel=0.1)
    assert denoiser.noise_level(noisy(0)) == 0
    assert denoiser.noise_level(noisy(0.6)) == 0  # about a grey level: that of a clean file
    assert denoiser.noise_level(noisy(90)) == denoiser.max_sigma


def test_the_noise_of_a_camera_is_told_stronger_than_it_is_found(denoiser: Denoiser) -> None:
    assert denoiser.photo_level(noisy(8)) == pytest.approx(1.5 * 8, rel=0.1)
    assert denoiser.photo_level(noisy(0)) == 4  # never nothing: who asks has seen noise
    assert denoiser.photo_level(noisy(40)) == denoiser.max_sigma


def test_white_paper_does_not_hide_the_noise(denoiser: Denoiser) -> None:
    pixels = noisy(20).pixels
    pixels[:, :140] = 255
    assert denoiser.noise_level(Image(pixels)) == pytest.approx(20, rel=0.2)
    assert denoiser.noise_level(Image(np.full((64, 64, 3), 255, np.uint8))) == 0


def test_cells_whose_noise_is_cut_off_do_not_hide_the_noise(denoiser: Denoiser) -> None:
    """A dark image with a small bright part: in the dark, half of the noise is missing."""
    rng = np.random.default_rng(0)
    clean = np.full((256, 256, 3), 9.0)
    clean[:, -48:] = 120
    pixels = np.clip(np.rint(clean + rng.normal(0, 20, clean.shape)), 0, 255).astype(np.uint8)
    levels, _ = denoiser._cells(Image(pixels))
    assert np.median(levels) < 17
    assert denoiser.noise_level(Image(pixels)) == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize("base", [0, 4, 255])
@pytest.mark.parametrize("sigma", [4, 12, 25, 50])
def test_the_noise_of_a_page_is_told_from_the_half_that_is_left(
    denoiser: Denoiser, base: int, sigma: int
) -> None:
    page = noisy(sigma, base=base)
    assert np.median(denoiser._cells(page)[0]) < 0.9 * sigma
    assert denoiser.noise_level(page) == pytest.approx(sigma, rel=0.03)
    drawn = np.random.default_rng(1).normal(base, sigma, page.pixels.shape) / 255
    floats = np.clip(drawn, 0, 1).astype(np.float32)
    for pixels in (page.pixels[..., 0], quantise(floats, 16), floats, drawn.astype(np.float32)):
        assert denoiser.noise_level(Image(pixels)) == pytest.approx(sigma, rel=0.06)


def test_texture_on_a_page_is_not_taken_for_much_more_noise(denoiser: Denoiser) -> None:
    page = noisy(12, base=255).pixels
    page[::4] = 0
    seen = np.median(denoiser._cells(Image(page))[0])
    assert denoiser.noise_level(Image(page)) <= 2 * seen


def test_a_map_follows_the_noise(denoiser: Denoiser) -> None:
    pixels = np.concatenate([noisy(5).pixels, noisy(30).pixels], axis=1)
    places = denoiser.noise_map(Image(pixels))
    assert places.shape == pixels.shape[:2] and places.dtype == np.float32
    inner = places[40:-40]  # the blur of this model darkens the borders
    assert inner[:, 40:150].mean() == pytest.approx(5, rel=0.2)
    assert inner[:, 250:-40].mean() == pytest.approx(30, rel=0.2)
    assert not denoiser.noise_map(noisy(0)).any()


def test_samples_spread_as_the_deviation_says(denoiser: Denoiser) -> None:
    image = noisy(0, 512, 512)
    found = denoiser.denoise(image, 20.0, seeds=[5])
    moved = found.samples[0].pixels.astype(float) - found.image.pixels
    assert moved[8:-8, 8:-8].std() == pytest.approx(SPREAD * 20, rel=0.1)


def test_samples_belong_to_their_seeds(denoiser: Denoiser) -> None:
    image = noisy(10)
    both = denoiser.denoise(image, 20.0, seeds=[5, 6]).samples
    alone = denoiser.denoise(image, 20.0, seeds=[6]).samples
    assert np.array_equal(both[1].pixels, alone[0].pixels)
    assert not np.array_equal(both[0].pixels, both[1].pixels)


def test_the_mean_is_the_same_beside_samples(denoiser: Denoiser) -> None:
    image = noisy(10)
    plain = denoiser.denoise(image, 20.0).image.pixels
    assert np.array_equal(denoiser.denoise(image, 20.0, seeds=[1]).image.pixels, plain)
    assert np.array_equal(denoiser.denoise(image, 20.0, uncertainty=True).image.pixels, plain)


def test_uncertainty_is_in_grey_levels(denoiser: Denoiser) -> None:
    for sigma, factor in ((5.0, INTERVAL[0]), (15.0, sum(INTERVAL) / 2), (50.0, INTERVAL[1])):
        assert LEVELS == (5.0, 25.0)  # between them the factor is interpolated
        found = denoiser.denoise(noisy(10, 20, 30), sigma, uncertainty=True).uncertainty
        assert np.allclose(found, factor * SPREAD * sigma, rtol=1e-5)


@pytest.mark.parametrize("sigma", [-1.0, 55.1, float("nan"), float("inf")])
def test_levels_that_the_model_does_not_know(denoiser: Denoiser, sigma: float) -> None:
    image = noisy(10, 16, 16)
    with pytest.raises(OptionError, match=r"not 0 … 55") as caught:
        denoiser.denoise(image, sigma)
    assert caught.value.code == "E004"
    one = np.zeros((16, 16), np.float32)
    one[3, 4] = sigma
    with pytest.raises(OptionError, match=r"not 0 … 55"):
        denoiser.denoise(image, one)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strength": float("nan")}, "strength nan is not"),
        ({"strength": 2}, "strength 2 is not"),
        ({"sigma": "25"}, "not '25'"),
        ({"sigma": None}, "not None"),
        ({"sigma": np.ones((16, 16), complex)}, "a map of numbers"),
        ({"seeds": [-1]}, "seed -1 is not"),
    ],
)
def test_options_out_of_range_are_one_line(
    denoiser: Denoiser, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        denoiser.denoise(noisy(10, 16, 16), **{"sigma": 10.0, **options})
    assert "\n" not in caught.value.line


def test_pixels_that_are_not_finite(denoiser: Denoiser) -> None:
    pixels = np.zeros((16, 16, 3), np.float32)
    pixels[3, 4] = np.nan
    for sigma in (0.0, 10.0):
        with pytest.raises(ImageValueError, match="not finite"):
            denoiser.denoise(Image(pixels), sigma)


def test_the_largest_level_of_a_map_is_accepted(
    denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps are float32, in which 50.7 is larger than 50.7."""
    monkeypatch.setattr(denoiser, "spec", replace(denoiser.spec, strongest=50.7))
    map_ = np.full((16, 16), 50.7, np.float32)
    assert float(map_[0, 0]) > 50.7
    denoiser.denoise(noisy(10, 16, 16), map_)


def test_a_map_of_another_size(denoiser: Denoiser) -> None:
    with pytest.raises(ImageValueError, match="does not fit 16 x 24"):
        denoiser.denoise(noisy(1, 16, 24), np.zeros((24, 16), np.float32))


def test_models_that_cannot(tmp_path: Path) -> None:
    plain = Denoiser(opened(write_denoiser(tmp_path / "plain", samples=False)))
    image = noisy(10, 16, 16)
    assert plain.denoise(image, 20.0).image.pixels.shape == image.pixels.shape
    for options in ({"seeds": [1]}, {"uncertainty": True}):
        with pytest.raises(ModelBrokenError, match="denoise_sample"):
            plain.denoise(image, 20.0, **options)
    model = opened(write_denoiser(tmp_path / "other"))
    model.manifest = replace(model.manifest, denoise=None)
    with pytest.raises(ModelBrokenError, match=r"\[denoise\]"):
        Denoiser(model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("strongest = 55.0", "strongest = 0.0"), "strongest = 0.0 is not"),
        (("strongest = 55.0", "strongest = nan"), "strongest = nan is not"),
        (("strongest = 55.0\n", ""), "denoise.strongest is missing"),
        (("    5.0,\n", "    25.0,\n"), "must rise"),
        (("    1.5,\n", ""), "with one denoise.interval for each"),
        (("    1.5,\n", "    -1.5,\n"), "= -1.5 is not 1e-09 … 1000000000"),
    ],
)
def test_manifests_that_make_no_sense(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = write_denoiser(tmp_path / "model") / "model.toml"
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ManifestError, match=said):
        read_manifest(path.parent)


class Fake:
    """A model whose graphs are functions."""

    def __init__(self, model: Model, **graphs: object) -> None:
        self.manifest, self.folder, self.id = model.manifest, model.folder, model.id
        self.device = model.device
        self.required, self.graphs = model.required, graphs

    def graph(self, role: str, *, pixels: tuple[str, ...] = ()) -> object:
        return self.graphs[role]


DTYPES = (np.uint8, np.uint16, np.float32)


def of_depth(image: Image, dtype: type) -> Image:
    """The same image with other samples."""
    share = image.pixels / 255
    scaled = share if dtype == np.float32 else np.rint(share * np.iinfo(dtype).max)
    return replace(image, pixels=scaled.astype(dtype))


@pytest.mark.parametrize("uniform", [True, False])
def test_8_bits_give_what_floats_give(denoiser: Denoiser, uniform: bool) -> None:
    """uint8 pixels in the graph, and floats outside of it, are the same computation."""
    image = noisy(20, 75, 101)
    sigma = 20.0 if uniform else np.linspace(0, 50, 75 * 101, dtype=np.float32).reshape(75, 101)
    exact = replace(image, pixels=image.pixels / np.float32(255))
    one, other = (denoiser.denoise(i, sigma, seeds=[3], uncertainty=True) for i in (image, exact))
    assert np.array_equal(one.image.pixels, quantise(other.image.pixels, 8))
    assert np.array_equal(one.samples[0].pixels, quantise(other.samples[0].pixels, 8))
    assert one.uncertainty is not None
    assert np.array_equal(one.uncertainty, other.uncertainty)
    assert denoiser.noise_level(image) == denoiser.noise_level(exact)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mean_of_another_size(denoiser: Denoiser, dtype: type) -> None:
    fake = Denoiser(Fake(denoiser.model, denoise=lambda image, sigma: (image[:, :, ::2],)))
    with pytest.raises(ModelBrokenError, match="became"):
        fake.denoise(of_depth(noisy(10, 16, 16), dtype), 20.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_that_are_not_finite(tmp_path: Path, dtype: type) -> None:
    model = opened(write_denoiser(tmp_path / "overflows", scale=1e39))
    with pytest.raises(ModelBrokenError, match="not finite"):
        Denoiser(model).denoise(of_depth(noisy(10, 16, 16), dtype), 20.0)


def test_an_estimate_of_another_size(denoiser: Denoiser) -> None:
    fake = Denoiser(Fake(denoiser.model, noise_level=lambda image: image[:, :1]))
    with pytest.raises(ModelBrokenError, match="noise_level made shape"):
        fake.noise_level(noisy(10, 16, 16))


def test_names_are_public(denoiser: Denoiser) -> None:
    assert vaetools.Denoiser is Denoiser
    with pytest.warns(DeprecationWarning, match="use max_sigma"):
        assert denoiser.strongest == denoiser.max_sigma
    assert vaetools.Restored is not None
