"""Holes of any shape in pictures of any size and kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaetools
from tests.restoration.models import (
    DEEPEST,
    DEPTHS,
    HOLE_INTERVAL,
    HOLE_SPREAD,
    MEAN,
    write_inpainter,
)
from vaetools import Image, Inpainter
from vaetools.errors import (
    ImageValueError,
    InputError,
    ManifestError,
    ModelBrokenError,
    OptionError,
)
from vaetools.image.array import quantise
from vaetools.model.devices import Device
from vaetools.model.folder import Model
from vaetools.model.manifest import read_manifest
from vaetools.model.runtime import Runtime
from vaetools.restoration import holes
from vaetools.restoration import patches as parts
from vaetools.restoration.holes import depth_of, hole_tiles
from vaetools.testing import gradient


def opened(folder: Path) -> Model:
    return Model(read_manifest(folder), folder, Runtime("cpu", threads=1))


@pytest.fixture(scope="module")
def inpainter(tmp_path_factory: pytest.TempPathFactory) -> Inpainter:
    return Inpainter(opened(write_inpainter(tmp_path_factory.mktemp("models") / MEAN)))


def box(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    hole = np.zeros((height, width), np.bool_)
    hole[rows, columns] = True
    return hole


def specks(height: int, width: int, count: int = 30, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hole = np.zeros((height, width), np.bool_)
    for row, column in zip(
        rng.integers(0, height, count), rng.integers(0, width, count), strict=True
    ):
        hole[row : row + 3, column : column + 3] = True
    return hole


class Counting:
    """A model that counts the pixels that its graphs see."""

    def __init__(self, model: Model) -> None:
        self.model, self.seen = model, []
        self.manifest, self.folder, self.id = model.manifest, model.folder, model.id
        self.required, self.device = model.required, model.device

    def graph(self, role: str, *, pixels: tuple[str, ...] = ()) -> Any:
        def call(image: np.ndarray, mask: np.ndarray, *rest: np.ndarray) -> Any:
            self.seen.append(mask.shape[2:])
            return self.model.graph(role, pixels=pixels)(image, mask, *rest)

        return call


def test_the_rim_of_a_sample_follows_its_own_middle(
    inpainter: Inpainter, monkeypatch: pytest.MonkeyPatch
) -> None:
    hole = box(64, 64, slice(16, 48), slice(16, 48))
    seen: list[np.ndarray] = []
    real = Inpainter._part

    def part(self: Inpainter, image: Image, hole: np.ndarray, tile: Any) -> Any:
        seen.append(image.pixels)
        return real(self, image, hole, tile)

    monkeypatch.setattr(Inpainter, "_part", part)
    found = inpainter.inpaint(Image(gradient(64, 64)), hole, seeds=[1, 2], uncertainty=True)
    middles = [tuple(one.pixels[32, 32]) for one in (found.image, *found.samples)]
    assert len({*middles}) == 3
    assert [tuple(pixels[32, 32]) for pixels in seen[-3:]] == middles
    assert found.uncertainty is not None and (found.uncertainty[hole] > 0).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"feather": -1.0}, "feather -1.0 is not"),
        ({"feather": float("nan")}, "feather nan is not"),
        ({"seeds": [-1]}, "seed -1 is not"),
        ({"seeds": [1.5]}, "seed 1.5 is not"),
        ({"seeds": [2**64]}, "seed 18446744073709551616 is not"),
    ],
)
def test_options_out_of_range_are_one_line(
    inpainter: Inpainter, options: dict[str, Any], said: str
) -> None:
    hole = box(16, 16, slice(4, 6), slice(4, 6))
    with pytest.raises(OptionError, match=said):
        inpainter.inpaint(Image(gradient(16, 16)), hole, **options)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(9, 7), (33, 50), (33, 50, 3), (8, 130, 4), (1, 2, 3)])
def test_known_pixels_come_back_byte_for_byte(
    inpainter: Inpainter, dtype: type, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}[dtype]
    array = (rng.random(shape) * top).astype(dtype)
    hole = rng.random(shape[:2]) < 0.3
    hole[0, 0], hole[0, 1] = True, False
    image = replace(Image.from_array(array), icc=b"profile", exif=b"II*\0")
    found = inpainter.inpaint(image, hole, feather=1, seeds=[0, 1], uncertainty=True)
    for result in (found.image, *found.samples):
        back = result.to_array()
        assert back.dtype == dtype and back.shape == shape
        assert (result.icc, result.exif) == (b"profile", b"II*\0")
        assert back[~hole].tobytes() == array[~hole].tobytes()
        assert not np.array_equal(back, array)
        if shape[-1] == 4:
            assert np.array_equal(back[..., 3], array[..., 3])
    assert found.uncertainty is not None and found.uncertainty.dtype == np.float32
    assert np.array_equal(found.uncertainty > 0, hole)
    assert np.array_equal(Image.from_array(array).pixels, image.pixels)


def test_8_bits_give_what_floats_give(inpainter: Inpainter) -> None:
    image, hole = Image(gradient(64, 83)), specks(64, 83)
    exact = replace(image, pixels=image.pixels / np.float32(255))
    one, other = (inpainter.inpaint(i, hole, seeds=[1], uncertainty=True) for i in (image, exact))
    assert np.array_equal(one.image.pixels[hole], quantise(other.image.pixels, 8)[hole])
    assert np.array_equal(one.samples[0].pixels[hole], quantise(other.samples[0].pixels, 8)[hole])
    assert one.uncertainty is not None
    assert np.array_equal(one.uncertainty, other.uncertainty)


def test_what_lies_under_the_mask_does_not_matter(inpainter: Inpainter) -> None:
    image = Image(gradient(64, 80))
    hole = specks(64, 80)
    covered = image.pixels.copy()
    covered[hole] = [0, 255, 7]
    one, other = (inpainter.inpaint(i, hole, seeds=[1]) for i in (image, Image(covered)))
    assert np.array_equal(one.image.pixels, other.image.pixels)
    assert np.array_equal(one.samples[0].pixels, other.samples[0].pixels)


def test_a_smooth_picture_is_mended(inpainter: Inpainter) -> None:
    image = Image(gradient(96, 96))
    hole = specks(96, 96)
    hole[:3] = hole[:, -2:] = True  # at the border as well
    spoilt = image.pixels.copy()
    spoilt[hole] = 255
    found = inpainter.inpaint(Image(spoilt), hole).image.pixels
    away = np.abs(found.astype(int) - image.pixels)[hole]
    assert away.mean() < 20 < np.abs(spoilt.astype(int) - image.pixels)[hole].mean()


def test_tiles_give_what_the_whole_gives(
    inpainter: Inpainter, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image(np.random.default_rng(0).integers(0, 256, (203, 149, 3), np.uint8))
    hole = specks(203, 149, 60)
    with monkeypatch.context() as patch:
        whole_box = [(slice(0, 26), slice(0, 19))]
        patch.setattr(holes, "_boxes", lambda cells, halo: whole_box)
        patch.setattr(holes, "_bounds", lambda cells, core: core)
        whole = inpainter.inpaint(image, hole, seeds=[3], uncertainty=True)
    for size in (64, 24, 4096):
        monkeypatch.setattr(parts, "TILE", size)
        tiled = inpainter.inpaint(image, hole, seeds=[3], uncertainty=True)
        assert np.array_equal(tiled.image.pixels, whole.image.pixels)
        assert np.array_equal(tiled.samples[0].pixels, whole.samples[0].pixels)
        assert np.allclose(tiled.uncertainty, whole.uncertainty)


def test_windows_give_what_cut_tiles_give(
    inpainter: Inpainter, monkeypatch: pytest.MonkeyPatch, windows: dict[str, set[tuple[int, ...]]]
) -> None:
    """On devices that want fixed shapes, sides are powers of two (in cells) or those of a tile."""
    image = Image(np.random.default_rng(0).integers(0, 256, (403, 349, 3), np.uint8))
    monkeypatch.setattr(parts, "TILE", 64)
    for seed in range(3):
        hole = specks(403, 349, 30, seed)
        with monkeypatch.context() as patch:
            patch.setattr(Device, "fixed_shapes", False)
            expected = inpainter.inpaint(image, hole, seeds=[3])
        windows.clear()
        found = inpainter.inpaint(image, hole, seeds=[3])
        assert np.array_equal(found.image.pixels, expected.image.pixels)
        assert np.array_equal(found.samples[0].pixels, expected.samples[0].pixels)
        sides = {side // 8 for shapes in windows.values() for s in shapes for side in s[1:3]}
        assert sides <= {2, 4, 8, 8 + 2}


def test_smaller_tiles_for_lack_of_memory_give_the_same(
    inpainter: Inpainter, monkeypatch: pytest.MonkeyPatch, lacking: list[str]
) -> None:
    image = Image(np.random.default_rng(0).integers(0, 256, (203, 149, 3), np.uint8))
    hole = specks(203, 149, 60)
    monkeypatch.setattr(parts, "TILE", 64)
    lacking += [inpainter.model.graph(role).name for role in inpainter.model.manifest.graphs]
    expected = inpainter.inpaint(image, hole, seeds=[3])
    lacking.clear()
    found = inpainter.inpaint(image, hole, seeds=[3])
    assert lacking
    assert np.array_equal(found.image.pixels, expected.image.pixels)
    assert np.array_equal(found.samples[0].pixels, expected.samples[0].pixels)


def test_no_pass_per_speck_and_none_without(inpainter: Inpainter) -> None:
    model = Counting(inpainter.model)
    image = Image(np.zeros((800, 1000, 3), np.uint8))
    hole = specks(800, 1000, 4000)
    Inpainter(model).inpaint(image, hole)
    assert len(model.seen) <= 4
    model.seen.clear()
    corner = box(800, 1000, slice(10, 14), slice(900, 905))
    Inpainter(model).inpaint(image, corner)
    assert model.seen == [(24, 32)]  # 1 x 2 cells of 8 pixels, with a halo of 8 pixels
    model.seen.clear()
    found = Inpainter(model).inpaint(image, np.zeros((800, 1000), np.bool_), seeds=[1])
    assert not model.seen
    assert np.array_equal(found.image.pixels, image.pixels)


def test_every_hole_is_in_one_core(inpainter: Inpainter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "TILE", 48)
    for seed in range(10):
        hole = specks(150, 210, 1 + 5 * seed, seed)
        times = np.zeros((19, 27), int)
        for tile in hole_tiles(hole, inpainter.model):
            times[tile.core] += 1
            assert all(o.start <= c.start for c, o in zip(tile.core, tile.outer, strict=True))
        padded = np.pad(hole, ((0, 2), (0, 6)))
        cells = padded.reshape(19, 8, 27, 8).any(axis=(1, 3))
        assert times.max() == 1 and times[cells].min() == 1


def test_the_middle_of_large_holes_comes_from_smaller_pictures(inpainter: Inpainter) -> None:
    image = Image(gradient(120, 160))
    hole = box(120, 160, slice(20, 100), slice(30, 131))
    assert depth_of(hole).max() > 4 * DEEPEST
    found = inpainter.inpaint(image, hole, seeds=[1, 2], uncertainty=True)
    away = np.abs(found.image.pixels.astype(int) - image.pixels)[hole]
    assert away.mean() < 40  # where nothing is near the model says black: 128 away
    middle = found.image.pixels[40:80, 60:100]
    assert middle.min() > 20
    assert np.array_equal(found.uncertainty > 0, hole)
    first, second = (s.pixels[40:80, 60:100] for s in found.samples)
    assert not np.array_equal(first, second)
    for grey in (Image(image.pixels[..., 0].copy()), Image(image.pixels.astype(np.float32) / 255)):
        assert inpainter.inpaint(grey, hole).image.pixels.dtype == grey.pixels.dtype


def test_feather_fades_inside_the_rim(inpainter: Inpainter) -> None:
    pixels = np.full((40, 60), 200, np.uint8)
    hole = box(40, 60, slice(10, 21), slice(10, 50))
    pixels[hole] = 0
    image = Image(pixels)
    hard = inpainter.inpaint(image, hole).image.pixels
    soft = inpainter.inpaint(image, hole, feather=3).image.pixels
    assert np.array_equal(soft[~hole], pixels[~hole])
    column = soft[10:16, 30].astype(float) / hard[10:16, 30]
    assert np.allclose(column, [0.25, 0.5, 0.75, 1, 1, 1], atol=0.01)


def test_samples_belong_to_their_seeds(inpainter: Inpainter) -> None:
    image, hole = Image(gradient(64, 80)), specks(64, 80)
    both = inpainter.inpaint(image, hole, seeds=[5, 6])
    alone = inpainter.inpaint(image, hole, seeds=[6])
    assert np.array_equal(both.samples[1].pixels, alone.samples[0].pixels)
    assert not np.array_equal(both.samples[0].pixels, both.samples[1].pixels)
    assert np.array_equal(both.image.pixels, inpainter.inpaint(image, hole).image.pixels)
    unsure = inpainter.inpaint(image, hole, uncertainty=True).image.pixels
    assert np.array_equal(both.image.pixels, unsure)


def test_uncertainty_is_in_grey_levels_and_follows_the_depth(inpainter: Inpainter) -> None:
    hole = box(40, 60, slice(10, 19), slice(10, 50))
    found = inpainter.inpaint(Image(gradient(40, 60)), hole, uncertainty=True).uncertainty
    assert (DEPTHS, HOLE_INTERVAL) == ((1.0, 4.0), (1.0, 2.0))
    for row, factor in ((10, 1.0), (11, 1.5), (14, 2.0)):
        assert np.allclose(found[row, 30], factor * HOLE_SPREAD * 255, rtol=1e-4)


@pytest.mark.parametrize(
    "hole",
    [np.zeros((8, 9), np.bool_), np.zeros((9, 8), np.uint8), np.zeros((9, 8, 1), np.bool_)],
)
def test_holes_must_fit(inpainter: Inpainter, hole: np.ndarray) -> None:
    with pytest.raises(ImageValueError, match="does not fit 9 x 8") as caught:
        inpainter.inpaint(Image(np.zeros((9, 8), np.uint8)), hole)
    assert "\n" not in caught.value.line


def test_nothing_known_and_no_numbers(inpainter: Inpainter) -> None:
    with pytest.raises(InputError, match="covers the whole image"):
        inpainter.inpaint(Image(np.zeros((9, 8), np.uint8)), np.ones((9, 8), np.bool_))
    pixels = np.zeros((9, 8, 3), np.float32)
    pixels[2, 3] = np.nan
    with pytest.raises(ImageValueError, match="not finite"):
        inpainter.inpaint(Image(pixels), box(9, 8, slice(0, 2), slice(0, 2)))


def test_one_known_pixel_is_enough(inpainter: Inpainter) -> None:
    hole = np.ones((70, 90), np.bool_)
    hole[69, 0] = False
    pixels = np.zeros((70, 90, 3), np.uint8)
    pixels[69, 0] = [10, 120, 230]
    found = inpainter.inpaint(Image(pixels), hole).image.pixels
    assert np.abs(found.astype(int) - [10, 120, 230]).max() <= 2


def test_models_that_cannot(tmp_path: Path) -> None:
    plain = Inpainter(opened(write_inpainter(tmp_path / "plain", samples=False)))
    image, hole = Image(gradient(16, 24)), specks(16, 24, 2)
    assert plain.inpaint(image, hole).image.pixels.shape == image.pixels.shape
    for options in ({"seeds": [1]}, {"uncertainty": True}):
        with pytest.raises(ModelBrokenError, match="inpaint_sample"):
            plain.inpaint(image, hole, **options)
    model = opened(write_inpainter(tmp_path / "other"))
    model.manifest = replace(model.manifest, inpaint=None)
    with pytest.raises(ModelBrokenError, match=r"\[inpaint\]"):
        Inpainter(model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("deepest = 6.0", "deepest = 0.0"), "deepest = 0.0 is not"),
        (("deepest = 6.0", "deepest = nan"), "deepest = nan is not"),
        (("deepest = 6.0\n", ""), "inpaint.deepest is missing"),
        (("    4.0,\n", "    1.0,\n"), "inpaint.depths must rise"),
        (("    2.0,\n", ""), "with one inpaint.interval for each"),
        (("    2.0,\n", "    inf,\n"), "= inf is not a finite number"),
    ],
)
def test_manifests_that_make_no_sense(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = write_inpainter(tmp_path / "model") / "model.toml"
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ManifestError, match=said):
        read_manifest(path.parent)


def test_names_are_public() -> None:
    assert vaetools.Inpainter is Inpainter
    assert vaetools.Restored is not None
