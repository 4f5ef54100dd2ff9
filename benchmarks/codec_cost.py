"""Cost of the codec: multiplications per pixel of every graph, and time of every stage.

    python benchmarks/codec_cost.py IMAGE [--model ID] [--quality Q] [--threads N] [--repeat N]

Multiplications are those of the convolutions in the ONNX graphs, for the padded image. Times are
minima over the repetitions, stage by stage in one process.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

import vaetools
from vaetools.codec.container import CELL, SectionKind
from vaetools.codec.rate import level_of
from vaetools.codec.tables import decode_hyper
from vaetools.image import read_image
from vaetools.model.fused.phases import PHASES
from vaetools.tiling import ceil_div

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = {
    "analysis": (1, 0),
    "hyper_analysis": (1, 0),
    "hyper_scale_index": (1, 1),
    "hyper_mean": (1, 1),
    "context_mean": (PHASES - 1, PHASES - 1),
    **{f"context_{number}": (1, 1) for number in range(1, PHASES)},
    "synthesis": (0, 1),
    "synthesis_gradient": (0, 0),
}
"""Runs of each graph per encoding and per decoding, without refinement."""

GRID = {"image": 1, "weight": 1, "latents": 16, "known": 16, "mean": 16, "hyper": 64}
GRID |= dict.fromkeys(("places", "place_mean", "former"), 32)  # of a grid context
"""Pixels per element of an input, along each axis."""


def multiplications(graph: onnx.ModelProto, height: int, width: int) -> float:
    """Multiplications per pixel of an image of `height` x `width`."""
    for value in graph.graph.input:
        shape = value.type.tensor_type.shape.dim
        if value.name == "rate":
            shape[2].dim_value, shape[3].dim_value = 1, 1
        else:
            pixels = GRID[value.name]
            shape[2].dim_value, shape[3].dim_value = height // pixels, width // pixels
    del graph.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(graph, data_prop=True).graph
    sizes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
    }
    sizes |= {tensor.name: [*tensor.dims] for tensor in graph.graph.initializer}
    total = 0
    for node in graph.graph.node:
        if node.op_type == "Conv":
            rows, columns = sizes[node.output[0]][2:]
            # Shape inference fails only at tensors in the resolution of the hyper-latents.
            rows, columns = rows or height // GRID["hyper"], columns or width // GRID["hyper"]
            total += int(np.prod(sizes[node.input[1]])) * rows * columns
    return total / (height * width)


def costs(model: Any, height: int, width: int) -> dict[str, float]:
    """Cost of every graph in kMAC per pixel."""
    return {
        role: multiplications(onnx.load(model.folder / spec.file), height, width) / 1000
        for role, spec in model.manifest.graphs.items()
    }


def stages(codec: Any, image: Any, level: int) -> dict[str, Callable[[], object]]:
    """The stages of encoding and decoding, as functions without arguments."""
    analysis = codec.analyse(image)
    container = codec.code(analysis, level).container
    data = container.pack()
    levels = codec.levels_of(container)
    networks = codec.networks(levels)
    z = codec.hyper(container, levels)
    everything = slice(0, levels.shape[0]), slice(0, levels.shape[1])

    def refined() -> object:
        return codec.code(analysis, level, refine=8)

    return {
        "encode: analysis network": lambda: codec.analyse(image),
        "encode: entropy model and entropy coder": lambda: codec.code(analysis, level),
        **({} if codec.spec.refine is None else {"the same, --refine 8": refined}),
        "entropy model: hyper_analysis": lambda: networks.hyper(analysis.latents),
        "entropy model: hyper_scale_index": lambda: networks.index(z, everything),
        "entropy model: hyper_mean, context": lambda: networks.symbols(
            analysis.latents, z, everything
        ),
        "decode: hyper-latents": lambda: decode_hyper(
            container.one(SectionKind.HYPER), levels, codec.tables
        ),
        "decode: everything except the synthesis": lambda: codec.symbols(container, networks, z),
        "encode: all": lambda: codec.encode(image, level),
        "decode: all": lambda: codec.decode(data),
    }


def fastest(function: Callable[[], object], repeat: int) -> float:
    """Shortest run in milliseconds."""
    function()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("image", type=Path, help="image file")
    parser.add_argument("--model", metavar="ID")
    parser.add_argument("--quality", type=float, default=50)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=7)
    args = parser.parse_args()
    image = read_image(args.image)
    hub = vaetools.open("cpu", threads=args.threads)
    codec = vaetools.Codec(hub.registry.for_task("compress", args.model))
    height, width = (ceil_div(side, CELL) * CELL for side in (image.height, image.width))
    print(f"{codec.model.id}, {image.width} x {image.height}, quality {args.quality:g}\n")
    print("| graph | kMAC per pixel | runs to encode + decode |\n|---|---:|---|")
    total = 0.0
    for role, cost in costs(codec.model, height, width).items():
        runs = RUNS[role]
        total += sum(runs) * cost
        print(f"| {role} | {cost:.2f} | {runs[0]} + {runs[1]} |")
    print(f"| total | {total:.2f} | |\n")
    print("| stage | ms |\n|---|---:|")
    for name, function in stages(codec, image, level_of(args.quality, codec.levels)).items():
        print(f"| {name} | {fastest(function, args.repeat):.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
