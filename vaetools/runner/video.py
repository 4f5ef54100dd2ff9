"""Runs over one video file: its frames go through an operation, in order, into another video.

The size of the frames and the frame rate stay the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from vaetools.errors import DamagedImageError, OutputError, printable
from vaetools.runner.atomic import create, publish, temporary_path
from vaetools.runner.pipeline import device_of
from vaetools.runner.plan import PlannedItem, Target, plan
from vaetools.runner.record import Record, failure, not_processed, record_of
from vaetools.runner.result import INTERRUPTED
from vaetools.video import (
    DEPTH,
    VideoReader,
    VideoWriter,
    fourcc_of,
    frame_filter,
    note_on_sound,
    stream,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from vaetools.operation import Operation
    from vaetools.runner.folder import OutputFolder
    from vaetools.runner.inputs import Source
    from vaetools.runner.journal import Journal
    from vaetools.runner.progress import Listeners
    from vaetools.runner.settings import RunSettings


class Video:
    """Processes one video file, frame by frame.

    The number of a frame, from 0, is its key. If a frame fails, the video fails, and its record
    names the frame. With `settings.strict`, a video that ends over a second too early is damaged.

    Raises:
        UsageError: The operation does not return one image for an image.
    """

    keeps_journal = False

    def __init__(self, operation: Operation, settings: RunSettings) -> None:
        self._operation = operation
        self._settings = settings
        self._filter = frame_filter(operation)

    def plan(self, sources: Sequence[Source], target: Target) -> list[PlannedItem]:
        """Name the output video.

        Raises:
            OptionError: No codec is known for its suffix.
            ClashError: The output is the input.
        """

        def outputs(source: PurePosixPath) -> list[PurePosixPath]:
            return [PurePosixPath(target.file or source.name)]

        items = plan(self._operation, sources, target, outputs=outputs)
        for item in items:
            for path in item.outputs:
                fourcc_of(path, self._settings.fourcc)
        return items

    def process(
        self,
        items: Sequence[PlannedItem],
        folder: OutputFolder,
        journal: Journal,
        listeners: Listeners,
    ) -> str:
        """Process the video; return why the run stopped early, or an empty string."""
        del folder, journal  # a video has no journal
        try:
            for item in items:
                if item.is_pending:
                    listeners.add(self._convert(item, listeners))
                else:
                    listeners.add(not_processed(item, self._operation.name))
        except KeyboardInterrupt:
            return INTERRUPTED
        return ""

    def _convert(self, item: PlannedItem, listeners: Listeners) -> Record:
        started = time.perf_counter()
        op, path, out = self._operation.name, item.source.path, item.outputs[0]
        position = _Position(Record(str(path), (), op, "done"), listeners)
        try:
            with (
                _temporary(out) as temporary,
                VideoReader(path, max_pixels=self._settings.max_pixels) as reader,
            ):
                self._write_frames(reader, temporary, position)
                with _naming(out):
                    size = temporary.stat().st_size
                    publish(temporary, out, item.standing[0])
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, even SystemExit
            record = failure(item, op, error, time.perf_counter() - started)
            return dataclasses.replace(record, message=record.message + position.text)
        return record_of(
            item,
            op,
            "done",
            seconds=time.perf_counter() - started,
            message=printable(f"{path}: {note_on_sound(path, out)}"),
            bytes_out=size,
            width=reader.width,
            height=reader.height,
            device=device_of(self._operation),
        )

    def _write_frames(self, reader: VideoReader, out: Path, position: _Position) -> None:
        """Write the results of all frames. Raises `DamagedImageError` if too few can be read."""
        settings, size = self._settings, (reader.width, reader.height)
        with VideoWriter(out, settings.fourcc, fps=reader.fps, size=size) as writer:
            position.start(reader.frames)
            jobs = settings.jobs or 1
            for frame in stream(self._filter, reader, depth=DEPTH + jobs - 1, threads=jobs):
                writer.write(frame)
                position.advance()
            position.end()
            missing = reader.frames - position.frame
            if position.frame == 0 or (settings.strict and missing > reader.fps):
                raise DamagedImageError(
                    f"ends after {position.frame} of {reader.frames} frames",
                    remedy="--lenient keeps these frames" if position.frame else None,
                )
            writer.finish()


class _Position:
    """Counts frames, for the progress display and for the record of a frame that fails.

    Attributes:
        frame: Number of frames that are done, which is the number of the current frame.
        text: ` (frame 7)` while frames are processed; otherwise empty.
    """

    def __init__(self, record: Record, listeners: Listeners) -> None:
        self.frame = 0
        self._record = record
        self._listeners = listeners
        self._active = False

    @property
    def text(self) -> str:
        return f" (frame {self.frame})" if self._active else ""

    def start(self, total: int) -> None:
        self._active = True
        self._listeners.start(self._record.op, total)

    def advance(self) -> None:
        self.frame += 1
        self._listeners.advance(self._record)

    def end(self) -> None:
        self._active = False


@contextlib.contextmanager
def _naming(out: Path) -> Iterator[None]:
    """Turn an `OSError` into an `OutputError` that names the output."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", file=out) from error


@contextlib.contextmanager
def _temporary(out: Path) -> Iterator[Path]:
    """A temporary file for `out`, removed at the end. Raises `OutputError`."""
    temporary = temporary_path(out, out.suffix)
    with _naming(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        create(temporary).close()  # OpenCV does not say why it cannot write
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
