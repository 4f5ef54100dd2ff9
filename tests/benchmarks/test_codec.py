"""The codec benchmark runs, writes its files, and its figures are sane."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

import vaetools
from tests.benchmarks.scripts import benchmark_script

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def benchmark():
    with benchmark_script("codec") as module:
        yield module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(data.astronaut()[:176, 100:300]).save(folder / "astronaut.png")
    Image.fromarray(data.chelsea()[50:240, 50:230]).save(folder / "chelsea.png")
    (folder / "notes.txt").write_text("not a picture", encoding="utf-8")
    return folder


class FakeHub:
    """Stands in for `vaetools.open()`: a JPEG whose channels must not be mixed up."""

    def __init__(self):
        self.calls = []

    def compress(self, bgr, *, quality, **options):
        self.calls.append((quality, options))
        file = io.BytesIO()
        Image.fromarray(bgr[..., ::-1]).save(file, "JPEG", quality=quality, subsampling="4:4:4")
        return file.getvalue()

    def decompress(self, data):
        return np.asarray(Image.open(io.BytesIO(data)))[..., ::-1]


@pytest.fixture
def run(benchmark, folder, tmp_path, monkeypatch):
    """Runs the benchmark on both pictures; gives the curves of codec.json and the page."""
    hub = FakeHub()
    monkeypatch.setitem(vars(vaetools), "open", lambda **_: hub)

    def run(*options, chart=False):
        if not chart:  # half of the time of a run
            monkeypatch.setattr(benchmark, "plot", lambda *_: None)
        out = tmp_path / "out"
        anchors = ["--anchors", "jpeg", "webp", "--anchor-levels", "20", "90"]
        assert benchmark.main([str(folder), "--out", str(out), *anchors, *options]) == 0
        written = json.loads((out / "codec.json").read_text(encoding="utf-8"))
        return written["curves"], (out / "codec.md").read_text(encoding="utf-8"), hub

    return run


def test_points_are_sane(run, tmp_path):
    curves, page, hub = run("--levels", "20", "90", "--model", "mine", chart=True)
    with Image.open(tmp_path / "out" / "codec.png") as chart:
        assert chart.size > (1000, 500)
    assert list(curves) == ["JPEG", "WebP", "vaetools mine"]
    assert all(call[1] == {"model": "mine"} for call in hub.calls)
    for curve in curves.values():
        low, high = curve["points"]
        assert 0.1 < low["bpp"] < high["bpp"] < 6
        assert 24 < low["psnr"] < high["psnr"] < 45
        assert 0.8 < low["ms_ssim"] < high["ms_ssim"] < 1
        assert 0 < low["encode_wall"] < 5
        sizes = {row["image"]: row["bytes"] for row in low["images"]}
        assert sizes.keys() == {"astronaut.png", "chelsea.png"}
        expected = np.mean(
            [8 * sizes["astronaut.png"] / (176 * 200), 8 * sizes["chelsea.png"] / (190 * 180)]
        )
        assert low["bpp"] == pytest.approx(expected)
    assert "| WebP | JPEG | −" in page
    assert "| vaetools mine | WebP | +" in page
    assert "payload over ideal" not in page


def test_passes_of_refinement_are_curves_of_their_own(run):
    curves, page, hub = run("--levels", "20", "90", "--refine", "0", "8")
    assert list(curves) == ["JPEG", "WebP", "vaetools", "vaetools --refine 8"]
    assert {"refine": 8} in [call[1] for call in hub.calls]
    assert {} in [call[1] for call in hub.calls]
    assert "| vaetools --refine 8 | WebP | " in page


def test_anchors_are_kept_for_the_next_run(run, monkeypatch, capsys):
    first, page, _ = run()
    assert "this run" in page
    assert "cached" not in page
    monkeypatch.setattr(
        sys.modules["codecs_compared"].PillowCodec,
        "encode",
        lambda *_: pytest.fail("measured again"),
    )
    again, page, _ = run()
    assert again["WebP"]["points"] == first["WebP"]["points"]
    assert page.count("cached, an earlier run") == 2
    assert "cached in anchors-" in capsys.readouterr().out


def test_what_is_kept_depends_on_pictures_and_settings(run, tmp_path):
    run("--levels", "50")
    run("--levels", "50", "--quick", "1")
    kept = len(list((tmp_path / "out").glob("anchors-*.json")))
    assert kept == 4  # two codecs, two selections of pictures
    run("--levels", "50", "--quick", "1", "--anchor-levels", "30", "80")
    assert len(list((tmp_path / "out").glob("anchors-*.json"))) == 6


def test_payload_column(run, monkeypatch):
    monkeypatch.setattr(
        sys.modules["codecs_compared"].Vaetools, "payload", lambda *_: (1000.0, 126)
    )
    _, page, _ = run("--levels", "50")
    assert page.count(" +0.80 % |") == 1


def test_without_a_model_the_anchors_are_still_measured(run, benchmark, monkeypatch, capsys):
    def refuse(**_):
        raise vaetools.ModelError("no model for 'compress'")

    monkeypatch.setitem(vars(vaetools), "open", refuse)
    curves, _, _ = run()
    assert list(curves) == ["JPEG", "WebP"]
    assert "vaetools: skipped, no model for 'compress'" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no model"):
        run("--model", "mine")


def test_a_folder_without_pictures_is_refused(benchmark, tmp_path):
    with pytest.raises(SystemExit, match="no images"):
        benchmark.main([str(tmp_path), "--out", str(tmp_path / "out")])
