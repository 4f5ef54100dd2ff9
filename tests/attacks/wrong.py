"""Graphs with something that no model may have: a builder each, and how they are refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

from tests.attacks import hostile
from tests.attacks.hostile import bomb, doubling, floats, ints, node, value

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = "has a size operand that is out of range"
ELEMENTS = r"has \d+ elements, the limit is 268435456"
MUCH_MEMORY = r"brings the graph to \d+ MiB of memory for 4096 pixels, the limit is 64"
CONSTANTS = "is one computation from constants too many"
OUTSIDE = r"is stored neither in the graph's file nor in that of \[weights\]; export a single file"

WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    # bytes that are no graph
    "a line break": (lambda: b"\n", "graph does not load: it is not an ONNX file"),
    "no graph in it": (hostile.no_graph, "graph does not load: it has no nodes"),
    "truncated": (lambda: hostile.many_nodes()[:-1000], "graph does not load: it is not an ONNX"),
    "junk": (lambda: b"\x80\x05junk" * 100, "graph does not load: it is not an ONNX file"),
    "polyglot": (hostile.other_format, "it is in the format of ONNX Runtime"),
    # weights
    "external above": (hostile.external("../secret"), OUTSIDE),
    "external absolute": (hostile.external("/etc/hostname"), OUTSIDE),
    "external huge": (hostile.external("weights.bin", 2**50), OUTSIDE),
    "external beside": (hostile.external("weights.bin"), OUTSIDE),
    "external in an attribute": (hostile.external_in_an_attribute, OUTSIDE),
    "NaN": (hostile.weights(1, np.nan), "weights are not finite: 1 of 2 in 'weights'"),
    "infinite": (hostile.weights(1, np.inf, -np.inf), "weights are not finite: 2 of 3"),
    "weights that are not there": (hostile.missing_weights, "'weights' is damaged"),
    "a side to be guessed": (hostile.guessed_side, r"'weights' is damaged: its shape is \[-1\]"),
    "text": (hostile.text, "'weights' is not a tensor of numbers"),
    "sparse weights": (hostile.sparse, "graph has sparse weights"),
    # operators
    "Loop": (hostile.loop, "operator 'Loop' is not allowed in a model"),
    "If": (hostile.branch, "operator 'If' is not allowed"),
    "Scan": (hostile.scan, "operator 'Scan' is not allowed"),
    "SequenceMap": (hostile.sequence_map, "operator 'SequenceConstruct' is not allowed"),
    "chance": (hostile.one_node("RandomNormalLike"), "operator 'RandomNormalLike' is not allowed"),
    "training": (hostile.one_node("Dropout"), "operator 'Dropout' is not allowed"),
    "unheard of": (hostile.one_node("Evil"), "operator 'Evil' is not allowed"),
    "a name with a line break": (
        hostile.one_node("Evil\nE099 \x1b[31mred"),
        re.escape("operator 'Evil\\\\nE099 \\\\x1b[31mred' is not allowed"),
    ),
    "custom domain": (hostile.custom("evil"), "'Evil' is of the domain 'evil'"),
    "com.microsoft": (hostile.custom("com.microsoft"), "of the domain 'com.microsoft'; .* as QDQ"),
    "function": (hostile.function, "graph has functions of its own"),
    "hidden graph": (hostile.hidden_graph, "'alpha' of Relu is not a number, a text or a tensor"),
    "nodes": (hostile.many_nodes, "graph has 20001 nodes, the limit is 10000"),
    "old operators": (
        lambda: hostile.data_of([node("Relu", "latent", "image")], opset=6),
        "graph is for version 6 of the ONNX operators",
    ),
    # sizes that are written down
    "ConstantOfShape": (
        bomb(node("ConstantOfShape", "s"), constants=[ints("s", 2**14, 2**15)]),
        ELEMENTS,
    ),
    "ConstantOfShape, one side": (
        bomb(node("ConstantOfShape", "s"), constants=[ints("s", 2**40)]),
        SHAPE,
    ),
    "Expand of ConstantOfShape": (
        bomb(
            node("ConstantOfShape", "s", "one"),
            node("Expand", "one,t"),
            constants=[ints("s", 1), ints("t", 2**20, 2**20)],
        ),
        "Expand 'big' " + ELEMENTS,
    ),
    "Tile, doubling": (
        bomb(*doubling("Tile", "one", 60), constants=[ints("one", 1), ints("two", 2)]),
        CONSTANTS,
    ),
    "Tile, wrapping around": (
        bomb(
            node("ConstantOfShape", "s", "much"),
            node("Tile", "much,t"),
            constants=[ints("s", 2**22), ints("t", 2**42)],
        ),
        SHAPE,
    ),
    "Concat, doubling": (
        bomb(*doubling("Concat", "one", 60, axis=0), constants=[ints("one", 1)]),
        CONSTANTS,
    ),
    "Range": (
        bomb(node("Range", "a,b,c"), constants=[*map(hostile.scalar, "abc", (0, 2**28, 1))]),
        CONSTANTS,
    ),
    "Pad": (
        bomb(node("Pad", "one,p"), constants=[floats("one", 1), ints("p", 0, 2**29)]),
        SHAPE,
    ),
    "OneHot": (
        bomb(
            node("OneHot", "i,depth,v"),
            constants=[ints("i", *range(9)), ints("depth", 2**26), floats("v", 0, 1)],
        ),
        ELEMENTS,
    ),
    "Upsample": (
        lambda: hostile.data_of(
            [node("Upsample", "one,s"), hostile.add("big")],
            [floats("one", 1), floats("s", 2.0**28)],
            opset=9,
        ),
        CONSTANTS,
    ),
    "broadcast": (
        bomb(
            node("ConstantOfShape", "s", "row"),
            node("ConstantOfShape", "t", "column"),
            node("Add", "row,column"),
            constants=[ints("s", 1, 2**16), ints("t", 2**16, 1)],
        ),
        "Add 'big' " + ELEMENTS,
    ),
    "outer product": (
        bomb(
            node("ConstantOfShape", "s", "row"),
            node("Einsum", "row,row", equation="i,j->ij"),
            constants=[ints("s", 2**15)],
        ),
        "Einsum 'big' " + ELEMENTS,
    ),
    "dimensions": (
        bomb(
            *(node("Unsqueeze", f"x{i},zero", f"x{i + 1}") for i in range(40)),
            node("Identity", "x40"),
            constants=[floats("x0", 1), ints("zero", 0)],
        ),
        "has 17 dimensions, the limit is 16",
    ),
    "an attribute": (
        hostile.one_node("MaxPool", kernel_shape=[1, 1], pads=[0, 0, 2**62, 2**62]),
        "attribute 'pads' of MaxPool is out of range",
    ),
    "an input": (
        lambda: hostile.data_of(
            [node("Relu", "latent", "image")], inputs=[value("latent", [1, 3, 2**40])]
        ),
        "'latent' " + ELEMENTS,
    ),
    # sizes that nobody can tell
    "a size from a computation": (
        bomb(
            node("Exp", "twenty", "f"),
            node("Cast", "f", "i", to=hostile.INT64),
            node("ConstantOfShape", "i"),
            constants=[floats("twenty", 20)],
        ),
        "has a size that is known only after running the graph",
    ),
    "a size that overflows": (
        bomb(
            node("Mul", "a,a", "aa"),
            node("ConstantOfShape", "aa"),
            constants=[ints("a", 2**33)],
        ),
        "has a size that is known only after running the graph",
    ),
    "a size from the content": (
        bomb(
            node("ReduceMax", "latent", "f", keepdims=0),
            node("Cast", "f", "i", to=hostile.INT64),
            node("Reshape", "i,one", "s"),
            node("Expand", "latent,s"),
            constants=[ints("one", 1)],
        ),
        "has a size that depends on the values of an input",
    ),
    # sizes that explode with the first picture
    "Tile of the input": (
        bomb(*doubling("Tile", "latent", 40), constants=[ints("two", 1, 1, 2, 2)]),
        MUCH_MEMORY,
    ),
    "Concat of the input": (bomb(*doubling("Concat", "latent", 40, axis=2)), MUCH_MEMORY),
    "Resize": (
        bomb(node("Resize", "latent,,s"), constants=[floats("s", 1, 1, 1e4, 1e4)]),
        ELEMENTS,
    ),
    "ConvTranspose": (
        bomb(
            node("ConvTranspose", "latent,w", strides=[2**20, 2**20]),
            constants=[numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")],
        ),
        ELEMENTS,
    ),
    "Size, to the fourth": (
        bomb(
            node("Size", "latent", "n"),
            node("Mul", "n,n", "nn"),
            node("Mul", "nn,nn", "nnnn"),
            node("Reshape", "nnnn,one", "s"),
            node("ConstantOfShape", "s"),
            constants=[ints("one", 1)],
        ),
        ELEMENTS,
    ),
    # time
    "a slow pool of constants": (
        bomb(
            node("ConstantOfShape", "s", "plane"),
            node("AveragePool", "plane", kernel_shape=[1000, 1000]),
            constants=[ints("s", 1, 1, 2000, 2000)],
        ),
        CONSTANTS,
    ),
    "the same sum, often": (
        bomb(
            node("ConstantOfShape", "s", "plane"),
            *(node("ReduceSum", "plane", f"x{i}") for i in range(100)),
            node("Identity", "x99"),
            constants=[ints("s", 1000, 1000)],
        ),
        CONSTANTS,
    ),
    # what ends the process, and not only the call
    "division by 0": (
        bomb(node("Div", "a,b"), constants=[ints("a", 1), ints("b", 0)]),
        "Div 'big' may divide integers by 0 or -1",
    ),
    "division of the lowest by -1": (
        bomb(node("Div", "a,b"), constants=[ints("a", -(2**63)), ints("b", -1)]),
        "may divide integers by 0 or -1",
    ),
    "division by what the first picture makes 0": (
        bomb(
            node("Size", "latent", "n"),
            node("Sub", "n,m", "zero"),
            node("Mod", "n,zero"),
            constants=[hostile.scalar("m", 48)],
        ),
        "Mod 'big' may divide integers by 0 or -1",
    ),
    "more outputs than parts": (
        lambda: hostile.data_of(
            [hostile.helper.make_node("Split", ["latent"], ["image", "more"], num_outputs=1)]
        ),
        "operator 'Split' has 2 outputs for 1 parts",
    ),
    "an axis before the first": (
        bomb(node("GatherND", "latent,i", batch_dims=-5), constants=[ints("i", 0)]),
        "attribute 'batch_dims' of GatherND is out of range",
    ),
    "nothing to normalise": (
        bomb(
            node("ConstantOfShape", "s", "nothing"),
            node("InstanceNormalization", "nothing,c,c"),
            constants=[ints("s", 1, 3, 0, 6), floats("c", 1, 1, 1)],
        ),
        "has an output without elements",
    ),
    # something else than the manifest says
    "input name": (
        lambda: hostile.data_of(
            [node("Relu", "code", "image")], inputs=[value("code", [1, 3, "h", "w"])]
        ),
        "graph has the inputs 'code' where the manifest says 'latent'",
    ),
    "output name": (
        lambda: hostile.data_of([node("Relu", "latent", "picture")], outputs=[value("picture")]),
        "graph has the outputs 'picture' where the manifest says 'image'",
    ),
    "input channels": (
        lambda: hostile.data_of(
            [node("Relu", "latent", "image")], inputs=[value("latent", [1, 4, "h", "w"])]
        ),
        r"'latent' has the shape \(1, 4, \?, \?\) where the manifest says 3 channels",
    ),
    "output channels": (
        lambda: hostile.data_of([node("Concat", "latent,latent", "image", axis=1)]),
        r"'image' has the shape \(1, 6, \?, \?\) where the manifest says 3 channels",
    ),
    "integers": (
        lambda: hostile.data_of(
            [node("Cast", "latent", "image", to=hostile.INT64)],
            outputs=[value("image", element=hostile.INT64)],
        ),
        "'image' is not float32",
    ),
    "an output from nowhere": (
        lambda: hostile.data_of([node("Relu", "latent", "picture")]),
        "the output 'image' is never computed",
    ),
}
