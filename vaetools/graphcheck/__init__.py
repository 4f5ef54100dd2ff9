"""Refuse hostile and broken graphs before ONNX Runtime sees them.

An ONNX graph is data, not code; but a graph of 144 bytes can allocate gigabytes, one of 280 bytes can
run forever, and ONNX Runtime executes parts of a graph while loading it. So a graph must consist of
operators that are known to be harmless (`operators`) and of plain numbers (`whitelist`), must have sizes
that can be inferred without running it (`sizes`), must avoid what makes ONNX Runtime abort the process
(`nodes`), and must have the inputs and outputs that its manifest names. docs/safety.md describes the
remaining risks.

A graph that cannot be checked is refused: any failure here is a `ModelBrokenError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck.text import first_line, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ModelProto

    from vaetools.graphcheck.tensor import Tensor

VERSION = 2
"""Version of the checks. Increase it when they refuse more: graphs that passed are checked again."""


def check_graph(
    data: bytes,
    name: str,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    channels: Mapping[str, int] | None = None,
    sizes: Mapping[str, int] | None = None,
    size: Sequence[int] = (),
) -> None:
    """Check a graph from an untrusted source.

    Args:
        data: ONNX bytes.
        name: for error messages.
        inputs, outputs: names that the graph must have, in order; None for any.
        channels: input or output -> required length of its second axis; the type must be float32.
        sizes: symbolic dimension, such as `height` -> its value for a small image.
        size: (height, width) of a model that accepts one size only.

    Raises:
        ModelBrokenError: the graph is refused.
    """
    from vaetools.graphcheck.sizes import check_sizes
    from vaetools.graphcheck.whitelist import check_parts, constants_of

    try:
        model = parsed(data)
        check_parts(model)
        constants = constants_of(model)
        found = check_sizes(model, constants, sizes or {}, size)
        free = [value.name for value in model.graph.input if value.name not in constants]
        _check_names("inputs", free, inputs)
        _check_names("outputs", [value.name for value in model.graph.output], outputs)
        for tensor, expected in (channels or {}).items():
            _check_channels(tensor, found[tensor], expected)
    except ModelBrokenError as error:
        raise error.about(name) from None
    except Exception as error:  # noqa: BLE001 - onnx raises many unrelated types
        raise ModelBrokenError(f"graph does not load: {first_line(error)}", file=name) from None


def parsed(data: bytes) -> ModelProto:
    """The graph in ONNX bytes, not checked any further. Raises `ModelBrokenError` if there is none."""
    import onnx

    if data[4:8] == b"ORTM":
        # ONNX Runtime would read it in its own format, which is not checked here.
        raise ModelBrokenError("graph does not load: it is in the format of ONNX Runtime")
    try:
        model = onnx.load_from_string(data)
    except Exception:  # noqa: BLE001 - protobuf raises many unrelated types
        raise ModelBrokenError("graph does not load: it is not an ONNX file") from None
    if not model.graph.node:
        raise ModelBrokenError("graph does not load: it has no nodes")
    return model


def _check_names(what: str, found: Sequence[str], expected: Sequence[str] | None) -> None:
    if expected is not None and list(found) != list(expected):
        names = ", ".join(shown(name) for name in found[:8])
        wanted = ", ".join(shown(name) for name in expected)
        raise ModelBrokenError(f"graph has the {what} {names} where the manifest says {wanted}")


def _check_channels(name: str, tensor: Tensor, expected: int) -> None:
    from onnx import TensorProto

    shape = tensor.shape
    if shape is not None and (len(shape) < 2 or shape[1] not in {None, expected}):
        sides = ", ".join("?" if side is None else str(side) for side in shape)
        raise ModelBrokenError(
            f"{shown(name)} has the shape ({sides}) where the manifest says {expected} channels"
        )
    if tensor.type is not None and tensor.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ModelBrokenError(f"{shown(name)} is not float32")
