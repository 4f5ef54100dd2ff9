"""Where vaetools is not good: screenshots, smooth gradients, clean images.

    python benchmarks/weak_spots.py SCREENSHOTS [--out DIR]

Screenshots: the size and PSNR of `.vae` files of quality 75 against WebP files. Gradients:
PSNR within squares of 32 pixels, filled by `inpaint` and by scikit-image's biharmonic method. Images
without noise: what `denoise` with a given level removes from them. Writes `weak_spots.json`.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np

import vaetools
from vaetools import metrics

from common import Rgb, circumstances, read_images  # isort: skip
from inpaint_masks import mask_of  # isort: skip
from screens import screenshots  # isort: skip

SIDE = 384


def gradients() -> dict[str, Rgb]:
    """Ten smooth images of two colours each, as skies, walls and lamps are."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    shapes = {
        "sky": (y + 1) / 2,
        "spotlight": np.exp(-(x**2 + y**2)),
        "saddle": (1 + x * y) / 2,
        "dusk": ((y + 1) / 2) ** 3,
        "slope": (2 + x + y) / 4,
        "vignette": 1 / (1 + 0.7 * (x**2 + y**2)) ** 2,
        "haze": 1 / (1 + np.exp(-8 * (y - 0.2))),
        "fold": (1 + np.sin(3 * x + y)) / 2,
        "lamps": np.exp(-4 * ((x + 0.5) ** 2 + y**2)) + np.exp(-6 * ((x - 0.6) ** 2 + y**2)),
        "tube": np.sqrt(np.maximum(0, 1 - 0.9 * x**2)),
    }
    light, dark = np.array([230, 210, 180]), np.array([30, 60, 120])
    return {
        name: np.rint(dark + (light - dark) * shape.clip(0, 1)[..., None]).astype(np.uint8)
        for name, shape in shapes.items()
    }


def fills(hub: vaetools.Hub) -> list[dict[str, Any]]:
    from skimage.restoration import inpaint_biharmonic

    rows = []
    for seed, (name, rgb) in enumerate(gradients().items()):
        hole = mask_of("block", SIDE, SIDE, seed)
        damaged = np.where(hole[..., None], np.uint8(0), rgb)
        ours = hub.inpaint(damaged, hole, channel_order="rgb")
        other = inpaint_biharmonic(damaged / 255, hole, channel_axis=2)
        other = (other.clip(0, 1) * 255).round().astype(np.uint8)
        row = {"image": name}
        for method, result in (("ours", ours), ("biharmonic", other)):
            error = (result[hole].astype(float) - rgb[hole]) ** 2
            row[method] = min(60.0, 10 * float(np.log10(255**2 / max(error.mean(), 1e-9))))
        rows.append(row)
        print(row, flush=True)
    return rows


def clean(hub: vaetools.Hub) -> list[dict[str, Any]]:
    """PSNR after denoising a photograph that has no noise, with a level that is given."""
    from skimage import data

    rgb = data.astronaut()
    return [
        {"sigma": str(sigma), "psnr": metrics.psnr(rgb, hub.denoise(rgb, sigma=sigma))}
        for sigma in ("auto", "photo", 10, 25)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="screenshots")
    parser.add_argument("--out", type=Path, default=Path("bench-weak"))
    options = parser.parse_args()
    images, _ = read_images(options.folder, None)
    options.out.mkdir(parents=True, exist_ok=True)
    with vaetools.open("cpu") as hub:
        found: dict[str, Any] = {
            "screenshots": [*screenshots(hub, images, 75)],
            "gradients": fills(hub),
            "clean": clean(hub),
        }
    words = shlex.join(["python", "benchmarks/weak_spots.py", *sys.argv[1:]])
    found["run"] = circumstances(words)
    file = options.out / "weak_spots.json"
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"written: {file}")


if __name__ == "__main__":
    main()
