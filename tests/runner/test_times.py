"""Modification times of outputs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest

from tests.runner.conftest import Plant
from tests.runner.operations import Copy
from tests.runner.worker_operations import Twice
from vaetools.errors import OptionError
from vaetools.runner import RunSettings, run

OLD = 1_000_000_000_123_456_700


def test_by_default_outputs_are_new(plant: Plant, tmp_path: Path) -> None:
    folder, out = plant("in", {"a.txt": b"abc"}), tmp_path / "out"
    os.utime(folder / "a.txt", ns=(OLD, OLD))
    run(Copy(), [folder], RunSettings(out=out))
    assert (out / "a.txt").stat().st_mtime_ns > OLD


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_times_are_kept_on_request(workers: int, plant: Plant, tmp_path: Path) -> None:
    folder, out = plant("in", {"a/b.txt": b"abc"}), tmp_path / "out"
    os.utime(folder / "a/b.txt", ns=(OLD, OLD))
    settings = RunSettings(out=out, times="keep", workers=workers)
    run(Twice(), [folder], settings).raise_for_failures()
    for name in ("a/b.a", "a/b.b"):
        assert (out / name).stat().st_mtime_ns == OLD
    assert run(Twice(), [folder], settings).counts["skipped"] == 1


def test_a_changed_input_is_still_noticed(plant: Plant, tmp_path: Path) -> None:
    """And its output, which has the time of the input, is still known as ours."""
    folder, out = plant("in", {"a.txt": b"abc"}), tmp_path / "out"
    settings = RunSettings(out=out, times="keep")
    run(Copy(), [folder], settings)
    (folder / "a.txt").write_bytes(b"xyz")
    os.utime(folder / "a.txt", ns=(OLD, OLD))
    assert run(Copy(), [folder], settings).counts["done"] == 1
    assert (out / "a.txt").read_bytes() == b"zyx"
    assert (out / "a.txt").stat().st_mtime_ns == OLD


def test_a_single_output_file(plant: Plant, tmp_path: Path) -> None:
    folder = plant("in", {"a.txt": b"abc"})
    os.utime(folder / "a.txt", ns=(OLD, OLD))
    run(Copy(), [folder / "a.txt"], RunSettings(out=tmp_path / "b.txt", times="keep"))
    assert (tmp_path / "b.txt").stat().st_mtime_ns == OLD


def test_other_words_are_refused() -> None:
    word: Literal["keep"] = "kept"  # type: ignore[assignment]
    with pytest.raises(OptionError, match="times='kept' is not now or keep"):
        RunSettings(out="x", times=word)
