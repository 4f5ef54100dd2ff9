"""Model files that mean harm, built on the fly: nothing hostile lies in the repository.

Each builder gives the ONNX bytes of a `decode` graph for the tiny VAE; apart from its attack, a graph
has the right input and output.
"""

from __future__ import annotations

import hashlib
import itertools
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import AttributeProto, GraphProto, TensorProto, helper, numpy_helper

from vaetools.model.manifest import FILE_NAME, read_manifest
from vaetools.testing import TINY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
OPSET = 20


def value(name: str, shape: Sequence[str | int] | None = None, element: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(
        name, element, [1, 3, "height", "width"] if shape is None else shape
    )


LATENT = value("latent", [1, 3, "latent_height", "latent_width"])


def ints(name: str, *numbers: int) -> TensorProto:
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


def scalar(name: str, number: int) -> TensorProto:
    return numpy_helper.from_array(np.array(number), name)


def floats(name: str, *numbers: float) -> TensorProto:
    return numpy_helper.from_array(np.array(numbers, np.float32), name)


def model_of(
    nodes: Sequence[Any],
    initializers: Sequence[TensorProto] = (),
    *,
    inputs: Sequence[Any] = (LATENT,),
    outputs: Sequence[Any] | None = None,
    opset: int = OPSET,
    domains: Sequence[str] = (),
    functions: Sequence[Any] = (),
) -> Any:
    graph = helper.make_graph(
        list(nodes), "hostile", list(inputs), list(outputs or [value("image")]), list(initializers)
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))


def data_of(*arguments: Any, **keywords: Any) -> bytes:
    return bytes(model_of(*arguments, **keywords).SerializeToString())


def add(name: str) -> Any:
    """The last node: whatever `name` is, it goes into the image."""
    return helper.make_node("Add", ["latent", name], ["image"])


def with_tensor(tensor: TensorProto) -> bytes:
    return data_of([add(tensor.name)], [tensor])


def install(models: Path, data: bytes) -> Path:
    """Put `data` in the place of the tiny VAE's decoder, and say so in the manifest."""
    folder = models / TINY
    spec = read_manifest(folder).graphs["decode"]
    (folder / spec.file).write_bytes(data)
    text = (folder / FILE_NAME).read_text()
    text = text.replace(spec.sha256, hashlib.sha256(data).hexdigest())
    (folder / FILE_NAME).write_text(text.replace(f"bytes = {spec.bytes}", f"bytes = {len(data)}"))
    return folder / spec.file


# --- weights that are elsewhere, or wrong ----------------------------------------------------------


def external(location: str, length: int = 12) -> Callable[[], bytes]:
    def build() -> bytes:
        tensor = TensorProto(name="weights", data_type=FLOAT, dims=[length // 4])
        tensor.data_location = TensorProto.EXTERNAL
        for key, text in (("location", location), ("offset", "0"), ("length", str(length))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, text
        return with_tensor(tensor)

    return build


def external_in_an_attribute() -> bytes:
    tensor = TensorProto(data_type=FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../secret"
    return data_of([helper.make_node("Constant", [], ["weights"], value=tensor), add("weights")])


def weights(*numbers: float) -> Callable[[], bytes]:
    return lambda: with_tensor(floats("weights", *numbers))


def missing_weights() -> bytes:
    return with_tensor(TensorProto(name="weights", data_type=FLOAT, dims=[2**40]))


def guessed_side() -> bytes:
    return with_tensor(TensorProto(name="weights", data_type=FLOAT, dims=[-1], raw_data=bytes(8)))


def text() -> bytes:
    return with_tensor(helper.make_tensor("weights", TensorProto.STRING, [1], [b"a"]))


def sparse() -> bytes:
    model = model_of([add("weights")])
    dense = helper.make_tensor("weights", FLOAT, [1], [1.0])
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(dense, ints("where", 2**40), [2**41])
    )
    return bytes(model.SerializeToString())


# --- operators that may do anything ----------------------------------------------------------------


def one_node(operator: str, **attributes: Any) -> Callable[[], bytes]:
    return lambda: data_of([helper.make_node(operator, ["latent"], ["image"], **attributes)])


def body(inputs: Sequence[Any], outputs: Sequence[Any]) -> GraphProto:
    return helper.make_graph(
        [
            helper.make_node("Identity", [i.name], [o.name])
            for i, o in zip(inputs, outputs, strict=True)
        ],
        "body",
        list(inputs),
        list(outputs),
    )


def loop() -> bytes:
    """2^62 rounds, each as short as can be."""
    inside = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["still"]),
            helper.make_node("Identity", ["before"], ["after"]),
        ],
        "body",
        [value("round", [], INT64), value("go", [], TensorProto.BOOL), value("before")],
        [value("still", [], TensorProto.BOOL), value("after")],
    )
    rounds = numpy_helper.from_array(np.array(2**62), "rounds")
    go_on = numpy_helper.from_array(np.array(True), "true")
    node = helper.make_node("Loop", ["rounds", "true", "latent"], ["image"], body=inside)
    return data_of([node], [rounds, go_on])


def branch() -> bytes:
    choice = helper.make_graph(
        [helper.make_node("Identity", ["latent"], ["same"])], "branch", [], [value("same")]
    )
    node = helper.make_node("If", ["true"], ["image"], then_branch=choice, else_branch=choice)
    return data_of([node], [numpy_helper.from_array(np.array(True), "true")])


def scan() -> bytes:
    inside = body([value("in", [3])], [value("out", [3])])
    return data_of(
        [helper.make_node("Scan", ["latent"], ["image"], body=inside, num_scan_inputs=1)]
    )


def sequence_map() -> bytes:
    inside = body([value("in", [])], [value("out", [])])
    nodes = [
        helper.make_node("SequenceConstruct", ["latent"], ["sequence"]),
        helper.make_node("SequenceMap", ["sequence"], ["mapped"], body=inside),
        helper.make_node("ConcatFromSequence", ["mapped"], ["image"], axis=0),
    ]
    return data_of(nodes)


def hidden_graph() -> bytes:
    """A graph in an attribute that says it is a number."""
    model = model_of([helper.make_node("Relu", ["latent"], ["image"])])
    attribute = model.graph.node[0].attribute.add()
    attribute.name, attribute.type = "alpha", AttributeProto.FLOAT
    attribute.g.CopyFrom(body([value("in")], [value("out")]))
    return bytes(model.SerializeToString())


def custom(domain: str) -> Callable[[], bytes]:
    return lambda: data_of(
        [helper.make_node("Evil", ["latent"], ["image"], domain=domain)], domains=[domain]
    )


def function() -> bytes:
    evil = helper.make_function(
        "own",
        "Evil",
        ["x"],
        ["y"],
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_opsetid("", OPSET)],
    )
    node = helper.make_node("Evil", ["latent"], ["image"], domain="own")
    return data_of([node], domains=["own"], functions=[evil])


def many_nodes() -> bytes:
    names = ["latent", *(f"x{i}" for i in range(20_000)), "image"]
    return data_of([helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)])


# --- sizes -------------------------------------------------------------------------------------------


def bomb(*nodes: Any, constants: Sequence[TensorProto] = ()) -> Callable[[], bytes]:
    """Nodes that make `big`."""
    return lambda: data_of([*nodes, add("big")], constants)


def node(operator: str, inputs: str, output: str = "big", **attributes: Any) -> Any:
    return helper.make_node(operator, inputs.split(","), [output], **attributes)


def expanded() -> list[Any]:
    """`x`: the mean of the latents, in the shape `shape`."""
    return [
        node("ReduceMean", "latent", "mean_of_latents", keepdims=0),
        node("Expand", "mean_of_latents,shape", "x"),
    ]


def doubling(operator: str, start: str, times: int, **attributes: Any) -> list[Any]:
    """`start` -> x1 -> x2 …, each twice as large; the last is `big`."""
    names = [start, *(f"x{i}" for i in range(times - 1)), "big"]
    second = {"Concat": lambda name: name, "Tile": lambda _: "two"}[operator]
    return [
        helper.make_node(operator, [a, second(a)], [b], **attributes)
        for a, b in itertools.pairwise(names)
    ]


def other_format() -> bytes:
    """ONNX to a parser, and by its fifth byte a file of ONNX Runtime's own format to that."""
    producer = b"\0\0ORTM" + bytes(40)
    harmless = model_of([helper.make_node("Relu", ["latent"], ["image"])])
    return bytes([0x12, len(producer)]) + producer + bytes(harmless.SerializeToString())


def no_graph() -> bytes:
    return bytes(helper.make_model(GraphProto(name="hostile")).SerializeToString())


class _Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        import os

        return os.mkdir, (str(self.marker),)


def pickled(marker: Path) -> bytes:
    """Makes the folder `marker` when it is unpickled."""
    return pickle.dumps(_Payload(marker))
