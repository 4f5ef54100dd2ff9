"""`benchmarks/throughput.py` runs from end to end, and its seams exist."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from tests.paths import BENCHMARKS

from .scripts import benchmark_script

SCRIPT = BENCHMARKS / "throughput.py"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photographs, one of them upright."""
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = np.ascontiguousarray(data.astronaut()[:128, :192])
    for name, pixels in (("a", photo), ("b", np.ascontiguousarray(np.rot90(photo)))):
        cv2.imwrite(str(folder / f"{name}.png"), pixels)
    return folder


def test_every_stage_has_a_seam() -> None:
    with benchmark_script("throughput_stages") as stages:
        missing = [
            name
            for name, seams in stages.SEAMS.items()
            if not any(stages.places_of(seam) for seam in seams)
        ]
    assert not missing


def test_time_counts_in_the_innermost_stage_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    with benchmark_script("throughput_stages") as module:
        monkeypatch.setattr(module.time, "thread_time", lambda: now[0])
        stages = module.Stages()

        def inner() -> None:
            now[0] += 2

        timed = stages.timed(lambda *_: "inner", inner)

        def outer() -> None:
            now[0] += 1
            timed()
            timed()

        stages.timed(lambda *_: "outer", outer)()
    assert stages.seconds == {"inner": 4, "outer": 1}


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs", "products"),
    [
        ("Conv", [(1, 8, 10, 12), (16, 8, 3, 3)], [(1, 16, 8, 10)], 16 * 8 * 9 * 80),
        ("Conv", [(2, 8, 10, 12), (8, 1, 3, 3)], [(2, 8, 8, 10)], 2 * 8 * 9 * 80),
        ("ConvTranspose", [(1, 8, 5, 6), (8, 3, 4, 4)], [(1, 3, 20, 24)], 8 * 3 * 16 * 30),
        ("MatMul", [(2, 3, 5), (5, 7)], [(2, 3, 7)], 2 * 3 * 5 * 7),
        ("Relu", [(1, 8, 10, 12)], [(1, 8, 10, 12)], 0),
    ],
)
def test_multiplications_of_a_node(
    operator: str, inputs: list[object], outputs: list[object], products: int
) -> None:
    with benchmark_script("throughput_network") as network:
        assert network.products(operator, inputs, outputs) == products


@pytest.mark.slow
@pytest.mark.parametrize("op", ["compress", "decompress", "denoise", "inpaint", "augment"])
def test_stages_of_a_run_add_up(op: str, photos: Path, tmp_path: Path) -> None:
    with benchmark_script("throughput") as script:
        case = script.Case(op, "mixed", "jpg", 2)
        script.make(case, photos, tmp_path / "made")
        made = script.read_folder(tmp_path / "made")
        figures = script.measure(case, made, tmp_path / "scratch")
    stages = figures["stages"]
    assert {"read, decode", "write, fsync", "journal"} <= stages.keys()
    assert min(stages.values()) > -0.01
    assert sum(stages.values()) == pytest.approx(figures["cpu"])
    assert 0 < figures["network"] < figures["cpu"]
    assert figures["gflops"] > 0.5
    assert figures["roof"] > 1
    assert figures["images"] == 2


@pytest.mark.slow
def test_a_recorded_network_costs_next_to_nothing_and_gives_the_same_files(
    photos: Path, tmp_path: Path
) -> None:
    with benchmark_script("throughput") as script:
        made = []
        for null in (False, True):
            case = script.Case("compress", "one", "png", 3, null=null)
            target = tmp_path / str(null)
            script.make(case, photos, target)
            figures = script.measure(case, script.read_folder(target), tmp_path / f"out-{null}")
            files = sorted((tmp_path / f"out-{null}/out").glob("*.vae"))
            made.append(([file.read_bytes() for file in files], figures))
    (files, plain), (again, recorded) = made
    assert len(files) == 3
    assert files == again
    assert recorded["bus"] == plain["bus"] > 0
    assert recorded["network"] < 0.5 * plain["network"]


@pytest.mark.slow
def test_the_report(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [str(photos), "--op", "denoise", "--folder", "same", "--format", "png"]
    words += ["--images", "2", "--jobs", "1", "2", "--repeat", "1", "--others"]
    words += ["--write", str(tmp_path / "report.md")]
    monkeypatch.setattr(sys, "argv", ["throughput.py", *words])
    with benchmark_script("throughput") as script:
        assert script.main() == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "report.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| denoise")]
    runners = [row[1] for row in rows]
    assert runners == ["jobs 1", "jobs 2", "naive loop", "OpenCV fastNlMeansDenoisingColored"]
    assert all(float(row[2]) > 0 for row in rows)
