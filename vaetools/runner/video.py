"""A run over one video file: its frames go through an operation, in order, into another video.

Size and frame rate stay. Sound is lost, as OpenCV writes none; the record says how to get it back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vaetools.errors import (
    DamagedImageError,
    OutputError,
    TooLargeError,
    UnsupportedImageError,
    printable,
)
from vaetools.runner.atomic import is_running, part_of, part_stem, publish, sweep
from vaetools.runner.report import reserved
from vaetools.runner.inputs import Choice, discover
from vaetools.runner.journal import Journal
from vaetools.runner.pipeline import failed, unworked
from vaetools.runner.plan import Step, refuse_inputs, refuse_report, settle, target_of
from vaetools.runner.result import INTERRUPTED, Progress, Record, RunResult
from vaetools.video import DEPTH, VideoFile, fourcc_of, frame_filter, open_capture, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vaetools.operation import Operation
    from vaetools.runner.settings import RunSettings


def run_video(
    operation: Operation,
    source: Path,
    settings: RunSettings,
    *,
    on_record: Callable[[Record], None] | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Apply `operation` to each frame of a video; `settings.out` is a file, or a folder for one.

    The file has its name only when it is whole; nothing is left beside it, so there is no journal.
    A frame's number, from 0, is its key. With `settings.strict`, a video that ends more than a
    second before it should is damaged.

    Returns:
        One record. A frame that fails makes the video fail, and the record says which it was.

    Raises:
        UsageError: the operation does not give one image for an image; the output is the input, or
            is there with `on_exists="error"`; no codec for its suffix. Nothing was done.
    """
    started = time.monotonic()
    step = _plan(operation, source, settings)
    records: list[Record] = []
    stopped = ""
    try:
        with reserved(settings.report):
            records.append(_carry_out(operation, step, settings, progress))
    except KeyboardInterrupt:
        stopped = INTERRUPTED
    finally:
        if progress is not None:
            progress.close()
    if on_record is not None:
        for record in records:
            on_record(record)
    seconds = time.monotonic() - started
    result = RunResult(tuple(records), 0, 1 - len(records), seconds, stopped)
    if settings.report is not None:
        result.page(settings.report)
    return result


def _plan(operation: Operation, source: Path, settings: RunSettings) -> Step:
    """The one step of the run. Raises as `run_video`."""
    frame_filter(operation)
    (found,) = discover([source], Choice(())).sources
    target = target_of(settings.out, one_file=True)
    name = target.file or source.name
    fourcc_of(target.folder / name, settings.fourcc)
    step = Step(found, (name,), (target.folder / name,))
    refuse_inputs([step])
    refuse_report([step], settings.report)
    (settled,) = settle([step], Journal(None), settings)
    return settled


def _carry_out(
    operation: Operation, step: Step, settings: RunSettings, progress: Progress | None
) -> Record:
    """Do the step, if it is to be done, and say what became of it."""
    if not step.is_work or settings.dry_run:
        return unworked(operation, step)
    started = time.perf_counter()
    path, out = step.source.path, step.outputs[0]
    count = _Count(operation.name, str(path), progress)
    try:
        with _part(out) as part, _opened(path, settings.max_pixels) as video:
            _convert(operation, video, part, settings, count)
            with _writing(out):
                size = part.stat().st_size
                publish(part, out)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, even SystemExit
        record = failed(operation, step, error, time.perf_counter() - started)
        return dataclasses.replace(record, message=record.message + count.place)
    device = next((getattr(model, "device", None) for model in operation.opened), None)
    return Record(
        str(path),
        (str(out),),
        operation.name,
        "done",
        message=_sound(path, out),
        bytes_in=step.source.size,
        bytes_out=size,
        width=video.width,
        height=video.height,
        ms=round((time.perf_counter() - started) * 1000, 3),
        device=None if device is None else str(device),
    )


class _Count:
    """Counts the frames that are done, and tells a progress bar of them."""

    def __init__(self, op: str, path: str, progress: Progress | None) -> None:
        self.done = 0
        self.place = ""
        self._frame = Record(path, (), op, "done")
        self._progress = progress
        self._total = 0

    def start(self, total: int) -> None:
        """Begin to count; `total` is 0 where nobody knows."""
        self.place = " (frame 0)"
        self._total = total
        if self._progress is not None and total:
            self._progress.start(self._frame.op, total)

    def advance(self) -> None:
        self.done += 1
        self.place = f" (frame {self.done})"
        if self._progress is not None and self.done <= self._total:
            self._progress.advance(self._frame)


@dataclass(frozen=True)
class _Video:
    """A video that is open, and what it says of itself; `frames` is 0 where it says nothing."""

    capture: Any
    width: int
    height: int
    fps: float
    frames: int


@contextlib.contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[_Video]:
    """Raises `UnreadableError`; `TooLargeError`; `UnsupportedImageError`: no frame rate."""
    import cv2

    capture = open_capture(path)
    try:
        width, height = (
            int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if width * height > max_pixels:
            raise TooLargeError(
                f"{width} × {height} pixels are over the limit of {max_pixels:,}",
                remedy="raise it with --max-pixels",
            )
        fps, frames = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if not fps > 0:
            raise UnsupportedImageError("is a video without a frame rate")
        yield _Video(capture, width, height, fps, max(0, int(frames)))
    finally:
        capture.release()


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """What the system says of writing becomes an `OutputError` that names the output."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", file=out) from error


@contextlib.contextmanager
def _part(out: Path) -> Iterator[Path]:
    """The temporary file beside `out`, and none of it afterwards. Raises `OutputError`."""
    part = part_of(out, out.suffix)
    with _writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        sweep({out.parent}, lambda stem, pid: stem == part_stem(out.name) and not is_running(pid))
        part.touch()  # OpenCV does not say why it cannot write
    try:
        yield part
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _convert(
    operation: Operation, video: _Video, part: Path, settings: RunSettings, count: _Count
) -> None:
    size = (video.width, video.height)
    with VideoFile(part, settings.fourcc, fps=video.fps, size=size) as file:
        count.start(video.frames)
        step, jobs = frame_filter(operation), settings.jobs or 1
        for frame in stream(step, video.capture, depth=DEPTH + jobs - 1, threads=jobs):
            file.write(frame)
            count.advance()
        count.place = ""
        missing = video.frames - count.done
        if count.done == 0 or (settings.strict and missing > video.fps):
            raise DamagedImageError(
                f"ends after {count.done} of {video.frames} frames",
                remedy="--lenient keeps what there is" if count.done else None,
            )
        file.finish()


def _sound(path: Path, out: Path) -> str:
    """How to get the sound back that OpenCV does not write."""
    mixed = out.with_name(f"{out.stem}-with-sound{out.suffix}")
    words = ["ffmpeg", "-i", str(out), "-i", str(path), "-map", "0:v", "-map", "1:a?", "-c", "copy"]
    return printable(f"{out}: sound is not kept; {shlex.join([*words, str(mixed)])}")
