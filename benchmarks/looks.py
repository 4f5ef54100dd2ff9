"""How images look at equal bytes: vaetools' looks and AVIF, by measures of perceived quality.

    pip install --no-deps ssimulacra2; apt install libjxl-devtools
    python benchmarks/looks.py FOLDER [--model ID] [--bpp 0.2 0.4] [--quick N] [--out DIR]

Each image is compressed to each number of bits per pixel, and decoded with each look that the model has;
AVIF (Pillow's libavif, 4:4:4, speed 6, default tuning) gets the quality whose file is nearest in bytes.
SSIMULACRA 2 (100 is lossless, 70 high quality, 50 medium), Butteraugli's 3-norm (lower is better), both
on 8-bit sRGB; MS-SSIM and PSNR as in `codec.py`; means over the images. A look that was trained with a
measure, or something like it, is best judged by the others: that of photo-codec was trained with
MS-SSIM and activations of VGG-16.

Writes `looks.json`, and `looks.png` with crops: the original, then each contender.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from codecs_compared import ANCHORS
from common import circumstances, read_images
from PIL import Image, ImageDraw

import vaetools
from vaetools import metrics
from vaetools.model.fused.chains import VIVID

if TYPE_CHECKING:
    from common import Rgb

AVIF = "AVIF"
CROP = 128
"""Side of the crops in pixels; they are shown at twice the size."""

SHOWN = 4
"""Images with crops."""


@dataclass(frozen=True)
class Shot:
    """An image, compressed and decoded."""

    name: str
    bpp: float
    pixels: Rgb


class Contenders:
    """Everything that is compared."""

    def __init__(self, model: str | None) -> None:
        self.hub = vaetools.open("cpu")
        self.codec = vaetools.Codec(self.hub.registry.for_task("compress", model))
        has_vivid = VIVID in self.codec.model.manifest.graphs
        self.looks = ("faithful", "vivid") if has_vivid else ("faithful",)
        self.avif = ANCHORS["avif"]()

    def shots(self, rgb: Rgb, bpp: float) -> list[Shot]:
        image = vaetools.Image(np.ascontiguousarray(rgb[..., ::-1]))
        data = self.codec.probes(image).at_bpp(bpp).container.pack()
        pixels = rgb.shape[0] * rgb.shape[1]
        ours = [
            Shot(look, 8 * len(data) / pixels, self.codec.decode(data, look=look).pixels[..., ::-1])
            for look in self.looks
        ]
        other = self._avif_of(rgb, len(data))
        return [*ours, Shot(AVIF, 8 * len(other) / pixels, self.avif.decode(other))]

    def _avif_of(self, rgb: Rgb, size: int) -> bytes:
        """The file that is nearest to `size` bytes."""
        files: dict[int, bytes] = {}
        low, high = 0, 100
        while low <= high:
            quality = (low + high) // 2
            files[quality] = self.avif.encode(rgb, quality)
            if len(files[quality]) < size:
                low = quality + 1
            else:
                high = quality - 1
        return min(files.values(), key=lambda data: abs(len(data) - size))


def scores(original: Rgb, found: Rgb) -> dict[str, float]:
    from ssimulacra2 import compute_ssimulacra2

    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, f"{name}.png")) for name in ("original", "found")]
        for path, pixels in zip(paths, (original, found), strict=True):
            Image.fromarray(np.ascontiguousarray(pixels)).save(path)
        words = ["butteraugli_main", *paths]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        norm = re.search(r"3-norm:\s*([\d.]+)", said)
        assert norm is not None, said
        return {
            "ssimulacra2": float(compute_ssimulacra2(*paths)),
            "butteraugli": float(norm[1]),
            "ms_ssim": metrics.ms_ssim(original, np.ascontiguousarray(found)),
            "psnr": metrics.psnr(original, np.ascontiguousarray(found)),
        }


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| bpp | | bytes | SSIMULACRA 2 | Butteraugli | MS-SSIM | PSNR |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for target, name in dict.fromkeys((row["target"], row["name"]) for row in rows):
        some = [row for row in rows if (row["target"], row["name"]) == (target, name)]
        mean = {
            key: statistics.mean(row[key] for row in some) for key in some[0] if key not in KEYS
        }
        lines.append(
            f"| {target:g} | {name} | {mean['bpp'] / target:.3f} | {mean['ssimulacra2']:.2f} "
            f"| {mean['butteraugli']:.3f} | {mean['ms_ssim']:.4f} | {mean['psnr']:.2f} |"
        )
    return "\n".join(lines)


KEYS = {"target", "name", "image"}


def sheet(crops: list[tuple[str, list[tuple[str, Rgb]]]]) -> Image.Image:
    """A row for each image and target, a column for each contender."""
    side, margin = 2 * CROP, 18
    columns = max(len(row) for _, row in crops)
    page = Image.new("RGB", (columns * side, len(crops) * (side + margin)), "white")
    draw = ImageDraw.Draw(page)
    for y, (label, row) in enumerate(crops):
        for x, (name, pixels) in enumerate(row):
            place = x * side, y * (side + margin)
            draw.text((place[0] + 4, place[1] + 3), f"{label}: {name}" if not x else name, "black")
            shown = Image.fromarray(np.ascontiguousarray(pixels)).resize(
                (side, side), Image.NEAREST
            )
            page.paste(shown, (place[0], place[1] + margin))
    return page


def busiest(rgb: Rgb) -> tuple[slice, slice]:
    """The crop with the most detail, but not all noise: the 80th percentile of its variances."""
    grey = rgb.mean(axis=2)
    rows, columns = (n // CROP for n in grey.shape)
    cells = grey[: rows * CROP, : columns * CROP].reshape(rows, CROP, columns, CROP)
    spread = cells.std(axis=(1, 3)).ravel()
    place = int(np.argsort(spread)[int(0.8 * (len(spread) - 1))])
    y, x = divmod(place, columns)
    return slice(y * CROP, (y + 1) * CROP), slice(x * CROP, (x + 1) * CROP)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--bpp", type=float, nargs="+", default=[0.2, 0.4])
    parser.add_argument("--quick", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    images, _ = read_images(options.folder, options.quick)
    contenders = Contenders(options.model)
    rows: list[dict[str, Any]] = []
    crops = []
    for target in options.bpp:
        for number, (name, rgb) in enumerate(images.items()):
            shots = contenders.shots(rgb, target)
            for shot in shots:
                found = {"target": target, "name": shot.name, "image": name, "bpp": shot.bpp}
                rows.append({**found, **scores(rgb, shot.pixels)})
            if number % max(len(images) // SHOWN, 1) == 0:
                box = busiest(rgb)
                row = [("original", rgb[box]), *((s.name, s.pixels[box]) for s in shots)]
                crops.append((f"{name}, {target:g} bpp", row))
            print(f"{name} {target:g}", file=sys.stderr, flush=True)
    print(table(rows))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        run = circumstances(f"python benchmarks/looks.py {shlex.join(sys.argv[1:])}")
        content = {"run": run, "settings": contenders.avif.settings, "rows": rows}
        (options.out / "looks.json").write_text(json.dumps(content, indent=1))
        sheet(crops).save(options.out / "looks.png")


if __name__ == "__main__":
    main()
