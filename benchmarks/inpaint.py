"""Fill holes in a folder of pictures, with vaetools and with classical methods, and compare.

    python benchmarks/inpaint.py FOLDER [--out DIR] [--quick N] [--model ID]

Undamaged pictures get holes of five kinds, each its own from a seed. PSNR over the pixels of the hole
alone, from one MSE over R, G and B of the 8-bit result, per picture, then the mean. Everything is
measured in one run on one machine. See README.md beside this file.
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

from codec import read_pictures
from inpaint_masks import KINDS, WIDTHS, mask_of
from inpaint_report import report, sheet
from inpainters_compared import ANCHORS, Method, anchors, as_image, as_rgb, ours
from restoration import Pictures, Row, arguments, drift, mean, some, write

SAMPLES = 8

BEST = 60.0
"""PSNR in dB of a fill without error, and the largest that counts: else one flat sky decides a mean."""

FINE = 1.5
"""Deviation in pixels of the blur that is taken off to see the grain."""


def covered(clean: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The picture, black in the hole."""
    return np.where(hole[..., None], np.uint8(0), clean)


def hole_psnr(rgb: np.ndarray, clean: np.ndarray, hole: np.ndarray) -> float:
    mse = float(((rgb[hole].astype(np.float64) - clean[hole]) ** 2).mean())
    return min(BEST, 10 * float(np.log10(255**2 / max(mse, 1e-9))))


def grain_ratio(rgb: np.ndarray, clean: np.ndarray, hole: np.ndarray) -> float:
    """Deviation of fine detail in the hole, over that of the true picture there: 1 is ideal."""

    def grain(picture: np.ndarray) -> float:
        values = picture.astype(np.float32)
        return float((values - cv2.GaussianBlur(values, (0, 0), FINE))[hole].std())

    return grain(rgb) / max(grain(clean), 1e-3)


def seam_error(rgb: np.ndarray, clean: np.ndarray, hole: np.ndarray) -> float:
    """How far steps across the hole's rim are from the true ones, mean, in grey levels."""
    errors = []
    for axis in (0, 1):
        rim = np.diff(hole.astype(np.int8), axis=axis) != 0
        steps = [np.diff(picture.astype(np.float32), axis=axis)[rim] for picture in (rgb, clean)]
        errors.append(np.abs(steps[0] - steps[1]).ravel())
    return float(np.concatenate(errors).mean())


def compare(methods: Sequence[Method], pictures: Pictures, kinds: Sequence[str]) -> Row:
    """By method and kind: PSNR of each picture, grain, seam; and CPU seconds per megapixel."""
    found: Row = {}
    for method in methods:
        row: Row = {"settings": method.settings, "psnr": {}, "grain": {}, "seam": {}}
        seconds, pixels = 0.0, 0
        first = next(iter(pictures.values()))
        hole = mask_of("dust", *first.shape[:2], 0)
        method.run(covered(first, hole), hole)  # libraries and graphs load lazily
        for kind in kinds:
            scores: dict[str, list[float]] = {"psnr": [], "grain": [], "seam": []}
            for number, clean in enumerate(pictures.values()):
                hole = mask_of(kind, *clean.shape[:2], number)
                began = time.process_time()
                out = method.run(covered(clean, hole), hole)
                seconds += time.process_time() - began
                pixels += hole.size
                if not np.array_equal(out[~hole], clean[~hole]):
                    raise SystemExit(f"{method.name} changed pixels outside of the hole")
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
    """By kind: gain over the method that is best on average, and on how many pictures ours beats all."""
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


def samples(inpainter: vaetools.Inpainter, pictures: Pictures) -> Row:
    """By kind: the mean, one sample, the best and the mean of some; grain and calibration."""
    rows = {}
    for kind in KINDS:
        row: dict[str, list[float]] = {
            name: [] for name in ("mean", "one", "best", "many", "grain", "held", "width", "rank")
        }
        for number, clean in enumerate(pictures.values()):
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


def drifts(method: Method, pictures: Pictures) -> dict[str, Row]:
    """See `drift`, for every kind of hole: between mean colours of the fill and of what was there."""

    def moved_in(kind: str) -> Callable[[np.ndarray, int], np.ndarray]:
        def moved(clean: np.ndarray, number: int) -> np.ndarray:
            hole = mask_of(kind, *clean.shape[:2], number)
            out = method.run(covered(clean, hole), hole)
            away: np.ndarray = out[hole].mean(axis=0) - clean[hole].mean(axis=0)
            return away

        return moved

    return {kind: drift(moved_in(kind), pictures) for kind in KINDS}


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's ρ; ties count in their order. 0 where one of them is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    ranks = [np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    folder = "undamaged pictures, never compressed with loss"
    parser = arguments(__doc__, folder, "bench-inpaint", few="pictures for samples")
    parser.add_argument(
        "--widths", type=int, nargs="*", default=list(WIDTHS), help="of the strokes", metavar="PX"
    )
    parser.add_argument("--anchors", nargs="+", default=list(ANCHORS), choices=list(ANCHORS))
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = options(argv)
    pictures, _ = read_pictures(args.folder, args.quick)
    hub = vaetools.open(args.device, models_dirs=args.models_dir, threads=args.threads)
    inpainter = vaetools.Inpainter(hub.registry.for_task("inpaint", args.model))
    methods = [*anchors(args.anchors), ours(inpainter)]
    few = some(pictures, args.few)
    name = methods[-1].name
    measured = compare(methods, pictures, KINDS)
    by_width = compare(methods, pictures, [str(w) for w in args.widths]) if args.widths else {}
    found: Row = {
        "title": f"Inpainting of {len(pictures)} pictures ({args.folder.resolve().name})",
        "ours": name,
        "pictures": list(pictures),
        "methods": measured,
        "wins": wins(measured, name),
        "widths": {method: row["psnr"] for method, row in by_width.items()},
        "drift": drifts(methods[-1], few),
        "samples_of": len(few),
    }
    if inpainter.spec.depths:  # a model may have only a mean
        found["samples"] = samples(inpainter, few)
    args.out.mkdir(parents=True, exist_ok=True)
    sheet(inpainter, methods, some(pictures, len(KINDS)), args.out / "inpaint.png")
    write(found, "inpaint", argv, args.out, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
