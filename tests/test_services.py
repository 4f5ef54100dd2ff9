"""The programs of docs/services.md run as they stand on the page."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.paths import DOCS
from vaetools.hub import Hub
from vaetools.testing import gradient

PAGE = DOCS / "services.md"
PROGRAMS = dict(
    re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
)


def run(name: str, folder: Path) -> list[str]:
    """Run a program of the page; gives the lines that it printed."""
    path = folder / f"{name}.py"
    path.write_text(PROGRAMS[name])
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore"}, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def sizes(codec_hub: Hub) -> str:
    """What the three programs print that compress the same frames."""
    frames = [np.full((64, 64, 3), grey, np.uint8) for grey in (60, 120, 180)]
    return str([len(codec_hub.compress(frame, quality=60)) for frame in frames])


def test_every_program_has_a_test() -> None:
    assert len(PROGRAMS) == PAGE.read_text().count("```python")
    text = Path(__file__).read_text()
    assert all(f'"{name}"' in text for name in PROGRAMS)


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_threads_and_processes(name: str, sizes: str, tmp_path: Path) -> None:
    assert run(name, tmp_path) == [sizes]


@pytest.mark.slow
def test_joblib(sizes: str, tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    assert run("with_joblib", tmp_path) == [sizes]


@pytest.mark.slow
def test_data_loader(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    assert run("loader", tmp_path) == [str([(1, 3, 64, 64)] * 3)] * 2


def test_service(codec_hub: Hub, tmp_path: Path) -> None:
    testclient = pytest.importorskip("fastapi.testclient")
    path = tmp_path / "service.py"
    path.write_text(PROGRAMS["service"])
    spec = importlib.util.spec_from_file_location("service", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kind = {"Content-Type": "application/octet-stream"}
    with testclient.TestClient(module.app) as client:
        file = cv2.imencode(".png", gradient())[1].tobytes()
        answer = client.post("/compress", content=file, headers=kind)
        assert answer.status_code == 200, answer.text
        assert answer.content == codec_hub.compress(gradient(), quality=75)
        refused = client.post("/compress", content=file[: len(file) // 2], headers=kind)
        assert refused.status_code == 422
        assert refused.json()["detail"]["code"] == "E012"
        module.MAX_PIXELS = 1000
        refused = client.post("/compress", content=file, headers=kind)
        assert refused.json()["detail"]["code"] == "E013"
