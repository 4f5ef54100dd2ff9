"""Hostile model folders: each is refused in one line, at once, in little memory, and before ONNX
Runtime sees a byte of it."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest

from tests.attacks import hostile
from tests.attacks.hostile import bomb, doubling, floats, install, ints, node, value
from vaetools.errors import ManifestError, ModelAlteredError, ModelBrokenError, ModelError
from vaetools.model.manifest import FILE_NAME
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.testing import TINY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNTIME = Runtime("cpu", threads=1)
SECONDS = 1.0
MEMORY = 256 * 2**20

SHAPE = "has a size operand that is out of range"
ELEMENTS = r"has \d+ elements, the limit is 268435456"
CONSTANTS = "is one computation from constants too many"
OUTSIDE = "is not stored in the graph's file; export a single file"

GRAPHS: dict[str, tuple[Callable[[], bytes], str]] = {
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
        ELEMENTS,
    ),
    "Concat of the input": (bomb(*doubling("Concat", "latent", 40, axis=2)), ELEMENTS),
    "Resize": (
        bomb(node("Resize", "latent,,s"), constants=[floats("s", 1, 1, 1e4, 1e4)]),
        ELEMENTS,
    ),
    "ConvTranspose": (
        bomb(
            node("ConvTranspose", "latent,w", strides=[2**20, 2**20]),
            constants=[hostile.numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")],
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
        "has an input without elements",
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


@pytest.fixture(autouse=True)
def _nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test fails if ONNX Runtime gets to see a graph."""
    graphs: list[object] = []

    def session(graph: object, *_: object, **__: object) -> None:
        graphs.append(graph)
        raise RuntimeError("a hostile graph was opened")

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    yield
    assert not graphs


@contextlib.contextmanager
def little_time_and_memory() -> Iterator[None]:
    """At most `SECONDS` of processor time; `MEMORY` more address space, where that can be limited."""
    page = os.sysconf("SC_PAGE_SIZE")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text().split()[0]) * page
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    start = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert time.process_time() - start < SECONDS


def refusal(models: Path) -> str:
    """The one line with which the model's decoder is refused."""
    with pytest.raises(ModelError) as caught, little_time_and_memory():
        ModelRegistry([models], lambda: RUNTIME).open(TINY).graph("decode")
    line = caught.value.line
    assert line.isprintable()
    return line


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(tiny_models: Path, name: str) -> None:
    build, said = GRAPHS[name]
    path = install(tiny_models, build())
    line = refusal(tiny_models)
    assert line.startswith(f"{ModelBrokenError.code} {path}: ")
    assert re.search(said, line), line


def test_pickles_are_not_opened(tiny_models: Path, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    install(tiny_models, hostile.pickled(marker))
    assert "graph does not load" in refusal(tiny_models)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('file = "decode.onnx"', 'file = "../decode.onnx"', "is not a plain file name"),
        ('file = "decode.onnx"', 'file = "/etc/hostname"', "is not a plain file name"),
        ('file = "decode.onnx"', 'file = ".."', "is not a plain file name"),
        ("bytes = ", "bytes = 1000000000000000 # ", "is not 1 … "),
        ("bytes = ", "bytes = 0 # ", "is not 1 … "),
    ],
)
def test_manifests(tiny_models: Path, old: str, new: str, said: str) -> None:
    path = tiny_models / TINY / FILE_NAME
    path.write_text(path.read_text().replace(old, new))
    line = refusal(tiny_models)
    assert line.startswith(f"{ManifestError.code} {path}: ")
    assert said in line


def replaced(models: Path, by: Callable[[Path], object]) -> str:
    """The refusal, once the decoder's file is something else."""
    path = models / TINY / "decode.onnx"
    path.unlink()
    by(path)
    line = refusal(models)
    assert line.startswith(f"{ModelAlteredError.code} {path}: ")
    return line


def test_files_that_are_not_the_model_s(tiny_models: Path, tmp_path: Path) -> None:
    data = (tiny_models / TINY / "decode.onnx").read_bytes()
    same = tmp_path / "same"
    same.write_bytes(data)
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(len(data)))
    assert "is not a regular file" in replaced(tiny_models, lambda p: p.symlink_to(same))
    assert "is not a regular file" in replaced(tiny_models, os.mkfifo)
    assert "its sha256 is not the one" in replaced(tiny_models, lambda p: p.hardlink_to(secret))
    assert "its sha256 is not the one" in replaced(
        tiny_models, lambda p: p.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    )
    assert "bytes where the manifest says" in replaced(
        tiny_models, lambda p: p.write_bytes(data[:-1])
    )
    assert "has 0 bytes" in replaced(tiny_models, Path.touch)


def test_hard_links_to_the_right_content_are_fine(tiny_models: Path, tmp_path: Path) -> None:
    """Package managers install files as links into their cache."""
    path = tiny_models / TINY / "decode.onnx"
    path.rename(tmp_path / "cache")
    path.hardlink_to(tmp_path / "cache")
    ModelRegistry([tiny_models], lambda: RUNTIME).open(TINY).check_files()
