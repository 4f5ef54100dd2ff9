"""A super-resolution graph of the user; its factor and size multiple are found by trying."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

import vaetools
from vaetools.graphcheck import check_graph

if TYPE_CHECKING:
    from pathlib import Path

PROBE = 64
"""Side of the test image in pixels."""

CELLS = (1, 2, 4, 8, 16, 32)
"""Size multiples, in pixels, that graphs may require; each divides `PROBE`."""

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


class Network:
    """A graph that takes (1, 3, H, W) RGB and returns (1, 3, scale · H, scale · W).

    Samples are float32 or float16 in [0, 1], or uint8. It runs on the CPU.

    Attributes:
        digest: SHA-256 of the file.
        scale: enlargement factor of each side.
        cell: sides of inputs must be multiples of this.

    Raises:
        vaetools.ModelError: the file does not exist, is not an ONNX graph that passes
            `vaetools.graphcheck`, or is not a graph as above.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            data = file.read_bytes()
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}") from None
        check_graph(data, str(file))
        self.digest = hashlib.sha256(data).hexdigest()
        self._session = self._opened(data)
        self._check_faces()
        self.scale = self._scale()
        self.cell = next((cell for cell in CELLS if self._takes(PROBE - cell)), PROBE)

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """Enlarge float32 RGB (H, W, 3) in [0, 1] to (scale · H, scale · W, 3), about [0, 1].

        Raises:
            vaetools.ModelError: the graph fails, or returns another size or values that are not finite.
        """
        large = self._run(rgb)
        wanted = (rgb.shape[0] * self.scale, rgb.shape[1] * self.scale, 3)
        if large.shape != wanted or not np.isfinite(large).all():
            raise self._error(
                f"returned {large.shape} for {rgb.shape}, or values that are not finite"
            )
        return large

    def _opened(self, data: bytes) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - onnxruntime raises many unrelated types
            raise self._error(f"does not load: {error}") from None

    def _check_faces(self) -> None:
        """Refuse graphs that do not turn one image into one image."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise self._error(
                f"has {len(inputs)} inputs and {len(outputs)} outputs; one of each is needed"
            )
        for value in (*inputs, *outputs):
            if value.type not in TYPES:
                raise self._error(
                    f"{value.name} is {value.type}; expected one of {', '.join(TYPES)}"
                )
        shape = inputs[0].shape  # numbers, names or None
        if len(shape) != 4 or not (_may_be(shape[0], 1) and _may_be(shape[1], 3)):
            raise self._error(f"takes {shape}; expected (1, 3, height, width)")
        if any(isinstance(side, int) for side in shape[2:]):
            raise self._error(
                f"takes {shape[2]} × {shape[3]} pixels only",
                remedy="export it with dynamic height and width",
            )

    def _scale(self) -> int:
        """The enlargement factor. Raises `vaetools.ModelError`."""
        height, width, _ = self._run(_grey(PROBE)).shape
        if height != width or height % PROBE or not height:
            raise self._error(
                f"returns {height} × {width} for {PROBE} × {PROBE} pixels, not an integer multiple"
            )
        return int(height // PROBE)

    def _takes(self, side: int) -> bool:
        try:
            self(_grey(side))
        except vaetools.ModelError:
            return False
        return True

    def _run(self, rgb: np.ndarray) -> np.ndarray:
        """As `__call__`, but the size of the result is not checked. Raises `vaetools.ModelError`."""
        (source,), (sink,) = self._session.get_inputs(), self._session.get_outputs()
        dtype = TYPES[source.type]
        tensor = np.ascontiguousarray(rgb.transpose(2, 0, 1)[None])
        if dtype is np.uint8:
            tensor = np.rint(tensor * 255)
        try:
            (result,) = self._session.run([sink.name], {source.name: tensor.astype(dtype)})
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - onnxruntime raises many unrelated types
            raise self._error(
                f"fails for {rgb.shape[1]} × {rgb.shape[0]} pixels: {error}"
            ) from None
        if result.ndim != 4 or result.shape[:2] != (1, 3):
            raise self._error(
                f"returns {result.shape} for {tensor.shape}, which is not an RGB image"
            )
        white = 255 if sink.type == "tensor(uint8)" else 1
        large: np.ndarray = result[0].transpose(1, 2, 0).astype(np.float32) / np.float32(white)
        return large

    def _error(self, problem: str, *, remedy: str | None = None) -> vaetools.ModelError:
        return vaetools.ModelError(f"graph {problem}", file=self.file, remedy=remedy)


def _may_be(side: int | str | None, number: int) -> bool:
    """Whether a dimension can be `number`; dynamic ones are names or None."""
    return not isinstance(side, int) or side == number


def _grey(side: int) -> np.ndarray:
    return np.full((side, side, 3), 0.5, np.float32)
