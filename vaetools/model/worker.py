"""The process that opens and runs the graphs of one model that did not come with vaetools.

Started by `vaetools.model.isolation`. A graph that ends this process, or takes more time or memory than
an image of its size can need, costs its caller one error. The parent sends a socket for each caller over
the first one; each is served by a thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaetools.device_memory import watched
from vaetools.errors import ModelBrokenError, VaetoolsError
from vaetools.model.checked import estimator_of
from vaetools.model.fused.chains import chain_of
from vaetools.model.limits import Alarm, Memory
from vaetools.model.wire import WireError, receive, receive_header, send

if TYPE_CHECKING:
    import numpy as np

    from vaetools.graphcheck.estimate import Estimator
    from vaetools.model.folder import Model
    from vaetools.model.session import Session
    from vaetools.model.wire import Announced

OPEN_SECONDS = 6.0
"""Time for opening a small graph, checks included."""

OPEN_BYTES_PER_SECOND = 10e6

OPEN_MEMORY = 384 * 2**20
"""Memory for opening a small graph."""

OPEN_MEMORY_PER_BYTE = 8
"""ONNX Runtime copies weights, and keeps some in two layouts."""

RUN_SECONDS = 5.0
"""Time for a call, whatever the graph does."""

STEPS_PER_SECOND = 1e9
"""Multiplications that the slowest machine does per second; a core of a server does 20 times as many."""

RUN_MEMORY = 160 * 2**20
"""Memory for a call, whatever the graph does."""

RUN_MEMORY_FACTOR = 3
"""Memory of ONNX Runtime for each byte that the graph is known to need at once."""

GPU_SECONDS = 60.0
"""Additional time on a GPU, whose libraries are loaded and tuned by the first calls."""


@dataclass
class _Opened:
    session: Session
    estimator: Estimator


class Service:
    """Answers requests with the graphs of a model.

    Args:
        model: opens its graphs in this process.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._on_gpu = model.device.kind != "cpu"
        self._memory = Memory(limited=not self._on_gpu)
        self._alarm = Alarm()
        self._lock = threading.Lock()
        self._opened: dict[tuple[str, ...], _Opened] = {}

    def serve(self, channel: socket.socket) -> None:
        """Answer the requests of one caller until it closes its end."""
        with channel, contextlib.suppress(EOFError, OSError, WireError):
            while True:
                self._serve_one(channel)

    def _serve_one(self, channel: socket.socket) -> None:
        """Answer a request; its arrays and results are not kept while the next one is awaited."""
        request, announced = receive_header(channel)
        try:
            answer, results = self._answer(request, announced)
        except VaetoolsError as error:
            answer, results = _refusal(error), ()
        except Exception as error:  # noqa: BLE001 - the parent waits for an answer
            problem = f"graph failed: {type(error).__name__}: {error}"
            answer, results = {"error": ["ModelBrokenError", problem, None, None]}, ()
        announced.finish()
        send(channel, answer, results)

    def _answer(
        self, request: dict[str, Any], announced: Announced
    ) -> tuple[dict[str, Any], tuple[np.ndarray, ...]]:
        role, pixels = request["role"], tuple(request["pixels"])
        opened = self._open(role, pixels)
        session = opened.session
        if request["do"] == "open":
            shapes = session.input_shapes
            device = str(session.device)
            names = {"inputs": session.inputs, "outputs": session.outputs}
            return {**names, "input_shapes": shapes, "device": device}, ()
        with watched() as shortages:
            results = self._run(opened, announced)
        return {"used_cpu": shortages.used_cpu}, results

    def _open(self, role: str, pixels: tuple[str, ...]) -> _Opened:
        key = (role, *pixels)
        with self._lock:
            if key not in self._opened:
                size = self._bytes(role)
                seconds = OPEN_SECONDS + size / OPEN_BYTES_PER_SECOND + self._gpu_seconds
                with self._alarm.within(seconds):
                    self._opened[key] = self._open_now(role, pixels, size)
            return self._opened[key]

    def _bytes(self, role: str) -> int:
        """Size of a graph, or of all that a chain is made of."""
        manifest = self.model.manifest
        chain = chain_of(role)
        context = manifest.codec.context if manifest.codec else "interleaved"
        roles = chain.roles(context) if chain else (role,)
        return sum(manifest.graph_size(part) for part in roles if part in manifest.graphs)

    def _open_now(self, role: str, pixels: tuple[str, ...], size: int) -> _Opened:
        most = OPEN_MEMORY + OPEN_MEMORY_PER_BYTE * size + self.model.threads * 2**24
        try:
            with self._memory.opening(most):
                data = self.model.graph_bytes(role, pixels)
                session = self.model.graph(role, pixels=pixels)
                return _Opened(session, estimator_of(data, self.model.manifest, role))
        except MemoryError:
            raise ModelBrokenError(
                f"graph needs more than {most // 2**20} MiB to open", file=self.model.folder
            ) from None

    def _run(self, opened: _Opened, announced: Announced) -> tuple[np.ndarray, ...]:
        session = opened.session
        shapes = dict(zip(session.inputs, announced.shapes, strict=True))
        try:
            estimate = opened.estimator.of(shapes)
        except ModelBrokenError as error:
            raise error.about(session.name) from None
        seconds = RUN_SECONDS + estimate.steps / STEPS_PER_SECOND + self._gpu_seconds
        most = RUN_MEMORY + RUN_MEMORY_FACTOR * estimate.memory
        self._memory.grant((threading.get_ident(), id(session)), most)
        try:
            arrays = announced.read()  # not before the memory for them is granted
            with self._alarm.within(seconds):
                return session.run(arrays, seconds=seconds)
        except MemoryError:
            raise ModelBrokenError(
                f"graph needs more than {most // 2**20} MiB for this image", file=session.name
            ) from None

    @property
    def _gpu_seconds(self) -> float:
        return GPU_SECONDS if self._on_gpu else 0.0


class Refusing:
    """Answers every request with the error that opening the model ended with."""

    def __init__(self, error: VaetoolsError) -> None:
        self.error = error

    def serve(self, channel: socket.socket) -> None:
        """Refuse the requests of one caller until it closes its end."""
        with channel, contextlib.suppress(EOFError, OSError, WireError):
            while True:
                receive(channel)
                send(channel, _refusal(self.error), ())


def _refusal(error: VaetoolsError) -> dict[str, Any]:
    file = None if error.file is None else str(error.file)
    return {"error": [type(error).__name__, error.problem, file, error.remedy]}


def main() -> None:
    """Serve the parent: its socket and the model are arguments."""
    import resource

    # Libraries count neither as time nor as memory of a graph.
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401

    from vaetools.model.folder import reopened
    from vaetools.model.runtime import Runtime

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is no news
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    control = socket.socket(fileno=int(sys.argv[1]))
    place = json.loads(sys.argv[2])
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    service: Service | Refusing
    try:
        runtime = Runtime(place["device"], threads=place["threads"])
        service = Service(reopened(Path(place["folder"]), place["fingerprint"], runtime))
    except (
        VaetoolsError
    ) as error:  # the model was changed meanwhile, or the device cannot be shared
        service = Refusing(error)
    while True:
        message, sockets, _, _ = socket.recv_fds(control, 1, 1)
        if not message or not sockets:
            os._exit(0)
        channel = socket.socket(fileno=sockets[0])
        threading.Thread(target=service.serve, args=(channel,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process with its parent, also where a call is in progress."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)
