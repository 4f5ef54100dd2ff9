"""The operation `inpaint`: masks, options, files and errors."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest

import vaetools
from tests.paths import DOCS
from tests.restoration.models import HOLE_SPREAD, MEAN, write_inpainter
from vaetools.cli import main
from vaetools.errors import OptionError
from vaetools.hub import Hub
from vaetools.image import Image, encode_image, format_of, read_image
from vaetools.plugin.host import PluginHost
from vaetools.testing import gradient


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    write_inpainter(tmp_path / "models" / MEAN)
    return Hub(PluginHost(installed=False), [tmp_path / "models"], device="cpu", threads=1)


def save(path: Path, pixels: np.ndarray, alpha: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(Image(pixels, alpha), format_of(path.name)))
    return path


def mask(height: int = 48, width: int = 64, value: int = 255) -> np.ndarray:
    """A scratch, 3 pixels wide."""
    plane = np.full((height, width), 255 - value, np.uint8)
    plane[20:23, 5 : width - 7] = value
    return plane


def told(result: Any) -> dict[str, tuple[str, str, str]]:
    return {Path(r.file).name: (r.status, r.code, r.message) for r in result.records}


def expected(hub: Hub, hole: np.ndarray, **options: Any) -> np.ndarray:
    inpainter = vaetools.Inpainter(hub.registry.for_task("inpaint"))
    return inpainter.inpaint(Image(gradient()), hole, **options).image.pixels


def test_one_mask_for_all(hub: Hub, tmp_path: Path) -> None:
    picture = gradient()
    found = hub.inpaint(picture, mask=save(tmp_path / "mask.png", mask()))
    assert np.array_equal(found, expected(hub, mask() > 0))
    assert not np.array_equal(found, picture)
    assert np.array_equal(found[mask() == 0], picture[mask() == 0])
    black = save(tmp_path / "black.png", mask(value=0))
    assert np.array_equal(hub.inpaint(picture, mask=str(black), mask_hole="black"), found)


def test_grow_and_feather(hub: Hub, tmp_path: Path) -> None:
    picture, place = gradient(), save(tmp_path / "mask.png", mask())
    wide = np.zeros((48, 64), np.bool_)
    wide[20:23, 3:59] = wide[18:25, 5:57] = True  # a disc of 2 pixels: corners are cut
    found = hub.inpaint(picture, mask=place, grow=2)
    moved = (found != picture).any(axis=2)
    assert moved.sum() > (hub.inpaint(picture, mask=place) != picture).any(axis=2).sum()
    assert not moved[~wide & (np.indices(wide.shape)[0] < 18)].any()
    assert moved[18, 20:40].all() and not moved[17].any() and not moved[25].any()
    soft = hub.inpaint(picture, mask=place, feather=2)
    assert np.array_equal(soft, expected(hub, mask() > 0, feather=2))


def test_fill_with_texture(hub: Hub) -> None:
    picture = gradient()
    picture[:, ::4] //= 2
    hole = np.zeros(picture.shape[:2], np.bool_)
    hole[14:34, 20:44] = True
    found = hub.inpaint(picture, hole, fill="texture")
    assert np.array_equal(found[~hole], picture[~hole])
    stripes = [np.ptp(image[24, 24:40].astype(int), axis=0).mean() for image in (picture, found)]
    assert stripes[1] > 0.5 * stripes[0]  # the mean of this model is flat
    soft = hub.inpaint(picture, hole, fill="texture", feather=4)
    assert (soft != found)[hole].any() and np.array_equal(soft[~hole], picture[~hole])


def test_alpha_is_a_mask(hub: Hub) -> None:
    alpha = np.full((48, 64), 255, np.uint8)
    alpha[10:14, 10:40] = 0
    alpha[30:33, 5:9] = 127
    alpha[40, 40] = 128
    hole = alpha < 128
    found = hub.inpaint(np.dstack([gradient(), alpha]), mask="alpha")
    assert np.array_equal(found[..., :3], expected(hub, hole))
    assert (found[hole, 3] == 255).all() and np.array_equal(found[~hole, 3], alpha[~hole])
    deep = np.dstack([gradient(), alpha]).astype(np.uint16) * 257
    assert (hub.inpaint(deep, mask="alpha")[hole, 3] == 65535).all()
    with pytest.raises(vaetools.InputError, match="no alpha"):
        hub.inpaint(gradient(), mask="alpha")
    copied = hub.inpaint(gradient(), mask="alpha", missing_mask="copy")
    assert np.array_equal(copied, gradient())


@pytest.mark.parametrize("size", [(48, 64), (45, 61)])
def test_blocks_of_jpeg_files_outside_the_hole_stay(
    hub: Hub, tmp_path: Path, size: tuple[int, int]
) -> None:
    source = save(tmp_path / "a.jpg", gradient(*size))
    hole = np.zeros(size, np.bool_)
    hole[20:23, 30:36] = True
    (record,) = hub.map("inpaint", source, out=tmp_path / "out", mask=hole).records
    assert record.found == {"hole_pixels": 18} and not record.unchanged
    before, after = (read_image(path) for path in (source, record.out[0]))
    rows, columns = np.nonzero((before.pixels != after.pixels).any(axis=2))
    assert rows.size and rows.min() >= 15 and rows.max() <= 24
    assert columns.min() >= 23 and columns.max() <= 40
    png = hub.map("inpaint", source, out=tmp_path / "png", mask=hole, to="png").records[0].out[0]
    assert np.array_equal(read_image(png).pixels[~hole], before.pixels[~hole])


def test_a_folder_of_masks_and_what_is_wrong_with_some(hub: Hub, tmp_path: Path) -> None:
    for name in ("good", "other_size", "missing", "empty", "full", "damaged"):
        save(tmp_path / "in" / f"{name}.png", gradient())
    masks = tmp_path / "masks"
    save(masks / "good.png", mask())
    save(masks / "other_size.png", mask(40))
    save(masks / "empty.png", np.zeros((48, 64), np.uint8))
    save(masks / "full.png", np.full((48, 64), 255, np.uint8))
    (masks / "damaged.png").write_bytes((masks / "good.png").read_bytes()[:60])
    result = hub.map("inpaint", tmp_path / "in", out=tmp_path / "out", mask=masks)
    found = told(result)
    assert result.exit_code == 1
    assert found["good.png"] == ("done", "", "")
    assert found["other_size.png"][:2] == ("failed", "E001")
    assert "has 64 x 40 pixels, the image 64 x 48" in found["other_size.png"][2]
    assert found["missing.png"][:2] == ("failed", "E001") and "no mask" in found["missing.png"][2]
    assert found["empty.png"][0] == "done" and "there is no hole" in found["empty.png"][2]
    assert found["empty.png"][2].startswith(str(tmp_path / "in" / "empty.png"))
    assert found["full.png"][0] == "failed" and "--mask-hole" in found["full.png"][2]
    assert found["damaged.png"][:2] == ("failed", "E012")
    assert all("\n" not in row[2] for row in found.values())
    assert np.array_equal(read_image(tmp_path / "out" / "empty.png").pixels, gradient())
    copied = hub.map(
        "inpaint", tmp_path / "in", out=tmp_path / "all", mask=masks, missing_mask="copy"
    )
    assert told(copied)["missing.png"][0] == "done"
    assert told(copied)["other_size.png"][0] == "failed"
    assert np.array_equal(read_image(tmp_path / "all" / "missing.png").pixels, gradient())


def test_masks_beside_the_pictures(hub: Hub, tmp_path: Path) -> None:
    for name in ("a", "sub/b"):
        save(tmp_path / "in" / f"{name}.png", gradient())
        save(tmp_path / "in" / f"{name}_mask.png", mask())
    save(tmp_path / "in" / "c.png", gradient())
    result = hub.map("inpaint", tmp_path / "in", out=tmp_path / "out", mask="{stem}_mask.png")
    found = told(result)
    assert sorted(found) == ["a.png", "b.png", "c.png"]  # masks are no pictures
    assert found["a.png"][0] == found["b.png"][0] == "done"
    assert found["c.png"][1] == "E001" and "c_mask.png" in found["c.png"][2]
    assert np.array_equal(
        read_image(tmp_path / "out" / "sub" / "b.png").pixels, expected(hub, mask() > 0)
    )
    with pytest.raises(OptionError, match="relative to the file of an image"):
        hub.inpaint(gradient(), mask="{stem}_mask.png")


def test_masks_in_a_folder_beside_the_pictures(hub: Hub, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", gradient())
    save(tmp_path / "in" / "masks" / "a.png", mask())
    result = hub.map("inpaint", tmp_path / "in", out=tmp_path / "out", mask="masks/{stem}.png")
    assert [(Path(r.file).parent.name, r.status) for r in result.records] == [("in", "done")]


def test_a_folder_of_masks_inside_the_folder_of_images_is_no_input(
    hub: Hub, tmp_path: Path
) -> None:
    save(tmp_path / "in" / "a.png", gradient())
    save(tmp_path / "in" / "masks" / "a.png", mask())
    save(tmp_path / "in" / "dust.png", mask())
    masks = tmp_path / "in" / "masks"
    result = hub.map("inpaint", tmp_path / "in", out=tmp_path / "out", mask=masks)
    assert {name: row[0] for name, row in told(result).items()} == {
        "a.png": "done",
        "dust.png": "failed",
    }
    one = tmp_path / "in" / "dust.png"
    result = hub.map("inpaint", tmp_path / "in", out=tmp_path / "one", mask=one, exclude="masks")
    assert [*told(result)] == ["a.png"]
    chain = hub.chain(hub.op("inpaint", mask=masks), hub.op("mask-color"))
    result = hub.map(chain, tmp_path / "in", out=tmp_path / "chain")
    assert sorted(told(result)) == ["a.png", "dust.png"]


def test_chains_know_the_file_and_pass_notes_on(hub: Hub, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", gradient())
    save(tmp_path / "in" / "a_mask.png", np.zeros((48, 64), np.uint8))
    step = hub.op("inpaint", mask="{stem}_mask.png")
    result = hub.map([step, step], tmp_path / "in", out=tmp_path / "out")
    (record,) = result.records
    assert record.status == "done" and record.message.count("there is no hole") == 2


def test_files_come_out(hub: Hub, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", gradient())
    place = save(tmp_path / "mask.png", mask())
    result = hub.map(
        "inpaint", tmp_path / "in", out=tmp_path / "out", mask=place, samples=2, uncertainty=True
    )
    assert result.exit_code == 0
    found = {p.name: read_image(p) for p in (tmp_path / "out").glob("*.png")}
    assert sorted(found) == ["a.png", "a_sample1.png", "a_sample2.png", "a_uncertainty.png"]
    unsure = found["a_uncertainty.png"]
    assert (unsure.grey, unsure.depth) == (True, 16)
    assert not unsure.pixels[mask() == 0].any()
    assert unsure.pixels[mask() > 0].min() >= round(256 * 255 * HOLE_SPREAD) - 1
    for name, image in found.items():
        if "uncertainty" not in name:
            assert np.array_equal(image.pixels[mask() == 0], gradient()[mask() == 0])


def test_samples_follow_seed_and_name_and_not_their_number(hub: Hub, tmp_path: Path) -> None:
    place = save(tmp_path / "mask.png", mask())

    def draw(key: str = "", **options: Any) -> tuple[np.ndarray, ...]:
        return hub.inpaint(gradient(), mask=place, key=key, **options).samples

    two, four = draw(samples=2), draw(samples=4)
    assert all(np.array_equal(a, b) for a, b in zip(two, four, strict=False))
    assert len({sample.tobytes() for sample in four}) == 4
    for other in (draw(samples=2, seed=1), draw(samples=2, key="b.png")):
        assert not np.array_equal(other[0], two[0])


def test_names_of_outputs(hub: Hub, tmp_path: Path) -> None:
    place = save(tmp_path / "mask.png", mask())
    operation = hub.op("inpaint", mask=place, samples=1, uncertainty=True).operation
    names = [str(name) for name in operation.outputs(PurePath("trip/a.b.jpg"))]
    assert names == ["trip/a.b.jpg", "trip/a.b_sample1.jpg", "trip/a.b_uncertainty.png"]


def test_the_content_of_a_mask_counts_and_not_its_name(hub: Hub, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", gradient())
    first, other = tmp_path / "first.png", tmp_path / "other.png"

    def status(place: Path) -> str:
        found = hub.map("inpaint", tmp_path / "in", out=tmp_path / "out", mask=place)
        return found.records[0].status

    save(first, mask())
    save(other, mask())
    assert [status(first), status(first), status(other)] == ["done", "skipped", "skipped"]
    save(first, np.roll(mask(), 5, axis=0))
    assert status(first) == "done"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "mask is not given"),
        ({"mask": "nowhere.png"}, "there is no mask nowhere.png"),
        ({"mask": "alpha", "mask_hole": "black"}, "nothing with alpha"),
        ({"mask": "alpha", "mask_hole": "grey"}, "white, black"),
        ({"mask": "alpha", "missing_mask": "skip"}, "fail, copy"),
        ({"mask": "alpha", "grow": -1}, "0 … 256"),
        ({"mask": "alpha", "feather": float("nan")}, "number"),
        ({"mask": "alpha", "samples": 65}, "0 … 64"),
        ({"mask": "alpha", "seed": 3}, "nothing without samples"),
        ({"mask": "alpha", "fill": "patches"}, "mean, texture"),
        ({"mask": "alpha", "fill": "texture", "samples": 2}, "nothing with fill texture"),
        ({"mask": "alpha", "fill": "texture", "uncertainty": True}, "nothing with fill texture"),
    ],
)
def test_bad_options_are_refused_before_any_work(
    hub: Hub, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    photos = save(tmp_path / "in" / "a.png", gradient()).parent
    with pytest.raises(OptionError, match=said) as caught:
        hub.map("inpaint", photos, out=tmp_path / "out", **options)
    assert caught.value.exit_code == 2 and "\n" not in caught.value.line
    assert not (tmp_path / "out").exists()


def test_from_the_command_line(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = save(tmp_path / "a.png", gradient())
    save(tmp_path / "a_mask.png", mask())
    save(tmp_path / "black.png", np.zeros((48, 64), np.uint8))
    common = ["inpaint", str(photo), "--model", MEAN, "--models-dir", str(tmp_path / "models")]

    def exit_code(*words: str) -> object:
        with pytest.raises(SystemExit) as caught:
            main([*common, "--device", "cpu", *words])
        return caught.value.code

    out = str(tmp_path / "out")
    assert exit_code("-o", out, "--mask", "{stem}_mask.png", "--samples", "1") == 0
    assert np.array_equal(read_image(tmp_path / "out" / "a.png").pixels, expected(hub, mask() > 0))
    assert exit_code("-o", str(tmp_path / "same"), "--mask", str(tmp_path / "black.png")) == 0
    assert "a.png: there is no hole: copied" in capsys.readouterr().err
    assert (tmp_path / "same" / photo.name).read_bytes() == photo.read_bytes()
    assert exit_code("-o", out) == 2
    assert "E004 mask is not given" in capsys.readouterr().err


def test_the_page_in_python_runs(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "inpaint.md").read_text()
    (code,) = re.findall(r"```python\n(import vaetools\n.*?)```", page, re.DOTALL)
    monkeypatch.setitem(vars(vaetools), "open", lambda: hub)
    names: dict[str, Any] = {"bgr": gradient(), "hole": mask() > 0}
    exec(code, names)
    assert np.array_equal(names["found"].image.pixels, expected(hub, mask() > 0))
    assert np.array_equal(names["filled"][..., :3], expected(hub, mask() > 0))
