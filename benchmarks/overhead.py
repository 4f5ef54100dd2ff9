"""Overhead of `hub.op(...)` over ONNX Runtime: one operation on one frame against its bare sessions.

    python benchmarks/overhead.py                                   # a synthetic VAE, 19 kMAC per pixel
    python benchmarks/overhead.py --channels 24                     # a cheaper one, 2.7 kMAC per pixel
    python benchmarks/overhead.py --op denoise --option sigma=25    # any operation with a model

One call is recorded: the sessions it runs and their inputs. Then the operation and the bare sessions,
with the recorded inputs, run alternately. CPU time of one thread is compared, which other load on the
machine affects little.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tomli_w
from onnx import TensorProto, helper, numpy_helper
from skimage import data

import vaetools
from vaetools.model.manifest import FILE_NAME, manifest_table
from vaetools.model.session import Session
from vaetools.model.spec import (
    GraphSpec,
    LatentSpec,
    LikelihoodSpec,
    Manifest,
    SizeSpec,
    TilingSpec,
)
from vaetools.tiling import ceil_div

LAYERS, LATENTS, CELL = 4, 4, 4
"""Size of the synthetic VAE; its layers work at a quarter of the resolution."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--op", default="reconstruct")
    parser.add_argument("--model", help="model id [default: a synthetic VAE for reconstruct]")
    parser.add_argument("--models-dir", type=Path, action="append", default=[])
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--channels", type=int, default=64, help="channels of the synthetic VAE [default: 64]"
    )
    parser.add_argument("--size", default="1280x720", help="WIDTHxHEIGHT [default: 1280x720]")
    parser.add_argument("--repeat", type=int, default=15)
    args = parser.parse_args()
    width, height = (int(side) for side in args.size.split("x"))
    options = dict(text.split("=", 1) for text in args.option)
    with tempfile.TemporaryDirectory() as folder:
        model = args.model
        if model is None and args.op == "reconstruct":
            model = write_vae(Path(folder, "synthetic"), args.channels)
        with vaetools.open("cpu", models_dirs=[folder, *args.models_dir], threads=1) as hub:
            step = hub.op(args.op, model=model, **options)
            whole, bare = measure(step, frame(height, width), args.repeat)
    print(
        f"{args.op}, {model or 'default model'}, {width} × {height}, uint8, one thread, CPU ms per frame"
    )
    print(f"{'':15} {'fastest':>8} {'median':>8}   of {args.repeat}")
    for name, times in (("hub.op", whole), ("bare sessions", bare)):
        print(f"{name:15} {1000 * min(times):8.1f} {1000 * statistics.median(times):8.1f}")
    fastest = min(whole) / min(bare) - 1
    median = statistics.median(w / b for w, b in zip(whole, bare, strict=True)) - 1
    print(f"{'overhead, %':15} {100 * fastest:8.1f} {100 * median:8.1f}")


def measure(step: Any, image: np.ndarray, repeat: int) -> tuple[list[float], list[float]]:
    """CPU seconds of the operation and of its bare sessions, `repeat` times each."""
    calls = recorded(step, image)
    whole, bare = [], []
    for _ in range(repeat):
        started = time.process_time()
        step(image)
        between = time.process_time()
        for session, feeds in calls:
            session.run(None, feeds)
        whole.append(between - started)
        bare.append(time.process_time() - between)
    return whole, bare


def recorded(step: Any, image: np.ndarray) -> list[tuple[Any, dict[str, np.ndarray]]]:
    """The session runs of one call: (ONNX Runtime session, inputs)."""
    calls = []
    real = Session.__call__

    def record(session: Session, *values: np.ndarray) -> Any:
        feeds = dict(zip(session.inputs, (value.copy() for value in values), strict=True))
        calls.append((session._session, feeds))  # noqa: SLF001 - the session of ONNX Runtime itself
        return real(session, *values)

    step(image)  # opens the graphs
    with mock.patch.object(Session, "__call__", record):
        step(image)
    return calls


def frame(height: int, width: int) -> np.ndarray:
    """A photograph, tiled to the size; (H, W, 3) uint8 BGR."""
    photo = data.astronaut()[:, :, ::-1]
    rows, columns = ceil_div(height, photo.shape[0]), ceil_div(width, photo.shape[1])
    return np.ascontiguousarray(np.tile(photo, (rows, columns, 1))[:height, :width])


def write_vae(folder: Path, channels: int) -> str:
    """Write a VAE with random weights and realistic cost. Returns its id."""
    rng = np.random.default_rng(0)
    middle = [("Conv", channels, channels, 3)] * LAYERS
    encode = [("Conv", 3, channels, CELL), *middle, ("Conv", channels, LATENTS, 1)]
    decode = [("Conv", LATENTS, channels, 1), *middle, ("ConvTranspose", channels, 3, CELL)]
    folder.mkdir()
    graphs = {
        "encode": write_graph(folder, "encode", encode, ("image", "mean"), rng),
        "decode": write_graph(folder, "decode", decode, ("latent", "image"), rng),
    }
    manifest = Manifest(
        format=1,
        id="synthetic",
        version="1",
        license="Apache-2.0",
        tasks=("reconstruct",),
        graphs=graphs,
        size=SizeSpec(multiple_of=CELL, minimum=CELL),
        tiling=TilingSpec("halo", 2 * LAYERS * CELL),
        latent=LatentSpec(channels=LATENTS, downscale=CELL),
        likelihood=LikelihoodSpec("gaussian", 0.05),
    )
    (folder / FILE_NAME).write_text(tomli_w.dumps(manifest_table(manifest)), encoding="utf-8")
    return manifest.id


def write_graph(
    folder: Path,
    role: str,
    layers: list[tuple[str, int, int, int]],
    names: tuple[str, str],
    rng: np.random.Generator,
) -> GraphSpec:
    """Write convolutions (kind, channels in, channels out, kernel side) with ReLU between them."""
    nodes, weights, current = [], [], names[0]
    for number, (kind, inner, outer, side) in enumerate(layers):
        shape = (inner, outer) if kind == "ConvTranspose" else (outer, inner)
        std = np.sqrt(2 / (inner * side * side))
        values = (std * rng.standard_normal((*shape, side, side))).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{number}"))
        stride = CELL if side == CELL else 1
        pad = 1 if side == 3 else 0
        last = number == len(layers) - 1
        output = names[1] if last else f"c{number}"
        nodes.append(
            helper.make_node(
                kind, [current, f"w{number}"], [output], strides=[stride] * 2, pads=[pad] * 4
            )
        )
        current = output if last else f"r{number}"
        if not last:
            nodes.append(helper.make_node("Relu", [output], [current]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, f"{name}_h", f"{name}_w"])
        for name, count in zip(names, (layers[0][1], layers[-1][2]), strict=True)
    ]
    graph = helper.make_graph(nodes, role, ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content = model.SerializeToString()
    (folder / f"{role}.onnx").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return GraphSpec(f"{role}.onnx", digest, len(content), names[:1], names[1:])


if __name__ == "__main__":
    main()
