"""Runs over video files: their frames go through an operation, in order, into other videos.

The size of the frames and their times stay the same. A video is written in segments, to a folder next
to it, `.<name>.resume`; the same command goes on after the last segment of an interrupted run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import stat
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from vaetools.device_memory import watched
from vaetools.errors import InputError, OptionError, OutputError, UsageError, printable
from vaetools.libraries import library_error
from vaetools.record import Record
from vaetools.runner.atomic import publish, remove_tree, set_time, sha256_of, temporary_stem
from vaetools.runner.in_turn import process_in_turn
from vaetools.runner.job import device_of
from vaetools.runner.lock import folder_lock
from vaetools.runner.place import PREFIX, Place
from vaetools.runner.record import failure, record_of
from vaetools.runner.settings import time_of_outputs
from vaetools.runner.share import TakenOverError
from vaetools.system_errors import system_error
from vaetools.video import Conversion, check_output, convert, frame_filter, writable_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from vaetools.operation import Operation
    from vaetools.runner.folder import OutputFolder
    from vaetools.runner.journal import Journal
    from vaetools.runner.plan import PlannedItem, Target
    from vaetools.runner.progress import Listeners
    from vaetools.runner.settings import RunSettings


def takes_videos(operation: Operation) -> bool:
    """Whether the videos of a folder are inputs.

    The operation must return one image for a frame, and options for arrays must not name a file for
    each image: frames have none.
    """
    try:
        frame_filter(operation)
        return not operation.files_of("0")
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a plugin may raise anything for a name that it does not know
        return False


def video_output(source: PurePosixPath, target: Target) -> PurePosixPath:
    """The output of a video. A container that is not written becomes `.mp4`."""
    if target.file is None:
        return source.with_name(writable_name(source.name))
    return PurePosixPath(target.file)


class Video:
    """Processes videos one after the other, frame by frame.

    The number of a frame, from 0, is its key. If a frame fails, the video fails, and its record
    names the frame.

    Raises:
        UsageError: The operation does not return one image for an image.
        OptionError: OUT is a file of a kind that is not written, or `fourcc` is not known.
    """

    def __init__(self, operation: Operation, settings: RunSettings, target: Target) -> None:
        self._operation = operation
        self._settings = settings
        suffix = ".mp4" if target.file is None else PurePosixPath(target.file).suffix
        check_output(suffix, settings.fourcc)
        self._filter = frame_filter(operation)

    def process(
        self,
        items: Sequence[PlannedItem],
        folder: OutputFolder,
        journal: Journal,
        listeners: Listeners,
    ) -> str:
        """Process the videos; return why the run stopped early, or an empty string."""
        folder.enter()

        def cleaned() -> Iterator[PlannedItem]:
            for item in items:
                if not item.is_pending and item.problem is None:
                    _remove_segments(item.outputs[0])
                yield item

        def record(item: PlannedItem) -> tuple[Record, str]:
            return self._record(item, folder, journal, listeners), ""

        return process_in_turn(cleaned(), self._operation.name, journal, listeners, record)

    def _record(
        self, item: PlannedItem, folder: OutputFolder, journal: Journal, listeners: Listeners
    ) -> Record:
        started = time.perf_counter()
        op, path = self._operation.name, item.source.path
        position = _Position(Record(str(path), (), op, "done"), listeners)
        try:
            facts = self._convert(item, folder, journal, position)
        except (KeyboardInterrupt, TakenOverError):
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, even SystemExit
            error = library_error(error) or system_error(error) or error
            record = failure(item, op, error, time.perf_counter() - started)
            known = re.search(r"\bframe \d", record.message)
            text = "" if known else position.text
            return dataclasses.replace(record, message=record.message + text)
        notes = "; ".join(facts.pop("notes"))
        return record_of(
            item,
            op,
            "done",
            seconds=time.perf_counter() - started,
            message=printable(f"{path}: {notes}") if notes else "",
            **facts,
        )

    def _convert(
        self, item: PlannedItem, folder: OutputFolder, journal: Journal, position: _Position
    ) -> dict[str, Any]:
        """Write the output; return fields of its record."""
        settings, source, out = self._settings, item.source, item.outputs[0]
        with _naming(out):
            folder.prepare(out.parent)
        with _work_folder(out, resume=settings.resume and not settings.force) as place:
            task = Conversion(
                source=source.path,
                out=out,
                folder=place,
                step=self._filter,
                work=f"{journal.work} {source.real} {source.size} {source.mtime_ns}",
                fourcc=settings.fourcc,
                quality=settings.video_quality,
                strip=settings.strip,
                strict=settings.strict,
                max_pixels=settings.max_pixels,
                threads=settings.jobs or 1,
            )
            with watched() as shortages:
                done = convert(task, position)
            device = device_of(self._operation, shortages)
            with _naming(out):
                folder.prepare(out.parent)
                size = done.path.stat().st_size
                written = {item.names[0]: (size, sha256_of(done.path))}
                entry = journal.entry(source, self._operation.name, written, item.files, device)
                journal.writing(entry)
                if (mtime_ns := time_of_outputs(source, settings.times)) is not None:
                    set_time(done.path, mtime_ns)
                publish(done.path, out, item.standing[0])
                journal.done(entry, {"width": done.width, "height": done.height})
        return {
            "bytes_out": size,
            "width": done.width,
            "height": done.height,
            "notes": [*done.notes, *shortages.remarks],
            "device": device,
        }


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
def _work_folder(out: Path, *, resume: bool) -> Iterator[Path]:
    """A locked folder for the segments of `out`, of this user alone.

    It stays after an interruption and after errors, so that the work is not lost. If the video itself
    or an option is refused, it is of no use.

    Raises:
        OutputError: It cannot be made, or there is something else of its name.
        UsageError: Another run writes the same output.
    """
    place = _place_of_segments(out)
    with _naming(out):
        with contextlib.suppress(FileExistsError):
            place.mkdir(mode=0o700)
        status = place.lstat()
    if not _is_own_folder(status):
        raise OutputError("is not a folder of this user", file=place, remedy="remove it")
    with folder_lock(Place(place), None):
        if not resume:
            _empty(place)
        try:
            yield place
        except BaseException as error:
            is_refused = isinstance(error, (InputError, OptionError))
            if is_refused or not any(place.glob("*.segment")):
                remove_tree(place)
            raise
        remove_tree(place)


def _place_of_segments(out: Path) -> Path:
    return out.with_name(f".{temporary_stem(out.name)}.resume")


def _is_own_folder(status: os.stat_result) -> bool:
    user = getattr(os, "geteuid", lambda: 0)()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == user


def _remove_segments(out: Path) -> None:
    """Remove the segments of a video that is complete: an earlier run ended before it did."""
    place = _place_of_segments(out)
    with contextlib.suppress(OSError, OutputError, UsageError):
        if _is_own_folder(place.lstat()):
            with folder_lock(Place(place), None):
                remove_tree(place)


def _empty(place: Path) -> None:
    for path in place.iterdir():
        if not path.name.startswith(PREFIX):
            with contextlib.suppress(OSError):
                path.unlink()
