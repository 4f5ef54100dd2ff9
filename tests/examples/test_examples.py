"""The examples run: with synthetic images, and small operations in place of large models."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from skimage import data

from tests.paths import EXAMPLES, PLUGINS
from tests.tar.pack import pack
from vaetools.hub import Hub
from vaetools.image import Image, encode_image
from vaetools.testing import gradient


@pytest.fixture(autouse=True)
def _place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VAETOOLS_PLUGINS_DIR", str(PLUGINS))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Run an example as `python examples/NAME.py …` does; gives its module."""

    def call(name: str, *words: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        monkeypatch.setattr("sys.argv", [f"{name}.py", *words])
        module.main()
        return module

    return call


@pytest.fixture
def clip() -> str:
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"FFV1"), 25, (64, 48))
    for number in range(6):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return "clip.avi"


def test_each_example_has_a_test() -> None:
    text = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'run("{path.stem}"' in text


def test_webcam(run, clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    monkeypatch.setattr("cv2.imshow", lambda _, frame: shown.append(round(frame.mean())))
    monkeypatch.setattr("cv2.waitKey", lambda _: ord("q") if len(shown) == 4 else -1)
    run("webcam", clip, "--op", "negative,negative")
    assert shown == [0, 20, 40, 60]


def test_masked(run) -> None:
    half = np.full((64, 64, 3), 200, np.uint8)
    half[:, :32] = 30
    cv2.imwrite("half.png", half)
    run("masked", "half.png", "out.png", "--op", "negative")
    out = cv2.imread("out.png")
    assert np.array_equal(out[:, 44:], half[:, 44:])
    assert np.array_equal(out[:, :20], 255 - half[:, :20])


def test_stamp(run) -> None:
    """The date of a camera on a photograph: gone, and the photograph nearly as it was."""
    clean = data.coffee()[200:360, 60:300, ::-1].copy()
    image = clean.copy()
    cv2.putText(image, "'97 11 23", (60, 130), cv2.FONT_HERSHEY_PLAIN, 1.6, (30, 160, 255), 2)
    cv2.imwrite("stamped.png", image)
    module = run("stamp", "stamped.png", "out.png")
    out, hole = cv2.imread("out.png"), module.stamped(image, 2)
    assert np.array_equal(out[~hole], image[~hole])
    assert hole.mean() < 0.1  # and none of the light on the saucer
    changed = (image != clean).any(axis=2)
    before, after = (np.abs(a[changed].astype(int) - clean[changed]).mean() for a in (image, out))
    assert after < 0.15 * before


@pytest.mark.slow
def test_vae_dataset(
    run, codec_hub: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    for name, image in [("light/a.png", gradient()), ("dark/b.png", gradient() // 4)]:
        path = tmp_path / "packed" / f"{name}.vae"
        path.parent.mkdir(parents=True)
        path.write_bytes(codec_hub.compress(image, quality=75))
    module = run("vae_dataset", "packed", "--workers", "0")
    said = capsys.readouterr().out
    assert "2 images of 2 classes: dark, light" in said
    assert "dark (3, 48, 64)" in said and "light (3, 48, 64)" in said
    image, label = module.VaeFiles(tmp_path / "packed")[1]
    assert label == 1 and image.dtype == torch.float32
    wanted = gradient()[:, :, ::-1].transpose(2, 0, 1) / 255
    assert np.abs(image.numpy() - wanted).mean() < 0.05
    halved = module.VaeFiles(tmp_path / "packed", transform=lambda image: image / 2)
    assert torch.equal(halved[1][0], image / 2)


@pytest.mark.slow
def test_vae_shards(
    run, codec_hub: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """All samples of all shards, each once, with one worker and with two."""
    torch = pytest.importorskip("torch")
    image = encode_image(Image.from_array(gradient()), "png")
    small = encode_image(Image.from_array(gradient()[:16].copy()), "png")
    for shard in range(3):
        files = [(0, image), (1, small), (2, image)]
        members = [(f"{n}.png", data) for n, data in files]
        members += [(f"{n}.cls", str(10 * shard + n).encode()) for n, _ in files]
        pack(tmp_path / "shards" / f"{shard}.tar", sorted(members))
    codec_hub.map("compress", tmp_path / "shards", out=tmp_path / "packed", quality=75)
    module = run("vae_shards", "packed", "--workers", "2")
    said = capsys.readouterr().out
    assert sorted(map(int, re.findall(r"\d+", " ".join(re.findall("classes (.*)", said))))) == [
        0, 1, 2, 10, 11, 12, 20, 21, 22,
    ]  # fmt: skip
    batches = list(module.VaeShards(tmp_path / "packed", batch=4))
    assert [tuple(images.shape) for images, _ in batches] == [
        (4, 3, 48, 64),
        (2, 3, 48, 64),
        (3, 3, 16, 64),
    ]
    wanted = torch.from_numpy(gradient()[:, :, ::-1].transpose(2, 0, 1).astype(np.float32))
    assert (batches[0][0][0] - wanted).abs().mean() < 12


FAKE_FFMPEG = """#!{python}
import pathlib, sys
if sys.argv[-1] == "-":
    for number in range(6):
        sys.stdout.buffer.write(bytes([20 * number]) * (64 * 48 * 3))
else:
    pathlib.Path(sys.argv[-1]).write_bytes(sys.stdin.buffer.read())
    pathlib.Path("words").write_text(" ".join(sys.argv))
"""


def test_ffmpeg_pipe(run, clip: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a program in FFmpeg's place that gives and takes raw frames."""
    fake = tmp_path / "bin" / "ffmpeg"
    fake.parent.mkdir()
    fake.write_text(FAKE_FFMPEG.format(python=sys.executable))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=":")
    run("ffmpeg_pipe", clip, "out.raw", "--op", "negative", "-c:v", "libx264")
    frames = np.frombuffer(Path("out.raw").read_bytes(), np.uint8).reshape(6, 48, 64, 3)
    assert frames[:, 0, 0, 0].tolist() == [255 - 20 * number for number in range(6)]
    words = Path("words").read_text()
    assert "-s 64x48 -r 25.0 -i - -i clip.avi" in words and "-c:v libx264 out.raw" in words


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_ffmpeg_pipe_with_ffmpeg_itself(run, clip: str) -> None:
    run("ffmpeg_pipe", clip, "out.mkv", "--op", "negative", "-c:v", "ffv1")
    capture = cv2.VideoCapture("out.mkv")
    assert round(capture.read()[1].mean()) in range(253, 256)
    probe = ["ffmpeg", "-v", "error", "-i", "out.mkv", "-f", "null", "-"]
    assert subprocess.run(probe, check=False).returncode == 0
