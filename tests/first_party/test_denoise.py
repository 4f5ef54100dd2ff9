"""The operation `denoise`: options, files and errors."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest

import vaetools
from tests.paths import DOCS
from tests.restoration.models import BLUR, INTERVAL, SPREAD, write_denoiser
from vaetools.cli import main
from vaetools.errors import ClashError, OptionError
from vaetools.hub import Hub
from vaetools.image import Image, encode_image, format_of, read_image
from vaetools.plugin.host import PluginHost
from vaetools.testing import gradient


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    write_denoiser(tmp_path / "models" / BLUR)
    return Hub(PluginHost(installed=False), [tmp_path / "models"], device="cpu", threads=1)


def noisy(sigma: float = 20, height: int = 64, width: int = 80) -> np.ndarray:
    drawn = gradient(height, width) + np.random.default_rng(0).normal(0, sigma, (height, width, 3))
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(Image(pixels), format_of(path.name)))
    return path


def test_auto_is_the_level_that_is_found(hub: Hub) -> None:
    picture = noisy(20)
    level = hub.op("denoise").operation.denoiser.noise_level(Image(picture))
    assert level == pytest.approx(20, rel=0.2)
    assert np.array_equal(hub.denoise(picture), hub.denoise(picture, sigma=level))
    assert not np.array_equal(hub.denoise(picture), hub.denoise(picture, sigma=level / 4))


def test_a_clean_picture_is_left_alone(hub: Hub) -> None:
    flat = np.full((120, 140, 3), 77, np.uint8)
    for sigma in ("auto", "local", 0):
        assert np.array_equal(hub.denoise(flat, sigma=sigma), flat)


def test_records_of_files_say_what_was_found(hub: Hub, tmp_path: Path) -> None:
    clean = save(tmp_path / "in" / "clean.jpg", np.full((120, 140, 3), 77, np.uint8))
    save(tmp_path / "in" / "noisy.jpg", noisy(20))
    result = hub.map("denoise", tmp_path / "in", out=tmp_path / "out")
    records = {Path(record.file).name: record for record in result.records}
    assert records["clean.jpg"].unchanged and records["clean.jpg"].found == {"sigma": 0.0}
    assert records["clean.jpg"].message == f"{clean}: already clean: copied"
    assert (tmp_path / "out" / "clean.jpg").read_bytes() == clean.read_bytes()
    assert records["noisy.jpg"].found["sigma"] == pytest.approx(20, rel=0.2)
    assert re.search(r"noisy\.jpg: noise level \d+\.\d$", records["noisy.jpg"].message)
    assert "1 of 2 unchanged, copied" in result.summary
    local = hub.map("denoise", tmp_path / "in/noisy.jpg", out=tmp_path / "a.png", sigma="local")
    assert set(local.records[0].found) == {"sigma_min", "sigma_max"}
    given = hub.map("denoise", tmp_path / "in", out=tmp_path / "given", sigma=0)
    assert given.unchanged == 2 and [record.found for record in given.records] == [{}, {}]


@pytest.mark.parametrize("options", [{"strength": 0}, {"sigma": 0, "samples": 2}])
def test_what_changes_no_pixel_copies_the_file(
    hub: Hub, tmp_path: Path, options: dict[str, Any]
) -> None:
    source = save(tmp_path / "a.jpg", noisy(20))
    result = hub.map("denoise", source, out=tmp_path / "out", **options)
    assert result.unchanged == 1
    for name in result.records[0].out:
        assert Path(name).read_bytes() == source.read_bytes()


def test_the_format_of_files(hub: Hub, tmp_path: Path) -> None:
    source = save(tmp_path / "a.jpg", noisy(20))
    options = {"samples": 1, "uncertainty": True, "to": "webp", "quality_out": 80}
    (record,) = hub.map("denoise", source, out=tmp_path / "out", **options).records
    assert [Path(name).name for name in record.out] == [
        "a.webp",
        "a_sample1.webp",
        "a_uncertainty.png",
    ]


def test_the_noise_of_cameras(hub: Hub) -> None:
    picture = noisy(6)
    level = hub.op("denoise").operation.denoiser.photo_level(Image(picture))
    assert np.array_equal(hub.denoise(picture, sigma="photo"), hub.denoise(picture, sigma=level))


def test_a_level_is_a_number_or_text(hub: Hub) -> None:
    picture = noisy()
    expected = hub.denoise(picture, sigma="20")
    for sigma in (20, 20.0, "20.0", np.float64(20)):
        assert np.array_equal(hub.denoise(picture, sigma=sigma), expected)
    facts = [hub.op("denoise", sigma=sigma).operation.facts() for sigma in (20, "20.0", "2e1")]
    assert facts[0] == facts[1] == facts[2]


def test_more_than_an_image_is_a_restored(hub: Hub) -> None:
    picture = noisy()
    found = hub.denoise(picture, sigma=20, samples=2, uncertainty=True)
    assert isinstance(found, vaetools.Restored)
    assert [a.shape for a in (found.image, *found.samples)] == [picture.shape] * 3
    assert np.array_equal(found.image, hub.denoise(picture, sigma=20))
    half_width = INTERVAL[0] + (INTERVAL[1] - INTERVAL[0]) * 0.75
    assert found.uncertainty is not None and found.uncertainty.dtype == np.float32
    assert np.allclose(found.uncertainty, half_width * SPREAD * 20, rtol=1e-3)
    assert isinstance(hub.denoise(picture, sigma=20, samples=0), np.ndarray)


def test_samples_follow_seed_and_name_and_not_their_number(hub: Hub) -> None:
    picture = noisy()

    def draw(key: str = "", **options: Any) -> tuple[np.ndarray, ...]:
        return hub.denoise(picture, sigma=20, key=key, **options).samples

    two, four = draw(samples=2), draw(samples=4)
    assert all(np.array_equal(a, b) for a, b in zip(two, four, strict=False))
    assert len({sample.tobytes() for sample in four}) == 4
    for other in (draw(samples=2, seed=1), draw(samples=2, key="b.png")):
        assert not np.array_equal(other[0], two[0])


def test_names_of_outputs(hub: Hub) -> None:
    operation = hub.op("denoise", samples=2, uncertainty=True).operation
    names = [str(name) for name in operation.outputs(PurePath("trip/a.b.jpg"))]
    assert names == [
        "trip/a.b.jpg",
        "trip/a.b_sample1.jpg",
        "trip/a.b_sample2.jpg",
        "trip/a.b_uncertainty.png",
    ]
    assert [str(n) for n in hub.op("denoise").operation.outputs(PurePath("a.png"))] == ["a.png"]


def test_files_come_out(hub: Hub, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", noisy())
    save(tmp_path / "in" / "sub" / "b.jpg", noisy(height=33, width=47))
    result = hub.map("denoise", tmp_path / "in", out=tmp_path / "out", samples=1, uncertainty=True)
    assert result.exit_code == 0
    found = {
        str(p.relative_to(tmp_path / "out")): read_image(p)
        for p in (tmp_path / "out").rglob("*.*")
        if not p.name.startswith(".vaetools")
    }
    assert sorted(found) == [
        *("a.png", "a_sample1.png", "a_uncertainty.png"),
        *("sub/b.jpg", "sub/b_sample1.jpg", "sub/b_uncertainty.png"),
    ]
    uncertainty = found["sub/b_uncertainty.png"]
    assert (uncertainty.grey, uncertainty.depth) == (True, 16)
    assert (uncertainty.height, uncertainty.width) == (33, 47)


def test_a_map_is_in_grey_levels(hub: Hub, tmp_path: Path) -> None:
    picture = noisy()
    levels = np.zeros(picture.shape[:2], np.uint8)
    levels[:, 40:] = 20
    found = hub.denoise(picture, sigma=save(tmp_path / "map.png", levels))
    assert np.array_equal(found[:, :40], picture[:, :40])
    assert np.array_equal(found[:, 48:], hub.denoise(picture, sigma=20)[:, 48:])
    deep = save(tmp_path / "deep.png", levels.astype(np.uint16) * 257)
    assert np.array_equal(hub.denoise(picture, sigma=str(deep)), found)


def test_a_folder_of_maps(hub: Hub, tmp_path: Path) -> None:
    for name, height in (("a", 40), ("b", 48), ("c", 56)):
        save(tmp_path / "in" / f"{name}.jpg", noisy(height=height))
    save(tmp_path / "maps" / "a.png", np.full((40, 80), 20, np.uint8))
    save(tmp_path / "maps" / "b.png", np.full((40, 80), 20, np.uint8))
    result = hub.map("denoise", tmp_path / "in", out=tmp_path / "out", sigma=tmp_path / "maps")
    told = {Path(r.file).name: (r.status, r.code, r.message) for r in result.records}
    assert result.exit_code == 1
    assert told["a.jpg"][0] == "done"
    assert told["b.jpg"][:2] == ("failed", "E001") and "80 x 40" in told["b.jpg"][2]
    assert told["c.jpg"][:2] == ("failed", "E001") and "no noise map called c" in told["c.jpg"][2]


def test_a_number_is_a_level_even_if_a_folder_has_its_name(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data sets have a folder for each level: none of their images is left out."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.png", noisy())
    save(tmp_path / "25" / "b.png", noisy())
    for sigma in (25, "25", Path("25")):
        result = hub.map(
            "denoise", tmp_path, out=tmp_path.parent / f"out-{sigma!r:.6}", sigma=sigma
        )
        assert {Path(r.file).name for r in result.records} == {"a.png", "b.png"}
        assert all(r.status == "done" for r in result.records)


def test_the_content_of_a_map_counts_and_not_its_name(hub: Hub, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", noisy())
    first, other = tmp_path / "first.png", tmp_path / "other.png"

    def status(sigma: Path) -> str:
        return (
            hub.map("denoise", tmp_path / "in", out=tmp_path / "out", sigma=sigma).records[0].status
        )

    save(first, np.full((64, 80), 20, np.uint8))
    save(other, np.full((64, 80), 20, np.uint8))
    assert [status(first), status(first), status(other)] == ["done", "skipped", "skipped"]
    save(first, np.full((64, 80), 30, np.uint8))
    assert status(first) == "done"


def test_a_map_that_is_too_strong_costs_its_picture(hub: Hub, tmp_path: Path) -> None:
    photos = save(tmp_path / "in" / "a.png", noisy()).parent
    strong = save(tmp_path / "map.png", np.full((64, 80), 200, np.uint8))
    result = hub.map("denoise", photos, out=tmp_path / "out", sigma=strong)
    (record,) = result.records
    assert (record.status, record.code) == ("failed", OptionError.code)
    assert "200 is not 0 … 55" in record.message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sigma": 56}, "not 0 … 55"),
        ({"sigma": "-1"}, "not 0 … 55"),
        ({"sigma": "nan"}, "not 0 … 55"),
        ({"sigma": "inf"}, "not 0 … 55"),
        ({"sigma": "nowhere.png"}, "'nowhere.png' is not"),
        ({"sigma": "Auto"}, "'Auto' is not auto, photo, local, a number or an image"),
        ({"sigma": True}, "text"),
        ({"sigma": ""}, "not a number, text"),
        ({"strength": 1.5}, "0 … 1"),
        ({"strength": float("nan")}, "number"),
        ({"samples": -1}, "0 … 64"),
        ({"samples": 65}, "0 … 64"),
        ({"seed": 3}, "nothing without samples"),
    ],
)
def test_bad_options_are_refused_before_any_work(
    hub: Hub, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    photos = save(tmp_path / "in" / "a.png", noisy()).parent
    with pytest.raises(OptionError, match=said) as caught:
        hub.map("denoise", photos, out=tmp_path / "out", **options)
    assert caught.value.exit_code == 2 and "\n" not in caught.value.line
    assert not (tmp_path / "out").exists()


def test_two_inputs_with_one_uncertainty_are_refused(hub: Hub, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", noisy())
    save(tmp_path / "in" / "a.jpg", noisy())
    assert hub.map("denoise", tmp_path / "in", out=tmp_path / "out").exit_code == 0
    with pytest.raises(ClashError, match=r"a_uncertainty\.png"):
        hub.map("denoise", tmp_path / "in", out=tmp_path / "other", uncertainty=True)


def test_from_the_command_line(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = save(tmp_path / "a.png", noisy())
    common = ["denoise", str(photo), "-o", str(tmp_path / "out"), "--model", BLUR]
    common += ["--models-dir", str(tmp_path / "models"), "--device", "cpu"]

    def exit_code(*words: str) -> object:
        with pytest.raises(SystemExit) as caught:
            main([*common, *words])
        return caught.value.code

    assert exit_code("--sigma", "20", "--samples", "1", "--seed", "5") == 0
    written = read_image(tmp_path / "out" / "a_sample1.png").pixels
    expected = hub.denoise(noisy(), sigma=20, samples=1, seed=5, key="a.png").samples[0]
    assert np.array_equal(written, expected)
    assert exit_code("--sigma", "60") == 2
    assert "E004 sigma='60' is not 0 … 55" in capsys.readouterr().err


def test_the_page_in_python_runs(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "denoise.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.setitem(vars(vaetools), "open", lambda: hub)
    names: dict[str, Any] = {"bgr": noisy(), "sigma_map": np.full(noisy().shape[:2], 20.0)}
    exec(code, names)
    assert np.array_equal(names["clean"], hub.denoise(noisy(), sigma=25))
    assert names["level"] == pytest.approx(20, rel=0.2)
    assert names["found"].uncertainty.dtype == np.float32
