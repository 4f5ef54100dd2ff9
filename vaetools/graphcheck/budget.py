"""What a whole graph takes for an image of a given size: multiplications, and memory at its peak.

All nodes count together, so that many cheap nodes are refused as one expensive node is. The limits are
per pixel. Of the models that come with vaetools, `photo-inpaint` takes most: 124,000 multiplications and
260 bytes per pixel. The decoder of Stable Diffusion takes 4.7 million and some 9,000.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck.costs import cost_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx import ModelProto, NodeProto

    from vaetools.graphcheck.tensor import Tensor

STEPS_PER_PIXEL = 2**23
"""Multiplications of a graph per pixel of the image: 8.4 million."""

MEMORY_PER_PIXEL = 2**14
"""Bytes of intermediate results per pixel, at the moment when they are most."""

MIN_PIXELS = 2**12
"""Smaller images count as 64 x 64 pixels."""

MAX_PIXELS = 2**15
"""Larger images do not get more where a graph accepts any size: a manifest chooses the size of its
self-test, and its graphs are also used for small images."""

MAX_FIXED_PIXELS = 2**22
"""The same for graphs that accept one size only."""


def pixels_of(inputs: Iterable[Tensor], sizes: Mapping[str, int], size: Sequence[int] = ()) -> int:
    """Pixels of the image that a graph is checked with.

    Args:
        inputs: of the graph, with unknown dimensions.
        sizes: symbolic dimension -> its value for a small image.
        size: (height, width) of a model that accepts one size only. It counts where the graph does, too:
            latents do not tell the size of an image.
    """
    image = min(sizes.get("height", 1) * sizes.get("width", 1), MAX_PIXELS)
    shapes = [tensor.shape or () for tensor in inputs]
    fixed = [math.prod(s for s in shape[2:] if s) for shape in shapes if is_one_size(shape)]
    if size and len(fixed) == len(shapes):
        fixed.append(math.prod(size))
    return max(MIN_PIXELS, image, min(max(fixed, default=0), MAX_FIXED_PIXELS))


def is_one_size(shape: Sequence[int | None]) -> bool:
    """Whether an input has one size only, in batches of any length."""
    return len(shape) > 1 and None not in shape[1:]


class Budget:
    """Counts what the nodes of a graph take, in order.

    Args:
        model: the graph.
        pixels: of the image.

    Attributes:
        steps: multiplications so far.
        peak: bytes of intermediate results, at the moment when they were most.
    """

    def __init__(self, model: ModelProto, pixels: int) -> None:
        self.steps: int = 0
        self.peak: int = 0
        self._pixels = pixels
        self._live: dict[str, int] = {}
        self._kept = {value.name for value in model.graph.output}
        self._last = {
            name: number
            for number, node in enumerate(model.graph.node)
            for name in (*node.input, *node.output)
        }
        self._number = 0

    def begin(self, inputs: Mapping[str, Tensor]) -> None:
        """Count the inputs of the graph."""
        self._live = {name: tensor.bytes for name, tensor in inputs.items()}

    def skip(self) -> None:
        """Pass over a node that is computed when the graph is opened."""
        self._number += 1

    def add(
        self, node: NodeProto, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor | None]
    ) -> None:
        """Count the next node. Raises `ModelBrokenError` where the graph exceeds a limit."""
        shapes = [[None if t is None else t.known_shape for t in ts] for ts in (inputs, outputs)]
        is_known = all(
            tensor is None or tensor.known_shape is not None for tensor in (*inputs, *outputs)
        )
        workspace = 0
        if is_known:
            cost = cost_of(node, *shapes)
            self.steps += cost.steps
            workspace = 4 * cost.workspace
        for name, tensor in zip(node.output, outputs, strict=True):
            if tensor is not None:
                self._live[name] = tensor.bytes
        self.peak = max(self.peak, sum(self._live.values()) + workspace)
        for name in {*node.input, *node.output} - self._kept:
            if self._last[name] == self._number:
                self._live.pop(name, None)
        self._number += 1

    def check(self) -> None:
        """Raise `ModelBrokenError` where the nodes so far exceed a limit."""
        steps, memory = STEPS_PER_PIXEL * self._pixels, MEMORY_PER_PIXEL * self._pixels
        if self.steps > steps:
            raise ModelBrokenError(
                f"brings the graph to {self.steps} multiplications for {self._pixels} pixels, "
                f"the limit is {steps}"
            )
        if self.peak > memory:
            raise ModelBrokenError(
                f"brings the graph to {self.peak / 2**20:.0f} MiB of memory for {self._pixels} "
                f"pixels, the limit is {memory // 2**20}"
            )
