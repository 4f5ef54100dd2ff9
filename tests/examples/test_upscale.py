"""The plugin examples/plugins/upscale: networks of all kinds, tiles, sizes and depths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image as PillowImage

import vaetools
from tests.examples.conftest import PLUGINS, noise
from vaetools.cli import main
from vaetools.hub import Hub
from vaetools.testing import gradient


def face(name: str, shape: list[Any] | None = None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape or [1, 3, f"{name}_h", f"{name}_w"])


def write_graph(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], **constants: Any
) -> Path:
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def times_three(path: Path) -> Path:
    """Sees 6 pixels far: two convolutions, and a transposed one that makes 3 × 3 pixels of one."""
    rng = np.random.default_rng(0)
    wide = rng.normal(0, 0.06, (3, 3, 7, 7)).astype(np.float32)
    up = rng.normal(0, 0.5, (3, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "wide"], ["a"], pads=[3] * 4),
        helper.make_node("Conv", ["a", "wide"], ["b"], pads=[3] * 4),
        helper.make_node("ConvTranspose", ["b", "up"], ["c"], strides=[3, 3]),
        helper.make_node("Sigmoid", ["c"], ["y"]),
    ]
    return write_graph(path, nodes, [face("x")], [face("y")], wide=wide, up=up)


def of_even_sides(path: Path) -> Path:
    """Twice as large, as networks that begin with a pixel unshuffle are: odd sides fail."""
    order = np.array([3 * (4 * row + column) + c for row in range(4) for column in range(4)
                      for c in range(3)])  # fmt: skip
    quarter = np.zeros((48, 12, 1, 1), np.float32)
    for row, column, c in np.ndindex(4, 4, 3):
        quarter[
            order.tolist().index(3 * (4 * row + column) + c), 3 * (2 * (row // 2) + column // 2) + c
        ] = 1
    nodes = [
        helper.make_node("SpaceToDepth", ["x"], ["a"], blocksize=2),
        helper.make_node("Conv", ["a", "quarter"], ["b"]),
        helper.make_node("DepthToSpace", ["b"], ["y"], blocksize=4),
    ]
    return write_graph(path, nodes, [face("x")], [face("y")], quarter=quarter.reshape(48, 12, 1, 1))


def same(path: Path, *nodes: Any, inputs: Any = None, outputs: Any = None, **held: Any) -> Path:
    nodes = nodes or (helper.make_node("Identity", ["x"], ["y"]),)
    return write_graph(path, [*nodes], inputs or [face("x")], outputs or [face("y")], **held)


def test_tiles_give_what_the_whole_gives(hub: Hub, tmp_path: Path) -> None:
    graph, picture = times_three(tmp_path / "net.onnx"), noise(200, 150, 3)
    whole = hub.op("upscale", graph=graph, tile=4096)(picture)
    assert whole.shape == (600, 450, 3) and np.ptp(whole) > 100
    tiles = hub.op("upscale", graph=graph, tile=64, overlap=8)(picture)
    assert np.abs(tiles.astype(int) - whole).max() <= 1
    seams = hub.op("upscale", graph=graph, tile=64, overlap=0)(picture)
    assert np.abs(seams.astype(int) - whole).max() > 1


@pytest.mark.parametrize("shape", [(1, 1), (65, 33), (64, 64, 3), (5, 130, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_sizes_depths_and_multiples(
    hub: Hub, tmp_path: Path, shape: tuple[int, ...], dtype: type
) -> None:
    graph, picture = of_even_sides(tmp_path / "net.onnx"), noise(*shape, dtype=dtype)
    step = hub.op("upscale", graph=graph, tile=64)
    assert (step.operation.network.scale, step.operation.network.cell) == (2, 2)
    before = picture.copy()
    large = step(picture)
    assert np.array_equal(picture, before)
    assert (large.dtype, large.shape) == (dtype, (2 * shape[0], 2 * shape[1], *shape[2:]))
    colours = slice(None) if len(shape) == 2 else (..., slice(3))
    assert np.array_equal(large[colours], picture.repeat(2, 0).repeat(2, 1)[colours])
    if dtype is np.float32:
        assert large.min() >= 0 and large.max() <= 1  # alpha too, where Lanczos overshoots


def test_alpha_is_interpolated_and_metadata_kept(hub: Hub, tmp_path: Path) -> None:
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, 32:] = 255
    source, exif = tmp_path / "a.png", PillowImage.Exif()
    exif[0x010E] = "a picture"
    PillowImage.fromarray(np.dstack([gradient(), alpha])).save(
        source, exif=exif, icc_profile=b"icc"
    )
    done = hub.map(
        "upscale", source, out=tmp_path / "b.png", graph=times_three(tmp_path / "n.onnx")
    )
    assert done.counts["done"] == 1
    with PillowImage.open(tmp_path / "b.png") as large:
        assert large.size == (192, 144) and large.mode == "RGBA"
        assert large.info["icc_profile"] == b"icc" and large.getexif()[0x010E] == "a picture"
        edge = np.asarray(large)[70, :, 3]
    assert edge[:84].max() == 0 and edge[108:].min() == 255
    assert {*edge[90:102].tolist()} - {0, 255}


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.FLOAT16])
def test_other_types_of_samples(hub: Hub, tmp_path: Path, kind: int, photo: np.ndarray) -> None:
    graph = same(tmp_path / "n.onnx", inputs=[face("x", kind=kind)], outputs=[face("y", kind=kind)])
    assert np.abs(hub.op("upscale", graph=graph)(photo).astype(int) - photo).max() <= 1


def node(op: str, inputs: str = "x", **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), ["y"], **attributes)


BROKEN = {
    "cannot be read: No such file": lambda path: path.with_name("none.onnx"),
    "it is not an ONNX file": lambda path: path.write_bytes(b"no graph") and path,
    "has 2 inputs and 1 outputs": lambda path: same(
        path, node("Add", "x z"), inputs=[face("x"), face("z", [1, 3, "x_h", "x_w"])]
    ),
    "takes 48 × 64 pixels only": lambda path: same(path, inputs=[face("x", [1, 3, 48, 64])]),
    "[1, 1, 'h', 'w']; expected (1, 3,": lambda path: same(
        path, inputs=[face("x", [1, 1, "h", "w"])]
    ),
    "x is tensor(double)": lambda path: same(
        path, node("Cast", to=TensorProto.FLOAT), inputs=[face("x", kind=TensorProto.DOUBLE)]
    ),
    "returns 32 × 32 for 64 × 64": lambda path: same(
        path, node("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    ),
    "returns 66 × 66 for 64 × 64": lambda path: same(
        path, node("Pad", "x by"), by=[0, 0, 1, 1, 0, 0, 1, 1]
    ),
    "returns (1, 1, 64, 64)": lambda path: same(
        path, node("ReduceMean", axes=[1]), outputs=[face("y", [1, 1, "h", "w"])]
    ),
    "Loop": lambda path: same(path, node("Loop", "x", body=helper.make_graph([], "b", [], []))),
}
"""What is said -> what makes such a file."""


@pytest.mark.parametrize("said", BROKEN)
def test_graphs_that_cannot_be_used(hub: Hub, tmp_path: Path, said: str) -> None:
    graph = BROKEN[said](tmp_path / "net.onnx")
    with pytest.raises(vaetools.ModelError) as caught:
        hub.op("upscale", graph=graph)
    assert said in caught.value.line and str(graph) in caught.value.line
    assert "\n" not in caught.value.line


def test_a_bad_graph_is_one_line_before_any_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), gradient())
    graph = same(tmp_path / "n.onnx", inputs=[face("x", [1, 3, 9, 9])])
    words = ["--plugins-dir", PLUGINS / "upscale" / "src", "upscale"]
    words += [tmp_path / "a.png", "-o", tmp_path / "b.png", "--graph", graph]
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    assert caught.value.code == 4
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("E040 ") and line.endswith("export it with dynamic height and width")
    assert not (tmp_path / "b.png").exists()


def test_results_that_would_be_too_large(hub: Hub, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), gradient())
    graph = times_three(tmp_path / "n.onnx")
    done = hub.map(
        "upscale", tmp_path / "a.png", out=tmp_path / "b.png", graph=graph, max_pixels=5000
    )
    assert [record.code for record in done.records] == ["E001"]
    assert "over the limit" in done.records[0].message


def test_another_network_is_other_work(hub: Hub, tmp_path: Path) -> None:
    graph = times_three(tmp_path / "n.onnx")
    first = hub.op("upscale", graph=graph).operation.identity()
    assert hub.op("upscale", graph=times_three(tmp_path / "m.onnx")).operation.identity() == first
    assert hub.op("upscale", graph=of_even_sides(graph)).operation.identity() != first
