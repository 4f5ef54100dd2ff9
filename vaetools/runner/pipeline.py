"""Processing of files, in three stages of threads with queues that are bounded in bytes:

    readers ─ decoded images ─> workers ─ results ─> writers ─ records ─> caller
    open, decode                operation            encode, write, journal

`Stages` defines what the stages do; with worker processes, the workers of this process wait for
those. A stage waits only for the next one, and writers wait for nothing, so there is no deadlock. An
input that fails leaves the pipeline as a record at the stage where it failed.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from vaetools.runner.atomic import discard
from vaetools.runner.budget import Channel
from vaetools.runner.fault import TAKEN_OVER, FaultError, fault_of
from vaetools.runner.job import Job, record_of_done
from vaetools.runner.record import failed, not_processed
from vaetools.runner.result import BROKEN_MODEL, NO_WORKERS
from vaetools.runner.stages import AbandonedError, SkippedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from logging import Logger

    from vaetools.record import Record
    from vaetools.runner.folder import OutputFolder
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.stages import Stages

log: Logger = logging.getLogger(__name__)


class Pipeline:
    """Processes files; `next_record` returns records in the order in which they are finished.

    Args:
        op: Name of the operation.
        items: The inputs.
        stages: What is done to each.
        folder: The output folder; None if outputs are not files.

    Attributes:
        stages: What is done to each input.
        stopped: Why the pipeline takes no further inputs; empty if it does.
        decoded: Inputs between readers and workers.
        results: Results between workers and writers.
    """

    def __init__(
        self,
        op: str,
        items: Sequence[PlannedItem],
        stages: Stages,
        folder: OutputFolder | None,
    ) -> None:
        self.stages = stages
        self.stopped: str = ""
        self.decoded: Channel[Job] = Channel(stages.memory[0])
        self.results: Channel[Job] = Channel(stages.memory[1])
        self._op = op
        self._items = iter(items)
        self._count = len(items)
        self._folder = folder
        self._records: SimpleQueue[Record | None] = SimpleQueue()
        self._drop_results = False
        self._is_started = False
        self._all_started = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads; a second call does nothing."""
        with self._lock:
            if self._is_started:
                return
            self._is_started = True
        readers, workers, writers = (
            min(count, max(self._count, 1)) for count in self.stages.threads
        )
        try:
            self._start_threads(readers, self._read_all, lambda: self.decoded.close(workers))
            self._start_threads(workers, self._work_all, lambda: self.results.close(writers))
            self._start_threads(writers, self._write_all, lambda: self._records.put(None))
        finally:
            self._all_started.set()

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
        self.stages.stop()

    def join(self) -> None:
        """Wait for all threads to end; another thread may still be starting them."""
        if self._is_started:
            self._all_started.wait()
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
            thread.start()
            self._threads.append(thread)

    def _next_item(self) -> PlannedItem | None:
        with self._lock:
            return None if self.stopped else next(self._items, None)

    def _read_all(self) -> None:
        while (item := self._next_item()) is not None:
            job = Job(item)
            charge = self.decoded.reserve(self.stages.expected_size(item))
            size = self._attempt(job, self.stages.read)
            if size is None:
                self.decoded.release(charge)
            else:
                self.decoded.put(job, self.decoded.correct(charge, size))

    def _work_all(self) -> None:
        while (taken := self.decoded.get()) is not None:
            job, charge = taken

            def resize(size: int) -> None:
                nonlocal charge
                charge = self.decoded.correct(charge, size)

            def work(job: Job, resize: Callable[[int], None] = resize) -> int:
                return self.stages.work(job, resize)

            if not self.stopped and (size := self._attempt(job, work)) is not None:
                self.results.put(job, self.results.reserve(size))
            self.decoded.release(charge)

    def _write_all(self) -> None:
        while (taken := self.results.get()) is not None:
            job, charge = taken
            if self._drop_results:
                discard(job.temporaries)
            elif self._attempt(job, self._write) is not None:
                self._records.put(record_of_done(job, self._op))
            self.results.release(charge)

    def _write(self, job: Job) -> int:
        self.stages.write(job)
        return 0

    def _attempt(self, job: Job, stage: Callable[[Job], int]) -> int | None:
        """What the stage returns; None if it failed, and the record of that has been emitted."""
        started = time.perf_counter()
        try:
            return stage(job)
        except AbandonedError:
            return None
        except SkippedError as error:
            planned = dataclasses.replace(job.planned, reason=str(error))
            self._records.put(not_processed(planned, self._op))
            return None
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, even SystemExit
            failed = error
        finally:
            job.facts.seconds += time.perf_counter() - started - job.waiting
            job.waiting = 0.0
        self._fail(job, failed)
        return None

    def _fail(self, job: Job, error: BaseException) -> None:
        path = job.planned.source.path
        is_lost = self._folder is not None and self._folder.is_lost
        fault = fault_of(error, path, folder_is_lost=is_lost)
        with self._lock:
            is_known = self.stopped == fault.stops and fault.stops in (BROKEN_MODEL, NO_WORKERS)
            is_known |= fault.stops == TAKEN_OVER  # the other process reports its inputs
            if fault.stops:
                self.stop(fault.stops, drop_results=fault.drops_results)
        if is_known:  # of inputs in work at the same time; one line is enough
            return
        if isinstance(error, FaultError):
            log.debug("%s\n%s", path, fault.details)
        else:
            log.debug("%s", path, exc_info=error)
        seconds, code, message = job.facts.seconds, fault.code, fault.message
        transient = fault.transient
        self._records.put(
            failed(job.planned, self._op, code, message, seconds, transient=transient)
        )
