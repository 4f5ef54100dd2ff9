"""What is known of a tensor before its graph runs."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck import values
from vaetools.graphcheck.operators import MOST_ELEMENTS

if TYPE_CHECKING:
    from onnx import TypeProto

MOST_SIDES = 16
"""Dimensions of a tensor."""


class Origin(IntEnum):
    """What a tensor's values depend on; a node's outputs have the highest of its inputs."""

    SIZES = 0  # constants and sizes of inputs, by operators that `values` knows
    CONSTANT = 1  # the same, by any operator
    CONTENT = 2  # what the inputs hold


@dataclass(frozen=True)
class Tensor:
    """What is known of a tensor.

    Attributes:
        type: elements and shape; None where a shape that was assumed does not fit.
        origin: see `Origin`.
        value: of small tensors of the origin SIZES, where it can be told.
        positive: made of sides, which are not 0, where the value cannot be told.
    """

    type: TypeProto | None
    origin: Origin
    value: values.Array | None = None
    positive: bool = False

    @property
    def is_positive(self) -> bool:
        return self.positive if self.value is None else bool((self.value > 0).all())

    @functools.cached_property
    def shape(self) -> tuple[int | None, ...] | None:
        """Sides, None for open ones; None as a whole if not even their number is known."""
        if self.type is None or not self.type.tensor_type.HasField("shape"):
            return None
        sides = self.type.tensor_type.shape.dim
        return tuple(d.dim_value if d.HasField("dim_value") else None for d in sides)

    @functools.cached_property
    def known_sides(self) -> tuple[int, ...]:
        return tuple(side for side in self.shape or () if side is not None)

    @functools.cached_property
    def known_shape(self) -> tuple[int, ...] | None:
        """The shape, if no side is open."""
        sides = self.known_sides
        return sides if self.shape is not None and len(sides) == len(self.shape) else None

    @functools.cached_property
    def elements(self) -> int:
        """Their number, at least: open sides count as 1."""
        return math.prod(self.known_sides)

    def check(self) -> None:
        """Refuse a tensor that is too large. Raises `ModelBrokenError`."""
        sides = self.shape or ()
        if len(sides) > MOST_SIDES:
            raise ModelBrokenError(f"has {len(sides)} dimensions, the limit is {MOST_SIDES}")
        if any(side < 0 for side in self.known_sides):
            raise ModelBrokenError(f"has a negative side: {self.known_sides}")
        if self.elements > MOST_ELEMENTS:
            raise ModelBrokenError(f"has {self.elements} elements, the limit is {MOST_ELEMENTS}")


def constant(array: values.Array, element: int) -> Tensor:
    """A tensor that the graph brings along; `element` is its ONNX element type."""
    from onnx import helper

    kind = helper.make_tensor_type_proto(element, array.shape)
    if array.size > values.MOST_ELEMENTS:
        return Tensor(kind, Origin.CONSTANT)
    return Tensor(kind, Origin.SIZES, array)
