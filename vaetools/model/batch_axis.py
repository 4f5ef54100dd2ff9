"""Graphs that take several images at once: axis 0 of all inputs and outputs becomes the batch.

Exporters bake the batch of 1 into constants, and compute the sizes of tensors with nodes that cost time
on every device. Both are removed from a graph when it is opened; its results stay the same bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck.samples import BATCH, batched_tensors
from vaetools.model.simpler import simplify

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from onnx import ModelProto, ValueInfoProto

VERSION = 2
"""Of what this module makes of a graph: changed graphs are remembered under it."""

BATCH_NAME = "batch"
"""Symbolic name of axis 0."""

USUAL_SIDE = 16
"""Value of a symbolic dimension that is not in `sizes`."""


IMAGES = ((1, 1), (3, 2))
"""Factors for height and width of the images that a graph is examined with."""


def with_batch_axis(
    graph: bytes, sizes: Mapping[str, int], fixed: Collection[str] = ()
) -> bytes | None:
    """`graph` with a batch: axis 0 of all inputs and outputs has the symbolic name `batch`.

    All inputs of a call have the same batch. Each sample's results are those of a call of its own.

    Args:
        graph: ONNX bytes that passed `check_graph`.
        sizes: symbolic dimension -> a value that suits the model, such as that of a small image.
        fixed: those that are the same for an image of any size.

    Returns:
        ONNX bytes; None if the graph has an axis 0 of another length, or if it cannot be proven that
        the samples of a batch do not affect each other (see `batched_tensors`).
    """
    import onnx

    model = onnx.load_from_string(graph)
    try:
        return _changed(model, sizes, fixed)
    except ModelBrokenError:  # an image of these sizes does not suit the graph
        return None


def _changed(model: ModelProto, sizes: Mapping[str, int], fixed: Collection[str]) -> bytes | None:
    results = [port for port in model.graph.output if port.type.tensor_type.shape.dim]
    if not all(_axis_0_is_free(port) for port in (*_inputs(model), *results)):
        return None
    images = [shapes_of(model, 1, sizes, more, fixed) for more in IMAGES]
    simplify(model, images)
    batches = [shapes_of(model, BATCH, sizes, more, fixed) for more in IMAGES]
    found = [batched_tensors(model, shapes) for shapes in batches]
    batched = [names for names in found if names is not None]
    if len(batched) < len(found):
        return None
    _name_axis_0(model, set.intersection(*batched))
    return bytes(model.SerializeToString())


def _name_axis_0(model: ModelProto, batched: set[str]) -> None:
    """Give axis 0 of tensors its name, in what the graph says of them.

    What it says of inner tensors is kept: the fusions of ONNX Runtime, and so the last bits of the
    results, depend on it.
    """
    graph = model.graph
    inner = [value for value in graph.value_info if value.type.tensor_type.shape.dim]
    results = [value for value in graph.output if value.type.tensor_type.shape.dim]
    del graph.value_info[:]
    for value in (*_inputs(model), *inner, *results):
        if value.name in batched:
            value.type.tensor_type.shape.dim[0].dim_param = BATCH_NAME
    made = {name for node in graph.node for name in node.output}
    graph.value_info.extend(value for value in inner if value.name in made)


def _inputs(model: ModelProto) -> list[ValueInfoProto]:
    """The inputs of a call; old exporters list the weights as well."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _axis_0_is_free(port: ValueInfoProto) -> bool:
    """Whether axis 0 has the length 1, or a symbolic or no name."""
    sides = port.type.tensor_type.shape.dim
    return bool(sides) and (not sides[0].HasField("dim_value") or sides[0].dim_value == 1)


def shapes_of(
    model: ModelProto,
    batch: int,
    sizes: Mapping[str, int],
    more: Sequence[int] = (1, 1),
    fixed: Collection[str] = (),
) -> dict[str, tuple[int, ...]]:
    """Shapes of a graph's inputs, with `more` times the height and width of `sizes`.

    Dimensions in `fixed` have the value in `sizes`.
    """
    factors = dict(zip(("height", "width"), more, strict=True))

    def side(dim: str, value: int) -> int:
        if value:
            return value
        if dim in fixed:
            return sizes[dim]
        usual = sizes.get(dim, USUAL_SIDE)
        return usual * next((by for end, by in factors.items() if dim.endswith(end)), 1)

    return {
        port.name: (
            batch,
            *(side(d.dim_param, d.dim_value) for d in port.type.tensor_type.shape.dim[1:]),
        )
        for port in _inputs(model)
    }
