"""Weights that several graphs of a model share, in one file beside them.

The graphs refer to it as ONNX external data (https://onnx.ai/onnx/repo-docs/ExternalData.html), so other
programs open them by their paths. vaetools puts the weights into a graph before it checks it: what is
checked and used stands alone, and ONNX Runtime opens no file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck import parsed
from vaetools.graphcheck.text import shown

if TYPE_CHECKING:
    from onnx import TensorProto

VERSION = 1
"""Grows when `with_weights` returns other bytes."""

NUMBER = "[0-9]{1,15}"
"""An offset or a length: bytes, in decimal."""


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
            together are longer than the file. So a graph is no larger than the files it is made of.
    """
    model = parsed(data)
    found = [tensor for tensor in model.graph.initializer if _refers_to(tensor, file)]
    if not found:
        return data
    left = len(weights)
    for tensor in found:
        start, end = _range(tensor, len(weights), file)
        left -= end - start
        if left < 0:
            raise ModelBrokenError(f"graph uses weights of {file} more than once")
        del tensor.external_data[:]
        tensor.ClearField("data_location")
        tensor.raw_data = weights[start:end]
    return bytes(model.SerializeToString())


def _refers_to(tensor: TensorProto, file: str) -> bool:
    from onnx import TensorProto as Kind

    place = {entry.key: entry.value for entry in tensor.external_data}
    return tensor.data_location == Kind.EXTERNAL and place.get("location") == file


def _range(tensor: TensorProto, size: int, file: str) -> tuple[int, int]:
    """Where a tensor begins and ends in the file, which has `size` bytes."""
    name = shown(tensor.name)
    entries = sorted((entry.key, entry.value) for entry in tensor.external_data)
    if [key for key, _ in entries] != ["length", "location", "offset"]:
        raise ModelBrokenError(
            f"{name} has to give location, offset and length in {file}, each once"
        )
    length, offset = entries[0][1], entries[2][1]
    if not (re.fullmatch(NUMBER, length) and re.fullmatch(NUMBER, offset)):
        raise ModelBrokenError(f"{name} has no valid offset and length in {file}")
    if any(
        field.name.endswith("_data")
        for field, _ in tensor.ListFields()
        if field.name != "external_data"
    ):
        raise ModelBrokenError(f"{name} has numbers of its own besides those in {file}")
    end = int(offset) + int(length)
    if end > size:
        raise ModelBrokenError(f"{name} ends at byte {end} of {file}, which has {size}")
    return int(offset), end
