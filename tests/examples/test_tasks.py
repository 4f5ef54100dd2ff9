"""The programs of examples/README.md do what they promise, with images of scikit-image."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.paths import EXAMPLES
from vaetools.hub import Hub

IMAGES = [Path("a.png"), Path("trip/b.png")]

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def _place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, astronaut: np.ndarray) -> None:
    """A folder with photos/a.png, photos/trip/b.png and portrait.png; `vaetools` is a command."""
    monkeypatch.chdir(tmp_path)
    Path("photos/trip").mkdir(parents=True)
    cv2.imwrite("photos/a.png", astronaut[64:192, 160:288])
    cv2.imwrite("photos/trip/b.png", astronaut[300:428, 60:188])
    cv2.imwrite("portrait.png", astronaut[:256, :320])
    command = Path("bin/vaetools")
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vaetools "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent.resolve()), prepend=os.pathsep)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a program as its first lines say; returns what it printed."""

    def call(name: str, *words: str) -> str:
        program = str(EXAMPLES / "tasks" / name)
        if name.endswith(".py"):  # here, where everything is imported already
            monkeypatch.setattr(sys, "argv", [program, *words])
            runpy.run_path(program, run_name="__main__")
            return capsys.readouterr().out
        done = subprocess.run(["sh", program, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def read(path: str | Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None, path
    return image


def local_contrast(path: Path) -> float:
    """Mean standard deviation of the grey values within cells of 16 x 16 pixels."""
    grey = cv2.cvtColor(read(path), cv2.COLOR_BGR2GRAY)
    cells = grey.reshape(grey.shape[0] // 16, 16, -1, 16)
    return float(cells.std(axis=(1, 3)).mean())


def test_the_table_names_every_program() -> None:
    text = (EXAMPLES / "README.md").read_text()
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)}
    assert all((EXAMPLES / link).is_file() for link in links)
    files = [*EXAMPLES.glob("*.py"), *(p for p in (EXAMPLES / "tasks").rglob("*") if p.is_file())]
    mine = {p.relative_to(EXAMPLES).as_posix() for p in files if "__pycache__" not in p.parts}
    assert mine <= links
    tests = Path(__file__).read_text()
    for program in (EXAMPLES / "tasks").glob("*.*"):
        assert program.suffix == ".toml" or f'run("{program.name}"' in tests


def test_plugin(run: Run) -> None:
    assert len((EXAMPLES / "tasks/plugins/local_contrast.py").read_text().splitlines()) <= 40
    run("plugin.sh", "photos", "out")
    for name in IMAGES:
        assert read("out" / name).shape == (128, 128, 3)
        assert local_contrast("out" / name) > 1.1 * local_contrast("photos" / name)


def test_stream(run: Run) -> None:
    said = run("stream.py", "portrait.png", "clip.avi")
    lines = re.findall(r"frame (\d): ([\d.]+) dB", said)
    assert [number for number, _ in lines] == ["0", "1", "2", "3"]  # in order
    assert all(25 < float(psnr) < 45 for _, psnr in lines)  # a lossy codec, and the right frame
    program = (EXAMPLES / "tasks/stream.py").read_text()
    assert len(program.split("writer.release()\n")[1].strip().splitlines()) <= 10


def test_replay(run: Run) -> None:
    said = run("replay.py", "photos", "work").splitlines()
    names = [f"{name}_aug000{n}.png" for name in ("a", "trip/b") for n in (1, 2)]
    assert said == [f"{name} identical" for name in names]
    copies = [Path("work/more", name) for name in names]
    assert len({path.read_bytes() for path in copies}) == 4
    assert (
        30 < cv2.PSNR(read("photos/a.png"), read(copies[0])) < 60
    )  # a copy, but not the same image


@pytest.mark.slow
def test_folder(run: Run) -> None:
    table = run("folder.sh", "photos", "work")
    for name in IMAGES:
        packed = Path("work/packed", f"{name}.vae")
        row = re.search(rf"^{packed} +(\d+) +([\d.]+) +([\d.]+)", table, re.MULTILINE)
        assert row is not None, table
        photo = Path("photos", name)
        assert int(row[1]) == packed.stat().st_size < photo.stat().st_size / 5
        assert float(row[2]) == pytest.approx(8 * packed.stat().st_size / 128**2, abs=1e-3)
        wanted = cv2.PSNR(read(photo), read(Path("work/back", name)))
        assert float(row[3]) == pytest.approx(wanted, abs=0.02) and wanted > 28


@pytest.mark.slow
def test_part(run: Run, codec_hub: Hub) -> None:
    run("part.sh", "portrait.png", "work")
    whole = codec_hub.decompress(Path("work/whole.vae").read_bytes())
    assert np.array_equal(read("work/part.png"), whole[24:72, 40:104])
    portrait, rough = read("portrait.png"), read("work/rough.png")
    assert 20 < cv2.PSNR(portrait, rough) < cv2.PSNR(portrait, whole) - 3


@pytest.mark.slow
def test_chain(run: Run, codec_hub: Hub) -> None:
    run("chain.sh", "photos", "packed", "report.ndjson")
    records = [json.loads(line) for line in Path("report.ndjson").read_text().splitlines()]
    assert {record["file"] for record in records} == {f"photos/{name}" for name in IMAGES}
    run("plugin.sh", "photos", "out")  # the first step alone, with the same options
    for record in records:
        assert (record["status"], record["op"]) == ("done", "local-contrast,compress")
        (packed,) = map(Path, record["out"])
        assert record["bytes_out"] == packed.stat().st_size
        name = Path(record["file"]).relative_to("photos")
        assert packed.read_bytes() == codec_hub.compress(read("out" / name), quality=40)


def test_roi(run: Run) -> None:
    said = run("roi.py", "portrait.png", "224", "100", "60")
    without, with_mask = re.findall(r"(\d+) bytes, ([\d.]+) dB", said)
    assert int(with_mask[0]) < 0.8 * int(without[0])
    assert float(with_mask[1]) == pytest.approx(float(without[1]), abs=0.2)


@pytest.mark.train
def test_own_model(run: Run) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    cv2.imwrite("small.png", read("photos/a.png")[:64, :60])
    said = run("own_model.py", "small.png", "models", "out.png")
    assert {"model.toml", "MODEL_CARD.md"} <= {path.name for path in Path("models/tiny").iterdir()}
    assert float(re.search(r"ONNX: ([\d.e-]+)", said)[1]) < 1e-4
    assert cv2.PSNR(read("small.png"), read("out.png")) > 20


def test_latent_moves(run: Run) -> None:
    Path("out").mkdir()
    said = run("latent_moves.py", "photos/a.png", "photos/trip/b.png", "out")
    same, label = said.splitlines()
    found = re.fullmatch(r"the same copy: True; mean change ([\d.]+) of 255", same)
    assert found is not None and float(found[1]) > 0.1
    assert json.loads(Path("out/move.json").read_text())["kind"] == "LatentJitter"
    share = json.loads(label)
    assert share.keys() == {"a", "b"} and sum(share.values()) == pytest.approx(1)
    distance = {
        name: np.abs(np.float32(read("out/mixed.png")) - read(path)).mean()
        for name, path in zip("ab", ["photos/a.png", "photos/trip/b.png"], strict=True)
    }
    nearer = min(distance, key=lambda name: distance[name])
    assert nearer == max(share, key=lambda name: share[name])
