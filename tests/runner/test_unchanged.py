"""Files whose pixels do not change are copied; others keep format and kind of compression."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL.JpegImagePlugin import JpegImageFile

from tests.image.samples import icc_profile
from tests.torture import exif_block, picture, saved, saved_image, torture_files
from vaetools.errors import OptionError, UsageError
from vaetools.image import Image, decode_image, inspect_image
from vaetools.operation import ImageOperation, NoOptions, Operation
from vaetools.operation.chain import chained
from vaetools.runner import RunResult, RunSettings, run

from .operations import Copy, Invert

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath

    from .conftest import Plant


class Same(ImageOperation):
    """Changes nothing, and says so."""

    name = "same"

    def __init__(self) -> None:
        super().__init__(None, NoOptions())

    def apply(self, image: np.ndarray) -> np.ndarray:
        self.finding("nothing to do", level=0.5)
        return image


class Dot(Operation):
    """Makes one pixel dark, and a second image with none changed."""

    name = "dot"

    def __init__(self) -> None:
        super().__init__(None, NoOptions())

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        return (source, source.with_stem(f"{source.stem}_b"))

    def process(self, item: Image) -> list[Image]:
        rgb = item.to_rgb()
        rgb[3, 5] = 0
        return [item.with_rgb(rgb), item]


def go(operation: Operation, inputs: Any, out: Path, **settings: Any) -> RunResult:
    return run(operation, [inputs], RunSettings(out, **settings)).raise_for_failures()


def photo() -> np.ndarray:
    """Smooth, so that lossy formats come close."""
    rows, columns = np.mgrid[:70, :90].astype(np.float32)
    waves = [
        120 + 90 * np.sin(rows / a) * np.cos(columns / b) for a, b in ((9, 7), (5, 11), (7, 5))
    ]
    return np.dstack(waves).astype(np.uint8)


WHOLE = {name: data for name, (data, code) in torture_files().items() if code is None}


@pytest.mark.parametrize("steps", [1, 2])
def test_every_kind_of_file_is_copied(plant: Plant, tmp_path: Path, steps: int) -> None:
    top = plant("in", WHOLE)
    assert len(WHOLE) > 15
    result = go(chained([Same() for _ in range(steps)]), top, tmp_path / "out")
    for name, data in WHOLE.items():
        assert (tmp_path / "out" / name).read_bytes() == data, name
    assert all(record.unchanged for record in result.records)
    assert result.unchanged == len(WHOLE)
    assert f"{len(WHOLE)} done, {len(WHOLE)} of {len(WHOLE)} unchanged, copied, " in result.summary


def test_the_orientation_stays_with_the_pixels(plant: Plant, tmp_path: Path) -> None:
    data = saved(photo(), "JPEG", exif=b"Exif\0\0" + exif_block(6))
    go(Same(), plant("in", {"a.jpg": data}), tmp_path / "out")
    assert (tmp_path / "out" / "a.jpg").read_bytes() == data


def test_records_say_what_was_found(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"a.png": saved(photo(), "PNG")})
    (record,) = go(Same(), top, tmp_path / "out", report=tmp_path / "r.html").records
    assert record.message == f"{top / 'a.png'}: nothing to do: copied"
    values = record.as_dict()
    assert values["found"] == {"level": 0.5} and values["unchanged"] is True
    assert "noted" not in json.dumps(values) and not record.noted
    page = (tmp_path / "r.html").read_text()
    assert "nothing to do: copied" in page and "<dt>unchanged</dt><dd>1</dd>" in page
    (other,) = go(Invert(), top, tmp_path / "inverted").records
    assert not {"found", "unchanged"} & other.as_dict().keys() and other.message == ""


def test_one_of_two_outputs_is_a_copy(plant: Plant, tmp_path: Path) -> None:
    data = saved(photo(), "PNG")
    result = go(Dot(), plant("in", {"a.png": data}), tmp_path / "out")
    assert (tmp_path / "out" / "a_b.png").read_bytes() == data
    assert (tmp_path / "out" / "a.png").read_bytes() != data
    assert result.unchanged == 0 and "unchanged" not in result.summary


def test_a_first_frame_is_no_copy_of_the_animation(plant: Plant, tmp_path: Path) -> None:
    frames = [PillowImage.fromarray(np.roll(picture(), i, axis=1)) for i in range(3)]
    still = saved(picture(), "WEBP", lossless=True)
    moving = saved_image(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    top = plant("in", {"still.webp": still, "moving.webp": moving})
    go(Same(), top, tmp_path / "out", first_frame=True)
    assert (tmp_path / "out" / "still.webp").read_bytes() == still
    written = (tmp_path / "out" / "moving.webp").read_bytes()
    assert inspect_image(written).frames == 1
    assert np.array_equal(decode_image(written).pixels, picture()[..., ::-1])


def test_damaged_files_are_decoded_not_copied(plant: Plant, tmp_path: Path) -> None:
    whole = saved(photo(), "JPEG")
    top = plant("in", {"half.jpg": whole[: len(whole) // 2], "whole.jpg": whole})
    go(Same(), top, tmp_path / "out", strict=False)
    assert (tmp_path / "out" / "whole.jpg").read_bytes() == whole
    assert decode_image((tmp_path / "out" / "half.jpg").read_bytes()).width == 90


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_content_counts_where_the_suffix_is_wrong(plant: Plant, tmp_path: Path, kind: str) -> None:
    data = saved(photo(), kind, **({"lossless": True} if kind == "WEBP" else {}))
    top = plant("in", {"a.jpg": data})
    go(Dot(), top, tmp_path / "out")
    assert (tmp_path / "out" / "a_b.jpg").read_bytes()[:2] == b"\xff\xd8"  # a name of its own
    written = decode_image((tmp_path / "out" / "a.jpg").read_bytes())
    assert written.format == kind.lower()
    assert np.argwhere(written.pixels != photo()[..., ::-1])[:, :2].tolist() == [[3, 5]] * 3
    go(Invert(), top / "a.jpg", tmp_path / "b.jpg")
    go(Invert(), top / "a.jpg", tmp_path / "b.bmp")
    assert decode_image((tmp_path / "b.bmp").read_bytes()).format == "bmp"


def test_lossless_webp_stays_lossless(plant: Plant, tmp_path: Path) -> None:
    kinds = {
        "plain.webp": saved(photo(), "WEBP", lossless=True),
        "exif.webp": saved(photo(), "WEBP", lossless=True, exif=exif_block()),
        "lossy.webp": saved(photo(), "WEBP", quality=90),
    }
    go(Dot(), plant("in", kinds), tmp_path / "out")
    for name, data in kinds.items():
        before, after = decode_image(data), decode_image((tmp_path / "out" / name).read_bytes())
        changed = (before.pixels != after.pixels).any(axis=2).sum()
        assert (changed == 1) == (name != "lossy.webp")
    go(Dot(), plant("in", kinds), tmp_path / "lossy", quality_out=50)
    assert (tmp_path / "lossy/plain.webp").stat().st_size < len(kinds["plain.webp"])


@pytest.mark.parametrize("sampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_files_keep_tables_and_subsampling(
    plant: Plant, tmp_path: Path, sampling: int, progressive: bool
) -> None:
    data = saved(photo(), "JPEG", quality=83, subsampling=sampling, progressive=progressive)
    go(Invert(), plant("in", {"a.jpg": data}), tmp_path / "out")
    before, after = (
        JpegImageFile(io.BytesIO(file)) for file in (data, (tmp_path / "out/a.jpg").read_bytes())
    )
    assert after.quantization == before.quantization
    assert [part[1:3] for part in after.layer] == [part[1:3] for part in before.layer]
    assert after.info.get("progressive") == before.info.get("progressive")


def test_a_quality_is_obeyed_even_where_nothing_changes(plant: Plant, tmp_path: Path) -> None:
    files = {"a.jpg": saved(photo(), "JPEG", quality=95), "a.png": saved(photo(), "PNG")}
    result = go(Same(), plant("in", files), tmp_path / "out", quality_out=40)
    assert (tmp_path / "out" / "a.png").read_bytes() == files["a.png"]
    assert (tmp_path / "out" / "a.jpg").stat().st_size < len(files["a.jpg"]) / 2
    assert result.unchanged == 1


# `to` and `quality_out`.


def test_to_names_outputs_and_decides_their_format(plant: Plant, tmp_path: Path) -> None:
    files = {
        "a.jpg": saved(photo(), "JPEG"),
        "b/c.PNG": saved(photo(), "PNG"),
        "d.gif": saved(photo(), "GIF"),
        "wrong.png": saved(photo(), "JPEG"),
    }
    go(Same(), plant("in", files), tmp_path / "out", to="png")
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*"))
    assert [w for w in written if ".vaetools" not in w] == [
        "a.png",
        "b/c.PNG",
        "d.png",
        "wrong.png",
    ]
    for name in ("a.png", "d.png", "wrong.png"):
        assert inspect_image((tmp_path / "out" / name).read_bytes()).format == "png"
    assert (tmp_path / "out" / "b/c.PNG").read_bytes() == files["b/c.PNG"]


def test_to_refuses_clashes(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"a.jpg": saved(photo(), "JPEG"), "a.png": saved(photo(), "PNG")})
    with pytest.raises(UsageError, match="would both be written to"):
        go(Same(), top, tmp_path / "out", to="webp")
    with pytest.raises(UsageError, match=r"ends in \.png, but the format is --to jpg"):
        go(Same(), top / "a.png", tmp_path / "b.png", to="jpg")
    assert not (tmp_path / "out").exists()


def test_to_without_effect_is_refused(plant: Plant, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--to png has no effect: copy writes files of a fixed"):
        go(Copy(), plant("in", {"a.txt": b"x"}), tmp_path / "out", to="png")
    with pytest.raises(UsageError, match="--quality-out 30 has no effect: copy writes files"):
        go(Copy(), plant("in", {"a.txt": b"x"}), tmp_path / "out", quality_out=30)


def test_another_format_is_other_work(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"a.webp": saved(photo(), "WEBP", lossless=True)})
    go(Same(), top, tmp_path / "out", to="webp")
    assert go(Same(), top, tmp_path / "out", to="webp").counts["skipped"] == 1
    assert go(Same(), top, tmp_path / "out", to="webp", quality_out=80).counts["done"] == 1
    assert go(Same(), top, tmp_path / "out", to="png").counts["done"] == 1


@pytest.mark.parametrize("wrong", [{"to": "xyz"}, {"quality_out": 101}, {"quality_out": -1}])
def test_bad_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        RunSettings("out", **wrong)


def test_the_old_name_of_the_quality() -> None:
    with pytest.warns(DeprecationWarning, match="use quality_out"):
        assert RunSettings("out", image_quality=70).quality_out == 70


# Metadata are removed from files whose pixels do not change without coding them anew.


@pytest.mark.parametrize("strip", ["gps", "exif", "all"])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_stripping_codes_nothing_anew(
    plant: Plant, tmp_path: Path, kind: str, strip: str, orientation: int
) -> None:
    name, exif = f"a.{kind.lower()}", b"Exif\0\0" + exif_block(orientation)
    data = saved(photo(), kind, exif=exif, icc_profile=icc_profile(), quality=90)
    result = go(Same(), plant("in", {name: data}), tmp_path / "out", strip=strip)
    before, after = decode_image(data), decode_image((tmp_path / "out" / name).read_bytes())
    assert result.unchanged == 0
    if orientation == 1 or strip == "gps":  # the orientation has to be in the file
        assert np.array_equal(before.pixels, after.pixels)
    assert after.pixels.shape == before.pixels.shape
    assert (after.icc is None) == (strip == "all")
    assert (after.exif is None) == (strip != "gps")
    assert b"Maker of cameras" in data
    written = (tmp_path / "out" / name).read_bytes()
    assert (b"Maker of cameras" in written) == (strip == "gps")
    assert b"2024:05:06" in data and written.count(b"2024:05:06\0") == 0


def test_stripping_removes_what_follows_the_image(plant: Plant, tmp_path: Path) -> None:
    tail = saved(photo(), "JPEG", exif=b"Exif\0\0" + exif_block(1))
    data = saved(photo(), "JPEG") + tail
    go(Same(), plant("in", {"a.jpg": data}), tmp_path / "out", strip="exif")
    written = (tmp_path / "out" / "a.jpg").read_bytes()
    assert b"Maker of cameras" not in written
    assert np.array_equal(decode_image(written).pixels, decode_image(data).pixels)


def test_records_say_where_all_of_a_file_was_coded_anew(plant: Plant, tmp_path: Path) -> None:
    image = PillowImage.fromarray(photo())
    files = {
        "cmyk.jpg": saved_image(image.convert("CMYK"), "JPEG"),
        "plain.jpg": saved(photo(), "JPEG"),
        "lossy.webp": saved(photo(), "WEBP"),
        "lossless.webp": saved(photo(), "WEBP", lossless=True),
        "plain.png": saved(photo(), "PNG"),
    }
    records = go(Dot(), plant("in", files), tmp_path / "out").records
    anew = {Path(r.file).name for r in records if any("coded anew" in what for what in r.not_kept)}
    assert anew == {"cmyk.jpg", "lossy.webp"}


@pytest.mark.parametrize("quality", [40, 75, 90])
def test_lossy_webp_keeps_about_its_quality(plant: Plant, tmp_path: Path, quality: int) -> None:
    data = saved(photo(), "WEBP", quality=quality)
    go(Dot(), plant("in", {"a.webp": data}), tmp_path / "out")
    assert (tmp_path / "out" / "a.webp").stat().st_size == pytest.approx(len(data), rel=0.2)
