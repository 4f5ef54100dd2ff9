"""`vaetools run`: chains, pipeline files, videos and raw frames, as a user types them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tests.paths import PLUGINS
from vaetools.cli import main
from vaetools.image import Image, encode_image, read_image
from vaetools.testing import gradient


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`vaetools run …` in an empty folder."""
    monkeypatch.setenv("VAETOOLS_PLUGINS_DIR", str(PLUGINS))
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> SimpleNamespace:
        with pytest.raises(SystemExit) as caught:
            main(["run", *(str(word) for word in words)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return SimpleNamespace(code=int(caught.value.code or 0), out=out, err=err)

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(encode_image(Image(gradient()), "png"))
    return folder


def pixels(path: str) -> np.ndarray:
    return read_image(path).pixels


def test_one_operation_is_the_same_as_its_own_command(run, photos: Path) -> None:
    assert run("dust", "photos", "-o", "out", "--amount", 0.5, "--seed", 3).code == 0
    with pytest.raises(SystemExit):
        main(["dust", "photos", "-o", "out", "--amount", "0.5", "--seed", "3", "--json"])
    again = run("dust", "photos", "-o", "out", "-a", 0.5, "--seed", 3)
    assert "2 skipped" in again.err  # one journal, one fingerprint


def test_a_chain_with_options_of_each_step(run, photos: Path) -> None:
    words = [
        "dust,negative,pack",
        "photos",
        "-o",
        "out",
        "--amount",
        0,
        "--pack.level",
        0,
        "--json",
    ]
    done = run(*words)
    records = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 0 and {record["op"] for record in records} == {"dust,negative,pack"}
    packed = Path("out/a.png.pak").read_bytes()
    assert len(packed) > gradient().size  # level 0 does not deflate
    assert run("unpack,negative", "out", "-o", "back").code == 0
    assert np.array_equal(pixels("back/a.png"), gradient())
    assert "2 skipped" in run(*words[:-1]).err


def test_steps_of_one_name_have_numbers(run, photos: Path) -> None:
    words = ["--dust.1.amount", 0, "--dust.2.amount", 0.5, "--dust.2.seed", 1]
    assert run("dust,dust", "photos", "-o", "out", *words).code == 0
    assert run("dust", "photos", "-o", "same", "--amount", 0.5, "--seed", 1).code == 0
    assert np.array_equal(pixels("out/b.png"), pixels("same/b.png"))
    assert run("dust,dust", "photos", "-o", "other", "--amount", 0).code == 2


def test_a_pipeline_file_and_flags_above_it(run, photos: Path) -> None:
    Path("pipeline.toml").write_text(
        '[[step]]\nop = "dust"\namount = 0.0\n[[step]]\nop = "negative"\n'
    )
    assert run("pipeline.toml", "photos", "-o", "out").code == 0
    assert np.array_equal(pixels("out/a.png"), 255 - gradient())
    assert "[default: 0.0; 0<=x<=1]" in run("pipeline.toml", "--help").out
    assert run("pipeline.toml", "photos", "-o", "noisy", "--amount", 1).code == 0
    assert not np.array_equal(pixels("noisy/a.png"), 255 - gradient())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pack,negative", "photos", "-o", "out"], "negative cannot follow pack"),
        (["nonsense,pack", "photos", "-o", "out"], "no operation 'nonsense'"),
        (["none.toml", "photos", "-o", "out"], "none.toml: cannot be read"),
        (["bad.toml", "photos", "-o", "out"], "bad.toml: amount=7 is not 0 … 1"),
        (["dust,pack", "photos", "-o", "out", "--amount", "2"], "0 … 1"),
        (["dust", "-", "-o", "out.mp4"], "raw frames go from - to -"),
        (["dust", "photos", "-o", "out", "--raw", "6x4:bgr24"], "raw frames go from - to -"),
        (["pack", "-", "-o", "-", "--raw", "6x4:bgr24"], "one image for each frame"),
        (["dust", "-", "-o", "-", "--raw", "6x4"], "formats: bgr24"),
    ],
)
def test_wrong_use_is_one_line_and_nothing_is_done(
    run, photos: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO()))
    Path("bad.toml").write_text('[[step]]\nop = "dust"\namount = 7\n')
    outcome = run(*words)
    assert outcome.code == 2 and said in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not Path("out").exists()


def test_help_lists_operations_and_the_options_of_steps(run) -> None:
    overview = run("--help")
    assert overview.code == 0 and "negative" in overview.out and "pipeline.toml" in overview.out
    text = run("dust,pack", "--help").out
    assert "--dust.amount, --amount" in text and "--pack.level, --level" in text
    assert "Run dust, then pack." in text


def test_a_video(run) -> None:
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(5):
        writer.write(gradient())
    writer.release()
    done = run("negative", "clip.avi", "-o", "out.mp4")
    assert done.code == 0 and done.out == ""
    assert "sound" not in done.err and "1 done" in done.err
    assert "1 skipped" in run("negative", "clip.avi", "-o", "out.mp4").err
    capture = cv2.VideoCapture("out.mp4")
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    better = ["-o", "better.mp4", "--video-quality", "5", "--quiet"]
    assert run("negative", "clip.avi", *better).code == 0
    assert Path("better.mp4").stat().st_size > Path("out.mp4").stat().st_size
    (record,) = map(
        json.loads, run("negative", "clip.avi", "-o", "x.mkv", "--json").out.splitlines()
    )
    assert record["status"] == "done" and record["width"] == 64
    failed = run("slow", "clip.avi", "-o", "y.mp4", "--bad", "2")
    assert failed.code == 1 and failed.err.startswith("E001 clip.avi: a bad frame (frame 2)")


def piped(words: list[str], data: bytes, **more: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vaetools", "run", *words, "-", "-o", "-"]
    environment = {**os.environ, "VAETOOLS_PLUGINS_DIR": str(PLUGINS), **more}
    return subprocess.run(command, input=data, capture_output=True, check=False, env=environment)


def test_raw_frames_through_a_pipe(tmp_path: Path) -> None:
    """What a plugin prints goes to stderr: frames alone are on stdout."""
    (tmp_path / "loud.py").write_text(
        "import vaetools\n"
        "print('loaded')\n"
        "class Loud(vaetools.ImageOperation):\n"
        "    'Talk at work.'\n"
        "    name = 'loud'\n"
        "    def apply(self, image):\n"
        "        print('at work')\n"
        "        return 1 - image\n"
        "@vaetools.hookimpl\n"
        "def register_operations(): return [Loud]\n"
    )
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    done = piped(
        ["loud", "--raw", "6x4:bgr24"], frames.tobytes(), VAETOOLS_PLUGINS_DIR=str(tmp_path)
    )
    assert done.returncode == 0
    assert done.stdout == (255 - frames).tobytes()
    assert done.stderr.count(b"at work") == 3 and b"3 frames in" in done.stderr


def test_a_pipe_that_is_cut_or_closed() -> None:
    cut = piped(["negative", "--raw", "6x4:bgr24", "--quiet"], bytes(100))
    assert cut.returncode == 1 and cut.stdout == b"\xff" * 72
    assert cut.stderr.startswith(b"E012 ends within frame 1") and cut.stderr.count(b"\n") == 1


def test_a_reader_that_goes_away_ends_the_pipe() -> None:
    words = [sys.executable, "-m", "vaetools", "run", "negative", "-", "-o", "-", "--raw"]
    frame = bytes(64 * 64 * 3)
    with subprocess.Popen(
        [*words, "64x64:bgr24"], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "VAETOOLS_PLUGINS_DIR": str(PLUGINS)},
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(frame)
        process.stdout.read(len(frame))
        process.stdout.close()
        with pytest.raises(BrokenPipeError):
            deque(map(process.stdin.write, [frame] * 1000), maxlen=0)
        assert process.wait(20) == 1
        assert process.stderr is not None and b"Traceback" not in process.stderr.read()
