"""What 8-bit integers would do to the codec's synthesis: time saved, and quality lost.

    python benchmarks/codec_int8.py CALIBRATION PICTURES [--model ID] [--quality Q ...] [--crop N]

Weights per channel and activations are quantised with ONNX Runtime's own tools (QDQ). Ranges of the
activations are taken from pictures that are not those measured. Both graphs decode the same latents,
one thread each, one after the other in one process; PSNR is that of the decoded pictures.

The gate: a graph that loses more than 0.05 dB at any quality is not worth its speed, since 0.05 dB is
about 1 % of the bits.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

import vaetools
from vaetools import metrics
from vaetools.codec.rate import level_of
from vaetools.codec.tables import LATENTS
from vaetools.tiling import scaled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vaetools.tiling import Box

from codec import read_pictures

GATE = 0.05

Feed = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """What the synthesis is given, and what it should show: 8-bit RGB."""

    feed: Feed
    rgb: np.ndarray
    quality: float


def cases(codec: Any, folder: Path, qualities: Sequence[float], crop: int) -> Iterator[Case]:
    """Latents as a decoder has them, of the upper left corners of pictures."""
    names = codec.model.manifest.graphs["synthesis"].inputs
    side = crop // 64 * 64
    for rgb in read_pictures(folder, None)[0].values():
        corner = np.ascontiguousarray(rgb[:side, :side])
        if corner.shape[:2] != (side, side):
            continue
        analysis = codec.analyse(vaetools.Image.from_array(corner, channel_order="rgb"))
        for quality in qualities:
            container = codec.code(analysis, level_of(quality, codec.levels)).container
            yield Case(dict(zip(names, decoded(codec, container), strict=True)), corner, quality)


def decoded(codec: Any, container: Any) -> tuple[np.ndarray, np.ndarray]:
    """(latents, rate) of a file."""
    levels = codec.levels_of(container)
    networks = codec.networks(levels)
    everything = slice(0, levels.shape[0]), slice(0, levels.shape[1])
    z = codec.hyper(container, levels)
    symbols = codec.symbols(container, networks, z)

    def known(_: np.ndarray, box: Box) -> np.ndarray:
        return symbols[(..., *scaled(box, LATENTS))]

    mean = networks.mean(z, everything, known)
    return networks.dequantised(mean, symbols, everything), codec.tables.rates(levels)


def session(path: Path) -> onnxruntime.InferenceSession:
    """A graph on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Inputs, one after the other."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self.feeds, None)


def quantised(source: Path, target: Path, feeds: Sequence[Feed], *, ends: bool) -> Path:
    """An 8-bit graph; without `ends` the first and the last layers stay as they are."""
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    graph = onnx.load(prepared).graph
    given = {value.name for value in graph.input}
    layers = [node for node in graph.node if node.op_type == "Conv"]
    outer = [node.name for node in layers if given & set(node.input)] + [layers[-1].name]
    quantize_static(
        str(prepared),
        str(target),
        Calibration(feeds),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,  # AVX2 adds pairs of products in 16 bits, which full range overflows
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=[] if ends else outer,
    )
    return target


def measure(path: Path, cases: Sequence[Case]) -> tuple[list[float], float]:
    """(PSNR of each case, CPU seconds of all) with a graph."""
    run = session(path)
    run.run(None, cases[0].feed)  # memory is found in the first run
    scores, seconds = [], 0.0
    for case in cases:
        began = time.process_time()
        (planes,) = run.run(None, case.feed)
        seconds += time.process_time() - began
        rgb = np.clip(np.rint(255 * planes[0].transpose(1, 2, 0)), 0, 255).astype(np.uint8)
        scores.append(metrics.psnr(rgb, case.rgb))
    return scores, seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("calibration", type=Path, help="pictures for the ranges of activations")
    parser.add_argument("pictures", type=Path, help="pictures to measure on")
    parser.add_argument("--model", metavar="ID")
    parser.add_argument("--quality", type=float, nargs="+", default=[20, 50, 80])
    parser.add_argument("--crop", type=int, default=512)
    args = parser.parse_args()
    hub = vaetools.open("cpu", threads=1)
    codec = vaetools.Codec(hub.registry.for_task("compress", args.model))
    model = codec.model
    feeds = [case.feed for case in cases(codec, args.calibration, args.quality, 256)]
    measured = list(cases(codec, args.pictures, args.quality, args.crop))
    source = model.folder / model.manifest.graphs["synthesis"].file
    plain, plain_seconds = measure(source, measured)
    heads = " | ".join(f"dB lost at q {quality:g}" for quality in args.quality)
    print(f"| synthesis in 8 bits | time, float = 1 | {heads} | gate |")
    print("|---|---:|" + "---:|" * len(args.quality) + "---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, ends in (("all layers", True), ("without first and last layers", False)):
            path = quantised(source, Path(folder) / f"{ends}.onnx", feeds, ends=ends)
            scores, seconds = measure(path, measured)
            lost = [
                statistics.fmean(
                    was - now
                    for was, now, case in zip(plain, scores, measured, strict=True)
                    if case.quality == quality
                )
                for quality in args.quality
            ]
            cells = " | ".join(f"{value:.2f}" for value in lost)
            verdict = "passed" if max(lost) <= GATE else "not passed"
            print(f"| {name} | {seconds / plain_seconds:.2f} | {cells} | {verdict} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
