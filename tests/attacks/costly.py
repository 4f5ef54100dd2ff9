"""Graphs that are legal ONNX and end the process, or take gigabytes or minutes for a small image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, numpy_helper

from tests.attacks import hostile
from tests.attacks.hostile import add, bomb, floats, ints, node

if TYPE_CHECKING:
    from collections.abc import Callable

MUCH_STEPS = r"brings the graph to \d+ multiplications for 4096 pixels, the limit is 34359738368"
MUCH_MEMORY = r"brings the graph to \d+ MiB of memory for 4096 pixels, the limit is 64"
CONSTANTS = "is one computation from constants too many"

COSTLY: dict[str, tuple[Callable[[], bytes], str]] = {
    # blank names, and tensors without elements
    **{
        f"{operator} with blank input {blank}": (
            bomb(node(operator, ",".join("" if i == blank else "latent" for i in range(3)))),
            f"operator '{operator}' has blank inputs that are not optional",
        )
        for operator in ("Max", "Min", "Sum", "Mean")
        for blank in range(3)
    },
    "a blank operand": (
        bomb(node("Mul", "latent,")),
        "operator 'Mul' has blank inputs that are not optional",
    ),
    "a blank output": (
        lambda: hostile.data_of([node("Relu", "latent", ""), node("Relu", "latent", "image")]),
        "operator 'Relu' has blank outputs that are not optional",
    ),
    "too many inputs": (bomb(node("Relu", "latent,latent")), "operator 'Relu' has 2 inputs"),
    "no inputs": (
        bomb(hostile.helper.make_node("Concat", [], ["big"], axis=0)),
        "operator 'Concat' has 0 inputs",
    ),
    "an empty depth": (
        bomb(node("OneHot", "latent,e,v"), constants=[ints("e"), floats("v", 0, 1)]),
        "OneHot 'big' has an input without elements",
    ),
    "an empty k": (
        bomb(
            hostile.helper.make_node("TopK", ["latent", "e"], ["big", "places"]),
            constants=[ints("e")],
        ),
        "TopK 'big' has an input without elements",
    ),
    "two depths": (
        bomb(node("OneHot", "latent,e,v"), constants=[ints("e", 3, 4), floats("v", 0, 1)]),
        "OneHot 'big' has 2 numbers where it takes one",
    ),
    "a sum of nothing": (
        bomb(node("ReduceSum", "e", keepdims=0), constants=[floats("e")]),
        "ReduceSum 'big' has an input without elements",
    ),
    # what an operator takes inside
    "LRN": (bomb(node("LRN", "latent", size=2**23 - 1)), MUCH_STEPS),
    "LRN, twice as wide": (bomb(node("LRN", "latent", size=2**28 - 1)), MUCH_STEPS),
    "Einsum": (
        bomb(
            node("ReduceMean", "latent", "s", keepdims=0),
            node("Expand", "s,n", "a"),
            node("Expand", "s,nn", "b"),
            node("Einsum", "a,a,a,b,b,a", equation="i,j,k,ij,jk,i->"),
            constants=[ints("n", 1024), ints("nn", 1024, 1024)],
        ),
        MUCH_MEMORY,
    ),
    "Einsum of constants": (
        bomb(
            node("ConstantOfShape", "n", "a"),
            node("ConstantOfShape", "nn", "b"),
            node("Einsum", "a,a,a,b,b", equation="i,j,k,ij,jk->"),
            constants=[ints("n", 1024), ints("nn", 1024, 1024)],
        ),
        CONSTANTS,
    ),
    "Attention": (
        lambda: hostile.data_of(
            [*hostile.expanded(), node("Attention", "x,x,x"), add("big")],
            [ints("shape", 1, 1, 2**15, 1)],
            opset=23,
        ),
        f"{MUCH_STEPS}|{MUCH_MEMORY}",
    ),
    "ConvTranspose with a huge kernel": (
        bomb(
            node("ConstantOfShape", "k", "w"),
            *hostile.expanded(),
            node("ConvTranspose", "x,w"),
            constants=[ints("k", 1, 1, 1024, 1024), ints("shape", 1, 1, 32, 32)],
        ),
        f"{MUCH_STEPS}|{MUCH_MEMORY}",
    ),
    "LSTM": (
        bomb(
            node("ConstantOfShape", "ws", "w"),
            node("ConstantOfShape", "rs", "r"),
            *hostile.expanded(),
            hostile.helper.make_node("LSTM", ["x", "w", "r"], ["", "big"], hidden_size=256),
            constants=[
                ints("ws", 1, 1024, 1),
                ints("rs", 1, 1024, 256),
                ints("shape", 2**20, 1, 1),
            ],
        ),
        f"{MUCH_STEPS}|{MUCH_MEMORY}",
    ),
    "Conv in three dimensions": (
        bomb(
            node("ConstantOfShape", "k", "w"),
            *hostile.expanded(),
            node("Conv", "x,w", "c"),
            node("ReduceMean", "c", keepdims=0),
            constants=[ints("k", 1, 1, 32, 32, 16), ints("shape", 1, 1, 64, 64, 64)],
        ),
        f"{MUCH_STEPS}|{MUCH_MEMORY}",
    ),
    "ConvInteger": (
        bomb(
            *hostile.expanded(),
            node("Cast", "x", "u", to=TensorProto.UINT8),
            node("ConvInteger", "u,w", "c"),
            node("Cast", "c", to=hostile.FLOAT),
            constants=[
                numpy_helper.from_array(np.ones((1, 1, 512, 512), np.uint8), "w"),
                ints("shape", 1, 1, 1024, 1024),
            ],
        ),
        f"{MUCH_STEPS}|{MUCH_MEMORY}",
    ),
    "MatMul": (
        bomb(
            *hostile.expanded(),
            node("MatMul", "x,x"),
            constants=[ints("shape", 2**13, 2**12 + 2**12)],
        ),
        f"{MUCH_STEPS}|{MUCH_MEMORY}",
    ),
    "AveragePool": (
        bomb(
            node("Resize", "latent,,s", "y", mode="nearest"),
            node("AveragePool", "y", kernel_shape=[1024, 1024]),
            constants=[floats("s", 1, 1, 100, 100)],
        ),
        f"{MUCH_STEPS}|{MUCH_MEMORY}",
    ),
    "many nodes, each of which is small": (
        lambda: hostile.data_of(
            [
                node("Resize", "latent,,s", "x0", mode="nearest"),
                *(node("Sin", f"x{i}", f"x{i + 1}") for i in range(9000)),
                node("ReduceMean", "x9000", "big", keepdims=0),
                add("big"),
            ],
            [floats("s", 1, 1, 32, 32)],
        ),
        MUCH_STEPS,
    ),
    "weights without number": (
        lambda: hostile.data_of(
            [node("Relu", "latent", "image")], [floats(f"w{i}", 1) for i in range(30_000)]
        ),
        "graph has 30000 weights, the limit is 20000",
    ),
    "a sum of very many": (
        bomb(node("Sum", ",".join(["latent"] * 300_000))),
        r"graph has \d+ inputs and outputs of nodes, the limit is 100000",
    ),
}
