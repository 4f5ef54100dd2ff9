"""What networks cost: multiplications and bytes of every run, and the speed of a matrix product.

`watching()` observes all sessions of a hub in this process. With `recorded=True` a session that would
run on a GPU returns copies of the results that it gave before `reset`: a device that takes no time. Each
thread must then process the same image whole, as in a run over copies of one image. Sessions that are
exact, and therefore always run on the CPU, run.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from vaetools.graphcheck import budget, sizes
from vaetools.graphcheck.costs import Cost, cost_of
from vaetools.graphcheck.whitelist import constants_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Shapes = tuple[tuple[int, ...], ...]
    NodeShapes = Sequence[tuple[int, ...] | None]

SIDE = 1024
"""Side of the square matrices whose product is the roof."""


class Network:
    """Counts what sessions do. Thread-safe.

    Attributes:
        flops: operations by graph; a multiplication and an addition are two.
        bytes: of inputs and outputs of the sessions that would run on a GPU.
        runs: session runs by graph.
    """

    def __init__(self, *, recorded: bool) -> None:
        self.flops: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self.bytes: int = 0
        self._recorded = recorded
        self._graphs: dict[int, tuple[Any, bytes]] = {}
        self._exact: set[int] = set()
        self._costs: dict[tuple[int, Shapes], float] = {}
        self._outputs: dict[tuple[int, Shapes], list[tuple[np.ndarray, ...]]] = {}
        self._replays = False
        self._local = threading.local()
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Forget the counts; from now on, return the results that were recorded so far."""
        self._replays = self._recorded
        self.flops.clear()
        self.runs.clear()
        self.bytes = 0

    def opened(self, session: Any, graph: bytes, *, exact: bool) -> None:
        """Remember the graph of a session; the reference keeps its id from being reused."""
        self._graphs[id(session)] = session, graph
        if exact:
            self._exact.add(id(session))

    def run(
        self, session: Any, values: Sequence[np.ndarray], real: Callable[[], Sequence[np.ndarray]]
    ) -> tuple[np.ndarray, ...]:
        """The results of a run, counted."""
        key = id(session), tuple(value.shape for value in values)
        on_cpu = id(session) in self._exact
        if self._replays and key in self._outputs:
            results = tuple(array.copy() for array in self._next(key))
        else:
            results = tuple(real())
            if self._recorded and not on_cpu:
                recorded = tuple(array.copy() for array in results)
                self._outputs.setdefault(key, []).append(recorded)
        cost = self._cost(key, session)
        with self._lock:
            self.flops[graph_name(session)] += cost
            self.runs[graph_name(session)] += 1
            if not on_cpu:
                self.bytes += sum(array.nbytes for array in (*values, *results))
        return results

    def _next(self, key: tuple[int, Shapes]) -> tuple[np.ndarray, ...]:
        """The recorded results of a session in their order, again and again for each thread."""
        counts = self._local.__dict__.setdefault("counts", Counter())
        results = self._outputs[key]
        counts[key] += 1
        return results[(counts[key] - 1) % len(results)]

    def _cost(self, key: tuple[int, Shapes], session: Any) -> float:
        if key not in self._costs:
            _, graph = self._graphs.get(key[0], (None, b""))
            self._costs[key] = flops(graph, dict(zip(session.inputs, key[1], strict=True)))
        return self._costs[key]


@contextmanager
def watching(*, recorded: bool = False) -> Iterator[Network]:
    """Observe the sessions that are opened and run inside the block."""
    network = Network(recorded=recorded)
    runtime, session = import_module("vaetools.model.runtime"), session_class()
    open_session, run = runtime.Runtime.session, session.run

    def opened(self: Any, load: Callable[[], bytes], **options: Any) -> Any:
        loaded: list[bytes] = []

        def kept() -> bytes:
            loaded.append(load())
            return loaded[0]

        found = open_session(self, kept, **options)
        if loaded:
            network.opened(found, loaded[0], exact=options.get("exact", False))
        return found

    def counted(self: Any, values: Sequence[np.ndarray], **options: Any) -> tuple[np.ndarray, ...]:
        return network.run(self, values, lambda: run(self, values, **options))

    with (
        mock.patch.object(runtime.Runtime, "session", opened),
        mock.patch.object(session, "run", counted),
    ):
        yield network


def session_class() -> Any:
    """The class whose `run` runs a graph; older versions have it in another module."""
    try:
        return import_module("vaetools.model.session").Session
    except ModuleNotFoundError:
        return import_module("vaetools.model.runtime").Session


def graph_name(session: Any) -> str:
    """Role of the graph of a session, such as `denoise`."""
    return Path(str(session.name)).stem


def flops(graph: bytes, shapes: Mapping[str, tuple[int, ...]]) -> float:
    """Operations of the convolutions and matrix products of a graph, for inputs of these shapes.

    Shapes of tensors inside are those that the check of graphs infers.
    """
    if not graph:
        return 0.0
    total = 0.0

    def counted(node: Any, inputs: NodeShapes, outputs: NodeShapes) -> Cost:
        nonlocal total
        total += 2.0 * products(node.op_type, inputs, outputs)
        return cost_of(node, inputs, outputs)

    model = onnx.load_from_string(graph)
    with mock.patch.object(budget, "cost_of", counted):
        sizes.measure(model, constants_of(model), shapes)
    return total


def products(operator: str, inputs: NodeShapes, outputs: NodeShapes) -> int:
    """Multiplications of a node, from the shapes of its inputs and outputs."""
    first, second = ((shape or ()) for shape in (*inputs, None)[:2])
    out = outputs[0] or ()
    if operator == "Conv":
        return math.prod(second) * math.prod(out[2:]) * out[0]
    if operator == "ConvTranspose":
        return math.prod(second) * math.prod(first[2:]) * first[0]
    if operator in ("MatMul", "Gemm"):
        return math.prod(out) * first[-1]
    return 0


def roof(repeat: int = 8) -> float:
    """Speed of ONNX Runtime's float32 matrix product on one core, in GFLOP per CPU-second."""
    kinds = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [SIDE, SIDE])
        for name in ("a", "b", "c")
    ]
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "product", kinds[:2], kinds[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {name: np.random.default_rng(0).random((SIDE, SIDE), np.float32) for name in "ab"}
    times = []
    for _ in range(repeat):
        started = time.thread_time()
        session.run(None, feeds)
        times.append(time.thread_time() - started)
    return 2e-9 * SIDE**3 / min(times)
