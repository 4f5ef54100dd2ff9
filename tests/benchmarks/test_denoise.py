"""The denoising benchmark runs, writes its files, and its figures are sane."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tests.benchmarks.scripts import benchmark_script
from tests.restoration.models import BLUR, SPREAD, write_denoiser

pytestmark = pytest.mark.slow

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def benchmark():
    with benchmark_script("denoise") as module:
        yield module


@pytest.fixture(scope="module")
def found(benchmark, tmp_path_factory):
    """What the benchmark writes for two small photographs, one pair of "real" noise and a blur."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(data.astronaut()[:96, 180:300]).save(folder / "astronaut.png")
    Image.fromarray(data.chelsea()[50:140, 50:162]).save(folder / "chelsea.png")
    pairs = tmp_path_factory.mktemp("pairs")
    clean = data.coffee()[:96, :96]
    noise = np.random.default_rng(0).normal(0, 20, clean.shape)
    Image.fromarray(clean).save(pairs / "cup_mean.png")
    noisy = np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(pairs / "cup_real.png")
    models = write_denoiser(tmp_path_factory.mktemp("models") / BLUR).parent
    out = folder / "out"
    options = ["--models-dir", str(models), "--model", BLUR, "--real", str(pairs), "--few", "1"]
    options += ["--levels", "15", "25", "--anchors", "cv2", "nlm"]
    assert benchmark.main([str(folder), "--out", str(out), *options]) == 0
    return json.loads((out / "denoise.json").read_text(encoding="utf-8")), out


@pytest.mark.slow
def test_methods_are_measured_alike(found):
    written, out = found
    assert list(written["methods"]) == ["OpenCV NLM", "scikit-image NLM", f"vaetools {BLUR}"]
    for row in written["methods"].values():
        assert row["images"] == 2
        for protocol in ("float", "clipped"):
            scores = row[protocol]
            assert 20 < scores["25"] < scores["15"] < 35
        assert row["cpu_seconds_per_megapixel"] > 0
    with Image.open(out / "denoise.png") as picture:
        assert picture.size > (1000, 500)


def test_what_the_model_says_is_checked(found):
    written, out = found
    levels = [row["level"] for row in written["blind"]]
    assert levels == [0, 5, 10, 15, 25, 35, 50]
    estimates = [row["estimate"] for row in written["blind"]]
    assert estimates == sorted(estimates) and estimates[-1] == pytest.approx(50, rel=0.3)
    widths = [row["float_width"] for row in written["intervals"]]
    assert widths[0] == pytest.approx(1.5 * SPREAD * 5, rel=1e-3)
    assert all(10 < row["float"] <= 100 for row in written["intervals"])
    for row in written["samples"]:
        assert row["one"] < row["many"] <= row["mean"] + 0.05
    assert all(row["fields"] < 12 for row in written["drift"])
    for rows in (written["exposed"]["dark"], written["exposed"]["bright"]):
        assert [row["level"] for row in rows] == [15, 25]
        assert all(row["most_lost"] >= row["known"] - row["auto"] for row in rows)
    for row in written["pages"]:  # a blur keeps what cutting off has moved
        assert row["black_known"] == pytest.approx(row["level"] * 0.4, rel=0.1)
        assert row["white_known"] < -0.3 * row["level"]
    assert written["real"]["pairs"] == 1
    assert written["real"]["auto"] > written["real"]["input"]
    page = (out / "denoise.md").read_text(encoding="utf-8")
    for title in (
        "Estimated",
        "90 % intervals",
        "## Samples",
        "Colour drift",
        "pages",
        "Camera noise",
    ):
        assert title in page
    assert "published, CBSD68: FFDNet" in page and "| 33.87 | 31.21 |" in page


def test_the_same_noise_for_everyone(benchmark):
    clean = np.full((16, 16, 3), 250, np.uint8)
    plain = benchmark.noisy_of(clean, 25, 3, clipped=False)
    files = benchmark.noisy_of(clean, 25, 3, clipped=True)
    assert np.array_equal(files, np.clip(np.rint(255 * plain), 0, 255).astype(np.float32) / 255)
    assert plain.max() > 1 >= files.max()
    assert not np.array_equal(plain, benchmark.noisy_of(clean, 25, 4, clipped=False))


def test_what_is_missing_is_said(benchmark, tmp_path):
    with pytest.raises(SystemExit, match="no images"):
        benchmark.main([str(tmp_path)])
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    denoiser = None  # not reached
    with pytest.raises(SystemExit, match="no pairs"):
        benchmark.real(denoiser, tmp_path)
