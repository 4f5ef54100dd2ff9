"""The plugins of examples/plugins: packages outside vaetools, that use its public names only."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image as PillowImage

import vaetools
from tests.paths import ROOT
from vaetools.cli import main
from vaetools.hub import Hub
from vaetools.kit import check_plugin
from vaetools.plugin.host import PluginHost
from vaetools.testing import TINY, TINY_GREY, gradient, write_tiny_grey_vae, write_tiny_vae

PLUGINS = ROOT / "examples" / "plugins"
NAMES = ("anomaly", "upscale")


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """With both plugins, the tiny VAE of any size, and the one for 8 × 8 grey pixels."""
    folders = [PLUGINS / name / "src" for name in NAMES]
    host = PluginHost(builtin=False, installed=False, folders=folders)
    assert not host.broken
    write_tiny_vae(tmp_path / "models" / TINY)
    write_tiny_grey_vae(tmp_path / "models" / TINY_GREY)
    return Hub(host, [tmp_path / "models"], device="cpu", threads=1)


@pytest.mark.parametrize("name", NAMES)
def test_each_passes_the_check(name: str) -> None:
    findings = check_plugin(PLUGINS / name)
    assert [f for f in findings if f.state == "fail"] == []
    noted = [f.text for f in findings if f.state == "note"]
    tried = [f for f in findings if f.subject == name and f.state == "ok"][2:]
    if name == "upscale":
        assert noted == ["not tried: upscale needs a network; name it with --graph"]
    else:
        assert noted == [] and len(tried) == 4


@pytest.mark.parametrize("name", NAMES)
def test_their_own_tests_pass(name: str) -> None:
    path = os.pathsep.join([str(PLUGINS / name / "src"), os.environ.get("PYTHONPATH", str(ROOT))])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=PLUGINS / name, env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout


OPEN_TO_PLUGINS = {"vaetools", "vaetools.graphcheck", "vaetools.tiling"}
"""What they import of vaetools; the last two are what the contract for plugins leaves open."""


@pytest.mark.parametrize("name", NAMES)
def test_they_use_public_names_only(name: str) -> None:
    for file in (PLUGINS / name / "src").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        used = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
        used |= {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom) and not n.level}
        assert {module for module in used if module.startswith("vaetools")} <= OPEN_TO_PLUGINS
        names = {n.attr for n in nodes if isinstance(n, ast.Attribute) and _is_vaetools(n.value)}
        assert names <= {*vaetools.__all__}


def _is_vaetools(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "vaetools"


# upscale


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


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    top = 1 if dtype is np.float32 else np.iinfo(dtype).max
    return (np.random.default_rng(0).random(shape) * top).astype(dtype)


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


# anomaly


def marked(height: int = 60, width: int = 80) -> np.ndarray:
    """A smooth grey picture, with 1-pixel checks in rows 20 … 31, columns 40 … 51: no tiny VAE, which
    averages 4 × 4 pixels, can reproduce them."""
    picture = np.linspace(90, 110, width).astype(np.uint8)[None].repeat(height, 0)
    checks = np.indices((12, 12)).sum(axis=0) % 2 * 160 + 20
    picture[20:32, 40:52] = checks[: max(0, height - 20), : max(0, width - 40)]
    return picture


@pytest.mark.parametrize("model", [TINY, TINY_GREY])
def test_what_cannot_be_reconstructed_is_hot(hub: Hub, model: str) -> None:
    heat = hub.op("anomaly", model=model, by="residual", smooth=1)(marked()) / 100
    assert (heat.shape, heat.max() > 60) == ((60, 80), True)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 20 <= row < 32 and 40 <= column < 52
    assert heat[:, :28].max() < 4
    plain = hub.op("anomaly", model=model, by="residual", smooth=1)(marked()[:, :30])
    assert plain.max() / 100 < heat.max() / 10


@pytest.mark.parametrize("model", [TINY, TINY_GREY])
def test_kl_is_the_posteriors_own(hub: Hub, model: str) -> None:
    """Both models have the deviation 0.05 and means of 4 × 4 pixels as latents."""
    heat = hub.op("anomaly", model=model, smooth=0)(np.full((8, 8), 204, np.uint8)) / 100
    latents = {TINY: 3, TINY_GREY: 4}[model]
    wanted = latents * 0.5 * (0.8**2 + 0.05**2 - 1 - 2 * np.log(0.05))
    assert heat == pytest.approx(np.full((8, 8), wanted), abs=0.01)


@pytest.mark.parametrize("step", [8, 4, 3])
def test_windows_overlap_and_are_averaged(hub: Hub, step: int) -> None:
    picture = noise(16, 21)
    heat = hub.op("anomaly", model=TINY_GREY, by="residual", smooth=0, step=step)(picture) / 100
    total, count = np.zeros((2, 16, 21))
    for top in {*range(0, 8, step), 8}:
        for left in {*range(0, 13, step), 13}:
            window = picture[top : top + 8, left : left + 8].astype(float)
            known = window.reshape(2, 4, 2, 4).mean(axis=(1, 3)).repeat(4, 0).repeat(4, 1)
            total[top : top + 8, left : left + 8] += np.abs(window - known)
            count[top : top + 8, left : left + 8] += 1
    assert heat == pytest.approx(total / count, abs=0.01)


@pytest.mark.parametrize("model", [TINY, TINY_GREY])
@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (8, 8), (33, 50, 3), (17, 8, 4)])
@pytest.mark.parametrize("show", ["map", "overlay"])
def test_any_size(hub: Hub, model: str, shape: tuple[int, ...], show: str) -> None:
    picture = np.full(shape, 40000, np.uint16)
    found = hub.op("anomaly", model=model, show=show)(picture)
    kept = shape[2:] or (3,)  # grey pictures get colours
    assert found.shape == (shape[:2] if show == "map" else shape[:2] + kept)
    assert found.dtype == np.uint16


def test_colours_are_nothing_to_a_grey_model(hub: Hub, photo: np.ndarray) -> None:
    with pytest.raises(vaetools.InputError, match="grey images only"):
        hub.op("anomaly", model=TINY_GREY)(photo)


def test_the_overlay_leaves_the_usual_alone(hub: Hub) -> None:
    picture = cv2.cvtColor(marked(), cv2.COLOR_GRAY2BGR)
    shown = hub.op("anomaly", model=TINY, by="residual", show="overlay", smooth=0)(picture)
    changed = (shown != picture).any(axis=2)
    assert changed[20:32, 40:52].all() and changed[:, :32].mean() < 0.6
    hot = shown[20:32, 40:52].reshape(-1, 3).mean(axis=0)
    assert hot[2] > hot[0] + 60  # red over blue
    cooler = hub.op("anomaly", model=TINY, by="residual", show="overlay", smooth=0, limit=255)(
        picture
    )
    assert np.abs(cooler - picture.astype(int)).mean() < np.abs(shown - picture.astype(int)).mean()


def test_a_folder_gives_maps_and_scores(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    cv2.imwrite(str(tmp_path / "parts" / "bad.bmp"), marked())
    cv2.imwrite(str(tmp_path / "parts" / "good.bmp"), marked()[:, :30])
    options = {"model": TINY_GREY, "by": "residual", "limit": 20.0}
    done = [
        hub.map("anomaly", tmp_path / "parts", out=tmp_path / out, **options) for out in ("a", "b")
    ]
    bad, good = sorted(record.message for record in done[0].records)
    assert "bad.bmp: score " in bad and bad.endswith(", over 20")
    assert "good.bmp: score " in good and "over" not in good
    for name in ("bad.png", "good.png"):
        first = (tmp_path / "a" / name).read_bytes()
        assert first == (tmp_path / "b" / name).read_bytes()
    heat = cv2.imread(str(tmp_path / "a" / "bad.png"), cv2.IMREAD_UNCHANGED)
    assert f"score {heat.max() / 100:.2f} " in bad


def test_kl_needs_a_prior(hub: Hub, tmp_path: Path) -> None:
    manifest = tmp_path / "models" / TINY / "model.toml"
    manifest.write_text(manifest.read_text().replace('prior = "normal"', 'prior = "none"'))
    with pytest.raises(vaetools.OptionError, match="use by='residual'"):
        hub.op("anomaly", model=TINY)
    assert hub.op("anomaly", model=TINY, by="residual")(marked()).max() > 0


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    """The script examples/plugins/anomaly/measure.py."""
    path = PLUGINS / "anomaly" / "measure.py"
    spec = importlib.util.spec_from_file_location("example_measure", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_auroc_counts_pairs(measure: ModuleType) -> None:
    rng = np.random.default_rng(0)
    bad, good = rng.integers(2, 9, 30), rng.integers(0, 7, 50)
    pairs = (bad[:, None] > good) + 0.5 * (bad[:, None] == good)
    assert measure.auroc(bad, good) == pytest.approx(pairs.mean())


def test_the_painted_defects(measure: ModuleType) -> None:
    good, bad, masks = measure.drawn_images("gravel", 4)
    assert good.shape == bad.shape == masks.shape == (12, 128, 128)
    assert masks.sum(axis=(1, 2)).min() > 50 and masks.mean() < 0.05
    flat = np.full((128, 128), 0.5)
    for kind in measure.DEFECTS:
        changed, mask = measure.paint(np.random.default_rng(3), kind, flat)
        assert np.abs(changed - flat)[mask].min() > 0.1
        assert (changed != flat).mean() < 0.15
    again = measure.drawn_images("gravel", 4)
    assert all(np.array_equal(a, b) for a, b in zip((good, bad, masks), again, strict=True))


def test_the_recipe_fits_the_windows(measure: ModuleType) -> None:
    pytest.importorskip("torch")
    from vaetools.training.recipe import read_recipe
    from vaetools.training.tasks import open_task

    task = open_task(read_recipe(PLUGINS / "anomaly" / "texture.toml"))
    windows = measure.training_windows("brick")
    assert windows.shape == (measure.WINDOWS, *task.network.shape[1:])
