"""Nodes that exporters write around sizes, replaced by fewer ones with the same results.

    Reshape, Transpose of six axes, Reshape    SpaceToDepth, five times as fast on a CPU
    Reshape to the same shape                  nothing
    Resize to computed sizes                   Resize by constant factors

What is left over, such as the computation of the sizes, is removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaetools.graphcheck.sizes import tensors_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ModelProto, NodeProto

VERSION = 1
"""Of what this module makes of a graph: changed graphs are remembered under it."""

UNSHUFFLE = (0, 1, 3, 5, 2, 4)
"""Permutation of (B, C, H / r, r, W / r, r) to (B, C, r, r, H / r, W / r)."""

Shapes = dict[str, tuple[int, ...]]


def simplify(model: ModelProto, images: Sequence[Mapping[str, Sequence[int]]]) -> None:
    """Simplify a checked graph in place.

    Args:
        model: the graph, for a batch of 1.
        images: shapes of the inputs for two images that the model accepts, of different sizes. What
            holds for both is taken to hold for all.
    """
    known: list[Shapes] = []
    for shapes in images:
        tensors = tensors_of(model, shapes)
        known.append({n: t.known_shape for n, t in tensors.items() if t.known_shape is not None})
    _unshuffle(model, known)
    _drop_reshapes(model, known)
    _resize_by_factors(model, known)
    _free_shapes(model, known)
    _drop_unused(model)


def _unshuffle(model: ModelProto, known: Sequence[Shapes]) -> None:
    """SpaceToDepth for Reshape, Transpose of six axes, Reshape.

    SpaceToDepth has the channels in another order (r, r, C). It is applied to each channel alone.
    """
    from onnx import helper

    makers = {name: node for node in model.graph.node for name in node.output}
    users = _users(model)
    for place, node in enumerate(model.graph.node):
        first = makers.get(node.input[0]) if node.op_type == "Transpose" else None
        found = users.get(node.output[0], []) if first is not None else []
        if first is None or first.op_type != "Reshape" or len(found) != 1:
            continue
        source, split, result = first.input[0], first.output[0], found[0].output[0]
        names = (source, split, result)
        if _perm(node) != UNSHUFFLE or found[0].op_type != "Reshape":
            continue
        if not all(_is_unshuffled(*(shapes.get(n, ()) for n in names)) for shapes in known):
            continue
        channels, block = known[0][source][1], known[0][split][3]
        each = _constant(model, f"{result}.each", np.array([-1, 1, 0, 0]))
        all_of = _constant(model, f"{result}.all", np.array([-1, channels * block**2, 0, 0]))
        found[0].CopyFrom(helper.make_node("Reshape", [f"{result}.deep", all_of], [result]))
        node.CopyFrom(
            helper.make_node(
                "SpaceToDepth", [f"{result}.wide"], [f"{result}.deep"], blocksize=block
            )
        )
        wide = helper.make_node("Reshape", [source, each], [f"{result}.wide"])
        model.graph.node.insert(place, wide)
        _unshuffle(model, known)  # the nodes have moved
        return


def _perm(node: NodeProto) -> tuple[int, ...]:
    return next((tuple(a.ints) for a in node.attribute if a.name == "perm"), ())


def _is_unshuffled(
    source: tuple[int, ...], split: tuple[int, ...], result: tuple[int, ...]
) -> bool:
    """Whether these are (B, C, H, W), (B, C, H / r, r, W / r, r) and (B, C · r², H / r, W / r)."""
    if len(source) != 4 or len(split) != 6:
        return False
    batch, channels, height, width = source
    block = split[3]
    rows, columns = height // block, width // block
    return (
        (rows * block, columns * block) == (height, width)
        and split == (batch, channels, rows, block, columns, block)
        and result == (batch, channels * block**2, rows, columns)
    )


def _drop_reshapes(model: ModelProto, known: Sequence[Shapes]) -> None:
    """Reshapes that change no shape."""
    same: dict[str, str] = {}
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.output[0] in outputs:
            continue
        pairs = [(shapes.get(node.input[0]), shapes.get(node.output[0])) for shapes in known]
        if all(before is not None and before == after for before, after in pairs):
            source = node.input[0]
            same[node.output[0]] = same.get(source, source)
    for node in model.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]


def _resize_by_factors(model: ModelProto, known: Sequence[Shapes]) -> None:
    """Resize to sizes that are always the same whole multiple of those before."""
    for node in model.graph.node:
        if node.op_type != "Resize" or len(node.input) < 4 or not node.input[3]:
            continue
        if any(a.name in {"axes", "keep_aspect_ratio_policy"} and a.ints for a in node.attribute):
            continue
        factors = {_factors(shapes, node.input[0], node.output[0]) for shapes in known}
        found = factors.pop()
        if factors or not found:
            continue
        scales = _constant(model, f"{node.output[0]}.scales", np.array(found, np.float32))
        node.input[:] = [node.input[0], node.input[1], scales]


def _factors(shapes: Shapes, before: str, after: str) -> tuple[int, ...]:
    """The whole factors between two shapes; none if they are not whole."""
    pairs = [*zip(shapes.get(before, ()), shapes.get(after, ()), strict=False)]
    return tuple(b // a for a, b in pairs) if all(b % a == 0 for a, b in pairs) else ()


def _free_shapes(model: ModelProto, known: Sequence[Shapes]) -> None:
    """Constant shapes (1, …) of a Reshape that keeps axis 0 keep it whatever its length is."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        shape = numpy_helper.to_array(constants[node.input[1]])
        allows_zero = any(a.name == "allowzero" and a.i for a in node.attribute)
        is_computed = node.input[0] not in constants
        if not shape.size or shape[0] != 1 or allows_zero or not is_computed:
            continue
        if all(shapes.get(node.input[0], ())[:1] == (1,) for shapes in known):
            free = np.array([0, *shape[1:]], np.int64)
            node.input[1] = _constant(model, f"{node.output[0]}.free", free)


def _drop_unused(model: ModelProto) -> None:
    """Nodes and constants that no output depends on."""
    needed = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    weights = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)


def _users(model: ModelProto) -> dict[str, list[NodeProto]]:
    """The nodes that use each tensor."""
    users: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    return users


def _constant(model: ModelProto, name: str, value: np.ndarray) -> str:
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name
