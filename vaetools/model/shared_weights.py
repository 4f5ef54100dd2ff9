"""Weights that several graphs of a model share, in one file beside them.

The graphs refer to it as ONNX external data (https://onnx.ai/onnx/repo-docs/ExternalData.html), so other
programs open them by their paths. vaetools puts the weights into a graph before it checks it: what is
checked and used stands alone, and ONNX Runtime opens no file.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck import parsed
from vaetools.graphcheck.text import shown
from vaetools.user_cache import remembered

if TYPE_CHECKING:
    from onnx import TensorProto

VERSION = 1
"""Grows when `with_weights` returns other bytes."""

_KEYS = {"location", "offset", "length"}


def whole_graph(data: bytes, weights: bytes, file: str, *, key: str) -> bytes:
    """`with_weights`, remembered in the user's cache.

    Args:
        key: identifies the other arguments.
    """
    name = hashlib.sha256(f"weights {VERSION} {key}".encode()).hexdigest()
    return remembered("graphs", name, lambda: with_weights(data, weights, file))


def with_weights(data: bytes, weights: bytes, file: str) -> bytes:
    """A graph together with the weights that it keeps in another file.

    Args:
        data: ONNX bytes.
        weights: content of the other file.
        file: its name. References to any other file stay; the check of the graph refuses them.

    Returns:
        ONNX bytes; `data` itself if nothing in it refers to `file`.

    Raises:
        ModelBrokenError: not ONNX, or a reference is incomplete or leaves the file, or all references
            together are longer than the file. So a graph is never larger than the files it is made of.
    """
    model = parsed(data)
    found = [t for t in model.graph.initializer if _place(t).get("location") == file]
    if not found:
        return data
    left = len(weights)
    for tensor in found:
        start, end = _range(tensor, len(weights), file)
        left -= end - start
        if left < 0:
            raise ModelBrokenError(f"graph takes more weights from {file} than there are")
        del tensor.external_data[:]
        tensor.ClearField("data_location")
        tensor.raw_data = weights[start:end]
    return bytes(model.SerializeToString())


def _place(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _range(tensor: TensorProto, size: int, file: str) -> tuple[int, int]:
    """Where a tensor begins and ends in the file, which has `size` bytes."""
    place = _place(tensor)
    name = shown(tensor.name)
    numbers = [place.get(key, "") for key in ("offset", "length")]
    if place.keys() != _KEYS or not all(re.fullmatch("[0-9]{1,15}", n) for n in numbers):
        raise ModelBrokenError(f"{name} has no valid offset and length in {file}")
    start, length = map(int, numbers)
    if start + length > size:
        raise ModelBrokenError(f"{name} ends at byte {start + length} of {file}, which has {size}")
    return start, start + length
