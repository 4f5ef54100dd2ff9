"""The stages of a run in worker processes, which the threads of this process only wait for.

A worker that ends, killed or by a crash in a library, costs the inputs that it worked on one more
attempt, each in a process of its own. One that ends that process, too, is recorded as failed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import pickle
import pickletools
import signal
import subprocess
import sys
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

from vaetools.errors import UnexpectedError, UsageError
from vaetools.model.child import child_command
from vaetools.model.session import usable_cores
from vaetools.runner.atomic import discard
from vaetools.runner.fault import Fault, FaultError
from vaetools.runner.frames import Frames
from vaetools.runner.job import COMPRESSION_RATIO, Job
from vaetools.runner.result import NO_WORKERS
from vaetools.runner.stages import AbandonedError
from vaetools.runner.worker import Answer, Request, Size, Start, request_of
from vaetools.text import describe, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.operation import Operation
    from vaetools.runner.folder import OutputFolder
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.settings import RunSettings
    from vaetools.runner.stages import Publisher

PATIENCE = 5.0
"""Seconds that a worker gets to end after the last input."""


class WorkerEndedError(Exception):
    """A worker process ended while it worked on an input."""


class Worker:
    """A worker process. Thread-safe.

    Attributes:
        was_ready: Whether it has opened the operation.

    Raises:
        OSError: No process can be started.
    """

    def __init__(self, start: Start) -> None:
        command = child_command("vaetools.runner.worker")
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._source = cast("BinaryIO", self._process.stdout)
        self._frames = Frames(self._source, cast("BinaryIO", self._process.stdin))
        self._first: Start | None = start
        self._sending = threading.Lock()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[Request, SimpleQueue[Answer | Size | None]]] = {}
        self._end: str = ""
        self._fault: Fault | None = None
        self.was_ready: bool = False
        self._reader = threading.Thread(
            target=self._read, name="vaetools worker process", daemon=True
        )
        self._reader.start()

    def ask(self, planned: PlannedItem, resize: Callable[[int], None]) -> tuple[Request, Answer]:
        """Have an input processed; return the last answer.

        Args:
            planned: The input.
            resize: Called when the number of its bytes in memory is known, or changes.

        Raises:
            FaultError: The worker cannot open the operation.
            WorkerEndedError: The worker ended. No temporary file is left.
        """
        answers: SimpleQueue[Answer | Size | None] = SimpleQueue()
        request = request_of(next(self._numbers), planned)
        with self._lock:
            if self._end:
                answers.put(None)
            self._waiting[request.number] = request, answers
        with contextlib.suppress(OSError):  # it has ended, which the reader notices, too
            self._send(request)
        while isinstance(answer := answers.get(), Size):
            resize(answer.size)
        with self._lock:
            del self._waiting[request.number]
        if answer is not None:
            return request, answer
        if self._fault is not None:
            message = printable(f"{planned.source.path}: {self._fault.message}")
            stops = self._fault.stops or NO_WORKERS
            raise FaultError(dataclasses.replace(self._fault, message=message, stops=stops))
        raise WorkerEndedError(self._end)

    def _send(self, request: Request) -> None:
        with self._sending:
            if self._first is not None:
                self._frames.send(self._first)
                self._first = None
        self._frames.send(request)

    def _read(self) -> None:
        """Pass on answers until the process ends."""
        # It may end within a message, or send an object of a plugin that cannot be unpickled here.
        with contextlib.suppress(Exception):
            for answer in self._frames:
                self._pass_on(answer)
        self._process.kill()
        end = how_ended(self._process.wait())
        self._source.close()
        self._frames.close()
        with self._lock:
            self._end = end
            for request, answers in self._waiting.values():
                discard(request.temporaries)
                answers.put(None)

    def _pass_on(self, answer: Answer | Size) -> None:
        if isinstance(answer, Answer) and answer.text:
            _print(answer.text, sys.stderr if answer.is_error else sys.stdout)
        elif isinstance(answer, Answer) and answer.number is None:
            self.was_ready, self._fault = answer.fault is None, answer.fault
        else:
            with self._lock:
                _, answers = self._waiting[cast("int", answer.number)]
            answers.put(answer)

    def close(self, *, patience: float = PATIENCE) -> None:
        """End the process; one that does not end by itself is killed after `patience` seconds."""
        if patience:
            self._frames.close()
            self._reader.join(patience)
        self._process.kill()
        self._reader.join()


def _print(text: str, stream: TextIO | None) -> None:
    """Print what a worker printed, as far as the stream takes it."""
    if stream is None:  # a program without a console
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    with contextlib.suppress(OSError, ValueError):  # it is closed
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def how_ended(code: int) -> str:
    """How a process ended, in words, by the return code of `Popen.wait`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


class Processes:
    """The stages in worker processes.

    Args:
        operation: Pickled; see `pickled`.
        takes: What the operation takes.
        settings: Of the run.
        folder: The output folder.
        publisher: Gives the outputs their names.
        processes: Number of workers.
        jobs: Inputs that each of them processes at the same time, unless `settings.jobs` is set.
    """

    def __init__(
        self,
        operation: bytes,
        takes: str,
        settings: RunSettings,
        folder: OutputFolder,
        publisher: Publisher,
        processes: int,
        jobs: int,
    ) -> None:
        jobs = -(-settings.jobs // processes) if settings.jobs else jobs
        slots = jobs + 1  # while one is read or written, another one is processed
        self.threads: tuple[int, int, int] = (1, processes * slots, max(4, min(usable_cores(), 8)))
        self.memory: tuple[int, int] = (settings.memory, settings.memory)  # results are on disk
        self._start = Start(operation, settings, folder, processes, jobs, slots)
        self._ratio = COMPRESSION_RATIO if takes == "image" else 1
        self._publisher = publisher
        self._slots: SimpleQueue[int] = SimpleQueue()
        for slot in range(processes * slots):
            self._slots.put(slot % processes)
        self._lock = threading.Lock()
        self._workers: dict[int, Worker] = {}
        self._alone: set[Worker] = set()
        self._is_stopping = False

    def expected_size(self, item: PlannedItem) -> int:
        """Estimate the bytes of a decoded input from the size of its file."""
        return item.source.size * self._ratio

    def read(self, job: Job) -> int:
        """Nothing is read here; the estimate stays until the worker has read the input."""
        return self.expected_size(job.planned)

    def work(self, job: Job, resize: Callable[[int], None]) -> int:
        """Have the input read, processed, encoded and written to temporary files."""
        slot = self._slots.get()
        started = time.perf_counter()
        seconds = 0.0
        try:
            request, answer = self._asked(slot, job.planned, resize)
            seconds = answer.seconds
        finally:
            self._slots.put(slot)
            job.waiting = time.perf_counter() - started - seconds
        if answer.fault is not None:
            raise FaultError(answer.fault)
        if answer.facts is not None:
            job.facts, job.temporaries = answer.facts, request.temporaries
        return 0

    def _asked(
        self, slot: int, planned: PlannedItem, resize: Callable[[int], None]
    ) -> tuple[Request, Answer]:
        worker = self._worker(slot, planned)
        try:
            return worker.ask(planned, resize)
        except WorkerEndedError:
            self._forget(slot, worker)
        # Whose fault it was is not known, so each of its inputs gets a process of its own.
        worker = self._worker(None, planned)
        try:
            return worker.ask(planned, resize)
        except WorkerEndedError as ended:
            raise self._fault(planned, worker, str(ended)) from None
        finally:
            self._forget(None, worker)
            worker.close()

    def _worker(self, slot: int | None, planned: PlannedItem) -> Worker:
        """The worker of a slot; None for a new one, for one input."""
        with self._lock:
            known = None if slot is None else self._workers.get(slot)
            if known is not None:
                return known
            if self._is_stopping:
                raise AbandonedError
            try:
                worker = Worker(self._start)
            except OSError as error:
                raise _does_not_start(planned, str(error)) from None
            if slot is None:
                self._alone.add(worker)
            else:
                self._workers[slot] = worker
            return worker

    def _forget(self, slot: int | None, worker: Worker) -> None:
        """A worker has ended; the next input of its slot starts another one."""
        with self._lock:
            self._alone.discard(worker)
            if slot is not None and self._workers.get(slot) is worker:
                del self._workers[slot]

    def _fault(self, planned: PlannedItem, worker: Worker, end: str) -> Exception:
        if self._is_stopping:
            return AbandonedError()
        if not worker.was_ready:
            return _does_not_start(planned, end)
        problem = f"ended its worker process twice ({end})"
        remedy = "a library crashed or memory ran out: leave it out, or use fewer --jobs"
        return FaultError(_unexpected(planned, problem, remedy))

    def write(self, job: Job) -> None:
        """Give the temporary files their names."""
        self._publisher.publish(job)

    def stop(self) -> None:
        """Start no further process."""
        self._is_stopping = True

    def close(self, *, abandon: bool = False) -> None:
        """End all workers; with `abandon`, also those that are at work."""
        with self._lock:
            self._is_stopping = True
            workers = [*self._workers.values(), *self._alone]
        for worker in workers:
            worker.close(patience=0.0 if abandon else PATIENCE)


def _unexpected(planned: PlannedItem, problem: str, remedy: str, stops: str = "") -> Fault:
    error = UnexpectedError(problem, file=planned.source.path, remedy=remedy)
    return Fault(error.code, printable(str(error)), stops)


def _does_not_start(planned: PlannedItem, how: str) -> FaultError:
    problem = f"its worker process does not start ({how})"
    return FaultError(_unexpected(planned, problem, "use --workers 0", NO_WORKERS))


def pickled(operation: Operation) -> bytes:
    """The operation for worker processes.

    Raises:
        UsageError: It cannot be pickled, or is defined in the program itself, which workers do not
            import.
    """
    remedy = "define what it uses in a module, or use workers=0"
    try:
        data = pickle.dumps(operation, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - pickling raises many types
        problem = f"{operation.name} cannot be sent to worker processes: {describe(error)}"
        raise UsageError(problem, remedy=remedy) from None
    if any(argument == "__main__" for _, argument, _ in pickletools.genops(data)):
        problem = f"{operation.name} cannot be sent to worker processes: it is part of __main__"
        raise UsageError(problem, remedy=remedy)
    return data
