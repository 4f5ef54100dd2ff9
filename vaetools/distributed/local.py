"""The engine on one machine: processes that this one hands parts of shards to."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import secrets
import signal
import subprocess
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, NoReturn, cast

from vaetools.distributed.dispatch import Crash, Dispatcher
from vaetools.distributed.recipe import run_part
from vaetools.distributed.shard_runner import ShardResult
from vaetools.errors import DeviceError, UnexpectedError
from vaetools.model.child import child_command
from vaetools.model.session import share_cores, usable_cores
from vaetools.runner.frames import Frames
from vaetools.runner.processes import how_ended
from vaetools.runner.worker import own_streams
from vaetools.text import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from vaetools.distributed.dispatch import Listener, Outcome
    from vaetools.distributed.job import Job
    from vaetools.distributed.loop import Work
    from vaetools.distributed.parts import Part
    from vaetools.distributed.recipe import Recipe


def run_locally(
    job: Job, recipe: Recipe, processes: int | None, retries: int, listener: Listener
) -> Work:
    """Process all shards of a job in processes on this machine.

    Args:
        job: The job, begun.
        recipe: For the processes.
        processes: Their number; None for one per core.
        retries: Further attempts after one that failed.
        listener: Receives progress events.

    Raises:
        DeviceError: No process can be started. Otherwise as `Dispatcher.run`.
    """
    cores = usable_cores()
    processes = processes or cores
    recipe = recipe.on(recipe.device, jobs=max(1, cores // processes))
    with contextlib.closing(LocalExecutor(recipe, processes)) as executor:
        return Dispatcher(job, executor, retries, listener).run()


class _Start(NamedTuple):
    """The first message to a process."""

    recipe: bytes
    engine: str
    processes: int


class LocalExecutor:
    """Runs parts of shards in processes of this machine, one after the other in each.

    Args:
        recipe: For the processes.
        processes: Their number.
    """

    def __init__(self, recipe: Recipe, processes: int) -> None:
        self._start = _Start(pickle.dumps(recipe), secrets.token_hex(8), processes)
        self._numbers = itertools.count()
        self._waiting: SimpleQueue[tuple[int, Part] | None] = SimpleQueue()
        self._ended: SimpleQueue[tuple[int, Outcome]] = SimpleQueue()
        self._outcomes: dict[int, Outcome] = {}
        self._processes: dict[int, _Process] = {}
        self._lock = threading.Lock()
        self._is_ending = False
        self._threads = [
            threading.Thread(target=self._serve, name="vaetools engine", daemon=True)
            for _ in range(processes)
        ]
        for thread in self._threads:
            thread.start()

    def slots(self) -> int:
        """Number of tasks that can run at the same time."""
        return len(self._threads)

    def submit(self, part: Part) -> int:
        """Start a task as soon as a process is free; return its number."""
        number = next(self._numbers)
        self._waiting.put((number, part))
        return number

    def wait(self, tasks: Sequence[int], seconds: float) -> Sequence[int]:
        """Wait until at least one task has ended, but not longer than `seconds`; return those."""
        with contextlib.suppress(Empty):
            number, outcome = self._ended.get(timeout=seconds)
            self._outcomes[number] = outcome
            while True:
                number, outcome = self._ended.get_nowait()
                self._outcomes[number] = outcome
        return [number for number in tasks if number in self._outcomes]

    def outcome(self, task: int) -> Outcome:
        """What became of a task that has ended."""
        return self._outcomes.pop(task)

    def interrupt(self, tasks: Sequence[int]) -> None:  # noqa: ARG002 - all of them
        """End all tasks as Ctrl-C ends a run: inputs in work are finished."""
        with self._lock:
            self._is_ending = True
            for process in self._processes.values():
                process.interrupt()

    def abandon(self, task: int) -> None:
        """Kill the process of a task."""
        with self._lock:
            if task in self._processes:
                self._processes[task].kill()

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self._is_ending = True
            for process in self._processes.values():
                process.kill()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        """Hand tasks to a process; another one is started when it has ended."""
        process: _Process | None = None
        while (waiting := self._waiting.get()) is not None:
            number, part = waiting
            try:
                process = process or _Process(self._start)
                outcome = self._asked(process, number, part)
            except OSError as error:
                problem = f"a process cannot be started: {error.strerror}"
                outcome = DeviceError(problem, remedy="use fewer --workers")
            except Exception as error:  # noqa: BLE001 - a task without an outcome is waited for
                outcome = UnexpectedError(f"{part} failed: {describe(error)}")
            if process is not None and process.has_ended:
                process = None
            self._ended.put((number, outcome))
        if process is not None:
            process.kill()
            process.ask(None)

    def _asked(self, process: _Process, number: int, part: Part) -> Outcome:
        """What became of a part, which a process works on unless the engine is ending."""
        with self._lock:
            if self._is_ending:
                return ShardResult(part.shard, "interrupted")
            self._processes[number] = process
        try:
            return process.ask(part)
        finally:
            with self._lock:
                self._processes.pop(number, None)


class _Process:
    """A process that works on parts of shards.

    Attributes:
        has_ended: Whether it cannot take further parts.
    """

    def __init__(self, start: _Start) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            child_command("vaetools.distributed.local"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._source = cast("BinaryIO", self._process.stdout)
        self._frames = Frames(self._source, cast("BinaryIO", self._process.stdin))
        self.has_ended = False
        with contextlib.suppress(OSError):  # it has ended, which `ask` notices
            self._frames.send(start)

    def ask(self, part: Part | None) -> Outcome:
        """Have a part processed; None to wait for the end."""
        if part is not None:
            with contextlib.suppress(OSError):
                self._frames.send(part)
        with contextlib.suppress(EOFError, pickle.UnpicklingError):
            for outcome in self._frames:
                return cast("Outcome", outcome)
        self._process.kill()
        how = how_ended(self._process.wait())
        self._source.close()
        self._frames.close()
        self.has_ended = True
        return Crash(f"its process ended ({how})")

    def interrupt(self) -> None:
        """End the part in work as Ctrl-C ends a run."""
        self._process.terminate()

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()


def main() -> None:
    """Serve the parent through stdin and stdout, until it closes its end or is gone."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # for the parent, as Ctrl-C
    work = _Work()
    signal.signal(signal.SIGTERM, work.interrupt)
    frames = Frames(*own_streams())
    messages = iter(frames)
    start = next(messages, None)
    if not isinstance(start, _Start):
        return
    share_cores(start.processes)
    parts: SimpleQueue[Part] = SimpleQueue()
    threading.Thread(target=_read, args=(messages, parts), daemon=True).start()
    while True:
        frames.send(work.on(start, parts.get()))


def _read(messages: Iterator[Any], parts: SimpleQueue[Part]) -> NoReturn:
    for part in messages:
        parts.put(part)
    os._exit(0)  # the parent is gone: nobody waits for the part in work


class _Work:
    """Works on parts, which SIGTERM interrupts."""

    def __init__(self) -> None:
        self._is_busy = False

    def on(self, start: _Start, part: Part) -> Outcome:
        try:
            self._is_busy = True
            outcome = run_part(start.recipe, part, start.engine)
        except KeyboardInterrupt:
            outcome = ShardResult(part.shard, "interrupted")
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            outcome = UnexpectedError(f"{part} failed: {describe(error)}")
        finally:
            self._is_busy = False
        return outcome

    def interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._is_busy:
            raise KeyboardInterrupt
