"""What users of such tools expect, each tried once with the shipped models."""

from __future__ import annotations

import importlib.resources
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

import vaetools
from tests.paths import ROOT
from vaetools.testing import gradient

pytestmark = pytest.mark.slow

Run: TypeAlias = Callable[..., tuple[int, str, str]]

PLUGIN = """
import vaetools
class Negative(vaetools.ImageOperation):
    "Invert the colours."
    name = "negative"
    def apply(self, image):
        return 1 - image
@vaetools.hookimpl
def register_operations(): return [Negative]
"""


def environment() -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), *(path for path in sys.path if path)])
    return {**os.environ, "PYTHONPATH": paths}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line; gives its exit code, stdout and stderr. There is a tree of photographs."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos/a.png", "photos/trip/day 1/b.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(name, gradient(64, 96))

    def run(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "vaetools", *words]
        done = subprocess.run(
            command, env=environment(), capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return run


def test_folders_in_one_command_with_their_sub_folders(call: Run) -> None:
    assert call("compress", "photos", "-o", "out")[0] == 0
    assert Path("out/a.png.vae").exists() and Path("out/trip/day 1/b.png.vae").exists()


def test_clashes_are_found_before_any_work(call: Run) -> None:
    Path("photos/a.png.vae").write_bytes(b"x")
    Path("photos/a.jpg.vae").write_bytes(b"x")
    code, _, text = call("decompress", "photos", "-o", "out")
    assert code == 2 and text.startswith("E080 ") and not Path("out").exists()


def test_a_bad_file_does_not_stop_the_rest(call: Run) -> None:
    """One line with its name, exit code 1, a JSON record, and a list of failures."""
    Path("photos/bad.png").write_bytes(b"no image")
    code, out, text = call("denoise", "photos", "-o", "out", "--sigma", "5", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and len(records) == 3 and all(record["v"] == 1 for record in records)
    assert text.startswith("E010 photos/bad.png: ")
    assert len(Path("out/.vaetools.failed.ndjson").read_text().splitlines()) == 1
    assert Path("out/trip/day 1/b.png").exists()
    assert not [path for path in Path("out").rglob("*") if ".part" in path.name]


def test_a_killed_run_is_continued(call: Run) -> None:
    for number in range(30):
        cv2.imwrite(f"photos/{number}.png", gradient(64, 96))
    words = ["denoise", "photos", "-o", "out", "--sigma", "5"]
    command = [sys.executable, "-m", "vaetools", *words]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
        while not list(Path("out").glob("*.png")) and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    written = {p: p.read_bytes() for p in Path("out").rglob("*.png") if not p.name.startswith(".")}
    code, _, text = call(*words)
    assert code == 0 and "skipped" in text
    assert len(list(Path("out").rglob("*.png"))) == 32
    assert all(path.read_bytes() == data for path, data in written.items())


def test_a_dry_run_writes_nothing(call: Run) -> None:
    code, out, text = call("compress", "photos", "-o", "out", "--dry-run")
    assert code == 0 and "photos/a.png -> out/a.png.vae" in out and "2 planned" in text
    assert not Path("out").exists()


def test_the_device_is_enforced_and_visible(call: Run) -> None:
    code, out, _ = call("denoise", "photos/a.png", "-o", "a.png", "--device", "cpu", "--json")
    assert code == 0 and json.loads(out)["device"] == "cpu"
    code, _, text = call("denoise", "photos/a.png", "-o", "b.png", "--device", "cuda:99")
    assert code == 4 and text.startswith("E060 ") and not Path("b.png").exists()


def test_the_environment_and_the_models_are_checked(call: Run) -> None:
    assert "\nok" in call("doctor")[1]
    assert "photo-codec" in call("models", "list")[1]
    assert call("models", "verify", "mnist-mlp")[:2] == (0, "mnist-mlp: valid\n")


def test_targets_of_rate_size_and_quality(call: Run) -> None:
    assert call("compress", "photos/a.png", "-o", "a.vae", "--target-size", "1k")[0] == 0
    assert Path("a.vae").stat().st_size <= 1000
    assert call("compress", "photos/a.png", "-o", "b.vae", "--psnr", "30")[0] == 0
    assert call("compress", "photos/a.png", "-o", "c.vae", "--bpp", "1")[0] == 0


def test_orientation_profiles_depth_and_alpha_are_kept(
    call: Run,
) -> None:
    exif = PillowImage.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    PillowImage.new("RGB", (40, 20), "red").save("turned.jpg", exif=exif)
    deep = np.dstack(
        [gradient(40, 40).astype(np.uint16) * 257, np.full((40, 40), 30_000, np.uint16)]
    )
    cv2.imwrite("deep.png", deep)
    assert call("denoise", "turned.jpg", "deep.png", "-o", "out", "--sigma", "5")[0] == 0
    with PillowImage.open("out/turned.jpg") as image:
        assert image.getexif()[0x010F] == "maker"
        assert (image.size, image.getexif().get(0x0112, 1)) in (((20, 40), 1), ((40, 20), 6))
    found = cv2.imread("out/deep.png", cv2.IMREAD_UNCHANGED)
    assert found is not None and found.dtype == np.uint16
    assert np.array_equal(found[..., 3], deep[..., 3])


def test_limits_are_flags_and_are_named_in_errors(call: Run) -> None:
    code, _, text = call("compress", "photos", "-o", "out", "--max-pixels", "100")
    assert code == 1 and "E013 " in text and "--max-pixels" in text


def test_the_report_is_a_page_and_an_image(call: Run) -> None:
    call("denoise", "photos", "-o", "out", "--sigma", "5", "--report", "run.html")
    page = Path("run.html").read_text()
    assert 'type="range"' in page and "http-equiv" in page
    assert call("report", "out", "--contact-sheet", "sheet.png")[0] == 0
    assert cv2.imread("sheet.png") is not None


def test_raw_frames_from_a_pipe() -> None:
    words = [sys.executable, "-m", "vaetools", "run", "denoise", "-", "-o", "-"]
    words += ["--raw", "64x48:bgr24", "--sigma", "5"]
    frames = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), np.uint8).tobytes()
    done = subprocess.run(words, input=frames, env=environment(), capture_output=True, check=True)
    assert len(done.stdout) == len(frames) and done.stdout != frames


def test_a_watched_folder(call: Run) -> None:
    del call
    words = ["denoise", "photos", "-o", "out", "--sigma", "5", "--watch", "--interval", "0.2"]
    with subprocess.Popen(
        [sys.executable, "-m", "vaetools", *words],
        env=environment(),
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        while not Path("out/a.png").exists() and process.poll() is None:
            time.sleep(0.02)
        cv2.imwrite("photos/new.png", gradient(64, 96))
        while not Path("out/new.png").exists() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert process.returncode == 130


def test_plugins_of_others(call: Run) -> None:
    Path("plugins").mkdir()
    Path("plugins/negative.py").write_text(PLUGIN)
    assert call("--plugins-dir", "plugins", "negative", "photos", "-o", "out")[0] == 0
    found = cv2.imread("out/trip/day 1/b.png")
    assert found is not None and np.array_equal(found, 255 - gradient(64, 96))


def test_completion_types_and_running_as_a_module(call: Run) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "VAETOOLS_COMPLETE" in call("completion", shell)[1]
    assert importlib.resources.files(vaetools).joinpath("py.typed").is_file()


def test_arrays_come_back_as_they_went_in() -> None:
    frame = gradient(64, 96)
    before = frame.copy()
    with vaetools.open(device="cpu") as hub:
        for image in (frame, frame[..., 0], frame.astype(np.float32) / 255):
            result = hub.denoise(image, sigma=5)
            assert (result.shape, result.dtype) == (image.shape, image.dtype)
    assert np.array_equal(frame, before)


def test_a_file_the_command_line_and_the_environment_configure(
    call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("my.toml").write_text("[compress]\nquality = 10\n")
    words = ("compress", "photos/a.png", "--config", "my.toml", "-o")
    assert call(*words, "a.vae")[0] == call(*words, "b.vae", "-q", "90")[0] == 0
    assert Path("a.vae").stat().st_size < Path("b.vae").stat().st_size
    monkeypatch.setenv("VAETOOLS_PLUGINS_DIR", "none")
    assert "none" in call("plugins")[2]
