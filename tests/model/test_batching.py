"""Batches: the results of single calls, and errors only for the calls that caused them."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vaetools
from tests.model.test_session import graph_of
from vaetools.errors import ModelBrokenError
from vaetools.model.batching import ACTIVATIONS, LANES, MOST, Batcher
from vaetools.model.devices import Device
from vaetools.model.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vaetools.model.batching import Arrays


class Doubled:
    """Doubles its input. Its first call waits, so that others come together; it notes its batches."""

    def __init__(self, *, has_batch: bool = True) -> None:
        self.has_batch = has_batch
        self.batches: list[list[float]] = []
        self.begun = threading.Event()
        self.go = threading.Event()

    def compute(self, values: Sequence[np.ndarray], seconds: float) -> Arrays:
        marks = [float(sample.flat[0]) for sample in values[0]]
        self.batches.append(marks)
        self.begun.set()
        assert self.go.wait(30)
        assert seconds == len(marks)
        if -1.0 in marks:
            raise ModelBrokenError("does not take -1")
        return 2 * values[0], values[0].sum(axis=(1, 2))


@pytest.fixture
def batcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Batcher]:
    """With one thread, so that the order is known."""
    monkeypatch.setattr("vaetools.model.batching.LANES", 1)
    made = Batcher()
    yield made
    made.close()


def sample(mark: float, width: int = 4) -> np.ndarray:
    return np.full((1, 3, width), mark, np.float32)


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def together(batcher: Batcher, calls: Sequence[tuple[Doubled, np.ndarray]]) -> list[object]:
    """Results or errors of calls that wait while the first one runs; then all go on, in order."""

    def call(graph: Doubled, value: np.ndarray) -> object:
        try:
            return batcher.call(graph, [value], 1.0)
        except Exception as error:  # noqa: BLE001 - it is compared
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        futures = []
        for graph, value in calls:
            futures.append(pool.submit(call, graph, value))
            if len(futures) == 1:
                assert graph.begun.wait(30)
            wait_for(lambda: len(batcher._waiting) == len(futures) - 1)
        for graph in {graph for graph, _ in calls}:
            graph.go.set()
        return [future.result() for future in futures]


def test_calls_that_wait_become_batches_and_get_their_own_results(batcher: Batcher) -> None:
    graph = Doubled()
    results = together(batcher, [(graph, sample(i)) for i in range(1, 13)])
    for i, result in enumerate(results, start=1):
        assert isinstance(result, tuple)
        np.testing.assert_array_equal(result[0], 2 * sample(i))
        np.testing.assert_array_equal(result[1], [12 * i])
    assert graph.batches == [[1], [2, 3, 4, 5, 6, 7, 8, 9], [10, 11], [12]]


def test_only_equal_shapes_of_one_graph_are_run_together_the_oldest_first(
    batcher: Batcher,
) -> None:
    one, other, alone = Doubled(), Doubled(), Doubled(has_batch=False)
    for graph in (one, other, alone):
        graph.go.set()
        for width in (4, 8):  # a first call of each kind, after which its size is known
            batcher.call(graph, [sample(0, width)], 1.0)
        graph.batches.clear()
        graph.begun.clear()
        graph.go.clear()
    calls = [(one, sample(1)), (one, sample(2)), (other, sample(3)), (one, sample(4, 8))]
    calls += [(alone, sample(5)), (one, sample(6)), (other, sample(7)), (alone, sample(8))]
    results = together(batcher, calls)
    assert [result[0].flat[0] for result in results] == [2, 4, 6, 8, 10, 12, 14, 16]  # type: ignore[index]
    assert one.batches == [[1], [2, 6], [4]]
    assert other.batches == [[3, 7]]
    assert alone.batches == [[5], [8]]


def test_a_call_that_fails_costs_the_others_nothing(batcher: Batcher) -> None:
    graph = Doubled()
    results = together(batcher, [(graph, sample(mark)) for mark in (1, 2, -1, 4, 5)])
    assert [type(result) for result in results] == [tuple, tuple, ModelBrokenError, tuple, tuple]
    assert graph.batches == [[1], [2, -1, 4, 5], [2], [-1], [4], [5]]


def test_batches_that_lack_memory_are_halved_and_stay_small(batcher: Batcher) -> None:
    class Small(Doubled):
        def compute(self, values: Sequence[np.ndarray], seconds: float) -> Arrays:
            results = super().compute(values, seconds)
            if len(values[0]) > 2:
                raise MemoryError
            return results

    graph = Small()
    results = together(batcher, [(graph, sample(mark)) for mark in range(9)])
    assert [result[0].flat[0] for result in results] == [2 * i for i in range(9)]  # type: ignore[index]
    sizes = [len(batch) for batch in graph.batches]
    assert sizes == [1, 8, 4, 2, 2, 4, 2, 2]
    graph.batches.clear()
    graph.go.clear()
    graph.begun.clear()
    together(batcher, [(graph, sample(mark)) for mark in range(9)])
    assert [len(batch) for batch in graph.batches] == [1, 2, 2, 2, 2]


def test_lack_of_memory_in_a_single_call_reaches_its_caller(batcher: Batcher) -> None:
    class None_(Doubled):
        def compute(self, values: Sequence[np.ndarray], seconds: float) -> Arrays:
            super().compute(values, seconds)
            raise MemoryError

    results = together(batcher, [(None_(), sample(1))])
    assert isinstance(results[0], MemoryError)


@pytest.mark.parametrize(("fitting", "most"), [(0, 1), (1, 1), (3, 2), (100, MOST)])
def test_a_batch_stays_within_the_budget_of_the_device(
    monkeypatch: pytest.MonkeyPatch, fitting: int, most: int
) -> None:
    monkeypatch.setattr("vaetools.model.batching.LANES", 1)
    size = (4 * 12 + 4 * 12 + 4) * (1 + ACTIVATIONS)  # input and outputs, and what lies between
    batcher, graph = Batcher(memory=fitting * size), Doubled()
    together(batcher, [(graph, sample(mark)) for mark in range(1 + MOST)])
    assert max(map(len, graph.batches)) == most
    assert sum(map(len, graph.batches)) == 1 + MOST
    batcher.close()


def test_closing_waits_for_the_calls_that_wait() -> None:
    batcher, graph = Batcher(), Doubled()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(batcher.call, graph, [sample(i)], 1.0) for i in range(8)]
        assert graph.begun.wait(30)
        closing = threading.Thread(target=batcher.close)
        closing.start()
        graph.go.set()
        assert [future.result()[0].flat[0] for future in futures] == [2.0 * i for i in range(8)]
        closing.join(30)
    assert not [t for t in threading.enumerate() if t.name == "vaetools batches"]
    assert batcher.call(graph, [sample(3)], 1.0)[0].flat[0] == 6
    batcher.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # since Python 3.12
def test_a_forked_process_runs_its_calls_itself() -> None:
    """Its calls would wait for threads that only its parent has, and closing for a lock."""
    made, graph = Batcher(), Doubled()
    graph.go.set()
    made.call(graph, [sample(1)], 1.0)
    with made._changed:  # as if another thread were about to use it
        child = os.fork()
        if child == 0:
            try:
                doubled, _ = made.call(graph, [sample(2)], 1.0)
                made.close()
                os._exit(int(doubled.max()))
            finally:
                os._exit(1)
    try:
        deadline = time.monotonic() + 30
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    except AssertionError:
        os.kill(child, signal.SIGKILL)
        raise
    assert os.waitstatus_to_exitcode(ended[1]) == 4
    made.close()


def test_the_next_batch_is_taken_while_one_runs() -> None:
    batcher, slow, fast = Batcher(), Doubled(), Doubled()
    fast.go.set()
    assert LANES == 2
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(batcher.call, slow, [sample(1)], 1.0)
        assert slow.begun.wait(30)
        assert batcher.call(fast, [sample(2)], 1.0)[0].flat[0] == 4
        slow.go.set()
        assert first.result()[0].flat[0] == 2
    batcher.close()


def test_a_graph_with_a_batch_axis_runs_in_batches(
    batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real session, on the CPU as if it were such a device."""
    monkeypatch.setattr(Device, "fixed_shapes", True)
    ports = [("batch", 3, "width"), ("batch", 3, "width")]
    session = Session(graph_of(ports[0], output=ports[1]), "g", Device("cpu"), 1, batcher)
    other = Session(graph_of((1, 3, "width"), output=(1, 3, "width")), "g", Device("cpu"), 1)
    assert (session.has_batch, other.has_batch) == (True, False)
    sizes: list[int] = []
    compute = session.compute

    def watched(values: Sequence[np.ndarray], seconds: float) -> Arrays:
        sizes.append(len(values[0]))
        if len(sizes) > 1:
            assert go.wait(30)
        return compute(values, seconds)

    go = threading.Event()
    monkeypatch.setattr(session, "compute", watched)
    session(sample(0))
    with ThreadPoolExecutor(9) as pool:
        futures = [pool.submit(session, sample(0))]
        wait_for(lambda: len(sizes) == 2)
        futures += [pool.submit(session, sample(mark)) for mark in range(1, 9)]
        wait_for(lambda: len(batcher._waiting) == 8)
        go.set()
        for mark, future in enumerate(futures):
            np.testing.assert_array_equal(future.result()[0], 2 * sample(mark))
    assert sizes == [1, 1, 8]


@pytest.mark.slow
def test_shipped_models_give_the_same_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs that ship, called by eight threads: the results of single calls, within 1/255."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(8)]
    with vaetools.open("cpu", threads=1) as hub:
        packed = [hub.compress(image) for image in images]
        single = [
            (hub.decompress(data), hub.denoise(image, sigma=20))
            for data, image in zip(packed, images, strict=True)
        ]
    monkeypatch.setattr(Device, "fixed_shapes", True)
    monkeypatch.setattr(Device, "batches", True)
    sizes: list[int] = []
    real = Session.compute

    def slow(self: Session, values: Sequence[np.ndarray], seconds: float) -> Arrays:
        if self.has_batch:
            sizes.append(len(values[0]))
        time.sleep(0.05)  # others come together meanwhile
        return real(self, values, seconds)

    monkeypatch.setattr(Session, "compute", slow)
    with vaetools.open("cpu", threads=1) as hub, ThreadPoolExecutor(8) as pool:
        together = [
            (pool.submit(hub.decompress, p), pool.submit(hub.denoise, image, sigma=20))
            for p, image in zip(packed, images, strict=True)
        ]
        for futures, expected in zip(together, single, strict=True):
            for future, pixels in zip(futures, expected, strict=True):
                difference = np.abs(future.result().astype(int) - pixels.astype(int))
                assert difference.max() <= 1
        for anew, data in zip(pool.map(hub.compress, images), packed, strict=True):
            assert abs(len(anew) - len(data)) <= 8
    assert max(sizes) > 1
