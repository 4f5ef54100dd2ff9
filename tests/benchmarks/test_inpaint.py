"""The inpainting benchmark runs, writes its files, and its figures are sane."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tests.benchmarks.scripts import benchmark_script
from tests.restoration.models import MEAN, write_inpainter

pytestmark = pytest.mark.slow

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def benchmark():
    with benchmark_script("inpaint") as module:
        yield module


@pytest.fixture(scope="module")
def found(benchmark, tmp_path_factory):
    """What the benchmark writes for two small photographs."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(data.astronaut()[:128, 160:320]).save(folder / "astronaut.png")
    Image.fromarray(data.chelsea()[50:170, 50:194]).save(folder / "chelsea.png")
    models = write_inpainter(tmp_path_factory.mktemp("models") / MEAN).parent
    out = folder / "out"
    options = ["--models-dir", str(models), "--model", MEAN, "--few", "1", "--widths", "1", "8"]
    assert benchmark.main([str(folder), "--out", str(out), *options]) == 0
    return json.loads((out / "inpaint.json").read_text(encoding="utf-8")), out


@pytest.mark.slow
def test_methods_are_measured_alike(found):
    written, out = found
    names = ["Telea", "Navier-Stokes", "biharmonic", f"vaetools {MEAN}"]
    assert list(written["methods"]) == names
    for row in written["methods"].values():
        assert list(row["psnr"]) == ["scratch", "text", "dust", "brush", "block"]
        assert all(len(scores) == 2 and 8 < min(scores) < 45 for scores in row["psnr"].values())
        assert all(0 <= value < 1.5 for value in row["grain"].values())
        assert all(0 < value < 60 for value in row["seam"].values())
        assert row["cpu_seconds_per_megapixel"] > 0
    for row in written["wins"].values():
        assert row["best"] in names[:3] and 0 <= row["rate"] <= 100
    assert all(list(row) == ["1", "8"] for row in written["widths"].values())
    with Image.open(out / "inpaint.png") as picture:
        assert picture.size > (1000, 500)


def test_samples_and_calibration(found):
    written, out = found
    for row in written["samples"].values():
        assert row["one"] <= row["best"] and row["one"] < row["mean"] + 0.5
        assert 0 < row["held"] <= 100 and row["width"] > 0 and -1 <= row["rank"] <= 1
    page = (out / "inpaint.md").read_text(encoding="utf-8")
    assert all(row["worst_fields"] < 2 for row in written["drift"].values())
    titles = (
        "PSNR in the hole",
        "By stroke width",
        "Grain and seams",
        "Colour drift",
        "Samples and uncertainty",
    )
    for title in titles:
        assert title in page
    assert "ours over the best other" in page


def test_holes_are_the_same_always(benchmark):
    masks = importlib.import_module("inpaint_masks")
    for kind in (*masks.KINDS, *map(str, masks.WIDTHS)):
        hole = masks.mask_of(kind, 384, 512, 3)
        assert np.array_equal(hole, masks.mask_of(kind, 384, 512, 3))
        assert not np.array_equal(hole, masks.mask_of(kind, 384, 512, 4))
        assert 0.0005 < hole.mean() < 0.3


def test_lines_are_as_wide_as_they_are_told(benchmark):
    masks = importlib.import_module("inpaint_masks")
    for width in masks.WIDTHS:
        plane = np.zeros((100, 300), bool)
        masks.draw(plane, np.array([[20, 50.3], [280, 50.3]]), width)
        assert plane[:, 150].sum() == width
        slanting = np.zeros((300, 300), bool)
        masks.draw(slanting, np.array([[-50, -20], [350, 280]]), width)
        assert slanting[:, 150].sum() == pytest.approx(1.25 * width, abs=1)


def test_measures(benchmark):
    clean = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    hole = np.zeros((64, 64), bool)
    hole[20:30, 20:30] = True
    flat = np.where(hole[..., None], np.uint8(128), clean)
    assert benchmark.hole_psnr(clean, clean, hole) == benchmark.PSNR_CAP
    assert benchmark.grain_ratio(clean, clean, hole) == pytest.approx(1)
    assert benchmark.grain_ratio(flat, clean, hole) < 0.4
    assert benchmark.seam_error(clean, clean, hole) == 0 < benchmark.seam_error(flat, clean, hole)
    one_off = clean.astype(int) + hole[..., None] * np.where(clean < 128, 1, -1)
    assert benchmark.hole_psnr(one_off, clean, hole) == pytest.approx(48.13, abs=0.01)
    rising = np.arange(50.0)
    assert benchmark.rank_correlation(rising, rising**3) == pytest.approx(1)
    assert benchmark.rank_correlation(rising, np.zeros(50)) == 0


def test_what_is_missing_is_said(benchmark, tmp_path):
    with pytest.raises(SystemExit, match="no images"):
        benchmark.main([str(tmp_path)])
