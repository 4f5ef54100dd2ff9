"""Processing of files, in three stages of threads with queues that are bounded in bytes:

    readers ─ decoded images ─> workers ─ results ─> writers ─ records ─> caller
    open, decode                operation            encode, write, journal

A stage waits only for the next one, and writers wait for nothing, so there is no deadlock. An input
that fails leaves the pipeline as a record at the stage where it failed.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from vaetools.errors import DeviceError, LibraryError, ModelError, OutputError, printable
from vaetools.image import (
    Image,
    most_bytes,
    read_file,
)
from vaetools.libraries import library_error
from vaetools.model.session import usable_cores
from vaetools.operation import results_of
from vaetools.runner.atomic import write_files
from vaetools.runner.budget import Channel
from vaetools.runner.output import Original, Output, outputs_of, read_original
from vaetools.runner.record import Record, failure, record_of
from vaetools.runner.result import BROKEN_LIBRARY, BROKEN_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from logging import Logger

    from vaetools.operation import Item, Operation
    from vaetools.runner.folder import OutputFolder
    from vaetools.runner.journal import Journal
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.settings import RunSettings

log: Logger = logging.getLogger(__name__)

_COMPRESSION_RATIO = 16
"""Typical ratio of a photo as JPEG; if it is higher, each reader exceeds the budget by one image."""

_MIN_WRITERS = 4
"""Writers mostly wait for the disk."""


@dataclass
class _Job:
    """One input in the pipeline."""

    planned: PlannedItem
    item: Any = None
    original: Original | None = None
    results: list[Output] = field(default_factory=list)
    bytes_out: int = 0
    width: int | None = None
    height: int | None = None
    device: str | None = None
    notes: Sequence[str] = ()
    remarks: Sequence[str] = ()
    found: Mapping[str, Any] = field(default_factory=dict)
    lost: Sequence[str] = ()
    unchanged: bool = False
    seconds: float = 0.0

    def measure(self, item: Item) -> None:
        if isinstance(item, Image):
            self.width, self.height = item.width, item.height


class Pipeline:
    """Processes files; `next_record` returns records in the order in which they are finished.

    Attributes:
        stopped: Why the pipeline takes no further inputs; empty if it does.
        decoded: Inputs between readers and workers.
        results: Results between workers and writers.
    """

    def __init__(
        self,
        operation: Operation,
        items: Iterable[PlannedItem],
        settings: RunSettings,
        journal: Journal,
        folder: OutputFolder,
    ) -> None:
        self.stopped: str = ""
        self.decoded: Channel[_Job] = Channel(max(settings.memory // 2, 1))
        self.results: Channel[_Job] = Channel(max(settings.memory // 2, 1))
        self._operation = operation
        self._items = iter(items)
        self._settings = settings
        self._journal = journal
        self._folder = folder
        self._records: SimpleQueue[Record | None] = SimpleQueue()
        self._drop_results = False
        self._is_started = False
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads; a second call does nothing."""
        with self._lock:
            if self._is_started:
                return
            self._is_started = True
        cores = usable_cores()
        readers, workers = min(cores, 8), self._settings.jobs or cores
        writers = max(readers, _MIN_WRITERS)
        self._start_threads(readers, self._read_all, lambda: self.decoded.close(workers))
        self._start_threads(workers, self._work_all, lambda: self.results.close(writers))
        self._start_threads(writers, self._write_all, lambda: self._records.put(None))

    def next_record(self) -> Record | None:
        """Wait for the next record; None after the last one."""
        while True:
            try:
                # A wait without a timeout cannot be interrupted by Ctrl-C on every system.
                return self._records.get(timeout=0.5)
            except Empty:
                continue

    def stop(self, reason: str, *, drop_results: bool = False) -> None:
        """Take no further inputs. Inputs in work are finished; those that are waiting are dropped.

        With `drop_results`, results that are not written yet are dropped as well.
        """
        self._drop_results |= drop_results
        self.stopped = self.stopped or reason

    def join(self) -> None:
        """Wait for all threads to end."""
        for thread in self._threads:
            thread.join()

    def _start_threads(
        self, count: int, loop: Callable[[], None], after: Callable[[], None]
    ) -> None:
        """Start `count` threads that run `loop`; the last one to end calls `after`."""
        running = [count]

        def body() -> None:
            loop()
            with self._lock:
                running[0] -= 1
                is_last = running[0] == 0
            if is_last:
                after()

        for _ in range(count):
            # Daemons: a second Ctrl-C must end the process even while a model is running.
            thread = threading.Thread(target=body, name=f"vaetools {loop.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _next_item(self) -> PlannedItem | None:
        with self._lock:
            return None if self.stopped else next(self._items, None)

    def _read_all(self) -> None:
        while (item := self._next_item()) is not None:
            job = _Job(item)
            charge = self.decoded.reserve(self._expected_size(item))
            if self._attempt(job, self._read):
                self.decoded.put(job, self.decoded.correct(charge, _size(job)))
            else:
                self.decoded.release(charge)

    def _work_all(self) -> None:
        while (taken := self.decoded.get()) is not None:
            job, charge = taken
            if not self.stopped and self._attempt(job, self._work):
                size = sum(result.nbytes for result in job.results)
                self.results.put(job, self.results.reserve(size))
            self.decoded.release(charge)

    def _write_all(self) -> None:
        while (taken := self.results.get()) is not None:
            job, charge = taken
            if not self._drop_results and self._attempt(job, self._write):
                self._records.put(self._done(job))
            self.results.release(charge)

    def _attempt(self, job: _Job, stage: Callable[[_Job], None]) -> bool:
        """Whether the stage succeeded; otherwise the record of the failure has been emitted."""
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
        error = library_error(error) or error
        if isinstance(error, OutputError) and _is_disk_full(error.__cause__):
            self.stop("stopped because the disk is full", drop_results=True)
        if self._folder.is_lost:
            self.stop("stopped because the output folder is gone", drop_results=True)
        if isinstance(error, ModelError | DeviceError):  # all other inputs would fail, too
            with self._lock:
                is_known = self.stopped == BROKEN_MODEL
                self.stop(BROKEN_MODEL)
            if is_known:  # of inputs in work at the same time; one line is enough
                return
        if isinstance(error, LibraryError):
            self.stop(BROKEN_LIBRARY)
        log.debug("%s", job.planned.source.path, exc_info=error)
        self._records.put(failure(job.planned, self._operation.name, error, job.seconds))

    def _expected_size(self, item: PlannedItem) -> int:
        """Estimate the bytes of a decoded input from the size of its file."""
        return item.source.size * (_COMPRESSION_RATIO if self._operation.takes == "image" else 1)

    def _read(self, job: _Job) -> None:
        path, settings, operation = job.planned.source.path, self._settings, self._operation
        if operation.takes == "nothing":
            job.item = job.planned.source.relative
            return
        if operation.takes == "file":
            most = most_bytes(settings.max_pixels)
            job.item = read_file(path, check_head=operation.check_head, most=most)
            return
        job.original = read_original(path, settings)
        job.item = job.original.image
        if operation.wants_encoded and settings.strip == "none":
            job.item = replace(job.item, encoded=job.original.data)
        job.measure(job.item)

    def _work(self, job: _Job) -> None:
        item, job.item = job.item, None
        original, job.original = job.original, None
        source = job.planned.source
        path = source.path if source.real else None
        names = [PurePosixPath(name) for name in job.planned.names]
        bound = self._operation.on(str(source.relative), path, names)
        results = results_of(bound, bound.process(item), len(job.planned.outputs))
        damage = [f"read in part: {item.damage}"] if isinstance(item, Image) and item.damage else []
        job.notes, job.remarks = [*damage, *bound.notes], [*damage, *bound.remarks]
        job.found, job.lost = bound.findings, bound.lost
        if job.width is None:
            job.measure(results[0])
        job.results = outputs_of(job.planned, results, original, self._settings)
        job.unchanged = all(output.copied for output in job.results)
        job.device = device_of(self._operation)

    def _write(self, job: _Job) -> None:
        planned = job.planned
        pairs = zip(planned.outputs, job.results, strict=True)
        lost: list[str] = []
        contents = [(path, result.encoded(self._settings, lost)) for path, result in pairs]
        lost += [what for result in job.results for what in result.not_kept(self._settings)]
        job.lost = tuple(dict.fromkeys([*job.lost, *lost]))
        job.results.clear()
        named = zip(planned.names, contents, strict=True)
        out = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, (_, data) in named}
        entry = self._journal.entry(planned.source, self._operation.name, out, planned.files)
        try:
            write_files(
                contents,
                before=lambda: self._journal.writing(entry),
                prepare=self._folder.prepare,
                standing=planned.standing,
                mode=planned.source.mode,
            )
            self._journal.done(entry)
        except OSError as error:
            problem = f"cannot be written: {error.strerror or error}"
            raise OutputError(problem, file=planned.outputs[0]) from error
        job.bytes_out = sum(size for size, _ in out.values())

    def _done(self, job: _Job) -> Record:
        file = job.planned.source.path
        lost = [f"not kept: {', '.join(job.lost)}"] if job.lost else []
        text = "; ".join([*job.remarks, *lost])
        if job.unchanged:
            text = f"{text or 'unchanged'}: copied"
        return record_of(
            job.planned,
            self._operation.name,
            "done",
            seconds=job.seconds,
            message=printable(f"{file}: {text}") if text else "",
            noted=bool(job.notes),
            found=job.found,
            unchanged=job.unchanged,
            not_kept=tuple(printable(what) for what in job.lost),
            bytes_out=job.bytes_out,
            width=job.width,
            height=job.height,
            device=job.device,
        )


def device_of(operation: Operation) -> str | None:
    """The device of the operation's models; None if it has none that says so."""
    device = getattr(next(iter(operation.opened), None), "device", None)
    return None if device is None else str(device)


def _is_disk_full(cause: BaseException | None) -> bool:
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)


def _size(job: _Job) -> int:
    """Bytes in memory of an input that was read."""
    if job.original is not None:
        return job.original.nbytes
    return len(job.item) if isinstance(job.item, bytes) else 0
