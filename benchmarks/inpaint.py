"""Compare vaetools with classical inpainting on a folder of images.

    python benchmarks/inpaint.py FOLDER [--out DIR] [--quick N] [--model ID]

Undamaged images get holes of five kinds, seeded per image and kind (`inpaint_masks.py`): scratches of 1
to 3 pixels, text, dust, brush strokes of 8 to 16 pixels and squares of 32; also strokes of one width
each (`--widths`, 1 to 48 pixels). PSNR: one MSE over R, G and B of the 8-bit result within the hole,
per image, then the mean; over whole images it is near 40 dB for every method.

Methods: OpenCV's Telea and Navier-Stokes (radius 3) and scikit-image's biharmonic. A method that
changes a pixel outside the hole aborts the run.

Also measured: the gain over the method that is best on average, and the share of images on which ours
is the best; the grain ratio (standard deviation of fine detail in the hole over the true one, ideally
1) and the seam error (of the steps across the border); on `--few` images one sample, the mean and the
best of 8 samples, coverage of the 90 % intervals and their correlation with the error.

Writes `inpaint.md`, `inpaint.json` and `inpaint.png` (a sheet of crops). Large holes need networks
trained on millions of images; none is included here.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import cv2
import numpy as np

import vaetools

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

from common import read_images
from inpaint_masks import KINDS, WIDTHS, mask_of
from inpaint_report import report, sheet
from inpainters_compared import ANCHORS, Method, anchors, as_image, as_rgb, ours
from restoration import Images, Row, arguments, drift, mean, subset, write

SAMPLES = 8

PSNR_CAP = 60.0
"""Largest PSNR in dB, so that a single uniform area does not dominate the mean."""

FINE = 1.5
"""Standard deviation in pixels of the blur that separates fine detail."""


def covered(clean: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The image with a black hole."""
    return np.where(hole[..., None], np.uint8(0), clean)


def hole_psnr(rgb: np.ndarray, clean: np.ndarray, hole: np.ndarray) -> float:
    mse = float(((rgb[hole].astype(np.float64) - clean[hole]) ** 2).mean())
    return min(PSNR_CAP, 10 * float(np.log10(255**2 / max(mse, 1e-9))))


def grain_ratio(rgb: np.ndarray, clean: np.ndarray, hole: np.ndarray) -> float:
    """Standard deviation of fine detail in the hole over the true one; 1 is ideal."""

    def grain(image: np.ndarray) -> float:
        values = image.astype(np.float32)
        return float((values - cv2.GaussianBlur(values, (0, 0), FINE))[hole].std())

    return grain(rgb) / max(grain(clean), 1e-3)


def seam_error(rgb: np.ndarray, clean: np.ndarray, hole: np.ndarray) -> float:
    """Mean absolute error of the steps across the border of the hole, on the 0–255 scale."""
    errors = []
    for axis in (0, 1):
        border = np.diff(hole.astype(np.int8), axis=axis) != 0
        steps = [np.diff(image.astype(np.float32), axis=axis)[border] for image in (rgb, clean)]
        errors.append(np.abs(steps[0] - steps[1]).ravel())
    return float(np.concatenate(errors).mean())


def compare(methods: Sequence[Method], images: Images, kinds: Sequence[str]) -> Row:
    """PSNR of each image, grain and seam by method and kind, and CPU seconds per megapixel."""
    found: Row = {}
    for method in methods:
        row: Row = {"settings": method.settings, "psnr": {}, "grain": {}, "seam": {}}
        seconds, pixels = 0.0, 0
        first = next(iter(images.values()))
        hole = mask_of("dust", *first.shape[:2], 0)
        method.run(covered(first, hole), hole)  # libraries and graphs load lazily
        for kind in kinds:
            scores: dict[str, list[float]] = {"psnr": [], "grain": [], "seam": []}
            for number, clean in enumerate(images.values()):
                hole = mask_of(kind, *clean.shape[:2], number)
                began = time.process_time()
                out = method.run(covered(clean, hole), hole)
                seconds += time.process_time() - began
                pixels += hole.size
                if not np.array_equal(out[~hole], clean[~hole]):
                    raise SystemExit(f"{method.name} changed pixels outside the hole")
                scores["psnr"].append(hole_psnr(out, clean, hole))
                scores["grain"].append(grain_ratio(out, clean, hole))
                scores["seam"].append(seam_error(out, clean, hole))
            row["psnr"][kind] = [round(score, 3) for score in scores["psnr"]]
            row["grain"][kind], row["seam"][kind] = mean(scores["grain"]), mean(scores["seam"])
        row["cpu_seconds_per_megapixel"] = 1e6 * seconds / pixels
        found[method.name] = row
        print(
            f"{method.name}: { {k: round(mean(v), 2) for k, v in row['psnr'].items()} }", flush=True
        )
    return found


def wins(methods: Row, name: str) -> Row:
    """Gain over the best other method, and share of images on which ours is the best, by kind."""
    rows = {}
    for kind, scores in methods[name]["psnr"].items():
        others = {other: row["psnr"][kind] for other, row in methods.items() if other != name}
        best = max(others, key=lambda other: mean(others[other]))
        beaten = [
            ours > max(theirs) for ours, *theirs in zip(scores, *others.values(), strict=True)
        ]
        rows[kind] = {
            "best": best,
            "gain": mean(scores) - mean(others[best]),
            "rate": 100 * mean(beaten),
        }
    return rows


def samples(inpainter: vaetools.Inpainter, images: Images) -> Row:
    """PSNR of mean and samples, grain and calibration, by kind."""
    rows = {}
    for kind in KINDS:
        row: dict[str, list[float]] = {
            name: [] for name in ("mean", "one", "best", "many", "grain", "held", "width", "rank")
        }
        for number, clean in enumerate(images.values()):
            hole = mask_of(kind, *clean.shape[:2], number)
            image = as_image(covered(clean, hole))
            found = inpainter.inpaint(image, hole, seeds=range(SAMPLES), uncertainty=True)
            drawn = [as_rgb(sample) for sample in found.samples]
            scores = [hole_psnr(sample, clean, hole) for sample in drawn]
            middle = np.rint(np.mean(drawn, axis=0))
            assert found.uncertainty is not None  # asked for
            width = found.uncertainty[hole]
            error = np.abs(as_rgb(found.image)[hole].astype(np.float32) - clean[hole])
            row["mean"].append(hole_psnr(as_rgb(found.image), clean, hole))
            row["one"].append(scores[0])
            row["best"].append(max(scores))
            row["many"].append(hole_psnr(middle, clean, hole))
            row["grain"].append(grain_ratio(drawn[0], clean, hole))
            row["held"].append(100 * float((error <= width[:, None]).mean()))
            row["width"].append(float(width.mean()))
            row["rank"].append(rank_correlation(width, error.mean(axis=1)))
        rows[kind] = {name: mean(values) for name, values in row.items()}
        print(f"samples, {kind}: {rows[kind]}", flush=True)
    return rows


def drifts(method: Method, images: Images) -> dict[str, Row]:
    """`drift` for every kind of hole, between the mean colours of the fill and the original."""

    def moved_in(kind: str) -> Callable[[np.ndarray, int], np.ndarray]:
        def moved(clean: np.ndarray, number: int) -> np.ndarray:
            hole = mask_of(kind, *clean.shape[:2], number)
            out = method.run(covered(clean, hole), hole)
            away: np.ndarray = out[hole].mean(axis=0) - clean[hole].mean(axis=0)
            return away

        return moved

    return {kind: drift(moved_in(kind), images) for kind in KINDS}


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's ρ, with ties in their order; 0 if an input is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    ranks = [np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    folder = "undamaged images, never lossily compressed"
    parser = arguments(__doc__, folder, "bench-inpaint", few="number of images for samples")
    parser.add_argument(
        "--widths",
        type=int,
        nargs="*",
        default=list(WIDTHS),
        help="widths of strokes",
        metavar="PX",
    )
    parser.add_argument("--anchors", nargs="+", default=list(ANCHORS), choices=list(ANCHORS))
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = options(argv)
    images, _ = read_images(args.folder, args.quick)
    hub = vaetools.open(args.device, models_dirs=args.models_dir, threads=args.threads)
    inpainter = vaetools.Inpainter(hub.registry.for_task("inpaint", args.model))
    methods = [*anchors(args.anchors), ours(inpainter)]
    few = subset(images, args.few)
    name = methods[-1].name
    measured = compare(methods, images, KINDS)
    by_width = compare(methods, images, [str(w) for w in args.widths]) if args.widths else {}
    found: Row = {
        "title": f"Inpainting of {len(images)} images ({args.folder.resolve().name})",
        "ours": name,
        "images": list(images),
        "methods": measured,
        "wins": wins(measured, name),
        "widths": {method: row["psnr"] for method, row in by_width.items()},
        "drift": drifts(methods[-1], few),
        "samples_of": len(few),
    }
    if inpainter.spec.depths:  # some models only give a mean
        found["samples"] = samples(inpainter, few)
    args.out.mkdir(parents=True, exist_ok=True)
    sheet(inpainter, methods, subset(images, len(KINDS)), args.out / "inpaint.png")
    write(found, "inpaint", argv, args.out, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
