"""Sessions with constant shapes give the results of one with any; the caches of both are bounded."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vaetools.errors import ModelBrokenError
from vaetools.model import session
from vaetools.model.devices import Device
from vaetools.model.pixels import with_uint8_pixels
from vaetools.model.recent import Recent
from vaetools.model.registry import ModelRegistry, default_folders
from vaetools.model.runtime import Runtime
from vaetools.model.session import MOST_SHAPES, Session, free_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vaetools.model.session import Sizes

CPU = Device("cpu")
STATUS = Path("/proc/self/status")


def graph_of(*shapes: Sequence[int | str | None], output: Sequence[int | str | None]) -> bytes:
    """The sum of one or two inputs."""
    names = [f"x{i}" for i in range(len(shapes))]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Add", [names[0], names[-1]], ["y"])],
        "sum",
        [value(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes, strict=True)],
        [value("y", TensorProto.FLOAT, output)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


IMAGE = (1, 3, "height", "width")
GRAPH = graph_of(IMAGE, output=IMAGE)


def graph_of_widths(*widths: int) -> bytes:
    """Convolutions with a ReLU, from one number of channels to the next."""
    value = helper.make_tensor_value_info
    nodes, weights = [], []
    for i, (before, after) in enumerate(pairwise(widths)):
        kernel = np.full((after, before, 3, 3), 0.01, np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{i}"))
        nodes.append(helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"c{i}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"x{i + 1}"]))
    ends = [
        value(f"x{i}", TensorProto.FLOAT, (1, widths[i], "height", "width"))
        for i in (0, len(widths) - 1)
    ]
    graph = helper.make_graph(nodes, "wide", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def resident() -> int:
    """Bytes of memory that this process has."""
    lines = STATUS.read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Sizes]:
    """Constant sizes of all sessions of ONNX Runtime that are made."""
    made: list[Sizes] = []
    real = session.create_session

    def create(graph: bytes, device: Device, threads: int, name: str, sizes: Sizes = ()) -> object:
        made.append(sizes)
        return real(graph, device, threads, name, sizes)

    monkeypatch.setattr(session, "create_session", create)
    return made


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch, opened: list[Sizes]) -> list[Sizes]:
    """The CPU as a device that wants fixed shapes."""
    monkeypatch.setattr(Device, "fixed_shapes", True)
    return opened


def test_the_cpu_has_one_session_for_all_shapes(opened: list[Sizes]) -> None:
    made = Session(GRAPH, "g", CPU, 1)
    for side in (4, 5, 6):
        assert made(ones(1, 3, side, 8))[0].shape == (1, 3, side, 8)
    assert opened == [()]


def test_each_shape_gets_one_session(fixed: list[Sizes]) -> None:
    made = Session(GRAPH, "g", CPU, 1)
    for side in (4, 5, 4, 5, 4):
        (result,) = made(ones(1, 3, side, 8))
        assert np.array_equal(result, 2 * ones(1, 3, side, 8))
    assert fixed == [(), (("height", 4), ("width", 8)), (("height", 5), ("width", 8))]


def test_constant_shapes_are_really_constant(fixed: list[Sizes]) -> None:
    made = Session(GRAPH, "g", CPU, 1)
    one = made._session_for([(1, 3, 4, 8)])
    assert one.get_inputs()[0].shape == [1, 3, 4, 8]
    assert len(fixed) == 2


def test_the_least_recently_used_shape_is_dropped_and_its_memory_with_it(
    fixed: list[Sizes],
) -> None:
    made = Session(GRAPH, "g", CPU, 1)

    def open_for(width: int) -> weakref.ref[object]:
        made(ones(1, 3, 2, width))
        return weakref.ref(made._session_for([(1, 3, 2, width)]))

    first, second, *_ = [open_for(width) for width in range(1, MOST_SHAPES + 1)]
    made(ones(1, 3, 2, 1))  # used again: now the second one is the oldest
    open_for(MOST_SHAPES + 1)
    gc.collect()
    assert first() is not None
    assert second() is None
    assert len(fixed) == 1 + MOST_SHAPES + 1


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        pytest.param([(1, None)], [(1, 4)], id="side without a name"),
        pytest.param([("n", 4), ("n", 4)], [(1, 4), (3, 4)], id="name with two values"),
        pytest.param([(1, 4)], [(1, 4)], id="nothing is free"),
    ],
)
def test_shapes_that_names_do_not_determine_share_one_session(
    fixed: list[Sizes],
    declared: list[tuple[int | str | None, ...]],
    given: list[tuple[int, ...]],
) -> None:
    made = Session(graph_of(*declared, output=[None, None]), "g", CPU, 1)
    (result,) = made(*(ones(*shape) for shape in given))
    assert (result == 2).all()
    made(*(ones(*shape) for shape in given))
    assert fixed == [(), ()]  # the second one is on the device


@pytest.mark.parametrize("shape", [(1, 4, 5, 5), (3, 5, 5), (2, 3, 5, 5)])
@pytest.mark.parametrize("fixed", [False, True], ids=["dynamic", "fixed"])
def test_a_wrong_shape_is_the_same_error(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], fixed: bool
) -> None:
    monkeypatch.setattr(Device, "fixed_shapes", fixed)
    with pytest.raises(ModelBrokenError, match=r"^g: graph failed: .*Got invalid dimensions|rank"):
        Session(GRAPH, "g", CPU, 1)(ones(*shape))


def test_a_size_that_the_graph_refuses_is_an_error_of_the_call(fixed: list[Sizes]) -> None:
    """Two inputs that cannot be added: with constant sizes, ONNX Runtime says so on loading."""
    made = Session(graph_of(["a", 4], ["b", 4], output=["c", 4]), "g", CPU, 1)
    with pytest.raises(ModelBrokenError, match="graph failed"):
        made(ones(2, 4), ones(3, 4))
    (result,) = made(ones(2, 4), ones(2, 4))
    assert result.shape == (2, 4)
    assert fixed[1:] == [(("a", 2), ("b", 3)), (), (("a", 2), ("b", 2))]


def test_names_give_sizes() -> None:
    shapes = [(1, 3, "h", "w"), ("n", "h")]
    assert free_sizes(shapes, [(1, 3, 5, 6), (2, 5)]) == (("h", 5), ("n", 2), ("w", 6))
    assert free_sizes(shapes, [(1, 3, 5, 6), (2, 4)]) is None
    assert free_sizes(shapes, [(1, 2, 5, 6), (2, 5)]) is None
    assert free_sizes(shapes, [(1, 3, 5), (2, 5)]) is None
    assert free_sizes([(1, None)], [(1, 4)]) is None
    assert free_sizes([()], [()]) == ()


def test_pixels_of_bytes_have_constant_shapes_too(fixed: list[Sizes]) -> None:
    made = Session(with_uint8_pixels(GRAPH, ["x0", "y"]), "g", CPU, 1)
    pixels = np.random.default_rng(0).integers(0, 100, (1, 5, 7, 3), np.uint8)
    (result,) = made(pixels)
    assert np.array_equal(result, 2 * pixels)
    assert fixed[1] == (("x0.height", 5), ("x0.width", 7))


@pytest.mark.slow
def test_shipped_models_give_the_same_with_constant_shapes(fixed: list[Sizes]) -> None:
    """All graphs, on the inputs of their self-tests."""
    runtime = Runtime("cpu", threads=1)
    registry = ModelRegistry(default_folders(), lambda: runtime)
    assert registry.ids()
    for model_id in registry.ids():
        registry.open(model_id).verify()
    assert sum(bool(sizes) for sizes in fixed) >= 10


def test_calls_do_not_fall_back_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    calls: Counter[str] = Counter()
    real = onnxruntime.InferenceSession.disable_fallback

    def disable(self: onnxruntime.InferenceSession) -> None:
        calls["disabled"] += 1
        real(self)

    monkeypatch.setattr(onnxruntime.InferenceSession, "disable_fallback", disable)
    Session(GRAPH, "g", CPU, 1)
    assert calls["disabled"] == 1


@pytest.mark.skipif(not STATUS.exists(), reason="reads /proc")
def test_a_large_call_returns_its_memory() -> None:
    """All but one block, whatever the shapes."""
    wide = Session(graph_of_widths(3, 64, 64, 3), "wide", CPU, 1)
    wide(ones(1, 3, 64, 64))
    before = resident()
    for sides in ((512, 700), (700, 512), (640, 600)):
        wide(ones(1, 3, *sides))
        layer = 64 * 4 * sides[0] * sides[1]
        assert resident() - before < 1.5 * layer


# --- the cache ------------------------------------------------------------------------------------


def test_values_are_made_once_and_the_oldest_is_dropped() -> None:
    made: list[str] = []
    cache: Recent[str, str] = Recent(2)

    def get(key: str) -> str:
        def make() -> str:
            made.append(key)
            return key.upper()

        return cache.get(key, make)

    assert [get(key) for key in "abacab"] == [*"ABACAB"]
    assert made == [*"abcb"]  # c dropped b, which was made again and dropped c
    assert len(cache) == 2
    cache.clear()
    assert len(cache) == 0
    get("a")
    assert made[-1] == "a"


def test_what_failed_is_tried_again() -> None:
    cache: Recent[int, int] = Recent()

    def fails() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.get(1, fails)
    assert cache.get(1, lambda: 7) == 7


def test_making_one_value_does_not_stall_another() -> None:
    cache: Recent[str, int] = Recent()
    begun, finish = threading.Event(), threading.Event()

    def slow() -> int:
        begun.set()
        assert finish.wait(20)
        return 1

    waiting = threading.Thread(target=cache.get, args=("slow", slow))
    waiting.start()
    assert begun.wait(20)
    assert cache.get("fast", lambda: 2) == 2  # while the other one is being made
    finish.set()
    waiting.join(20)
    assert cache.get("slow", lambda: 3) == 1


def test_callers_of_one_key_share_its_value() -> None:
    cache: Recent[str, object] = Recent()
    start = threading.Barrier(4, timeout=20)
    found: list[object] = []

    def get(make: Callable[[], object]) -> None:
        start.wait()
        found.append(cache.get("key", make))

    threads = [threading.Thread(target=get, args=(object,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(set(map(id, found))) == 1
    assert len(found) == 4
