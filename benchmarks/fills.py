"""The classical fill that the inpainter starts from, against other classical fills, without a network.

    python benchmarks/fills.py FOLDER [--quick N]

PSNR within holes of five kinds (`inpaint_masks.py`), in dB, means over the images: photographs (their
upper left quarters), the same out of focus (Gaussian blur of 5 and 10 pixels in turn), and smooth
gradients (`weak_spots.py`). Other fills: OpenCV's Navier-Stokes, scikit-image's biharmonic. Prints
tables.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from vaetools.training.networks.restoration.fill import fill

from common import circumstances, read_images  # isort: skip
from inpaint import covered, hole_psnr  # isort: skip
from inpainters_compared import Method, anchors  # isort: skip
from inpaint_masks import KINDS, mask_of  # isort: skip
from weak_spots import gradients  # isort: skip

BLURS = (5, 10)


@torch.no_grad()
def ours(damaged: np.ndarray, hole: np.ndarray) -> np.ndarray:
    planes = torch.from_numpy(damaged).permute(2, 0, 1)[None] / 255
    filled = fill(planes, torch.from_numpy(hole)[None, None].float())
    return (255 * filled[0].clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()


METHODS = [Method("ours", "", ours), *anchors(["ns", "biharmonic"])]


def quarter(image: np.ndarray) -> np.ndarray:
    """The upper left quarter, with sides that are multiples of 8."""
    height, width = image.shape[0] // 16 * 8, image.shape[1] // 16 * 8
    return np.ascontiguousarray(image[:height, :width])


def table(images: list[np.ndarray]) -> None:
    """Mean PSNR, and of the worst image."""
    print(f"{'':10}" + "".join(f"{method.name:>22}" for method in METHODS))
    for kind in KINDS:
        rows = []
        for seed, image in enumerate(images):
            hole = mask_of(kind, *image.shape[:2], seed)
            if hole.any():
                damaged = covered(image, hole)
                rows.append([hole_psnr(m.run(damaged, hole), image, hole) for m in METHODS])
        found = np.array(rows)
        cells = zip(found.mean(axis=0), found.min(axis=0), strict=True)
        print(
            f"{kind:10}" + "".join(f"{m:12.2f} ({least:5.2f}) " for m, least in cells), flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="photographs without damage")
    parser.add_argument("--quick", type=int, metavar="N", help="only N images")
    options = parser.parse_args()
    images, _ = read_images(options.folder, options.quick)
    photographs = [quarter(rgb) for rgb in images.values()]
    sets = {
        "photographs": photographs,
        "out of focus": [
            cv2.GaussianBlur(rgb, (0, 0), BLURS[number % 2])
            for number, rgb in enumerate(photographs)
        ],
        "gradients": [*gradients().values()],
    }
    for name, chosen in sets.items():
        print(f"\n{name} ({len(chosen)}); in brackets the worst image")
        table(chosen)
    print()
    for line in circumstances(shlex.join(["python", "benchmarks/fills.py", *sys.argv[1:]])):
        print(line)


if __name__ == "__main__":
    main()
