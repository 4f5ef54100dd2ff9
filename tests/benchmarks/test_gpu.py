"""The scripts for a borrowed GPU, rehearsed on the CPU from end to end."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.benchmarks.scripts import benchmark_script
from tests.training import tiny
from vaetools.training.recipe import SHIPPED, read_recipe
from vaetools.training.run.finish import export_run
from vaetools.training.tasks import open_task

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "benchmarks/gpu"


def run(*words: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*-gpu.toml")), ids=lambda path: path.stem)
def test_recipes_for_a_gpu_are_those_of_the_task_and_can_be_recorded(path: Path) -> None:
    task = open_task(read_recipe(path))
    assert task.recipe.train.cuda_graph == task.recordable
    assert task.recipe.train.bf16


@pytest.mark.slow
def test_thirty_steps_in_two_calls_come_back_as_a_model(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    tiny.write_photos(photos, ["astronaut", "coffee", "chelsea", "rocket", "cat"], 256, 256)
    assert "5 of 5 files" in run(
        sys.executable,
        SCRIPTS / "pack.py",
        photos,
        "pack",
        "--megabytes",
        "1",
        "--format",
        "jpeg",
        cwd=tmp_path,
    )
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(tiny.codec_recipe().replace("steps = 6", "steps = 30"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    call = ["bash", SCRIPTS / "train.sh", recipe, "pack", "out", 100]
    first = run(*call, "--until", "0.5", cwd=tmp_path, DEVICE="cpu", TRIAL="0.2", PATH=path)
    assert first.count("steps/s") == 4
    assert "stopped at step 15" in first
    second = run(*call, cwd=tmp_path, DEVICE="cpu", PATH=path)
    assert "steps/s" not in second
    assert "done; next" in second
    run(sys.executable, SCRIPTS / "join.py", "out", "carried", cwd=tmp_path)
    shutil.rmtree(tmp_path / "runs")
    model, _ = export_run(tmp_path / "carried", photos, tmp_path / "model")
    assert "compress" in model.manifest.tasks


@pytest.mark.slow
def test_the_check_of_a_gpu_is_rehearsed_on_the_cpu(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    tiny.write_photos(photos, ["astronaut", "coffee"], 128, 192)
    words = [photos, "--device", "cpu", "--quick", "--out", tmp_path / "out"]
    words += ["--scratch", tmp_path / "scratch"]
    printed = run(sys.executable, SCRIPTS / "check.py", *words, cwd=tmp_path)
    found = json.loads((tmp_path / "out/check.json").read_text(encoding="utf-8"))
    parts = ["doctor", "placement", "graphs", "shapes", "exact", "parity", "folders", "host"]
    assert [*found["figures"]] == parts
    assert found["figures"]["doctor"]["bad"] == {}
    assert set(found["figures"]["exact"].values()) == {0}
    assert {row["decode"] for row in found["figures"]["parity"]} == {0}
    graphs = found["figures"]["graphs"]
    assert {name.partition("(")[0] for name in graphs} >= {"denoise", "inpaint", "synthesis"}
    assert all(figures["bound"] > 0 for figures in graphs.values())
    assert len(found["figures"]["folders"]) == 3 * 2
    assert printed.count("-- ") == 2 * len(parts)
    assert "FAILED" not in printed


def piece(compute: int, code: bytes) -> bytes:
    """A piece of device code with its header."""
    header = bytearray(64)
    struct.pack_into("<HHI", header, 0, 2, 0x101, 64)
    struct.pack_into("<Q", header, 8, len(code))
    struct.pack_into("<I", header, 28, compute)
    return bytes(header) + code


def test_only_device_code_of_other_chips_is_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    with benchmark_script("gpu/pack_runtime") as script:
        monkeypatch.setattr(script, "_is_needed", lambda *_: True)
        pieces = [piece(80, b"a" * 24), piece(90, b"b" * 40), piece(120, b"c" * 8)]
        body = b"".join(pieces)
        container = struct.pack("<IHHQ", script.MAGIC, 1, 16, len(body)) + body
        data = bytearray(b"before" + bytes(2) + container + container + b"behind!!")
        kept, gone = script.without_other_chips(data, 8, len(data) - 8, 90)
    assert (kept, gone) == (2 * 40, 2 * 32)
    wanted = container.replace(b"a" * 24, bytes(24)).replace(b"c" * 8, bytes(8))
    assert data == b"before" + bytes(2) + wanted + wanted + b"behind!!"
