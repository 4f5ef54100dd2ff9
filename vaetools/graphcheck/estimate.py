"""What a graph takes for inputs of given shapes: the check knows a small image only."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck.budget import MEMORY_PER_PIXEL, MIN_PIXELS, STEPS_PER_PIXEL
from vaetools.graphcheck.sizes import measure
from vaetools.graphcheck.whitelist import constants_of

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """

    def __init__(self, data: bytes, scales: Mapping[str, int]) -> None:
        import onnx

        self._model = onnx.load_from_string(data)
        self._constants = constants_of(self._model)
        for tensor in self._model.graph.initializer:
            tensor.ClearField("raw_data")
        self._scales = {
            value.name: [scales.get(side.dim_param, 1) for side in value.type.tensor_type.shape.dim]
            for value in self._model.graph.input
        }
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
        if any(len(shape) != len(self._scales[name]) for name, shape in shapes.items()):
            return Estimate(0, 0)  # ONNX Runtime refuses these
        spent = measure(self._model, self._constants, shapes)
        pixels = max(MIN_PIXELS, *(self._pixels(name, shape) for name, shape in shapes.items()))
        if spent.steps > STEPS_PER_PIXEL * pixels or spent.peak > MEMORY_PER_PIXEL * pixels:
            raise ModelBrokenError(
                f"graph takes {spent.steps} multiplications and {spent.peak / 2**20:.0f} MiB for "
                f"{pixels} pixels, the limits are {STEPS_PER_PIXEL * pixels} and "
                f"{MEMORY_PER_PIXEL * pixels // 2**20}"
            )
        return Estimate(spent.steps, spent.peak)

    def _pixels(self, name: str, shape: tuple[int, ...]) -> int:
        """Pixels of the images, to which an input belongs."""
        sides = zip(shape, self._scales[name], strict=True)
        scaled = [side * scale for side, scale in sides]
        return math.prod(shape[:1]) * math.prod(scaled[2:])
