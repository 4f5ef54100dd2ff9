"""One graph, ready to run: ONNX Runtime's session, its options, its errors, and its time limit."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vaetools.device_memory import MOVED, DeviceMemoryError, is_shrinkable, note
from vaetools.errors import DeviceError, ModelBrokenError, OptionError
from vaetools.libraries import library_error
from vaetools.model.batch_axis import BATCH_NAME
from vaetools.model.devices import Device, bind
from vaetools.model.kernels import with_device_kernels
from vaetools.model.limits import WATCH
from vaetools.model.pixels import FILE, FINITE
from vaetools.model.recent import Recent
from vaetools.native import cause_of, onnxruntime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnxruntime import InferenceSession

    from vaetools.model.batching import Batcher


OPTIMIZATION = "VAETOOLS_ORT_OPTIMIZATION"
"""Environment variable: `all` (default), `extended`, `basic` or `disable`; for tests and tuning."""

CPU = "CPUExecutionProvider"

SECONDS = 60.0
"""Time for one call of a graph in this process, whatever its inputs."""

ELEMENTS_PER_SECOND = 100
"""Elements of the inputs for which a call gets a second more."""


LACKS_MEMORY = re.compile(
    "bad_alloc|failed to allocate memory|out of ?memory|not enough memory|memoryallocation"
    "|alloc(ation)?_fail|smaller than requested bytes",
    re.IGNORECASE,
)
"""Messages of ONNX Runtime, CUDA, cuDNN, cuBLAS, OpenCL and Direct3D."""

DEVICE_FAILS = re.compile("CUDA (error|failure)|cudaError|CUDNN|CUBLAS|EP_FAIL")

LARGE = 2 * 2**20
"""Bytes of the inputs from which a call on the CPU returns its memory: a tile, or an image of 0.7
megapixels. Otherwise each graph keeps the most that it ever took, and more for each shape. To ask the
system for it again takes no time that can be measured in calls of this size (5 % for images half as
large). The block with the output stays until the next such call."""

FREE = ("memory.enable_memory_arena_shrinkage", "cpu:0")
"""A setting of a call: when it is done, memory that is not in use is returned."""

MOST_SHAPES = 16
"""Input shapes of a graph for which sessions are kept on a device that wants fixed shapes."""

Sizes: TypeAlias = tuple[tuple[str, int], ...]
"""Symbolic dimensions and their values."""


class Session:
    """One graph, ready to run; safe to call from several threads at once.

    On a device that wants fixed shapes (`Device.fixed_shapes`) each combination of input shapes gets a
    session of ONNX Runtime of its own, in which all dimensions are constants: nodes that compute with
    shapes are folded away, and cuDNN keeps its plans (since ONNX Runtime 1.20, a convolution has one
    plan, made anew when the shape changes). The least recently used ones are dropped.

    Where a device lacks memory, sessions for other shapes are closed; then smaller tiles are tried if
    the caller can (`vaetools.device_memory`), and then the CPU.

    Args:
        graph: ONNX bytes.
        name: for error messages.
        device: to run on.
        threads: within one call.
        batcher: runs calls that wait for the device together, where the graph has a batch axis.

    Attributes:
        name, device: as given.
        inputs, outputs: their names, in order.
        has_batch: whether axis 0 of all of them is the batch, see `vaetools.model.batch_axis`.

    Raises:
        ModelBrokenError: the graph does not load.
    """

    def __init__(
        self,
        graph: bytes,
        name: str,
        device: Device,
        threads: int,
        batcher: Batcher | None = None,
    ) -> None:
        self.name = name
        self.device = device
        self._batcher = batcher
        self._threads = threads
        self._graph = graph if device.kind == "cpu" else with_device_kernels(graph)
        self._session = create_session(self._graph, Device("cpu"), threads, name)
        if device.kind == "cpu" and not device.fixed_shapes:
            self._graph = b""  # it is not opened again
        self._turn = threading.Lock() if device.serial else contextlib.nullcontext()
        self._by_sizes: Recent[Sizes, InferenceSession] = Recent(MOST_SHAPES)
        self.inputs: tuple[str, ...] = tuple(i.name for i in self._session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(o.name for o in self._session.get_outputs())
        ports = [*self._session.get_inputs(), *self._session.get_outputs()]
        self.has_batch: bool = all(port.shape[:1] == [BATCH_NAME] for port in ports)
        with _LIVE_LOCK:
            _LIVE.add(self)

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
            DeviceError, MemoryError: see `run`.
        """
        if len(values) != len(self.inputs):
            raise ValueError(f"{len(values)} values for {len(self.inputs)} inputs")
        results = self.run(values)
        for name, result in zip(self.outputs, results, strict=True):
            if not _is_finite(result):
                what, file = self._origin(name)
                raise ModelBrokenError(
                    f"gave values that are not finite{what}",
                    file=file,
                    remedy="the model is broken, or this input is beyond what it can process",
                )
        named = zip(self.outputs, results, strict=True)
        return tuple(result for name, result in named if not name.endswith(FINITE))

    def _origin(self, output: str) -> tuple[str, str]:
        """What an output stands for, in words, and the graph that gave it."""
        name = output.removesuffix(FINITE)
        if name.startswith(FILE):
            return "", str(Path(self.name).with_name(name.removeprefix(FILE)))
        return f" ({name})", self.name

    def run(
        self, values: Sequence[np.ndarray], *, seconds: float | None = None
    ) -> tuple[np.ndarray, ...]:
        """All outputs as they are.

        Args:
            values: arrays in the order of `inputs`.
            seconds: time limit; None for one that follows from the size of the inputs.

        Raises:
            ModelBrokenError: the graph refuses these shapes or types, fails, or takes too long.
            DeviceError: the device fails, or ONNX Runtime does not use it for this graph.
            DeviceMemoryError: the device has too little memory, and the caller can try smaller tiles.
            MemoryError: there is not enough memory on the CPU.
        """
        if seconds is None:
            seconds = SECONDS + sum(value.size for value in values) / ELEMENTS_PER_SECOND
        if self._graph == b"":
            return self._run(self._session, values, seconds)
        try:
            if self._batcher is None:
                return self.compute(values, seconds)
            return self._batcher.call(self, values, seconds)
        except DeviceMemoryError as error:
            if is_shrinkable():
                raise
            note(error.device, MOVED)
        return self._run(self._session, values, seconds)

    def compute(self, values: Sequence[np.ndarray], seconds: float) -> tuple[np.ndarray, ...]:
        """Run on the device, if need be with the memory that sessions for other shapes hold there.

        Args:
            values: arrays in the order of `inputs`.
            seconds: time limit.

        Raises:
            DeviceMemoryError: that is not enough either.
            DeviceError: the device fails.
        """

        def once() -> tuple[np.ndarray, ...]:
            with self._turn:
                session = self._session_for([value.shape for value in values])
                return self._run(session, values, seconds)

        with contextlib.suppress(DeviceMemoryError):
            return once()
        release(self.device)
        return once()

    def _run(
        self, session: InferenceSession, values: Sequence[np.ndarray], seconds: float
    ) -> tuple[np.ndarray, ...]:
        feeds: Mapping[str, np.ndarray] = dict(zip(self.inputs, values, strict=True))
        on_cpu = session is self._session
        with WATCH.within(seconds) as options:
            if on_cpu and sum(value.nbytes for value in values) >= LARGE:
                options.add_run_config_entry(*FREE)
            try:
                return tuple(session.run(None, feeds, options))
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - onnxruntime raises many unrelated types
                if options.terminate:
                    problem = f"graph took longer than {seconds:.0f} s for this image"
                    raise ModelBrokenError(problem, file=self.name) from None
                device = Device("cpu") if on_cpu else self.device
                _raise_device_error(error, device)
                raise ModelBrokenError(f"graph failed: {error}", file=self.name) from None

    def _session_for(self, shapes: Sequence[tuple[int, ...]]) -> InferenceSession:
        """The session on the device for inputs of these shapes."""
        sizes = free_sizes(self.input_shapes, shapes) if self.device.fixed_shapes else ()
        return self._by_sizes.get(sizes or (), lambda: self._opened(sizes or ()))

    def _opened(self, sizes: Sizes) -> InferenceSession:
        try:
            session = create_session(self._graph, self.device, self._threads, self.name, sizes)
        except ModelBrokenError:
            if not sizes:
                raise
            return self._by_sizes.get((), lambda: self._opened(()))  # running it says why
        if self.device.kind != "cpu" and session.get_providers()[0] == CPU:
            raise DeviceError(f"{self.device}: a graph of it fell back to the CPU", file=self.name)
        return session

    def release(self) -> None:
        """Close the sessions on the device; they are opened again when they are needed."""
        self._by_sizes.clear()


_LIVE: weakref.WeakSet[Session] = weakref.WeakSet()
_LIVE_LOCK = threading.Lock()


def release(device: Device) -> None:
    """Close the sessions of all graphs on a device: each keeps the memory of its largest call."""
    with _LIVE_LOCK:
        live = list(_LIVE)
    for session in live:
        if session.device == device:
            session.release()


def free_sizes(
    declared: Sequence[Sequence[int | str | None]], given: Sequence[tuple[int, ...]]
) -> Sizes | None:
    """Values of all symbolic dimensions, in order of their names.

    Args:
        declared: shapes of the inputs; a side is a number, a symbolic name, or None.
        given: shapes of arrays for them.

    Returns:
        None where the names do not determine all sides: a side without a name, a name with two values,
        or arrays of other shapes than declared.
    """
    sizes: dict[str, int] = {}
    for names, shape in zip(declared, given, strict=True):
        if len(names) != len(shape):
            return None
        for name, side in zip(names, shape, strict=True):
            known = sizes.setdefault(name, side) if isinstance(name, str) else name
            if known != side:
                return None
    return tuple(sorted(sizes.items()))


def _is_finite(values: np.ndarray) -> bool:
    """Whether all values are finite; the extremes say so, without an array of answers."""
    if values.dtype.kind != "f" or not values.size:
        return True
    return bool(np.isfinite(values.min()) and np.isfinite(values.max()))


def _raise_device_error(error: Exception, device: Device) -> None:
    """Raise the error of a device that lacks memory or fails, if that is what it says.

    Raises:
        DeviceMemoryError: a device other than the CPU lacks memory.
        MemoryError: the CPU does.
        DeviceError: the device fails.
    """
    said = str(error)
    if LACKS_MEMORY.search(said):
        raise DeviceMemoryError(str(device)) if device.kind != "cpu" else MemoryError from None
    if device.kind != "cpu" and DEVICE_FAILS.search(said):
        raise DeviceError(
            f"{device} failed: {cause_of(said)}",
            remedy="try again; if it fails again, update its driver, or use --device cpu",
        ) from None


def session_options(threads: int) -> Any:
    """Session options: all optimisations, sequential, no spinning (it burns the other workers' time)."""
    ort = onnxruntime()
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


_processes = 1


def share_cores(processes: int) -> None:
    """From now on, this is one of `processes` that use the cores together: see `usable_cores`."""
    global _processes  # noqa: PLW0603 - a fact about the process
    _processes = processes


def usable_cores() -> int:
    """Cores that this process may use."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    return max(cores // _processes, 1)


def create_session(
    graph: bytes, device: Device, threads: int, name: str, sizes: Sizes = ()
) -> InferenceSession:
    """A session of ONNX Runtime.

    Args:
        graph: ONNX bytes.
        device: to run on.
        threads: within one call.
        name: for error messages.
        sizes: symbolic dimensions that become constants.

    Raises:
        ModelBrokenError: the graph does not load.
        DeviceError: nothing that is installed provides the device, or it fails.
        DeviceMemoryError: the device has too little memory.
        OptionError: `VAETOOLS_ORT_OPTIMIZATION` is not one of its words.
        LibraryError: ONNX Runtime itself is broken.
    """
    options = session_options(threads)
    for symbol, size in sizes:
        options.add_free_dimension_override_by_name(symbol, size)
    try:
        providers = bind(device, options, graph)
        session = onnxruntime().InferenceSession(
            graph, options, providers=providers, enable_fallback=0
        )
    except DeviceError:
        raise
    except Exception as error:  # noqa: BLE001 - onnxruntime raises many unrelated types
        if (broken := library_error(error)) is not None:
            raise broken from None
        if device.kind != "cpu":
            _raise_device_error(error, device)
        raise ModelBrokenError(f"graph does not load: {error}", file=name) from None
    # Otherwise a call that fails on a GPU and all later ones silently run on the CPU.
    session.disable_fallback()
    return session
