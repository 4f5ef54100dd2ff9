"""A run over one video: complete or not at all, same size and rate, clear errors."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
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
        writer.write(np.full((size[1], size[0], 3), 8 * number % 256, np.uint8))
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


def visible(folder: Path) -> list[str]:
    """Names of all files in a folder, without those of the journal."""
    found = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return [str(path) for path in found if not path.parts[0].startswith(".")]


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


def test_out_may_be_a_folder(hub: Hub, clip: Path, tmp_path: Path) -> None:
    hub.map("negative", clip, out=tmp_path / "out")
    assert visible(tmp_path / "out") == ["clip.avi"]
    wmv = clip.rename(tmp_path / "clip.wmv")
    hub.map("negative", wmv, out=tmp_path / "other")
    assert visible(tmp_path / "other") == ["clip.mp4"]  # .wmv is not written


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


def test_a_video_that_ends_early_is_damaged(hub: Hub, clip: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.avi"
    half.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    record = the(hub.map("negative", half, out=tmp_path / "out.mp4"))
    assert record.code == "E012" and "of 30 frames; --lenient" in record.message
    assert not (tmp_path / "out.mp4").exists()
    lenient = the(hub.map("negative", half, out=tmp_path / "out.mp4", strict=False))
    assert lenient.message == f"{half}: damaged: the file ends too early"
    assert lenient.status == "done" and 0 < len(greys(tmp_path / "out.mp4")) < 18


def test_too_large_and_not_a_video(hub: Hub, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    record = the(hub.map("negative", clip, out=out, max_pixels=3000))
    assert record.code == "E013" and "64 × 48 pixels are over the limit" in record.message
    fake = tmp_path / "fake.mp4"
    fake.write_text("not a video")
    assert the(hub.map("negative", fake, out=out)).code == "E015"


def test_folders_of_images_and_videos_are_mirrored(
    hub: Hub, clip: Path, tmp_path: Path, photo: np.ndarray
) -> None:
    (tmp_path / "in" / "b").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "in" / "a.png"), photo)
    clip.rename(tmp_path / "in" / "b" / "clip.avi")
    write(tmp_path / "in" / "b" / "other.avi", frames=3)
    (tmp_path / "in" / "b" / "bad.mp4").write_text("not a video")
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    out = tmp_path / "out"
    result = hub.map("negative", tmp_path / "in", out=out)
    assert (result.counts["done"], result.counts["failed"], result.counts["left alone"]) == (
        3,
        1,
        1,
    )
    assert visible(out) == ["a.png", "b/clip.avi", "b/other.avi"]
    assert Path(result.records[0].file).name == "a.png"  # images first
    again = hub.map("negative", tmp_path / "in", out=out)
    assert (again.counts["skipped"], again.counts["failed"]) == (3, 1)
    changed = hub.map("negative", tmp_path / "in", out=out, video_quality=30)
    assert changed.counts["done"] == 3  # its quality is part of the work


def test_videos_of_folders_are_left_alone_where_frames_cannot_be_inputs(
    hub: Hub, clip: Path, tmp_path: Path, photo: np.ndarray
) -> None:
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), photo)
    clip.rename(tmp_path / "in" / "clip.avi")
    result = hub.map("pair", tmp_path / "in", out=tmp_path / "out")
    assert (result.counts["done"], result.counts["left alone"]) == (1, 1)


def test_a_plugin_that_fails_for_a_frame_still_does_images(
    hub: Hub, clip: Path, tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outputs(self: Any, source: Any) -> Any:
        return {"a.png": [source]}[source.name]

    monkeypatch.setattr(hub.find("negative"), "outputs", outputs)
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), photo)
    clip.rename(tmp_path / "in" / "clip.avi")
    result = hub.map("negative", tmp_path / "in", out=tmp_path / "out")
    assert (result.counts["done"], result.counts["left alone"]) == (1, 1)


def test_clashes_among_videos_are_refused(hub: Hub, clip: Path, tmp_path: Path) -> None:
    for name in ("clip.wmv", "clip.mp4"):
        (tmp_path / name).write_bytes(clip.read_bytes())
    inputs = [tmp_path / "clip.wmv", tmp_path / "clip.mp4"]
    with pytest.raises(ClashError):
        hub.map("negative", inputs, out=tmp_path / "out")


def test_the_same_command_again_skips(hub: Hub, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.mp4"
    assert the(hub.map("negative", clip, out=out)).status == "done"
    again = the(hub.map("negative", clip, out=out))
    assert (again.status, again.message) == ("skipped", f"{clip}: is already done")
    assert the(hub.map("negative", clip, out=out, fourcc="mp4v")).status == "done"  # other work
    assert the(hub.map("negative", clip, out=out, force=True)).status == "done"
    out.write_bytes(b"mine")
    with pytest.raises(ExistsError, match="was changed after it was written"):
        hub.map("negative", clip, out=out)
    assert list(out.parent.iterdir()) == [out]


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


class Impatient:
    """Presses Ctrl-C at a frame."""

    def __init__(self, last: int) -> None:
        self.frames = 0
        self.closed = False
        self._last = last

    def start(self, op: str, total: int) -> None:
        pass

    def advance(self, record: Record) -> None:
        self.frames += 1
        if self.frames == self._last:
            raise KeyboardInterrupt

    def close(self) -> None:
        self.closed = True


def test_ctrl_c_stops_a_video_and_the_same_command_resumes(hub: Hub, tmp_path: Path) -> None:
    clip, out = write(tmp_path / "long.avi", frames=70), tmp_path / "out.mp4"
    report, whole = tmp_path / "report.html", tmp_path / "whole.mp4"
    progress = Impatient(last=60)
    result = hub.map("slow", clip, out=out, seconds=0, progress=progress, report=report)
    assert (result.exit_code, result.records, result.unreached) == (130, (), 1)
    assert progress.closed and "interrupted" in report.read_text()
    assert not out.exists() and (tmp_path / ".out.mp4.resume").is_dir()
    seen: list[str] = []
    operation: Any = hub.find("slow")
    real = operation.apply

    def noted(self: Any, image: np.ndarray) -> np.ndarray:
        seen.append(self.key)
        return real(self, image)  # type: ignore[no-any-return]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operation, "apply", noted)
        assert the(hub.map("slow", clip, out=out, seconds=0)).status == "done"
    assert seen[-1] == "69" and 48 <= int(seen[0]) <= 60  # with their own numbers
    hub.map("slow", clip, out=whole, seconds=0)
    assert len(greys(out)) == len(greys(whole)) == 70
    assert np.abs(np.array(greys(out)) - greys(whole)).max() < 2
    names = sorted(path.name for path in tmp_path.iterdir() if path.suffix)
    assert names == ["long.avi", "out.mp4", "report.html", "whole.mp4"]


def test_other_work_does_not_use_the_segments(hub: Hub, tmp_path: Path) -> None:
    clip, out = write(tmp_path / "long.avi", frames=60), tmp_path / "out.mp4"
    hub.map("slow", clip, out=out, seconds=0, progress=Impatient(last=55))
    hub.map("negative", clip, out=out)
    means = np.array(greys(out))
    assert np.abs(means[:30] - [255 - 8 * number for number in range(30)]).max() < 8


def test_a_folder_for_segments_that_is_not_ours_is_not_used(
    hub: Hub, clip: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ".out.mp4.resume").symlink_to(elsewhere)
    record = the(hub.map("negative", clip, out=tmp_path / "out.mp4"))
    assert record.code == "E070" and "is not a folder of this user; remove it" in record.message
    assert list(elsewhere.iterdir()) == [] and not (tmp_path / "out.mp4").exists()


def test_segments_of_a_complete_video_are_removed(hub: Hub, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    hub.map("negative", clip, out=f"{out}/")
    left = out / f".{visible(out)[0]}.resume"
    left.mkdir()
    (left / "0000.segment").write_bytes(b"of a run that was killed before it removed this")
    assert hub.map("negative", clip, out=f"{out}/").records[0].status == "skipped"
    assert not left.exists()


def test_two_runs_do_not_write_one_video(hub: Hub, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"

    class Other:
        """Starts the same run in the middle of the first one."""

        record: Record | None = None

        def start(self, op: str, total: int) -> None:
            pass

        def advance(self, record: Record) -> None:
            if self.record is None:
                self.record = the(hub.map("negative", clip, out=out))

        def close(self) -> None:
            pass

    other = Other()
    assert the(hub.map("negative", clip, out=out, progress=other)).status == "done"
    assert other.record is not None and other.record.code == "E002"
    assert "another run is writing" in other.record.message


@pytest.mark.slow
def test_a_killed_run_resumes(clip: Path, tmp_path: Path) -> None:
    long = write(tmp_path / "long.avi", frames=200)
    out, whole = tmp_path / "out.mp4", tmp_path / "whole.mp4"
    command = [sys.executable, "-m", "vaetools", "--plugins-dir", str(PLUGINS), "run", "slow"]
    command += [str(long), "--seconds", "0.02"]
    for wanted in (1, 2, 3):
        process = subprocess.Popen([*command, "-o", str(out)], stderr=subprocess.DEVNULL)
        while len(list(tmp_path.glob(".out.mp4.resume/*.segment"))) < wanted:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert not out.exists()
    for path in (out, whole):
        subprocess.run([*command, "-o", str(path)], check=True, capture_output=True)
    assert out.read_bytes() == whole.read_bytes()  # whole segments only: the same in every bit
    assert len(greys(out)) == 200 and not list(tmp_path.glob(".*"))


def test_a_report_plays_videos(hub: Hub, clip: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    hub.map("negative", clip, out=tmp_path / "out.mp4", report=page)
    assert '<video src="out.mp4" controls="" muted="" preload="none"></video>' in page.read_text()


def test_patterns_and_shards_apply_to_a_video(hub: Hub, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingMatchedError):
        hub.map("negative", clip, out=tmp_path / "out.mp4", exclude=("clip*",))
    results = [hub.map("negative", clip, out=tmp_path / "out.mp4", shard=(i, 2)) for i in (1, 2)]
    assert sorted(len(result.records) for result in results) == [0, 1]


def test_a_folder_that_is_a_file(hub: Hub, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    record = the(hub.map("negative", clip, out=tmp_path / "taken" / "out.mp4"))
    assert record.code == "E070" and "out.mp4: cannot be written" in record.message


@pytest.mark.slow
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
