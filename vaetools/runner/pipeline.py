"""The work itself, in three stages of threads with queues that are bounded in bytes:

    readers ─ decoded pictures ─> workers ─ results ─> writers ─ records ─> whoever called
    open, decode                  operation            encode, write, journal

Each stage waits only for the next one, so that nothing can lock up: writers wait for nobody. An
input that fails leaves the pipeline as a record at the stage where it failed.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import threading
import time
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from vaetools.errors import DeviceError, ModelError, OutputError, printable
from vaetools.image import (
    Image,
    encode_image,
    format_of,
    most_bytes,
    read_file,
    read_image,
    strip_metadata,
)
from vaetools.model.runtime import usable_cores
from vaetools.operation import results_of
from vaetools.runner.atomic import write_files
from vaetools.runner.budget import Channel
from vaetools.runner.journal import Entry, Journal
from vaetools.runner.result import BROKEN_MODEL, Record, Status, explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import PurePath

    from vaetools.operation import Item, Operation
    from vaetools.runner.plan import Step
    from vaetools.runner.settings import RunSettings

log = logging.getLogger(__name__)

_USUAL_COMPRESSION = 16  # of a photo as JPEG; where it is too little, readers overshoot once each
_FEWEST_WRITERS = 4  # they mostly wait for the disk


@dataclass
class _Job:
    """One input on its way."""

    step: Step
    item: Any = None
    results: list[Item] = field(default_factory=list)
    bytes_out: int = 0
    width: int | None = None
    height: int | None = None
    device: str | None = None
    notes: str = ""
    seconds: float = 0.0

    def measure(self, item: Item) -> None:
        if isinstance(item, Image):
            self.width, self.height = item.width, item.height


class Pipeline:
    """Runs the steps; `next_record` gives what became of each, in the order in which they end.

    Attributes:
        stopped: why it takes no new work any more, or empty.
    """

    def __init__(
        self, operation: Operation, steps: Iterable[Step], settings: RunSettings, journal: Journal
    ) -> None:
        self.stopped = ""
        self.decoded: Channel[_Job] = Channel(max(settings.memory // 2, 1))
        self.results: Channel[_Job] = Channel(max(settings.memory // 2, 1))
        self._operation = operation
        self._steps = iter(steps)
        self._settings = settings
        self._journal = journal
        self._records: SimpleQueue[Record | None] = SimpleQueue()
        self._drop_results = False
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        cores = usable_cores()
        readers, workers = min(cores, 8), self._settings.jobs or cores
        writers = max(readers, _FEWEST_WRITERS)
        self._crew(readers, self._read_all, lambda: self.decoded.close(workers))
        self._crew(workers, self._work_all, lambda: self.results.close(writers))
        self._crew(writers, self._write_all, lambda: self._records.put(None))

    def next_record(self) -> Record | None:
        """Wait for a record; None after the last one."""
        while True:
            try:
                # Not every system lets Ctrl-C through in a wait without end.
                return self._records.get(timeout=0.5)
            except Empty:
                continue

    def stop(self, reason: str, *, drop_results: bool = False) -> None:
        """Take no new work; what is being worked on is finished, what only waits is dropped."""
        self._drop_results |= drop_results
        self.stopped = self.stopped or reason

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _crew(self, count: int, loop: Callable[[], None], after: Callable[[], None]) -> None:
        """`count` threads of `loop`; the last one to leave calls `after`."""
        left = [count]

        def body() -> None:
            loop()
            with self._lock:
                left[0] -= 1
                is_last = left[0] == 0
            if is_last:
                after()

        for _ in range(count):
            # Daemons: a second Ctrl-C must end the process even while a model is at work.
            thread = threading.Thread(target=body, name=f"vaetools {loop.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _next_step(self) -> Step | None:
        with self._lock:
            return None if self.stopped else next(self._steps, None)

    def _read_all(self) -> None:
        while (step := self._next_step()) is not None:
            job = _Job(step)
            charge = self.decoded.reserve(self._guess(step))
            if self._attempt(job, self._read):
                self.decoded.put(job, self.decoded.correct(charge, _size(job.item)))
            else:
                self.decoded.release(charge)

    def _work_all(self) -> None:
        while (taken := self.decoded.get()) is not None:
            job, charge = taken
            if not self.stopped and self._attempt(job, self._work):
                size = sum(_size(result) for result in job.results)
                self.results.put(job, self.results.reserve(size))
            self.decoded.release(charge)

    def _write_all(self) -> None:
        while (taken := self.results.get()) is not None:
            job, charge = taken
            if not self._drop_results and self._attempt(job, self._write):
                self._records.put(self._done(job))
            self.results.release(charge)

    def _attempt(self, job: _Job, stage: Callable[[_Job], None]) -> bool:
        """Whether the stage went well; else its failure is on record."""
        started = time.perf_counter()
        try:
            stage(job)
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, even SystemExit
            self._fail(job, error)
            return False
        finally:
            job.seconds += time.perf_counter() - started
        return True

    def _fail(self, job: _Job, error: BaseException) -> None:
        if isinstance(error, OutputError) and _is_disk_full(error.__cause__):
            self.stop("stopped because the disk is full", drop_results=True)
        if isinstance(error, ModelError | DeviceError):  # the next input would fare no better
            self.stop(BROKEN_MODEL)
        log.debug("%s", job.step.source.path, exc_info=error)
        self._records.put(failed(self._operation, job.step, error, job.seconds))

    def _guess(self, step: Step) -> int:
        """Bytes that the input will take, before anything is known but its size on the disk."""
        return step.source.size * (_USUAL_COMPRESSION if self._operation.takes == "image" else 1)

    def _read(self, job: _Job) -> None:
        path, settings, operation = job.step.source.path, self._settings, self._operation
        if operation.takes == "nothing":
            job.item = job.step.source.relative
            return
        if operation.takes == "file":
            most = most_bytes(settings.max_pixels)
            job.item = read_file(path, check_head=operation.check_head, most=most)
            return
        image = read_image(
            path,
            max_pixels=settings.max_pixels,
            first_frame=settings.first_frame,
            strict=settings.strict,
            # A damaged file is not passed on: nobody who is strict could read it again.
            keep_encoded=operation.wants_encoded and settings.strict,
        )
        # Here, and not only where pictures are written: bytes that an operation makes of it
        # must not carry what the user wants gone.
        job.item = strip_metadata(image, settings.strip)
        job.measure(image)

    def _work(self, job: _Job) -> None:
        item, job.item = job.item, None
        source = job.step.source
        bound = self._operation.on(str(source.relative), source.path if source.real else None)
        job.results = results_of(bound, bound.process(item), len(job.step.outputs))
        job.notes = "; ".join(bound.notes)
        if job.width is None:
            job.measure(job.results[0])
        device = getattr(next(iter(self._operation.opened), None), "device", None)
        job.device = None if device is None else str(device)

    def _write(self, job: _Job) -> None:
        step = job.step
        pairs = zip(step.outputs, job.results, strict=True)
        contents = [(path, self._encoded(result, path.name)) for path, result in pairs]
        job.results.clear()
        named = zip(step.names, contents, strict=True)
        out = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, (_, data) in named}
        entry = Entry.of(step.source, self._operation.name, self._settings.work, out)
        try:
            write_files(contents, before=lambda: self._journal.writing(entry))
            self._journal.done(entry)
        except OSError as error:
            problem = f"cannot be written: {error.strerror or error}"
            raise OutputError(problem, file=step.outputs[0]) from error
        job.bytes_out = sum(size for size, _ in out.values())

    def _encoded(self, result: Item, name: str) -> bytes:
        """Bytes as they are; a picture in the format that the name says."""
        if isinstance(result, bytes):
            return result
        quality, strip = self._settings.image_quality, self._settings.strip
        return encode_image(result, format_of(name), quality=quality, strip=strip)

    def _done(self, job: _Job) -> Record:
        source = job.step.source
        return Record(
            str(source.path),
            tuple(str(path) for path in job.step.outputs),
            self._operation.name,
            "done",
            message=printable(f"{source.path}: {job.notes}") if job.notes else "",
            bytes_in=source.size,
            bytes_out=job.bytes_out,
            width=job.width,
            height=job.height,
            ms=round(job.seconds * 1000, 3),
            device=job.device,
        )


def failed(operation: Operation, step: Step, error: BaseException, seconds: float = 0.0) -> Record:
    """The record of an input that could not be done."""
    code, message = explain(error, step.source.path)
    return Record(
        str(step.source.path),
        tuple(str(path) for path in step.outputs),
        operation.name,
        "failed",
        code=code,
        message=message,
        bytes_in=step.source.size,
        ms=round(seconds * 1000, 3),
    )


def unworked(operation: Operation, step: Step) -> Record:
    """The record of a step that is not carried out: failed, skipped, or planned only."""
    if step.problem is not None:
        return failed(operation, step, step.problem)
    file, outputs = str(step.source.path), tuple(str(path) for path in step.outputs)
    status: Status = "skipped" if step.reason else "planned"
    message = printable(f"{file}: {step.reason}") if step.reason else ""
    return Record(file, outputs, operation.name, status, message=message, bytes_in=step.source.size)


def _is_disk_full(cause: BaseException | None) -> bool:
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)


def _size(item: Item | PurePath) -> int:
    if isinstance(item, Image):
        return item.nbytes
    return len(item) if isinstance(item, bytes) else 0
