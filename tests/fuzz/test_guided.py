"""The targets of the guided fuzzer on a few cases, and what it found before."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.guided import Defect, attempt, random_cases
from tests.fuzz.targets import TARGETS, image_seeds, repair_png, repair_zip, tables_seeds
from tests.paths import ROOT
from vaetools.errors import InputError, ModelBrokenError
from vaetools.model.arrays import read_arrays

if TYPE_CHECKING:
    from pathlib import Path

CASES = 30
"""Mutations in the default tests."""


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_is_read(name: str) -> None:
    seeds = list(TARGETS[name].seeds())
    assert seeds and max(map(len, seeds)) <= TARGETS[name].largest
    outcomes = {attempt(name, seed) for seed in seeds}
    assert "read" in outcomes and outcomes <= {"read", "E014", "E041"}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", TARGETS)
def test_mutations_do_no_harm(name: str) -> None:
    cases = islice(random_cases(name, 1), CASES)
    outcomes = {attempt(name, data) for data in cases}
    assert "read" in outcomes


def test_repairs_give_right_checksums() -> None:
    import random

    rng = random.Random(1)
    for seeds, repair in ((image_seeds, repair_png), (tables_seeds, repair_zip)):
        for seed in seeds():
            assert repair(seed, rng) == seed


def test_defects_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is not allowed, an error of several lines, and time."""
    import dataclasses
    import time

    def fails(data: bytes) -> None:
        raise KeyError(data)

    def speaks(data: bytes) -> None:
        raise InputError("\x1b")

    def waits(data: bytes) -> None:
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass

    monkeypatch.setattr("tests.fuzz.guided.SECONDS", 0.01)
    for read, text in ((fails, "KeyError"), (waits, "took 0.1 s")):
        target = dataclasses.replace(TARGETS["headers"], read=read)
        monkeypatch.setitem(TARGETS, "headers", target)
        with pytest.raises(Defect, match=text):
            attempt("headers", b"x")
    monkeypatch.setitem(TARGETS, "headers", dataclasses.replace(target, read=speaks))
    assert attempt("headers", b"x") == "E001"  # its line is printable whatever it holds


def test_a_header_that_is_no_python() -> None:
    """NumPy reads the header of an array with a tokenizer, which has exceptions of its own."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        header = b"{'descr': '<f4', (((\n"
        packed = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header
        archive.writestr("gain.npy", packed)
    with pytest.raises(ModelBrokenError, match="is not a NumPy archive"):
        read_arrays(out.getvalue())


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_guided_by_coverage(name: str, tmp_path: Path) -> None:
    if find_spec("atheris") is None:
        pytest.skip("atheris is not installed")
    words = [name, "--cases", "3000", "--seed", "7", "--keep", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", *words],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert "stat::number_of_executed_units" in done.stderr
    assert [*tmp_path.iterdir()] == []
