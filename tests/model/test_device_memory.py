"""A device that lacks memory never ends a run: smaller tiles, then the CPU, and a remark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.model.test_session import GRAPH, ones
from vaetools.device_memory import DeviceMemoryError, can_shrink, watched
from vaetools.errors import DeviceError, ModelBrokenError
from vaetools.model import session
from vaetools.model.devices import Device
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.model.session import LACKS_MEMORY, Session
from vaetools.model.vae import Vae
from vaetools.testing import TINY
from vaetools.tiling import map_ordered, map_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vaetools.model.session import Sizes

GPU = Device("cuda")

LACK = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: bfc_arena.cc:376 "
    "Failed to allocate memory for requested buffer of size 4294967296"
)


class Pretended:
    """A session of ONNX Runtime on a GPU with memory for so many elements of an input."""

    def __init__(self, real: object, most: int, problem: str) -> None:
        self.real, self.most, self.problem = real, most, problem

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider"]

    def run(self, names: object, feeds: dict[str, np.ndarray], options: object) -> object:
        if max(value.size for value in feeds.values()) > self.most:
            raise RuntimeError(self.problem)
        return self.real.run(names, feeds, options)  # type: ignore[attr-defined]


class Gpu:
    """What the GPU can do, and the constant sizes of the sessions that were opened there."""

    def __init__(self) -> None:
        self.most, self.problem = 10**9, LACK
        self.opened: list[Sizes] = []


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    made = Gpu()
    create = session.create_session

    def pretend(graph: bytes, device: Device, threads: int, name: str, sizes: Sizes = ()) -> object:
        real = create(graph, Device("cpu"), threads, name, sizes)
        if device.kind == "cpu":
            return real
        made.opened.append(sizes)
        return Pretended(real, made.most, made.problem)

    monkeypatch.setattr(session, "create_session", pretend)
    return made


@pytest.mark.parametrize(
    "said",
    [
        LACK,
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=a ; expr=cudaMalloc(&p, size)",
        "CUDA error cudaErrorMemoryAllocation:out of memory",
        "CUDNN failure 5000: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDNN_STATUS_ALLOC_FAILED",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
        "Available memory of 10 is smaller than requested bytes of 20",
        "std::bad_alloc",
    ],
)
def test_lack_of_memory_is_recognised(said: str) -> None:
    assert LACKS_MEMORY.search(said)


@pytest.mark.parametrize(
    "said", ["CUDA failure 719: unspecified launch failure", "Got invalid dimensions for input"]
)
def test_other_failures_are_not(said: str) -> None:
    assert not LACKS_MEMORY.search(said)


def test_the_cpu_computes_what_does_not_fit(gpu: Gpu) -> None:
    gpu.most = 3 * 4 * 4
    opened = Session(GRAPH, "g", GPU, 1)
    with watched() as shortages:
        (small,) = opened(ones(1, 3, 4, 4))
        assert not shortages.remarks
        (large,) = opened(ones(1, 3, 40, 40))
    assert small.shape == (1, 3, 4, 4)
    assert np.array_equal(large, 2 * ones(1, 3, 40, 40))
    assert shortages.remarks == ["cuda:0 had too little memory: parts were computed on the CPU"]
    assert shortages.used_cpu


def test_sessions_for_other_shapes_give_their_memory_back_first(gpu: Gpu) -> None:
    """The first try fails because of what another session holds, the second one succeeds."""
    one, other = Session(GRAPH, "one", GPU, 1), Session(GRAPH, "other", GPU, 1)
    one(ones(1, 3, 2, 2))
    gpu.most = 0

    def more(*_: object) -> None:
        gpu.most = 10**9

    with pytest.MonkeyPatch.context() as patch:
        real = Session.release
        patch.setattr(Session, "release", lambda self: (real(self), more()))
        with watched() as shortages:
            other(ones(1, 3, 4, 4))
    assert not shortages.remarks
    assert gpu.opened == [
        (("height", 2), ("width", 2)),
        *2 * [(("height", 4), ("width", 4))],
    ]
    one(ones(1, 3, 2, 2))
    assert len(gpu.opened) == 4  # it had been closed


def test_a_caller_that_can_shrink_hears_of_it(gpu: Gpu) -> None:
    gpu.most = 1
    opened = Session(GRAPH, "g", GPU, 1)
    with can_shrink(), pytest.raises(DeviceMemoryError, match="cuda:0 has too little memory"):
        opened(ones(1, 3, 4, 4))
    opened(ones(1, 3, 4, 4))  # now it cannot: the CPU


def test_a_session_that_cannot_be_opened_for_lack_of_memory(gpu: Gpu) -> None:
    opened = Session(GRAPH, "g", GPU, 1)

    def full(*_: object) -> object:
        raise DeviceMemoryError("cuda:0")

    with pytest.MonkeyPatch.context() as patch, watched() as shortages:
        patch.setattr(Session, "_opened", full)
        (result,) = opened(ones(1, 3, 4, 4))
    assert result.shape == (1, 3, 4, 4)
    assert shortages.used_cpu


def test_the_error_of_opening_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def full(*_: object, **__: object) -> None:
        raise RuntimeError(LACK)

    monkeypatch.setattr(onnxruntime, "InferenceSession", full)
    monkeypatch.setattr(session, "bind", lambda *_: [])
    with pytest.raises(DeviceMemoryError):
        session.create_session(GRAPH, GPU, 1, "g")
    with pytest.raises(ModelBrokenError):
        session.create_session(GRAPH, Device("cpu"), 1, "g")


@pytest.mark.parametrize(
    "said", ["CUDA failure 719: unspecified launch failure", "CUDNN failure 8: EXECUTION_FAILED"]
)
def test_a_device_that_fails_is_not_a_broken_model(gpu: Gpu, said: str) -> None:
    gpu.most, gpu.problem = 1, said
    with pytest.raises(DeviceError, match=r"^cuda:0 failed: CUD.*use --device cpu$") as caught:
        Session(GRAPH, "g", GPU, 1)(ones(1, 3, 4, 4))
    assert (caught.value.code, caught.value.exit_code) == ("E060", 4)


# --- tiles ----------------------------------------------------------------------------------------


def tiled(opened: Session, image: np.ndarray, *, windows: bool = False) -> np.ndarray:
    return map_tiles(
        lambda part: opened(part)[0],
        [image],
        scale_in=[1],
        scale_out=1,
        size=16,
        halo=2,
        windows=windows,
    )


@pytest.mark.parametrize("windows", [False, True])
def test_tiles_become_smaller(gpu: Gpu, windows: bool) -> None:
    gpu.most = 3 * 15 * 15
    image = np.random.default_rng(0).random((1, 3, 50, 37)).astype(np.float32)
    opened = Session(GRAPH, "g", GPU, 1)
    with watched() as shortages:
        result = tiled(opened, image, windows=windows)
    assert np.array_equal(result, 2 * image)
    assert shortages.remarks == ["cuda:0 had too little memory: smaller tiles were computed"]
    assert not shortages.used_cpu
    large = [dict(sizes) for sizes in gpu.opened if dict(sizes)["height"] > 15]
    assert len(large) == 2  # one tile, tried twice: the others of the image are small at once


def test_tiles_that_are_small_enough_for_nothing_go_to_the_cpu(gpu: Gpu) -> None:
    gpu.most = 1
    image = np.random.default_rng(0).random((1, 3, 20, 17)).astype(np.float32)
    with watched() as shortages:
        result = tiled(Session(GRAPH, "g", GPU, 1), image)
    assert np.array_equal(result, 2 * image)
    assert [remark.split(": ")[-1] for remark in shortages.remarks] == [
        "smaller tiles were computed",
        "parts were computed on the CPU",
    ]


def test_a_small_image_of_a_vae_is_divided(tiny_models: Path, lacking: list[str]) -> None:
    runtime = Runtime("cpu", threads=1)
    vae = ModelRegistry([tiny_models], lambda: runtime).open(TINY)
    assert isinstance(vae, Vae)
    image = np.random.default_rng(0).random((40, 52, 3)).astype(np.float32)
    with watched() as shortages:
        mean = vae.encode(image).mode()
        found = vae.decode(mean)
    assert len(lacking) == 2
    assert shortages.remarks == ["cuda:0 had too little memory: smaller tiles were computed"]
    assert np.array_equal(mean.values, vae.encode(image).mean)
    assert np.array_equal(found, vae.decode(mean))


def test_threads_note_it_as_well(gpu: Gpu) -> None:
    gpu.most = 1
    opened = Session(GRAPH, "g", GPU, 1)

    def work(image: np.ndarray) -> np.ndarray:
        return opened(image)[0]

    images: Sequence[np.ndarray] = [ones(1, 3, 4, 4)] * 3
    with watched() as shortages:
        list(map_ordered(work, images, 2))
    assert shortages.used_cpu
    with watched() as others:
        pass
    assert not others.remarks
