"""Weights that several graphs of a model use are written once.

`vaetools.model.shared_weights` reads them.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto

from vaetools.model.spec import MAX_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "weights.bin"
"""Name of the file."""

SMALLEST = 1024
"""Bytes of a tensor from which on it is moved."""

WORTH = 2**16
"""Bytes that a file has to save."""


def shared_weights(graphs: Mapping[str, bytes]) -> tuple[dict[str, bytes], bytes]:
    """Move the weights that are the same in several graphs into one file.

    Args:
        graphs: role -> ONNX bytes.

    Returns:
        The graphs, which refer to `FILE`, and its content; the graphs as they are and an empty file
        where it would save less than `WORTH`, or be too large.
    """
    models = {role: onnx.load_from_string(data) for role, data in graphs.items()}
    users: dict[bytes, set[str]] = {}
    for role, model in models.items():
        for tensor in model.graph.initializer:
            users.setdefault(tensor.raw_data, set()).add(role)
    shared = {w: len(u) for w, u in users.items() if len(u) > 1 and len(w) >= SMALLEST}
    size = sum(map(len, shared))
    saved = sum(count * len(weights) for weights, count in shared.items()) - size
    if saved < WORTH or size + max(map(len, graphs.values())) > MAX_FILE_BYTES:
        return dict(graphs), b""
    ends = itertools.accumulate(map(len, shared))
    offsets = {weights: end - len(weights) for weights, end in zip(shared, ends, strict=True)}
    for model in models.values():
        left = set(shared)  # a graph may use each weight once
        for tensor in model.graph.initializer:
            if tensor.raw_data in left:
                left.remove(tensor.raw_data)
                _move(tensor, offsets[tensor.raw_data])
    moved = {role: bytes(model.SerializeToString()) for role, model in models.items()}
    return moved, b"".join(shared)


def _move(tensor: TensorProto, offset: int) -> None:
    """Replace the values of a tensor by a reference."""
    place = {"location": FILE, "offset": str(offset), "length": str(len(tensor.raw_data))}
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value)
