"""Calls of graphs on one device, gathered into batches.

Threads call a session as if it were theirs alone. On a device for which a batch is cheaper than its
samples one by one, the calls wait here: a thread takes the oldest one and all others of the same graph
and the same shapes, up to a power of two and a budget of bytes, and runs them as one. Nothing waits for
a batch to fill: while the device is idle, every call runs at once. Two threads take turns, so that
the next batch is put together, and copied to the device, while one runs.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Arrays: TypeAlias = "tuple[np.ndarray, ...]"

MOST = 8
"""Largest batch: each size of a batch is one more shape that a device plans for."""

MEMORY = 2 * 2**30
"""Bytes on the device for one batch."""

ACTIVATIONS = 64
"""Bytes of a graph's intermediate results for each byte of its inputs and outputs: at most 39 in the
shipped graphs with uint8 pixels (`graphcheck.estimate`), and half as much again for workspaces."""

LANES = 2
"""Threads that run batches."""

IDLE = 1.0
"""Seconds without calls after which such a thread ends."""


class Graph(Protocol):
    """A graph on a device.

    Attributes:
        has_batch: Whether axis 0 of all inputs and outputs is the batch, whose samples do not affect
            each other.
    """

    @property
    def has_batch(self) -> bool: ...

    def compute(self, values: Sequence[np.ndarray], seconds: float) -> Arrays:
        """Run the graph within a time limit."""


@dataclass(eq=False)
class _Call:
    graph: Graph
    values: Sequence[np.ndarray]
    seconds: float
    result: Future[Arrays] = field(default_factory=Future)

    def __post_init__(self) -> None:
        described = tuple((value.shape, value.dtype.str) for value in self.values)
        self.kind = (id(self.graph), *described)

    def answer(self, results: Arrays | BaseException) -> None:
        if isinstance(results, BaseException):
            self.result.set_exception(results)
        else:
            self.result.set_result(results)


class Batcher:
    """Runs calls on a device, those of a kind together. Thread-safe.

    Args:
        memory: Bytes on the device for one batch: inputs, outputs and `ACTIVATIONS`.
        most: Largest batch.
    """

    def __init__(self, *, memory: int = MEMORY, most: int = MOST) -> None:
        self._memory = memory
        self._most = most
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[_Call] = deque()
        self._lanes: set[threading.Thread] = set()
        self._idle = 0
        self._is_closing = False
        self._limits: dict[object, int] = {}

    def call(self, graph: Graph, values: Sequence[np.ndarray], seconds: float) -> Arrays:
        """Run a graph as soon as the device has time; return its outputs.

        Args:
            graph: To run.
            values: Its inputs.
            seconds: Time limit for this call alone.

        Raises:
            Exception: What `graph.compute` raises for this call alone.
        """
        if os.getpid() != self._process:  # forked: the threads are not here, and locks may be held
            return graph.compute(values, seconds)
        call = _Call(graph, values, seconds)
        with self._changed:
            self._waiting.append(call)
            if self._idle < len(self._waiting) and len(self._lanes) < LANES:
                lane = threading.Thread(target=self._serve, name="vaetools batches", daemon=True)
                lane.start()
                self._lanes.add(lane)
            self._changed.notify()
        try:
            return call.result.result()
        except BaseException:
            call.result.cancel()  # Ctrl-C while it waits
            raise

    def close(self) -> None:
        """Wait for the calls in progress and end the threads. Later calls start them again."""
        if os.getpid() != self._process:
            return
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            lanes = list(self._lanes)
        for lane in lanes:
            lane.join()
        with self._changed:
            self._is_closing = False
            self._limits.clear()

    def _serve(self) -> None:
        while calls := self._next():
            self._run([call for call in calls if call.result.set_running_or_notify_cancel()])

    def _next(self) -> list[_Call]:
        """Wait for calls, and take those that run next; none if there were none for a while."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self._is_closing, IDLE)
            self._idle -= 1
            if not self._waiting:
                self._lanes.discard(threading.current_thread())
                return []
            first = self._waiting[0]
            same = [call for call in self._waiting if call.kind == first.kind]
            taken = same[: _power_of_two(min(len(same), self._limit(first)))]
            self._waiting = deque(call for call in self._waiting if call not in taken)
            return taken

    def _limit(self, call: _Call) -> int:
        """Largest batch of calls like this one; a first one runs alone, to see what it gives."""
        return self._limits.get(call.kind, 1) if call.graph.has_batch else 1

    def _run(self, calls: Sequence[_Call]) -> None:
        """Run calls of one kind together, and answer each of them."""
        if not calls:
            return
        try:
            results = _computed(calls)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            self._divide(calls, error)
            return
        if len(calls) == 1:
            self._learn(calls[0], results[0])
        for call, result in zip(calls, results, strict=True):
            call.answer(result)

    def _divide(self, calls: Sequence[_Call], error: BaseException) -> None:
        """A batch failed: a call that fails must not cost the others anything."""
        if len(calls) == 1:
            calls[0].answer(error)
            return
        lacks_memory = isinstance(error, MemoryError)
        size = len(calls) // 2 if lacks_memory else 1
        if lacks_memory:
            with self._changed:
                self._limits[calls[0].kind] = size
        for start in range(0, len(calls), size):
            self._run(calls[start : start + size])

    def _learn(self, call: _Call, results: Arrays) -> None:
        """Derive the largest batch from the bytes of a single call."""
        size = sum(array.nbytes for array in (*call.values, *results))
        with self._changed:
            known = self._limits.setdefault(call.kind, self._most)
            fitting = max(self._memory // max(size * (1 + ACTIVATIONS), 1), 1)
            self._limits[call.kind] = min(known, fitting)


def _computed(calls: Sequence[_Call]) -> list[Arrays]:
    """The outputs of each call; those of a batch are parts of common arrays."""
    first = calls[0]
    if len(calls) == 1:
        return [first.graph.compute(first.values, first.seconds)]
    values = [np.concatenate(each) for each in zip(*(call.values for call in calls), strict=True)]
    outputs = first.graph.compute(values, sum(call.seconds for call in calls))
    return list(zip(*(np.split(output, len(calls)) for output in outputs), strict=True))


def _power_of_two(count: int) -> int:
    """The largest one that is not above `count`."""
    return 1 << (count.bit_length() - 1)
