"""Messages between a process and its worker: a JSON header, then the bytes of arrays.

Nothing is unpickled: what arrives is data, and a worker that a model has broken can send anything.
"""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

_LENGTH = struct.Struct("<I")

MAX_HEADER = 2**20
"""Bytes of a header."""

MAX_ARRAYS = 2**34
"""Bytes of the arrays of a message."""

PIECE = 2**20
"""Bytes that are skipped at once."""

NUMBERS = "fiub"
"""Kinds of NumPy types that may be sent."""


_Described: TypeAlias = "tuple[tuple[int, ...], np.dtype[Any]]"
"""Shape and type of an array."""


class WireError(Exception):
    """What arrived is no message."""


def send(channel: socket.socket, header: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
    """Send a message. Raises `OSError` if nobody listens any more."""
    whole = [np.ascontiguousarray(array) for array in arrays]
    described = [[array.dtype.str, array.shape] for array in whole]
    text = json.dumps({**header, "arrays": described}).encode()
    channel.sendall(_LENGTH.pack(len(text)) + text)
    for array in whole:
        channel.sendall(array.reshape(-1).view(np.uint8).data)


class Announced:
    """The arrays that follow a header.

    Attributes:
        shapes: of the arrays.
        bytes: of all of them.
    """

    def __init__(self, described: Sequence[_Described], channel: socket.socket) -> None:
        self.shapes = tuple(shape for shape, _ in described)
        self.bytes: int = sum(math.prod(shape) * kind.itemsize for shape, kind in described)
        self._described = described
        self._channel = channel
        self._pending = True

    def read(self) -> list[np.ndarray]:
        """The arrays. Raises as `receive`; `MemoryError` before anything is read."""
        arrays = [np.empty(shape, kind) for shape, kind in self._described]
        self._pending = False
        for array in arrays:
            _fill(self._channel, array.reshape(-1).view(np.uint8).data)
        return arrays

    def finish(self) -> None:
        """Skip arrays that were not read: the next message follows them. Raises as `receive`."""
        left = self.bytes if self._pending else 0
        self._pending = False
        piece = memoryview(bytearray(min(left, PIECE)))
        while left:
            piece = piece[:left]
            _fill(self._channel, piece)
            left -= len(piece)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The next message.

    Raises:
        EOFError: the other end is closed.
        WireError: it is no message.
        OSError: the connection is broken.
    """
    header, announced = receive_header(channel)
    try:
        return header, announced.read()
    except MemoryError:
        raise WireError("too many bytes") from None


def receive_header(channel: socket.socket) -> tuple[dict[str, Any], Announced]:
    """The header of the next message, and what follows it. Raises as `receive`."""
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size))
    if length > MAX_HEADER:
        raise WireError(f"a header of {length} bytes")
    try:
        header = json.loads(_exactly(channel, length))
        described = [_described(entry) for entry in header["arrays"]]
    except (ValueError, TypeError, KeyError, RecursionError, MemoryError):
        raise WireError("a damaged header") from None
    announced = Announced(described, channel)
    if announced.bytes > MAX_ARRAYS:
        raise WireError("too many bytes")
    return header, announced


def _described(entry: Any) -> _Described:
    """(shape, type) of an array."""
    name, shape = entry
    kind = np.dtype(str(name))
    if kind.kind not in NUMBERS or any(not isinstance(side, int) or side < 0 for side in shape):
        raise ValueError(name)
    if math.prod(shape) * kind.itemsize > MAX_ARRAYS:
        raise ValueError(shape)
    return tuple(shape), kind


def _exactly(channel: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    _fill(channel, memoryview(data))
    return data


def _fill(channel: socket.socket, view: memoryview) -> None:
    while view:
        count = channel.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
