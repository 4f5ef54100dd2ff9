"""A step: an operation as a callable on arrays, for loops and pipelines of one's own."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import UsageError
from vaetools.image import Image

if TYPE_CHECKING:
    from vaetools.image import ChannelOrder
    from vaetools.operation import Operation


class Step:
    """An operation bound to its model and options: a callable for loops and pipelines.

    Arrays are (H, W), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in [0, 1]; the same dtype,
    shape and channel order come back, as a new array. Safe to call from several threads.

    Operations that take nothing are called without an item and give a list with the result of each
    item that they make; `generate` gives uint8, (H, W, 3), or (H, W) where the model is grey.

    Raises:
        UsageError: another channel order than `bgr` or `rgb`.
    """

    def __init__(self, operation: Operation, channel_order: ChannelOrder = "bgr") -> None:
        if channel_order not in ("bgr", "rgb"):
            raise UsageError(f"channel_order={channel_order!r} is not bgr or rgb")
        self.operation = operation
        self.channel_order: ChannelOrder = channel_order

    def __call__(self, item: np.ndarray | bytes | None = None, *, key: str = "") -> Any:
        """Apply to one array (or to the bytes of a file); `key` seeds operations that draw noise.

        Raises:
            UsageError: an item of the wrong kind, or one where the operation takes nothing.
        """
        if self.operation.takes == "nothing":
            return self._made(item, key)
        bound = self.operation.on(key)
        if bound.takes == "file":
            if not isinstance(item, bytes | bytearray | memoryview):
                raise UsageError(
                    f"{bound.name} takes the bytes of a file, not {type(item).__name__}"
                )
            return self._out(bound.process(bytes(item)))
        if not isinstance(item, np.ndarray):
            raise UsageError(f"{bound.name} takes a numpy array, not {type(item).__name__}")
        return self._out(bound.process(Image.from_array(item, channel_order=self.channel_order)))

    def _made(self, item: object, key: str) -> list[Any]:
        """All items of an operation that takes nothing, the same as `map` writes."""
        operation = self.operation
        if item is not None or key:
            raise UsageError(f"{operation.name} takes no array and no key: its items have names")
        names = [PurePosixPath(name) for name in operation.items()]
        return [self._out(operation.on(str(name)).process(name)) for name in names]

    def _out(self, result: Any) -> Any:
        if isinstance(result, Image):
            return result.to_array(channel_order=self.channel_order)
        if isinstance(result, bytes):
            return result
        return [self._out(part) for part in result]
