"""Models that need no training: a denoiser that blurs, an inpainter that takes the mean of what is near;
their samples are flat in every cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from vaetools.model.spec import DenoiseSpec, InpaintSpec, LatentSpec, Manifest, SizeSpec, TilingSpec
from vaetools.testing import _write_graphs, _write_manifest

BLUR = "tiny-denoiser"
SPREAD = 0.5
"""Deviation of its answers, in deviations of the noise."""
INTERVAL = (1.5, 2.0)
LEVELS = (5.0, 25.0)
NOISE = 4
RESPONSE = float(np.sqrt(2 / np.pi * (1 - 1 / 25)))
"""Mean magnitude of what a 5 x 5 blur takes off white noise of deviation 1."""


def value(name: str, *shape: Any) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape])


IMAGE = value("image", 3, "height", "width")
SIGMA = value("sigma", 1, "height", "width")


def constants(**arrays: Any) -> list[Any]:
    made = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    return [numpy_helper.from_array(array, name) for name, array in made.items()]


def blurred() -> list[Any]:
    """Nodes: image -> blur, of 5 x 5 pixels of one channel."""
    return [helper.make_node("Conv", ["image", "box"], ["blur"], pads=[2, 2, 2, 2], group=3)]


def mean() -> list[Any]:
    """Nodes: image, sigma -> mean; the blurred picture from a noise level of 0.05 on, itself at 0."""
    return [
        *blurred(),
        helper.make_node("Mul", ["sigma", "twenty"], ["wide"]),
        helper.make_node("Min", ["wide", "one"], ["gate"]),
        helper.make_node("Sub", ["blur", "image"], ["away"]),
        helper.make_node("Mul", ["away", "gate"], ["step"]),
        helper.make_node("Add", ["image", "step"], ["mean"]),
    ]


def graphs(scale: float = 1) -> list[Any]:
    box = np.full((3, 1, 5, 5), scale / 25)
    shared = {"box": box, "twenty": 20, "one": 1}
    latent = ("latent_height", "latent_width")
    level = [
        *blurred(),
        helper.make_node("Sub", ["image", "blur"], ["detail"]),
        helper.make_node("Abs", ["detail"], ["size"]),
        helper.make_node("Conv", ["size", "cell"], ["level"], strides=[8, 8]),
    ]
    sample = [
        *mean(),
        helper.make_node("Mul", ["sigma", "half"], ["deviation"]),
        helper.make_node("ConvTranspose", ["noise", "up"], ["grain"], strides=[8, 8]),
        helper.make_node("Mul", ["grain", "deviation"], ["moved"]),
        helper.make_node("Mul", ["moved", "temperature"], ["warm"]),
        helper.make_node("Add", ["mean", "warm"], ["sample"]),
    ]
    cell = np.full((1, 3, 8, 8), 1 / 192 / RESPONSE)
    up = np.full((NOISE, 1, 8, 8), NOISE**-0.5)
    inputs = [IMAGE, SIGMA, value("noise", NOISE, *latent), value("temperature", 1, 1, 1)]
    outputs = [value("sample", 3, "height", "width"), value("deviation", 1, "height", "width")]
    return [
        helper.make_graph(
            mean(), "denoise", [IMAGE, SIGMA], [value("mean", 3, "height", "width")],
            constants(**shared),
        ),
        helper.make_graph(
            level, "noise_level", [IMAGE], [value("level", 1, *latent)],
            constants(box=box, cell=cell),
        ),
        helper.make_graph(
            sample, "denoise_sample", inputs, outputs,
            constants(**shared, half=SPREAD, up=up),
        ),
    ]  # fmt: skip


def write_denoiser(
    folder: Path, *, samples: bool = True, task: str = "denoise", scale: float = 1
) -> Path:
    """A model folder; without `samples` it has only a mean. `scale` is the gain of the blur."""
    made = graphs(scale) if samples else graphs(scale)[:2]
    spec = DenoiseSpec(55.0, LEVELS, INTERVAL) if samples else DenoiseSpec(55.0)
    manifest = Manifest(
        format=1,
        id=folder.name,
        version="1",
        license="Apache-2.0",
        tasks=(task,),
        graphs=_write_graphs(folder, *made),
        size=SizeSpec(multiple_of=8, minimum=8),
        tiling=TilingSpec("halo", 8),
        latent=LatentSpec("spatial", NOISE, 8),
        denoise=spec,
    )
    return _write_manifest(folder, manifest)


MEAN = "tiny-inpainter"
DEEPEST = 6.0
HALO = 8
DEPTHS = (1.0, 4.0)
HOLE_INTERVAL = (1.0, 2.0)
HOLE_SPREAD = 0.02
"""Deviation of its fills, where white is 1."""


def hole_graphs() -> list[Any]:
    """`inpaint`: the hole is the mean of the known pixels among 15 x 15; grey where there are none."""
    latent = ("latent_height", "latent_width")
    mask = value("mask", 1, "height", "width")
    filled = [
        helper.make_node("Sub", ["one", "mask"], ["free"]),
        helper.make_node("Mul", ["image", "free"], ["known"]),
        helper.make_node("Conv", ["known", "box"], ["total"], pads=[7] * 4, group=3),
        helper.make_node("Conv", ["free", "square"], ["count"], pads=[7] * 4),
        helper.make_node("Add", ["total", "faint"], ["more"]),
        helper.make_node("Add", ["count", "faint"], ["counted"]),
        helper.make_node("Add", ["counted", "faint"], ["weight"]),
        helper.make_node("Div", ["more", "weight"], ["near"]),
        helper.make_node("Mul", ["near", "mask"], ["put"]),
        helper.make_node("Add", ["known", "put"], ["filled"]),
    ]
    sample = [
        *filled,
        helper.make_node("Mul", ["mask", "spread"], ["deviation"]),
        helper.make_node("ConvTranspose", ["noise", "up"], ["grain"], strides=[8, 8]),
        helper.make_node("Mul", ["grain", "deviation"], ["moved"]),
        helper.make_node("Mul", ["moved", "temperature"], ["warm"]),
        helper.make_node("Add", ["filled", "warm"], ["sample"]),
    ]
    shared = {"one": 1, "faint": 1e-4}
    boxes = {"box": np.ones((3, 1, 15, 15)), "square": np.ones((1, 1, 15, 15))}
    inputs = [IMAGE, mask, value("noise", NOISE, *latent), value("temperature", 1, 1, 1)]
    outputs = [value("sample", 3, "height", "width"), value("deviation", 1, "height", "width")]
    up = np.full((NOISE, 1, 8, 8), NOISE**-0.5)
    return [
        helper.make_graph(
            filled, "inpaint", [IMAGE, mask], [value("filled", 3, "height", "width")],
            constants(**shared, **boxes),
        ),
        helper.make_graph(
            sample, "inpaint_sample", inputs, outputs,
            constants(**shared, **boxes, spread=HOLE_SPREAD, up=up),
        ),
    ]  # fmt: skip


def write_inpainter(folder: Path, *, samples: bool = True) -> Path:
    """A model folder; without `samples` it has only a mean."""
    made = hole_graphs() if samples else hole_graphs()[:1]
    spec = InpaintSpec(DEEPEST, DEPTHS, HOLE_INTERVAL) if samples else InpaintSpec(DEEPEST)
    manifest = Manifest(
        format=1,
        id=folder.name,
        version="1",
        license="Apache-2.0",
        tasks=("inpaint",),
        graphs=_write_graphs(folder, *made),
        size=SizeSpec(multiple_of=8, minimum=8),
        tiling=TilingSpec("halo", HALO),
        latent=LatentSpec("spatial", NOISE, 8),
        inpaint=spec,
    )
    return _write_manifest(folder, manifest)
