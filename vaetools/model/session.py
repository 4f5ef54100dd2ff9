"""One graph, ready to run: ONNX Runtime's session, its options, its errors, and its time limit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import ModelBrokenError, OptionError
from vaetools.libraries import library_error
from vaetools.model.devices import providers
from vaetools.model.limits import WATCH
from vaetools.model.pixels import FINITE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnxruntime

    from vaetools.model.devices import Device

OPTIMIZATION = "VAETOOLS_ORT_OPTIMIZATION"
"""Environment variable: `all` (default), `extended`, `basic` or `disable`; for tests and tuning."""

SECONDS = 60.0
"""Time for one call of a graph in this process, whatever its inputs."""

ELEMENTS_PER_SECOND = 100
"""Elements of the inputs for which a call gets a second more."""


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


def create_session(
    graph: bytes, device: Device, threads: int, name: str
) -> onnxruntime.InferenceSession:
    import onnxruntime as ort

    try:
        return ort.InferenceSession(graph, session_options(threads), providers=providers(device))
    except OptionError:
        raise
    except Exception as error:  # noqa: BLE001 - onnxruntime raises many unrelated types
        if (broken := library_error(error)) is not None:
            raise broken from None
        raise ModelBrokenError(f"graph does not load: {error}", file=name) from None
