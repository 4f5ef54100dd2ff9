"""Previews: what browsers cannot display is converted; files that cannot be read have none."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np
import pytest

from vaetools.image import Image, decode_image, encode_image
from vaetools.record import Record
from vaetools.report.charts import histogram, size_text, time_text
from vaetools.report.links import Links
from vaetools.report.previews import VIEW_EDGE, Previews, coloured, encoded, files_of
from vaetools.report.store import Inline, PageFullError
from vaetools.testing import gradient

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.report.previews import Shot


def shown(shot: Shot) -> Image:
    return decode_image(base64.b64decode(shot.thumbnail.partition(",")[2]))


def record(file: Path, *out: Path, op: str = "denoise") -> Record:
    return Record(str(file), tuple(map(str, out)), op, "done", bytes_in=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_a_preview_shows_the_pixels_of_any_image(tmp_path: Path, kind: str, dtype: type) -> None:
    pixels = gradient(120, 160).astype(dtype) * (257 if dtype is np.uint16 else 1)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(encode_image(Image(pixels.astype(dtype)), kind))
    ((shot,),) = Previews(Inline(), Links(tmp_path)).of([record(path)])
    assert (shot.role, shot.width, shot.height) == ("input", 160, 120)
    assert shot.direct == (kind == "png")
    off = np.abs(shown(shot).pixels.astype(int) - gradient(120, 160))
    assert off.mean() < 2


def test_files_that_are_no_images_are_decoded_by_the_caller(tmp_path: Path) -> None:
    (tmp_path / "a.vae").write_bytes(b"x")
    one = record(tmp_path / "a.vae", tmp_path / "gone.png", tmp_path / "notes.txt")
    asked = []

    def decode(path: Path) -> Image | None:
        asked.append(path.name)
        return Image(gradient(8, 9)) if path.suffix == ".vae" else None

    ((shot,),) = Previews(Inline(), Links(tmp_path), decode).of([one])
    assert (shot.role, shot.width, shot.height, shot.direct) == ("input", 9, 8, False)
    assert sorted(asked) == ["a.vae", "notes.txt"]
    assert Previews(Inline(), Links(tmp_path)).of([one]) == [()]


def test_a_decoder_that_fails_costs_only_the_preview(tmp_path: Path) -> None:
    def decode(path: Path) -> Image | None:
        raise RuntimeError(path)

    (tmp_path / "a.png").write_bytes(encode_image(Image(gradient(4, 4)), "png"))
    shots = Previews(Inline(), Links(tmp_path), decode).of(
        [record(tmp_path / "a.png", tmp_path / "a.vae")]
    )
    assert [shot.role for shot in shots[0]] == ["input"]


def test_large_images_are_reduced_and_keep_their_aspect() -> None:
    data, suffix = encoded(Image(gradient(400, 2 * VIEW_EDGE)), VIEW_EDGE, 90)
    assert suffix == "jpg"
    assert decode_image(data).pixels.shape == (200, VIEW_EDGE, 3)


def test_alpha_is_kept_and_small_images_are_lossless() -> None:
    image = Image(gradient(40, 50), np.full((40, 50), 99, np.uint8))
    data, suffix = encoded(image, VIEW_EDGE, 90)
    back = decode_image(data)
    assert suffix == "png" and np.array_equal(back.pixels, image.pixels)
    assert back.alpha is not None and (back.alpha == 99).all()


def test_an_uncertainty_map_gets_colours_and_the_top_of_their_scale() -> None:
    values = np.tile(np.linspace(0, 20, 256, dtype=np.float32), (16, 1))
    image, peak = coloured(Image((values * 256).astype(np.uint16)))
    assert peak == pytest.approx(20, abs=0.2) and image.pixels.shape == (16, 256, 3)
    brightness = image.pixels.sum(axis=2)[0].astype(int)
    assert brightness[0] < 30 and brightness[-1] > 550
    other = Image(gradient(4, 4))
    assert coloured(other) == (other, 0.0)


def test_roles_follow_the_names_of_outputs() -> None:
    names = ("o/a.jpg", "o/a_sample1.jpg", "o/a_sample12.jpg", "o/a_uncertainty.png")
    one = Record("a.jpg", names, "denoise", "done", bytes_in=1)
    assert [role for role, _ in files_of(one)] == [
        "input",
        "output",
        "sample 1",
        "sample 12",
        "uncertainty",
    ]
    copies = Record("a.jpg", ("a_aug1.png", "a_aug2.png"), "augment", "done", bytes_in=1)
    assert [role for role, _ in files_of(copies)] == ["input", "output", "output 2"]
    made = Record("1.png", ("1.png",), "generate", "done", bytes_out=9)
    assert files_of(made) == [("output", "1.png")]


def test_failures_have_no_previews_and_copies_only_that_of_the_input() -> None:
    assert files_of(Record("a.png", ("b.png",), "x", "failed", bytes_in=1)) == []
    same = Record("a.png", ("b.png",), "x", "done", bytes_in=1, unchanged=True)
    assert files_of(same) == [("input", "a.png")]
    planned = Record("a.png", ("b.png",), "x", "planned", bytes_in=1)
    assert files_of(planned) == [("input", "a.png")]


def test_previews_within_the_page_have_a_limit() -> None:
    store = Inline(100)
    store.add(b"x" * 40, "png")
    with pytest.raises(PageFullError):
        store.add(b"x" * 40, "png")


@pytest.mark.parametrize("values", [[1.0] * 9, [1.0, 1e9], [float(2**n) for n in range(30)]])
def test_a_histogram_counts_every_value_once(values: list[float]) -> None:
    chart = histogram("size", {"input": values}, size_text)
    assert chart is not None
    assert sum(int(bar.text.rpartition(": ")[2]) for bar in chart.bars) == len(values)
    assert all(bar.x >= 0 and bar.x + bar.width <= 320 for bar in chart.bars)
    assert max(bar.height for bar in chart.bars) == 110


def test_zeros_and_single_values_make_no_histogram() -> None:
    assert histogram("time", {"time": [0.0, 0.0, 5.0]}, time_text) is None


@pytest.mark.parametrize(
    ("ms", "text"), [(0.25, "0.2 ms"), (12.4, "12 ms"), (999, "999 ms"), (61_234, "61.2 s")]
)
def test_times_are_short(ms: float, text: str) -> None:
    assert time_text(ms) == text
