"""ONNX Runtime: which device, which options, one session per graph.

ONNX Runtime lists CUDA as available on machines without a GPU and falls back to the CPU in
silence. So nothing here trusts such lists: a device counts as used when a session that was really
created says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import io
import logging
import os
import re
import sys
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from vaetools.errors import DeviceError, ModelBrokenError, OptionError
from vaetools.libraries import library_error
from vaetools.model.limits import WATCH
from vaetools.model.pixels import FINITE
from vaetools.tiling import map_ordered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from logging import Logger

    import onnxruntime

T = TypeVar("T")
R = TypeVar("R")

log: Logger = logging.getLogger(__name__)

OPTIMIZATION = "VAETOOLS_ORT_OPTIMIZATION"
"""Environment variable: `all` (default), `extended`, `basic` or `disable`; for tests and tuning."""

ISOLATE = "VAETOOLS_ISOLATE"
"""Environment variable: which models run in processes of their own, `auto` (default: those that did not
come with vaetools), `always` or `never`."""

CUDA = "CUDAExecutionProvider"

SECONDS = 60.0
"""Time for one call of a graph in this process, whatever its inputs."""

ELEMENTS_PER_SECOND = 100
"""Elements of the inputs for which a call gets a second more."""

INSTALL_CUDA = "pip install 'vaetools[cuda]'"


@dataclass(frozen=True)
class Device:
    """Where graphs run: `cpu`, or `cuda` with the number of the GPU."""

    kind: str
    number: int = 0

    def __str__(self) -> str:
        return "cpu" if self.kind == "cpu" else f"cuda:{self.number}"


def parse_device(text: str) -> Device | None:
    """`auto` -> None, `cpu`, `cuda`, `cuda:1` -> Device. Raises `OptionError`."""
    if text == "auto":
        return None
    match = re.fullmatch(r"cpu|cuda(?::(\d{1,3}))?", text)
    if match is None:
        raise OptionError(f"device={text!r} is not one of auto, cpu, cuda, cuda:N")
    return Device("cpu") if text == "cpu" else Device("cuda", int(match.group(1) or 0))


def isolate_by(wanted: bool | None) -> bool | None:
    """`wanted`, or what `VAETOOLS_ISOLATE` says where it is None; see `Runtime`.

    Raises:
        OptionError: the variable has another value than `auto`, `always` or `never`.
    """
    words = {"auto": None, "always": True, "never": False}
    word = os.environ.get(ISOLATE, "auto")
    if word not in words:
        raise OptionError(f"{ISOLATE}={word!r} is not one of {', '.join(words)}")
    return words[word] if wanted is None else wanted


class Session:
    """One graph, ready to run; safe to call from several threads at once.

    Attributes:
        name: for error messages.
        device: that it runs on.
        inputs, outputs: their names, in order.
    """

    def __init__(self, session: onnxruntime.InferenceSession, name: str, device: Device) -> None:
        self._session = session
        self.name = name
        self.device = device
        self.inputs: tuple[str, ...] = tuple(i.name for i in session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(o.name for o in session.get_outputs())

    @property
    def input_shapes(self) -> tuple[tuple[int | str | None, ...], ...]:
        """Shape of each input: a side is a number, a symbolic name, or None where it has neither."""
        return tuple(tuple(i.shape) for i in self._session.get_inputs())

    def __call__(self, *values: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the graph.

        Args:
            values: arrays in the order of `inputs`.

        Returns:
            Arrays in the order of `outputs`, but for those that only say whether pixels were finite.

        Raises:
            ModelBrokenError: the graph refuses these shapes or types, fails, takes too long, or gives
                values that are not finite.
        """
        if len(values) != len(self.inputs):
            raise ValueError(f"{len(values)} values for {len(self.inputs)} inputs")
        results = self.run(values)
        for name, result in zip(self.outputs, results, strict=True):
            if not _is_finite(result):
                raise ModelBrokenError(
                    f"gave values that are not finite ({name.removesuffix(FINITE)})",
                    file=self.name,
                    remedy="the model is broken, or this input is beyond what it can process",
                )
        named = zip(self.outputs, results, strict=True)
        return tuple(result for name, result in named if not name.endswith(FINITE))

    def run(
        self, values: Sequence[np.ndarray], *, seconds: float | None = None
    ) -> tuple[np.ndarray, ...]:
        """All outputs as they are.

        Args:
            values: arrays in the order of `inputs`.
            seconds: time limit; None for one that follows from the size of the inputs.

        Raises:
            ModelBrokenError: the graph refuses these shapes or types, fails, or takes too long.
            MemoryError: there is not enough memory.
        """
        if seconds is None:
            seconds = SECONDS + sum(value.size for value in values) / ELEMENTS_PER_SECOND
        feeds: Mapping[str, np.ndarray] = dict(zip(self.inputs, values, strict=True))
        with WATCH.within(seconds) as options:
            try:
                return tuple(self._session.run(None, feeds, options))
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - onnxruntime raises many unrelated types
                if options.terminate:
                    problem = f"graph took longer than {seconds:.0f} s for this image"
                    raise ModelBrokenError(problem, file=self.name) from None
                if _is_lack_of_memory(error):
                    raise MemoryError from None
                raise ModelBrokenError(f"graph failed: {error}", file=self.name) from None


def _is_finite(values: np.ndarray) -> bool:
    """Whether all values are finite; the extremes say so, without an array of answers."""
    if values.dtype.kind != "f" or not values.size:
        return True
    return bool(np.isfinite(values.min()) and np.isfinite(values.max()))


def _is_lack_of_memory(error: Exception) -> bool:
    return any(words in str(error) for words in ("bad_alloc", "Failed to allocate memory"))


class Closable(Protocol):
    """What holds memory until it is closed."""

    def close(self) -> None: ...


class Runtime:
    """Opens sessions on one device.

    Args:
        device: `auto` (CUDA where an NVIDIA driver is present and a session really binds, else
            the CPU), `cpu`, `cuda` or `cuda:N`.
        threads: threads within one call; None for one per core. With several callers at once,
            1 gives the best throughput.
        isolate: run models in processes of their own (`vaetools.model.isolation`): all, none, or, with
            None, those that did not come with vaetools.

    Raises:
        DeviceError: CUDA was asked for and does not work here, or two ONNX Runtime packages
            hide each other.
        OptionError: the device is not a known word; a negative number of threads.
    """

    def __init__(
        self, device: str = "auto", *, threads: int | None = None, isolate: bool | None = False
    ) -> None:
        check_packages()
        wanted = parse_device(device)
        self.device: Device = _automatic_device() if wanted is None else _proven_device(wanted)
        if threads is not None and (not isinstance(threads, int) or threads < 0):
            raise OptionError(f"threads={threads!r} is not a whole number of threads")
        self.threads: int = threads or usable_cores()
        self.isolate = isolate
        self._adopted: weakref.WeakSet[Closable] = weakref.WeakSet()
        self._slots: dict[int, threading.BoundedSemaphore] = {}
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def session(
        self, load: Callable[[], bytes], *, key: str, name: str, exact: bool = False
    ) -> Session:
        """The session of a graph, created once per `key`.

        Args:
            load: gives the graph's ONNX bytes; called only if there is no session yet.
            key: identifies the bytes, such as their sha256.
            name: for error messages.
            exact: run on the CPU whatever the device is: GPUs may sum in float32 with fewer bits.
        """
        with self._lock:
            if key not in self._sessions:
                device = Device("cpu") if exact else self.device
                created = _create(load(), device, self.threads, name)
                if device.kind == "cuda" and created.get_providers()[0] != CUDA:
                    raise DeviceError(f"{device}: a graph of it fell back to the CPU", file=name)
                self._sessions[key] = Session(created, name, device)
            return self._sessions[key]

    def map_ordered(self, work: Callable[[T], R], pieces: Sequence[T], threads: int) -> Iterator[R]:
        """`work(piece)` for every piece, in order, up to `threads` at a time.

        Unless it is 1, the limit holds for all callers with the same limit together, so that memory
        does not grow with their number. `work` must not call `map_ordered` itself.
        """
        if threads == 1:
            return map(work, pieces)
        with self._lock:
            slots = self._slots.setdefault(threads, threading.BoundedSemaphore(threads))

        def limited(piece: T) -> R:
            with slots:
                return work(piece)

        return map_ordered(limited, pieces, threads)

    def adopt(self, resource: Closable) -> None:
        """`close` closes this as well."""
        self._adopted.add(resource)

    def close(self) -> None:
        """Drop all sessions and the memory that they hold, and end all workers."""
        with self._lock:
            self._sessions.clear()
        for resource in list(self._adopted):
            resource.close()


def check_packages() -> None:
    """Raise `DeviceError` where both ONNX Runtime packages are installed: one hides the other."""
    found = [name for name in ("onnxruntime", "onnxruntime-gpu") if _installed(name)]
    if len(found) > 1:
        raise DeviceError(
            "both onnxruntime and onnxruntime-gpu are installed, so CUDA is silently off",
            remedy="pip uninstall -y onnxruntime onnxruntime-gpu; pip install onnxruntime-gpu",
        )


@functools.cache
def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def driver_present() -> bool:
    """Whether an NVIDIA driver answers on this machine."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        return bool(ctypes.CDLL(name).cuInit(0) == 0)
    except (OSError, AttributeError):
        return False


def providers(device: Device) -> list[Any]:
    """ONNX Runtime's provider list for a device: the only place that builds one."""
    if device.kind == "cpu":
        return ["CPUExecutionProvider"]
    cuda = {
        "device_id": device.number,
        # Shapes vary with the images: the default, EXHAUSTIVE, tunes for seconds on each.
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }
    return [(CUDA, cuda), "CPUExecutionProvider"]


def session_options(threads: int) -> Any:
    """Session options: all optimisations, sequential, no spinning (it burns the other workers' time)."""
    import onnxruntime as ort

    levels = {
        "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
        "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    }
    level = os.environ.get(OPTIMIZATION, "all")
    if level not in levels:
        raise OptionError(f"{OPTIMIZATION}={level!r} is not one of {', '.join(levels)}")
    options = ort.SessionOptions()
    options.graph_optimization_level = levels[level]
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # What was checked as ONNX is opened as ONNX, and never as ONNX Runtime's own format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 4  # what matters is raised; warnings are not for users
    return options


def usable_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def _create(graph: bytes, device: Device, threads: int, name: str) -> onnxruntime.InferenceSession:
    import onnxruntime as ort

    try:
        return ort.InferenceSession(graph, session_options(threads), providers=providers(device))
    except OptionError:
        raise
    except Exception as error:  # noqa: BLE001 - onnxruntime raises many unrelated types
        if (broken := library_error(error)) is not None:
            raise broken from None
        raise ModelBrokenError(f"graph does not load: {error}", file=name) from None


@functools.cache
def _automatic_device() -> Device:
    if not driver_present():
        return Device("cpu")
    try:
        return _proven_device(Device("cuda"))
    except DeviceError as error:
        log.warning("%s; using the CPU", error)
        return Device("cpu")


@functools.cache
def _proven_device(device: Device) -> Device:
    """`device` itself, after a session has really run on it. Raises `DeviceError`."""
    if device.kind == "cpu":
        return device
    import onnxruntime as ort

    if not driver_present():
        raise DeviceError(f"{device}: no NVIDIA driver answers", remedy="use --device cpu or auto")
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(Exception):
        ort.preload_dlls()
    try:
        session = _create(identity_graph(), device, 1, "probe")
        session.run(None, {"x": np.zeros(1, np.float32)})
    except ModelBrokenError as error:
        raise DeviceError(f"{device}: {error.problem}", remedy=INSTALL_CUDA) from None
    if session.get_providers()[0] != CUDA:
        cause = " ".join(said.getvalue().split()) or "ONNX Runtime fell back to the CPU"
        raise DeviceError(f"{device} does not work: {cause[:300]}", remedy=INSTALL_CUDA)
    return device


def identity_graph() -> bytes:
    """The smallest graph: x -> x. Used to prove a device."""
    from onnx import TensorProto, helper

    value = functools.partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT, shape=[1])
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "probe", [value("x")], [value("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
