"""Tensors as inference knows them, before the graph runs."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck import values
from vaetools.graphcheck.operators import MAX_ELEMENTS

if TYPE_CHECKING:
    from onnx import TypeProto

MAX_SIDES = 16
"""Dimensions of a tensor."""


ELEMENT_BYTES = {2: 1, 3: 1, 4: 2, 5: 2, 7: 8, 9: 1, 10: 2, 11: 8, 13: 8, 16: 2}
"""Bytes of an element, by ONNX's number of its type, where they are not 4."""


class Origin(IntEnum):
    """What the values of a tensor depend on; outputs of a node have the highest origin of its inputs."""

    SIZES = 0  # constants and sizes of inputs, by operators that `values` knows
    CONSTANT = 1  # the same, by any operator
    CONTENT = 2  # values of the inputs


@dataclass(frozen=True)
class Tensor:
    """Type, origin and perhaps value of a tensor.

    Attributes:
        type: element type and shape; None where an assumed shape does not fit.
        origin: see `Origin`.
        value: of small tensors of the origin SIZES, where it can be computed.
        positive: all values are positive, since they are dimensions; for an unknown value.
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
        """Dimensions, None for unknown ones; None as a whole if not even their number is known."""
        if self.type is None or not self.type.tensor_type.HasField("shape"):
            return None
        sides = self.type.tensor_type.shape.dim
        return tuple(d.dim_value if d.HasField("dim_value") else None for d in sides)

    @functools.cached_property
    def known_sides(self) -> tuple[int, ...]:
        return tuple(side for side in self.shape or () if side is not None)

    @functools.cached_property
    def known_shape(self) -> tuple[int, ...] | None:
        """The shape, if no dimension is unknown."""
        sides = self.known_sides
        return sides if self.shape is not None and len(sides) == len(self.shape) else None

    @functools.cached_property
    def elements(self) -> int:
        """Lower bound of the number of elements: unknown dimensions count as 1."""
        return math.prod(self.known_sides)

    @property
    def bytes(self) -> int:
        """Bytes of `elements`; those of an unknown type count as float32."""
        kind = 0 if self.type is None else self.type.tensor_type.elem_type
        return self.elements * ELEMENT_BYTES.get(kind, 4)

    def check(self) -> None:
        """Refuse a tensor that is too large. Raises `ModelBrokenError`."""
        sides = self.shape or ()
        if len(sides) > MAX_SIDES:
            raise ModelBrokenError(f"has {len(sides)} dimensions, the limit is {MAX_SIDES}")
        if any(side < 0 for side in self.known_sides):
            raise ModelBrokenError(f"has a negative side: {self.known_sides}")
        if self.elements > MAX_ELEMENTS:
            raise ModelBrokenError(f"has {self.elements} elements, the limit is {MAX_ELEMENTS}")


def constant(array: values.Array, element: int) -> Tensor:
    """A constant of the graph; `element` is its ONNX element type."""
    from onnx import helper

    kind = helper.make_tensor_type_proto(element, array.shape)
    if array.size > values.MAX_ELEMENTS:
        return Tensor(kind, Origin.CONSTANT)
    return Tensor(kind, Origin.SIZES, array)
