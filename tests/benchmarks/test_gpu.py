"""The scripts for a borrowed GPU, rehearsed on the CPU from end to end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

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
