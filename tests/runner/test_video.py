"""A run over one video: complete or not at all, same size and rate, clear errors."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.paths import PLUGINS
from vaetools.errors import (
    ClashError,
    ExistsError,
    NothingMatchedError,
    OptionError,
    UsageError,
)
from vaetools.hub import Hub
from vaetools.plugin.host import PluginHost
from vaetools.runner import Record, RunResult

FPS = 12.5


@pytest.fixture
def hub(tiny_models: Path) -> Hub:
    host = PluginHost(builtin=False, installed=False, folders=[PLUGINS])
    return Hub(host, [tiny_models], device="cpu", threads=1)


def write(path: Path, frames: int = 30, size: tuple[int, int] = (64, 48)) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, size)
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), 8 * number, np.uint8))
    writer.release()
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write(tmp_path / "clip.avi")


def greys(path: Path) -> list[float]:
    capture = cv2.VideoCapture(str(path))
    means = []
    while (read := capture.read())[0]:
        means.append(float(read[1].mean()))
    return means


def the(result: RunResult) -> Record:
    (record,) = result.records
    return record


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm"])
def test_frames_size_and_rate_are_kept(hub: Hub, clip: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "new" / f"out{suffix}"
    record = the(hub.map("negative", clip, out=out))
    assert (record.status, record.width, record.height) == ("done", 64, 48)
    assert record.out == (str(out),) and record.bytes_out == out.stat().st_size
    found = greys(out)
    assert len(found) == 30
    assert np.abs(np.array(found) - [255 - 8 * number for number in range(30)]).max() < 8
    capture = cv2.VideoCapture(str(out))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(FPS)
    assert list(out.parent.iterdir()) == [out]


def test_chains_codecs_and_jobs(hub: Hub, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.avi"
    steps = [hub.op("dust", amount=0), "negative"]
    hub.map(steps, clip, out=out, fourcc="FFV1", jobs=3)
    code = int(cv2.VideoCapture(str(out)).get(cv2.CAP_PROP_FOURCC))
    assert code.to_bytes(4, "little").upper() == b"FFV1"
    assert np.abs(np.array(greys(out)) - 255 + np.array(greys(clip))).max() < 1


def test_the_record_notes_that_sound_is_lost(hub: Hub, clip: Path, tmp_path: Path) -> None:
    said = the(hub.map("negative", clip, out=tmp_path / "out.mp4")).message
    assert said.startswith(f"{clip}: sound is not kept; ffmpeg -i")
    assert str(tmp_path / "out-with-sound.mp4") in said


def test_out_may_be_a_folder(hub: Hub, clip: Path, tmp_path: Path) -> None:
    hub.map("negative", clip, out=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.avi"]


def test_a_bad_frame_is_named_and_nothing_is_left(hub: Hub, clip: Path, tmp_path: Path) -> None:
    result = hub.map("slow", clip, out=tmp_path / "out" / "x.mp4", seconds=0, bad="7")
    assert (result.exit_code, the(result).code) == (1, "E001")
    assert the(result).message == f"{clip}: a bad frame (frame 7)"
    assert list((tmp_path / "out").iterdir()) == []


def test_an_existing_output_stays_unless_replaced(hub: Hub, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"mine")
    with pytest.raises(ExistsError):
        hub.map("negative", clip, out=out)
    assert the(hub.map("negative", clip, out=out, on_exists="skip")).status == "skipped"
    assert the(hub.map("negative", clip, out=out, force=True, dry_run=True)).status == "planned"
    with pytest.raises(ClashError, match="inputs are never overwritten"):
        hub.map("negative", clip, out=clip, force=True)
    assert out.read_bytes() == b"mine"
    hub.map("slow", clip, out=out, bad="3", force=True)
    assert out.read_bytes() == b"mine"  # a run that fails replaces nothing
    assert the(hub.map("negative", clip, out=out, on_exists="replace")).status == "done"
    assert len(greys(out)) == 30


@pytest.mark.parametrize("op", ["pair", "pack", "negative,pack"])
def test_an_operation_that_does_not_return_a_frame_is_refused(
    hub: Hub, clip: Path, tmp_path: Path, op: str
) -> None:
    with pytest.raises(UsageError, match="does not return one image for each frame"):
        hub.map(op, clip, out=tmp_path / "out.mp4")
    assert list(tmp_path.glob("out*")) == []


def test_frames_of_another_size_are_an_error(hub: Hub, clip: Path, tmp_path: Path) -> None:
    record = the(hub.map("halve", clip, out=tmp_path / "out.mp4"))
    assert record.code == "E016"
    assert "the frames of a video must keep their size (frame 0)" in record.message


def test_codecs_that_cannot_be_written(hub: Hub, clip: Path, tmp_path: Path) -> None:
    for out, fourcc, said in [
        (
            "out.ogv",
            None,
            r"no usual codec for \.ogv; choose one with vaetools run --fourcc, or write one of \.mp4",
        ),
        ("out.mp4", "h264x", "is not four letters"),
    ]:
        with pytest.raises(OptionError, match=said):
            hub.map("negative", clip, out=tmp_path / out, fourcc=fourcc)
    record = the(hub.map("negative", clip, out=tmp_path / "out.mp4", fourcc="zzzz"))
    assert record.code == "E070"
    assert "codec zzzz in a .mp4 file: OpenCV cannot write it" in record.message
    assert sorted(tmp_path.glob("out*")) == []


def test_odd_sides_are_refused_rather_than_cropped(hub: Hub, tmp_path: Path) -> None:
    """OpenCV writes even sides only: it would crop a row and a column silently."""
    source = tmp_path / "odd.avi"
    writer = cv2.VideoWriter(
        str(source), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), FPS, (65, 49)
    )
    for _ in range(3):
        writer.write(np.zeros((49, 65, 3), np.uint8))
    writer.release()
    record = the(hub.map("negative", source, out=tmp_path / "out.mp4"))
    assert "OpenCV would crop 65×49 to 64×48; let FFmpeg" in record.message


def test_a_video_that_ends_early_is_damaged(hub: Hub, clip: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.avi"
    half.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    record = the(hub.map("negative", half, out=tmp_path / "out.mp4"))
    assert record.code == "E012" and "of 30 frames; --lenient" in record.message
    assert not (tmp_path / "out.mp4").exists()
    lenient = the(hub.map("negative", half, out=tmp_path / "out.mp4", strict=False))
    assert lenient.status == "done" and 0 < len(greys(tmp_path / "out.mp4")) < 18


def test_too_large_and_not_a_video(hub: Hub, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    record = the(hub.map("negative", clip, out=out, max_pixels=3000))
    assert record.code == "E013" and "64 × 48 pixels are over the limit" in record.message
    fake = tmp_path / "fake.mp4"
    fake.write_text("not a video")
    assert the(hub.map("negative", fake, out=out)).code == "E015"


def test_a_video_must_be_the_only_input_and_is_ignored_in_folders(
    hub: Hub, clip: Path, tmp_path: Path, photo: np.ndarray
) -> None:
    image = tmp_path / "in" / "a.png"
    image.parent.mkdir()
    cv2.imwrite(str(image), photo)
    with pytest.raises(UsageError, match="a video must be the only input"):
        hub.map("negative", [image, clip], out=tmp_path / "out")
    clip.rename(image.parent / "clip.avi")
    result = hub.map("negative", image.parent, out=tmp_path / "out")
    assert (result.counts["done"], result.counts["left alone"]) == (1, 1)


def test_temporary_files_of_killed_runs_are_removed(hub: Hub, clip: Path, tmp_path: Path) -> None:
    dead = tmp_path / ".out.mp4.999999999.part.mp4"
    dead.touch()
    hub.map("negative", clip, out=tmp_path / "out.mp4")
    assert not dead.exists()


def test_progress_counts_frames(hub: Hub, clip: Path, tmp_path: Path) -> None:
    class Heard:
        def __init__(self) -> None:
            self.calls: list[Any] = []

        def start(self, op: str, total: int) -> None:
            self.calls.append((op, total))

        def advance(self, record: Record) -> None:
            self.calls.append(record.status)

        def close(self) -> None:
            self.calls.append("closed")

    heard, records = Heard(), list[Record]()
    hub.map("negative", clip, out=tmp_path / "out.mp4", progress=heard, on_record=records.append)
    assert heard.calls == [("negative", 30), *["done"] * 30, "closed"]
    assert len(records) == 1


def test_ctrl_c_stops_a_video_and_leaves_nothing(hub: Hub, clip: Path, tmp_path: Path) -> None:
    class Impatient:
        """Presses Ctrl-C at the third frame."""

        frames = 0
        closed = False

        def start(self, op: str, total: int) -> None:
            pass

        def advance(self, record: Record) -> None:
            self.frames += 1
            if self.frames == 3:
                raise KeyboardInterrupt

        def close(self) -> None:
            self.closed = True

    progress = Impatient()
    report = tmp_path / "report.html"
    result = hub.map("negative", clip, out=tmp_path / "out.mp4", progress=progress, report=report)
    assert (result.exit_code, result.records, result.unreached) == (130, (), 1)
    assert progress.closed and "interrupted" in report.read_text()
    assert sorted(tmp_path.glob("*out.mp4*")) == []


def test_patterns_and_shards_apply_to_a_video(hub: Hub, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingMatchedError):
        hub.map("negative", clip, out=tmp_path / "out.mp4", exclude=("clip*",))
    results = [hub.map("negative", clip, out=tmp_path / "out.mp4", shard=(i, 2)) for i in (1, 2)]
    assert sorted(len(result.records) for result in results) == [0, 1]


def test_a_folder_that_is_a_file(hub: Hub, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    record = the(hub.map("negative", clip, out=tmp_path / "taken" / "out.mp4"))
    assert record.code == "E070" and "out.mp4: cannot be written" in record.message


def test_a_full_disk_is_an_error_and_not_a_short_video(clip: Path, tmp_path: Path) -> None:
    """OpenCV's writer reports nothing; a limit on the size of files simulates the full disk."""
    code = (
        "import sys, vaetools\n"
        f"hub = vaetools.open('cpu', plugins_dirs=[{str(PLUGINS)!r}])\n"
        "record, = hub.map('dust', sys.argv[1], out=sys.argv[2], fourcc='FFV1').records\n"
        "print(record.code, record.message)\n"
    )

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (90000, 90000))

    for name in ("out.avi", "out.mkv"):
        done = subprocess.run(
            [sys.executable, "-c", code, clip, tmp_path / name],
            capture_output=True, text=True, check=True, preexec_fn=limit,
        )  # fmt: skip
        assert done.stdout.startswith("E070"), done.stdout
        assert not (tmp_path / name).exists()
