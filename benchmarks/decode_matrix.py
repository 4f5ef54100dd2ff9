"""Check that streams decode identically on different devices, thread counts and runtime versions.

    python benchmarks/decode_matrix.py write STREAMS IMAGES [--count 10000] [--seed 0]
    python benchmarks/decode_matrix.py read STREAMS            # once per ORT version, device, …
    python benchmarks/decode_matrix.py compare STREAMS

`write` encodes random crops at random rates (some with a region of interest, grey, 16 bit, refined)
and stores a hash of z, the table indices and r of each stream. `read` decodes all streams with each
number of threads and each optimisation level of the installed ONNX Runtime, counts mismatches, and
appends one row per configuration to `STREAMS/matrix.csv`. `compare` prints that table and fails if
there was a mismatch. Pixels may differ by one step on the 0–255 scale, because the synthesis is a
float network.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import vaetools
from vaetools.codec.container import CELL, unpack
from vaetools.image import SUFFIXES, Image, read_image
from vaetools.tiling import ceil_div

THREADS = (1, 2, 4)
OPTIMISATION = ("disable", "basic", "extended", "all")
REFINED = 0.1
"""Share of refined streams, if the model supports refinement."""
SIDES = (1, 256)
"""Range of the sides of a crop in pixels."""


def digest(*arrays: np.ndarray) -> str:
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array).astype(np.int32).tobytes())
    return whole.hexdigest()[:16]


def integers(codec: Any, data: bytes) -> str:
    """Hash of everything that must decode identically."""
    container = unpack(data)
    levels = codec.levels_of(container)
    networks = codec.networks(levels)
    z = codec.hyper(container, levels)
    whole = slice(0, levels.shape[0]), slice(0, levels.shape[1])
    return digest(levels, z, networks.index(z, whole), codec.symbols(container, networks, z))


def opened(threads: int | None, device: str) -> Any:
    hub = vaetools.open(device, threads=threads)
    return vaetools.Codec(hub.registry.for_task("compress"))


def write(folder: Path, images: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(f for f in images.rglob("*") if f.suffix.lower() in SUFFIXES)
    loaded = [read_image(f) for f in files[:: max(1, len(files) // 24)]]
    codec, rng = opened(None, "cpu"), np.random.default_rng(seed)
    rows = []
    for number in range(count):
        image, level_drop = crop(loaded[rng.integers(len(loaded))], rng)
        analysis = codec.analyse(image, level_drop)
        level = int(rng.integers(codec.levels))
        refine = 2 if codec.spec.refine and rng.random() < REFINED else 0
        data = codec.code(analysis, level, refine=refine).container.pack()
        (folder / f"{number:05}.vae").write_bytes(data)
        rows.append((f"{number:05}.vae", integers(codec, data)))
        if number % 500 == 499:
            print(f"{number + 1} written", flush=True)
    with (folder / "expected.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def crop(image: Image, rng: np.random.Generator) -> tuple[Image, np.ndarray | None]:
    """A random crop in a random depth, and in some cases a random rate map."""
    height, width = (min(int(rng.integers(*SIDES)), n) for n in (image.height, image.width))
    top, left = rng.integers(image.height - height + 1), rng.integers(image.width - width + 1)
    pixels = image.pixels[top : top + height, left : left + width]
    if rng.random() < 0.2 and pixels.ndim == 3:
        pixels = pixels[..., 1]
    if rng.random() < 0.2 and pixels.dtype == np.uint8:
        pixels = pixels.astype(np.uint16) * 257
    level_drop = None
    if rng.random() < 0.2:
        level_drop = rng.integers(0, 60, (ceil_div(height, CELL), ceil_div(width, CELL)))
    return Image(np.ascontiguousarray(pixels)), level_drop


def read(folder: Path, device: str, threads: list[int], levels: list[str]) -> int:
    with (folder / "expected.csv").open(newline="") as file:
        expected = dict(csv.reader(file))
    wrong_in_all = 0
    first: dict[str, np.ndarray] = {}
    for optimisation in levels:
        os.environ["VAETOOLS_ORT_OPTIMIZATION"] = optimisation
        for count in threads:
            codec, start = opened(count, device), time.perf_counter()
            wrong, worst = 0, 0.0
            for name, hashed in expected.items():
                data = (folder / name).read_bytes()
                wrong += integers(codec, data) != hashed
                if int(name[:5]) % 20 == 0:  # decoding pixels takes ten times as long
                    worst = max(worst, difference(codec.decode(data), name, first))
            wrong_in_all += wrong
            row = {
                "onnxruntime": ort_version(),
                "device": device,
                "python": platform.python_version(),
                "processor": platform.machine(),
                "optimisation": optimisation,
                "threads": count,
                "streams": len(expected),
                "mismatches": wrong,
                "largest pixel difference (0–255 scale)": f"{worst:.3f}",
                "seconds": f"{time.perf_counter() - start:.0f}",
            }
            print(row, flush=True)
            append(folder / "matrix.csv", row)
    return 1 if wrong_in_all else 0


def difference(image: Image, name: str, first: dict[str, np.ndarray]) -> float:
    """Largest difference to the first configuration's pixels, on the 0–255 scale."""
    top = 255 if image.depth == 8 else 65535
    pixels = image.pixels.astype(np.float64) * (255 / top)
    known = first.setdefault(name, pixels)
    return float(np.abs(pixels - known).max())


def ort_version() -> str:
    import onnxruntime

    version: str = onnxruntime.__version__
    return version


def append(file: Path, row: dict[str, Any]) -> None:
    fresh = not file.exists()
    with file.open("a", newline="") as table:
        writer = csv.DictWriter(table, row)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def compare(folder: Path) -> int:
    with (folder / "matrix.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(row.values()) + " |")
    decoded = sum(int(row["streams"]) for row in rows)
    wrong = sum(int(row["mismatches"]) for row in rows)
    print(f"\n{decoded} decodings, {wrong} mismatches")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["write", "read", "compare"])
    parser.add_argument("streams", type=Path)
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, nargs="+", default=list(THREADS))
    parser.add_argument("--optimisation", nargs="+", default=list(OPTIMISATION))
    args = parser.parse_args()
    if args.what == "write":
        if args.images is None:
            parser.error("write needs a folder of images as second argument")
        write(args.streams, args.images, args.count, args.seed)
        return 0
    if args.what == "read":
        return read(args.streams, args.device, args.threads, args.optimisation)
    return compare(args.streams)


if __name__ == "__main__":
    sys.exit(main())
