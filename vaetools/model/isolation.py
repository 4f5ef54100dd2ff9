"""Run the graphs of a model in a process of their own.

Graphs are checked before they run (`graphcheck`), but they are parsed by `onnx` and run by ONNX Runtime,
which are both written in C++: what the check does not know of can end a process, or take all memory. A
model that did not come with vaetools therefore gets a worker, with limits of time and memory that follow
from the graph and from the image (`vaetools.model.worker`). Results are the same, bit by bit.

A worker starts when it is first needed, serves several threads at once, and ends with its model or its
parent. After a failure the next call starts another one. Calls that shared a process that ended are
repeated, each alone in a process of its own, so that only the one that ends it fails. A forked process
starts its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vaetools import errors
from vaetools.device_memory import MOVED, note
from vaetools.errors import ModelBrokenError, ModelError, OptionError, VaetoolsError
from vaetools.model.child import child_command
from vaetools.model.devices import Device, parse_device
from vaetools.model.session import Session
from vaetools.model.wire import WireError, receive, send

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np

AVAILABLE = hasattr(socket, "send_fds")
"""Not on Windows."""

PATIENCE = 5.0
"""Seconds that a worker gets to end after it has closed its sockets."""


class Worker:
    """The process of a model, and the sockets to it. Thread-safe.

    Args:
        folder, fingerprint: of the model.
        device, threads: of its runtime.
    """

    def __init__(self, folder: Path, fingerprint: str, device: Device, threads: int) -> None:
        if not AVAILABLE:
            raise OptionError("models cannot be isolated on this system", remedy="isolate=False")
        self._place = json.dumps(
            {
                "folder": str(folder.absolute()),
                "fingerprint": fingerprint,
                "device": str(device),
                "threads": threads,
            }
        )
        self._folder = folder
        self._facts: dict[tuple[str, ...], dict[str, Any]] = {}
        self.forget()
        _WORKERS.add(self)

    def forget(self) -> None:
        """Begin anew without a process; one that there may be is another one's."""
        self._lock = threading.Lock()
        self._repeating = threading.Lock()
        self._process: _Process | None = None

    def session(self, role: str, pixels: tuple[str, ...], name: str) -> IsolatedSession:
        """The session of a role, opened in the worker. Raises as `Model.graph` does.

        Args:
            name: for error messages.
        """
        key = (role, *pixels)
        request = {"role": role, "pixels": pixels}
        if key not in self._facts:
            self._facts[key], _ = self.ask({**request, "do": "open"}, (), name)
        try:
            return IsolatedSession(self, request, self._facts[key], name)
        except (KeyError, TypeError, ValueError):
            raise ModelBrokenError("its process sent nonsense", file=name) from None

    def ask(
        self, request: dict[str, Any], arrays: Sequence[np.ndarray], name: str
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Send a request and wait for its answer.

        Args:
            name: of the graph, for error messages.

        Raises:
            ModelBrokenError: the worker ended.
            VaetoolsError: the error that the worker sent.
        """
        process = self._running()
        try:
            answer, results = self._asked(process, request, arrays)
        except _EndedError as ended:
            if not ended.shared:
                raise ended.named(name) from None
            answer, results = self._repeated(request, arrays, name)
        if "error" in answer:
            raise _error(answer["error"], name)
        return answer, results

    def _asked(
        self, process: _Process, request: dict[str, Any], arrays: Sequence[np.ndarray]
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """The answer of a process. Raises `_EndedError` if the process ends."""
        call = _Call()
        try:
            with process.channel(call) as channel:
                send(channel, request, arrays)
                return receive(channel)
        except (OSError, EOFError, WireError):
            self._end(process, patience=PATIENCE)
            raise _EndedError(process.end, shared=call.shared) from None
        except BaseException:  # Ctrl-C: the answer would be read by the next call
            self._end(process, patience=0)
            raise

    def _repeated(
        self, request: dict[str, Any], arrays: Sequence[np.ndarray], name: str
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """The answer of a process that has nothing else to do."""
        with self._repeating:
            process = _Process(self._place, self._folder)
            try:
                return self._asked(process, request, arrays)
            except _EndedError as ended:
                raise ended.named(name) from None
            finally:
                process.kill(patience=0)

    def _running(self) -> _Process:
        with self._lock:
            if self._process is None:
                self._process = _Process(self._place, self._folder)
                weakref.finalize(self, self._process.kill)
            return self._process

    def _end(self, process: _Process, *, patience: float) -> None:
        """End a process; the next call starts another one."""
        process.kill(patience)
        with self._lock:
            if self._process is process:
                self._process = None

    def close(self) -> None:
        """End the process. It starts again when it is used."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()


class _EndedError(Exception):
    """A process ended during a call.

    Attributes:
        how: in a few words.
        shared: whether another call was in progress at some time during this one.
    """

    def __init__(self, how: str, *, shared: bool) -> None:
        super().__init__(how)
        self.how = how
        self.shared = shared

    def named(self, name: str) -> ModelBrokenError:
        """The error of the graph with this name."""
        return ModelBrokenError(f"graph ended its process ({self.how})", file=name)


@dataclass(eq=False)
class _Call:
    """A call in progress, and whether its process had another one to do meanwhile."""

    shared: bool = False


class _Process:
    """A running worker."""

    def __init__(self, place: str, folder: Path) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []
        self._calls: set[_Call] = set()
        self._control, theirs = socket.socketpair()
        self.end = "killed"
        with theirs:
            command = child_command("vaetools.model.worker", str(theirs.fileno()), place)
            try:
                self._popen = subprocess.Popen(  # noqa: S603 - our own interpreter and code
                    command,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    # One arena per thread would reserve addresses, which are limited.
                    env={**os.environ, "MALLOC_ARENA_MAX": "2"},
                )
            except OSError as error:
                self._control.close()
                raise ModelError(
                    f"no process can be started for the model: {error.strerror}",
                    file=folder,
                    remedy="run the model in this process with --no-isolate",
                ) from None

    @contextlib.contextmanager
    def channel(self, call: _Call) -> Iterator[socket.socket]:
        """A socket for one request: an idle one, or a new one. It is closed where the request fails."""
        with self._lock:
            call.shared = True  # if it is gone, another call has ended it
            channel = self._idle.pop() if self._idle else self._connected()
            call.shared = bool(self._calls)
            for other in self._calls:
                other.shared = True
            self._calls.add(call)
        try:
            yield channel
        except BaseException:
            channel.close()
            raise
        finally:
            with self._lock:
                self._calls.discard(call)
        with self._lock:
            self._idle.append(channel)

    def _connected(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [b"+"], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return ours

    def kill(self, patience: float = 0.5) -> None:
        """End the process and note how it ended; nothing in a process that was forked from this one.

        Args:
            patience: seconds that it gets to end by itself, which says how.
        """
        if os.getpid() != self._owner:
            return
        with self._lock:
            for channel in (self._control, *self._idle):
                channel.close()
            self._idle.clear()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(patience)
            if self._popen.poll() is None:
                self._popen.kill()
            code = self._popen.wait()
        self.end = f"exit code {code}" if code >= 0 else _signal(-code)


def _signal(number: int) -> str:
    if number == signal.SIGALRM:
        return "it took longer than an image of this size can need"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class IsolatedSession(Session):
    """A session in a worker."""

    def __init__(
        self, worker: Worker, request: dict[str, Any], facts: dict[str, Any], name: str
    ) -> None:
        self.name = name
        self.device: Device = parse_device(facts["device"]) or Device("cpu")
        self.inputs: tuple[str, ...] = tuple(map(str, facts["inputs"]))
        self.outputs: tuple[str, ...] = tuple(map(str, facts["outputs"]))
        self._shapes = tuple(map(tuple, facts["input_shapes"]))
        self._worker = worker
        self._request = {**request, "do": "run"}

    @property
    def input_shapes(self) -> tuple[tuple[int | str | None, ...], ...]:
        return self._shapes

    def run(
        self,
        values: Sequence[np.ndarray],
        *,
        seconds: float | None = None,  # noqa: ARG002 - the worker sets the limit
    ) -> tuple[np.ndarray, ...]:
        answer, results = self._worker.ask(self._request, values, self.name)
        if answer.get("used_cpu") is True and self.device.kind != "cpu":
            note(str(self.device), MOVED)
        if len(results) != len(self.outputs):
            raise ModelBrokenError("its process sent nonsense", file=self.name)
        return tuple(results)


def _error(parts: Any, name: str) -> VaetoolsError:
    """The error that a worker sent, if it is one of ours."""
    try:
        kind, problem, file, remedy = parts
        found = getattr(errors, str(kind), ModelBrokenError)
        known = isinstance(found, type) and issubclass(found, VaetoolsError)
        made = (found if known else ModelBrokenError)(str(problem), file=file, remedy=remedy)
        return made.about(name)
    except (TypeError, ValueError):
        return ModelBrokenError("its process sent nonsense", file=name)


_WORKERS: weakref.WeakSet[Worker] = weakref.WeakSet()


def _after_fork() -> None:
    for worker in list(_WORKERS):
        worker.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
