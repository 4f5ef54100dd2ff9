"""Messages between a process and its worker: a JSON header, then the bytes of arrays.

Nothing is unpickled: what arrives is data, and a worker that a model has broken can send anything.
"""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

_LENGTH = struct.Struct("<I")

MAX_HEADER = 2**20
"""Bytes of a header."""

MAX_ARRAYS = 2**34
"""Bytes of the arrays of a message."""

NUMBERS = "fiub"
"""Kinds of NumPy types that may be sent."""


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


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The next message.

    Raises:
        EOFError: the other end is closed.
        WireError: it is no message.
        OSError: the connection is broken.
    """
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size))
    if length > MAX_HEADER:
        raise WireError(f"a header of {length} bytes")
    try:
        header = json.loads(_exactly(channel, length))
        arrays = [np.empty(*_described(entry)) for entry in header["arrays"]]
    except (ValueError, TypeError, KeyError, RecursionError, MemoryError):
        raise WireError("a damaged header") from None
    if sum(array.nbytes for array in arrays) > MAX_ARRAYS:
        raise WireError("too many bytes")
    for array in arrays:
        _fill(channel, array.reshape(-1).view(np.uint8).data)
    return header, arrays


def _described(entry: Any) -> tuple[list[int], np.dtype[Any]]:
    """(shape, type) of an array."""
    name, shape = entry
    kind = np.dtype(str(name))
    if kind.kind not in NUMBERS or any(not isinstance(side, int) or side < 0 for side in shape):
        raise ValueError(name)
    if math.prod(shape) * kind.itemsize > MAX_ARRAYS:
        raise ValueError(shape)
    return shape, kind


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
