"""What in a model's graphs is slow on a GPU, as they are when they are opened there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaetools.graphcheck.speed import slow_parts
from vaetools.model.batch_axis import shapes_of, with_batch_axis
from vaetools.model.checked import example_sizes
from vaetools.model.kernels import with_device_kernels

if TYPE_CHECKING:
    from onnx import ModelProto

    from vaetools.model.spec import Manifest


def slow_graph(data: bytes, manifest: Manifest, role: str) -> list[str]:
    """What makes a graph slow or impossible on a GPU, one line each.

    What vaetools replaces when it opens a graph does not count. Graphs that are `exact` run on the CPU.

    Args:
        data: ONNX bytes that passed `check_graph`.
        manifest: of the model.
        role: of the graph.
    """
    import onnx

    if manifest.graphs[role].exact:
        return []
    sizes = example_sizes(manifest)
    batched = with_batch_axis(data, sizes)
    model = onnx.load_from_string(with_device_kernels(batched or data))
    found = slow_parts(model, shapes_of(model, 1, sizes))
    if batched is None:
        found.append("takes one image per call: small ones leave most of a GPU idle")
    if not manifest.size.fixed:
        found += [
            f"{name} has a fixed size: images of any other cannot be processed"
            for name in _fixed(model)
        ]
    return found


def _fixed(model: ModelProto) -> list[str]:
    """The inputs with literal sides; 1 is for a value that all pixels share."""
    sides = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim[2:]]
        for value in model.graph.input
    }
    return [name for name, found in sides.items() if any(side > 1 for side in found)]
