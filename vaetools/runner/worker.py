"""A worker process: it reads, processes and encodes inputs, and writes them to temporary files.

Started by `vaetools.runner.processes`. It has a hub of its own, and works on several inputs at once:
while one is read or written, another one is processed. The parent gives the files their names, keeps
the journal, and writes what this process prints. It ends with its parent.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from vaetools.errors import PluginError
from vaetools.model.session import share_cores
from vaetools.runner.atomic import discard, temporary_path, write_temporary
from vaetools.runner.fault import Fault, fault_of
from vaetools.runner.frames import Frames
from vaetools.runner.job import Facts, Job, Work
from vaetools.runner.settings import time_of_outputs
from vaetools.runner.stages import output_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.runner.folder import OutputFolder
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.settings import RunSettings


@dataclass(frozen=True)
class Start:
    """The first message to a worker.

    Attributes:
        operation: Pickled: what fails when it is opened here can be reported.
        settings: Of the run.
        folder: The output folder.
        processes: Number of workers, which share the cores.
        jobs: Inputs to process at the same time.
        slots: Inputs that may be here at the same time.
    """

    operation: bytes
    settings: RunSettings
    folder: OutputFolder
    processes: int
    jobs: int
    slots: int


@dataclass(frozen=True)
class Request:
    """An input to work on.

    Attributes:
        number: Of the request; the answer has it, too.
        planned: The input.
        temporaries: Where to write its outputs.
    """

    number: int
    planned: PlannedItem
    temporaries: Sequence[Path]

    def __reduce__(self) -> Any:
        return _request, (self.number, self.planned, [*map(str, self.temporaries)])


def _request(number: int, planned: PlannedItem, temporaries: Sequence[str]) -> Request:
    """A request of a pickle."""
    return Request(number, planned, [*map(Path, temporaries)])


class Size(NamedTuple):
    """A message of a worker: the bytes in memory of the input of a request."""

    number: int
    size: int


@dataclass(frozen=True)
class Answer:
    """Another message of a worker.

    Attributes:
        number: Of the request; None if it is not about one: the worker is ready, or printed something.
        facts: When the outputs are written.
        fault: When it has failed.
        seconds: Time spent on it, without waiting.
        text: What was printed.
        is_error: Whether it was printed on stderr.
    """

    number: int | None = None
    facts: Facts | None = None
    fault: Fault | None = None
    seconds: float = 0.0
    text: str = ""
    is_error: bool = False


class _Printed(io.TextIOBase):
    """A stream whose lines are sent to the parent."""

    def __init__(self, frames: Frames, *, is_error: bool) -> None:
        self._frames = frames
        self._is_error = is_error
        self._line = ""
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def write(self, text: str) -> int:
        with self._lock:
            whole, newline, self._line = (self._line + text).rpartition("\n")
            self._send(whole + newline)
        return len(text)

    def flush(self) -> None:
        with self._lock:
            line, self._line = self._line, ""
            self._send(line)

    def _send(self, text: str) -> None:
        if text:
            self._frames.send(Answer(text=text, is_error=self._is_error))


class _Worker:
    """Answers requests in `slots` threads, of which `jobs` process at the same time."""

    def __init__(self, start: Start, frames: Frames) -> None:
        share_cores(start.processes)
        self._work = Work(pickle.loads(start.operation), start.settings)  # noqa: S301 - our parent's
        self._folder = start.folder
        self._frames = frames
        self._may_process = threading.Semaphore(start.jobs)
        self._requests: SimpleQueue[Request] = SimpleQueue()
        for _ in range(start.slots):
            threading.Thread(target=self._serve, daemon=True).start()

    def put(self, request: Request) -> None:
        self._requests.put(request)

    def _serve(self) -> None:
        while True:
            request = self._requests.get()
            answer = self._answer(request)
            try:
                self._frames.send(answer)
            except OSError:
                return  # the parent is gone, and so will this process be
            except Exception as error:  # noqa: BLE001 - a finding of a plugin that cannot be pickled
                discard(request.temporaries)
                failed = PluginError(f"its findings cannot leave the worker process: {error}")
                fault = fault_of(failed, request.planned.source.path)
                self._frames.send(Answer(request.number, fault=fault))

    def _answer(self, request: Request) -> Answer:
        job, watch = Job(request.planned, temporaries=request.temporaries), _Watch()
        try:
            self._do(job, watch, request.number)
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, even SystemExit
            discard(request.temporaries)
            path = request.planned.source.path
            fault = fault_of(error, path, folder_is_lost=self._folder.is_lost)
            return Answer(request.number, fault=fault, seconds=watch.seconds)
        return Answer(request.number, facts=job.facts, seconds=watch.seconds)

    def _do(self, job: Job, watch: _Watch, number: int) -> None:
        with watch:
            size = self._work.read(job)
        self._frames.send(Size(number, size))
        with self._may_process, watch:
            results = self._work.process(job)
        if results > size:
            self._frames.send(Size(number, results))
        with watch:
            self._write(job, self._work.encode(job))

    def _write(self, job: Job, contents: Sequence[bytes]) -> None:
        planned = job.planned
        mtime_ns = time_of_outputs(planned.source, self._work.settings.times)
        with output_errors(planned.outputs[0]):
            for path, data, standing in zip(
                job.temporaries, contents, planned.standing, strict=True
            ):
                self._folder.prepare(path.parent)
                write_temporary(path, data, planned.source.mode, standing, mtime_ns)


class _Watch:
    """Sums up the time spent inside of it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._started


def request_of(number: int, planned: PlannedItem) -> Request:
    """The request for an input, with temporary files of this process, which owns the run."""
    return Request(number, planned, [temporary_path(path) for path in planned.outputs])


def main() -> None:
    """Serve the parent through stdin and stdout, until it closes its end."""
    # Terminals send these to the whole process group; the parent decides when to stop.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    frames = Frames(*own_streams())
    sys.stdout, sys.stderr = (
        cast("Any", _Printed(frames, is_error=is_error)) for is_error in (False, True)
    )
    messages = iter(frames)
    if (start := next(messages, None)) is None:
        return
    try:
        worker = _Worker(start, frames)
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything
        frames.send(Answer(fault=fault_of(error, Path("worker process"))))
        os._exit(1)
    frames.send(Answer())
    for request in messages:
        worker.put(request)
    os._exit(0)  # whatever the threads are doing: nobody waits for it


def own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Stdin and stdout for messages alone: libraries find nothing to read, and print on stderr."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, sink
