"""What a graph takes for inputs of given shapes: the check knows a small image only."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck.budget import MEMORY_PER_PIXEL, MIN_PIXELS, STEPS_PER_PIXEL, is_one_size
from vaetools.graphcheck.sizes import measure
from vaetools.graphcheck.whitelist import constants_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ValueInfoProto

MAX_KEPT = 256
"""Shapes whose estimate is kept."""


@dataclass(frozen=True)
class Estimate:
    """What one call of a graph takes.

    Attributes:
        steps: multiplications; see `costs`.
        memory: bytes of intermediate results, at the moment when they are most.
    """

    steps: int
    memory: int


class Estimator:
    """Estimates the calls of a graph that passed `check_graph`. Thread-safe.

    Args:
        data: ONNX bytes.
        scales: symbolic dimension -> pixels of the image for each of its elements, such as 16 for
            `latent_height`.
        scale: the same for the sides of inputs that have other names, or none.
        size: (height, width) of a model that accepts one size only; see `pixels_of`.
    """

    def __init__(
        self,
        data: bytes,
        scales: Mapping[str, int],
        *,
        scale: int = 1,
        size: Sequence[int] = (),
    ) -> None:
        import onnx

        self._model = onnx.load_from_string(data)
        self._constants = constants_of(self._model)
        for tensor in self._model.graph.initializer:
            tensor.ClearField("raw_data")
        self._sides = {
            value.name: _Sides(value, scales, scale)
            for value in self._model.graph.input
            if value.name not in self._constants
        }
        one_size = all(sides.one_size for sides in self._sides.values())
        self._fixed = math.prod(size) if size and one_size else 0
        self._lock = threading.Lock()
        self._known: dict[tuple[tuple[int, ...], ...], Estimate] = {}

    def of(self, shapes: Mapping[str, tuple[int, ...]]) -> Estimate:
        """The estimate for inputs of these shapes.

        Raises:
            ModelBrokenError: the graph takes more than an image of this size may need.
        """
        key = tuple(shapes.values())
        with self._lock:
            if key not in self._known:
                if len(self._known) >= MAX_KEPT:
                    self._known.clear()
                self._known[key] = self._new(shapes)
            return self._known[key]

    def _new(self, shapes: Mapping[str, tuple[int, ...]]) -> Estimate:
        if any(len(shape) != self._sides[name].rank for name, shape in shapes.items()):
            return Estimate(0, 0)  # ONNX Runtime refuses these
        spent = measure(self._model, self._constants, shapes)
        pixels = self._pixels(shapes)
        if spent.steps > STEPS_PER_PIXEL * pixels or spent.peak > MEMORY_PER_PIXEL * pixels:
            raise ModelBrokenError(
                f"graph takes {spent.steps} multiplications and {spent.peak / 2**20:.0f} MiB for "
                f"{pixels} pixels, the limits are {STEPS_PER_PIXEL * pixels} and "
                f"{MEMORY_PER_PIXEL * pixels // 2**20}"
            )
        return Estimate(spent.steps, spent.peak)

    def _pixels(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Pixels of all images of a call; each counts as the check counts the one that it knows."""
        images = max(math.prod(shape[:1]) for shape in shapes.values())
        found = (self._sides[name].pixels(shape) for name, shape in shapes.items())
        return images * max(MIN_PIXELS, self._fixed, *found)


class _Sides:
    """How the shape of an input tells the size of an image.

    Args:
        value: the input.
        scales, scale: as for `Estimator`.
    """

    def __init__(self, value: ValueInfoProto, scales: Mapping[str, int], scale: int) -> None:
        sides = value.type.tensor_type.shape.dim
        # Inputs of bytes have names such as `image.height`.
        names = [side.dim_param.rpartition(".")[2] for side in sides]
        self.rank: int = len(sides)
        self.one_size: bool = is_one_size(
            [side.dim_value if side.HasField("dim_value") else None for side in sides]
        )
        first = min([2, *(axis for axis, name in enumerate(names) if axis and name in scales)])
        self._axes = range(first, first + max(0, self.rank - 2))  # NCHW, or NHWC of bytes
        self._factor = math.prod(scales.get(names[axis], scale) for axis in self._axes)

    def pixels(self, shape: tuple[int, ...]) -> int:
        """Pixels of one image."""
        return self._factor * math.prod(shape[axis] for axis in self._axes)
