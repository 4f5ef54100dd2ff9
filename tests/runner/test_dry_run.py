"""Dry runs: what would be done, and which inputs would fail before their pixels are decoded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaetools.image import Image, encode_image
from vaetools.runner import RunSettings, run
from vaetools.testing import gradient

from .operations import Copy, Invert

if TYPE_CHECKING:
    from .conftest import Plant


def test_broken_images_are_noticed(plant: Plant, tmp_path: Path) -> None:
    png, jpeg = (encode_image(Image(gradient()), name) for name in ("png", "jpeg"))
    top = plant(
        "in",
        {
            "cut.jpg": jpeg[: len(jpeg) // 2],
            "cut.png": png[: len(png) // 2],
            "empty.png": b"",
            "good.jpg": jpeg,
            "good.png": png,
            "large.png": encode_image(Image(np.zeros((90, 90), np.uint8)), "png"),
            "text.png": b"hello, this is text",
        },
    )
    settings = RunSettings(tmp_path / "out", dry_run=True, max_pixels=8000)
    result = run(Invert(), [top], settings)
    found = {Path(r.file).name: r.code or r.status for r in result.records}
    assert found == {
        "cut.jpg": "E012",
        "cut.png": "E012",
        "empty.png": "E011",
        "good.jpg": "planned",
        "good.png": "planned",
        "large.png": "E013",
        "text.png": "E010",
    }
    real = run(Invert(), [top], RunSettings(tmp_path / "out", max_pixels=8000))
    failed = {(r.file, r.code, r.message) for r in real.failures}
    assert failed == {(r.file, r.code, r.message) for r in result.failures}
    assert result.exit_code == 1


def test_lenient_dry_runs_accept_what_a_run_does(plant: Plant, tmp_path: Path) -> None:
    png = encode_image(Image(gradient()), "png")
    top = plant("in", {"cut.png": png[: len(png) // 2]})
    settings = RunSettings(tmp_path / "out", dry_run=True, strict=False)
    assert run(Invert(), [top], settings).counts["planned"] == 1


def test_files_that_are_no_inputs_fail_as_in_a_run(plant: Plant, tmp_path: Path) -> None:
    class Picky(Copy):
        name = "picky"

        def check_head(self, head: bytes) -> None:
            if not head.startswith(b"ok"):
                raise ValueError("not ok")

    top = plant("in", {"a.txt": b"ok", "b.txt": b"no"})
    result = run(Picky(), [top], RunSettings(tmp_path / "out", dry_run=True))
    assert [r.status for r in result.records] == ["planned", "failed"]
    assert not (tmp_path / "out").exists()
