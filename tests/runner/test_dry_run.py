"""Dry runs: what would be done, and which inputs would fail before their pixels are decoded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from vaetools.errors import ModelBrokenError
from vaetools.image import Image, encode_image
from vaetools.runner import RunSettings, dry, run
from vaetools.testing import gradient

from .operations import Copy, Invert, Raising

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


def test_a_sample_tells_time_and_size(plant: Plant, tmp_path: Path) -> None:
    class Doubled(Copy):
        name = "doubled"

        def process(self, item: bytes) -> bytes:
            self.seen.append(self._key)
            time.sleep(0.01)
            return item * 2

    top = plant("in", {f"{i:03}.txt": b"x" * 1000 for i in range(100)})
    settings = RunSettings(tmp_path / "out", dry_run=True, jobs=2)
    first, second = Doubled(), Doubled()
    result = run(first, [top], settings)
    run(second, [top], settings)
    assert result.estimate is not None
    assert (result.estimate.tried, result.estimate.inputs) == (8, 100)
    assert result.estimate.bytes_out == 200_000
    assert 100 * 0.01 / 2 <= result.estimate.seconds < 100
    assert "200 kB, estimated from 8 of 100 inputs" in result.summary
    assert set(first.seen) == set(second.seen)
    assert len(set(first.seen)) == 8
    assert sum(r.bytes_out > 0 for r in result.records) == 8
    assert not (tmp_path / "out").exists()


def test_the_estimate_follows_the_size_of_images(plant: Plant, tmp_path: Path) -> None:
    large, small = np.zeros((64, 64), np.uint8), np.zeros((8, 8), np.uint8)
    files = {f"{i}.bmp": encode_image(Image(small), "bmp") for i in range(18)}
    files |= {f"large{i}.bmp": encode_image(Image(large), "bmp") for i in range(2)}
    top = plant("in", files)
    planned = run(Invert(".bmp"), [top], RunSettings(tmp_path / "out", dry_run=True))
    real = run(Invert(".bmp"), [top], RunSettings(tmp_path / "out"))
    assert planned.estimate is not None
    assert 0.3 < planned.estimate.bytes_out / real.bytes_out < 3


def test_the_sample_takes_a_bounded_time(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry, "SECONDS", 0.0)
    operation = Copy()
    top = plant("in", {f"{i:03}.txt": b"x" * (100 + i) for i in range(100)})
    result = run(operation, [top], RunSettings(tmp_path / "out", dry_run=True))
    assert operation.seen == ["006.txt"]
    assert result.estimate is not None
    assert result.estimate.tried == 1


def test_what_fails_in_the_sample_is_named(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"a.txt": b"good", "b.txt": b"bad", "c.txt": b"good"})
    settings = RunSettings(tmp_path / "out", dry_run=True)
    result = run(Raising(ValueError("no")), [top], settings)
    assert [r.status for r in result.records] == ["planned", "failed", "planned"]
    assert result.estimate is not None
    assert (result.estimate.tried, result.estimate.inputs) == (2, 2)
    nothing = run(Raising(SystemExit(3)), [plant("bad", {"b.txt": b"bad"})], settings)
    assert nothing.estimate is None
    assert [r.code for r in nothing.records] == ["E050"]


def test_a_model_that_does_not_work_is_a_problem_of_the_run(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"a.txt": b"bad", "b.txt": b"bad"})
    error = ModelBrokenError("gives NaN")
    result = run(Raising(error), [top], RunSettings(tmp_path / "out", dry_run=True))
    assert result.estimate is None
    [problem] = result.problems
    assert problem.startswith(error.code)
    assert result.exit_code == 1


def test_nothing_to_do_needs_no_estimate(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"a.txt": b"a"})
    run(Copy(), [top], RunSettings(tmp_path / "out"))
    operation = Copy()
    result = run(operation, [top], RunSettings(tmp_path / "out", dry_run=True))
    assert result.estimate is None
    assert not operation.seen
    assert result.summary.startswith("0 done, 1 skipped")
