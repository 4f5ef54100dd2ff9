"""For plugin authors: pytest fixtures, and the small models and images behind them.

    # conftest.py
    pytest_plugins = ["vaetools.testing"]

Fixtures: `photo` (a small colour image), `tiny_models` (a folder with a tiny VAE), `host` (a plugin
host that discovers nothing), `hub` (that host with that model, on the CPU). `write_tiny_grey_vae`
writes a second model, for 8 x 8 grey pixels only.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tomli_w

from vaetools.hub import Hub
from vaetools.model.manifest import FILE_NAME, manifest_table
from vaetools.model.spec import (
    GraphSpec,
    ImageSpec,
    LatentSpec,
    LikelihoodSpec,
    Manifest,
    SelfTest,
    SizeSpec,
    TilingSpec,
)
from vaetools.plugin.host import PluginHost

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import GraphProto

TINY = "tiny-vae"
TINY_GREY = "tiny-grey-vae"


def gradient(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth colour image, (height, width, 3) uint8 BGR."""
    rows, columns = np.mgrid[:height, :width]
    blue = 255 * columns / max(1, width - 1)
    green = 255 * rows / max(1, height - 1)
    red = 127 + 127 * np.sin((rows + columns) / 9)
    return np.stack([blue, green, red], axis=2).astype(np.uint8)


def write_tiny_vae(folder: Path, *, deviation: float = 0.05) -> Path:
    """A model folder with a VAE that averages 4 x 4 pixels and repeats them: no training, no torch.

    Its posterior has the same `deviation` everywhere.
    """
    from onnx import TensorProto, helper, numpy_helper

    down = np.zeros((3, 3, 4, 4), np.float32)
    up = np.zeros((3, 3, 4, 4), np.float32)
    for channel in range(3):
        down[channel, channel] = 1 / 16
        up[channel, channel] = 1
    log_variance = np.array(2 * np.log(deviation), np.float32)

    def value(name: str, *sides: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, *sides])

    image = value("image", "height", "width")
    latent = ("latent_height", "latent_width")
    encode = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "down"], ["mean"], strides=[4, 4]),
            helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "log_variance"], ["logvar"]),
        ],
        "encode",
        [image],
        [value("mean", *latent), value("logvar", *latent)],
        [
            numpy_helper.from_array(down, "down"),
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
            numpy_helper.from_array(log_variance, "log_variance"),
        ],
    )
    decode = helper.make_graph(
        [helper.make_node("ConvTranspose", ["latent", "up"], ["image"], strides=[4, 4])],
        "decode",
        [value("latent", *latent)],
        [image],
        [numpy_helper.from_array(up, "up")],
    )
    manifest = Manifest(
        format=1,
        id=TINY,
        version="1",
        license="Apache-2.0",
        tasks=("generate", "reconstruct"),
        graphs=_write_graphs(folder, encode, decode),
        size=SizeSpec(multiple_of=4, minimum=4),
        tiling=TilingSpec("halo", 0),
        latent=LatentSpec(channels=3, downscale=4),
        likelihood=LikelihoodSpec("gaussian", 0.05),
        selftest=_selftest((1, 3, 64, 64), (1, 3, 16, 16), deviation),
    )
    return _write_manifest(folder, manifest)


def write_tiny_grey_vae(folder: Path, *, deviation: float = 0.05) -> Path:
    """A model folder with a VAE for 8 x 8 grey pixels: its latent is a vector, the quarters' means."""
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str, *sides: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *sides])

    def constant(name: str, array: Any, dtype: type = np.float32) -> Any:
        return numpy_helper.from_array(np.asarray(array, dtype), name)

    encode = helper.make_graph(
        [
            helper.make_node(
                "AveragePool", ["image"], ["cells"], kernel_shape=[4, 4], strides=[4, 4]
            ),
            helper.make_node("Flatten", ["cells"], ["mean"]),
            helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "log_variance"], ["logvar"]),
        ],
        "encode",
        [value("image", 1, 8, 8)],
        [value("mean", 4), value("logvar", 4)],
        [constant("zero", 0), constant("log_variance", 2 * np.log(deviation))],
    )
    decode = helper.make_graph(
        [
            helper.make_node("Reshape", ["latent", "shape"], ["cells"]),
            helper.make_node("ConvTranspose", ["cells", "up"], ["image"], strides=[4, 4]),
        ],
        "decode",
        [value("latent", 4)],
        [value("image", 1, 8, 8)],
        [constant("shape", [-1, 1, 2, 2], np.int64), constant("up", np.ones((1, 1, 4, 4)))],
    )
    manifest = Manifest(
        format=1,
        id=TINY_GREY,
        version="1",
        license="Apache-2.0",
        tasks=("generate", "reconstruct"),
        graphs=_write_graphs(folder, encode, decode),
        image=ImageSpec(channels=1),
        size=SizeSpec(fixed=(8, 8)),
        tiling=TilingSpec("never", reason="it knows one size"),
        latent=LatentSpec(kind="vector", channels=4, downscale=4),
        likelihood=LikelihoodSpec("gaussian", 0.05),
        selftest=_selftest((1, 1, 8, 8), (1, 4), deviation),
    )
    return _write_manifest(folder, manifest)


def _selftest(image: tuple[int, ...], latent: tuple[int, ...], deviation: float) -> SelfTest:
    """What the graphs give: means of 4 x 4 pixels and one log variance; latents as they are."""
    pixels = np.random.default_rng(0).random(image, dtype=np.float32).astype(np.float64)
    means = pixels.reshape(*image[:2], image[2] // 4, 4, image[3] // 4, 4).mean((3, 5))
    encoded = (means.mean() + abs(2 * np.log(deviation))) / 2
    decoded = np.abs(np.random.default_rng(0).integers(-3, 4, latent)).mean()
    height, width = image[2:]
    values = {"encode": float(encoded), "decode": float(decoded)}
    return SelfTest(0, height, width, values=values)


def _write_graphs(folder: Path, *graphs: GraphProto) -> dict[str, GraphSpec]:
    """Write graphs that are called by their roles; what the manifest says of them."""
    from onnx import helper

    folder.mkdir(parents=True, exist_ok=True)
    specs = {}
    for graph in graphs:
        role = graph.name
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        data = model.SerializeToString()
        (folder / f"{role}.onnx").write_bytes(data)
        specs[role] = GraphSpec(
            f"{role}.onnx",
            hashlib.sha256(data).hexdigest(),
            len(data),
            tuple(i.name for i in graph.input),
            tuple(o.name for o in graph.output),
        )
    return specs


def _write_manifest(folder: Path, manifest: Manifest) -> Path:
    (folder / FILE_NAME).write_text(tomli_w.dumps(manifest_table(manifest)), encoding="utf-8")
    return folder


@pytest.fixture
def photo() -> np.ndarray:
    """A small colour image, (48, 64, 3) uint8 BGR."""
    return gradient()


@pytest.fixture
def tiny_models(tmp_path: Path) -> Path:
    """A folder of models with one tiny VAE, of the tasks `reconstruct` and `generate`."""
    write_tiny_vae(tmp_path / "models" / TINY)
    return tmp_path / "models"


@pytest.fixture
def host() -> PluginHost:
    """A plugin host that discovers nothing: register what the test needs."""
    return PluginHost(builtin=False, installed=False)


@pytest.fixture
def hub(host: PluginHost, tiny_models: Path) -> Hub:
    """A hub with `host` and the tiny VAE, on the CPU."""
    return Hub(host, [tiny_models], device="cpu", threads=1)
