"""Take noise off a folder of pictures, with vaetools and with classical methods, and compare.

    python benchmarks/denoise.py FOLDER [--out DIR] [--quick N] [--model ID] [--real PAIRS]

Pictures without noise get noise of known levels, each its own from a seed. PSNR from one MSE over R, G
and B of the result rounded to 8 bit, per picture, then the mean. Everything is measured in one run on
one machine. See README.md beside this file.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import vaetools
from vaetools import metrics

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

from codec import read_pictures
from denoise_report import report, sheet
from denoisers_compared import ANCHORS, Method, Rgb, anchors, as_image, as_rgb, ours
from restoration import Pictures, Row, arguments, drift, mean, some, write

SAMPLES = 32

REAL = ("_real", "_mean")
"""Ends of the names of noisy and clean pictures of `--real`, as those of Nam et al. have them."""


def noisy_of(clean: np.ndarray, sigma: float, number: int, *, clipped: bool) -> Rgb:
    """A picture with noise: float32 RGB, rounded to 8 bit if `clipped`. The same for all methods."""
    rng = np.random.default_rng([number, round(10 * sigma)])
    noisy = clean + rng.normal(0, sigma, clean.shape)
    if clipped:
        noisy = np.clip(np.rint(noisy), 0, 255)
    return np.asarray(noisy / 255, np.float32)


def to_8_bit(rgb: Rgb) -> np.ndarray:
    return np.clip(np.rint(255 * rgb), 0, 255).astype(np.uint8)


def quality(rgb: Rgb, clean: np.ndarray) -> float:
    return metrics.psnr(to_8_bit(rgb), clean)


def compare(
    methods: Sequence[Method], pictures: Pictures, levels: Sequence[float], few: int
) -> Row:
    """PSNR by method, protocol and level, and CPU seconds per megapixel; slow ones see `few`."""
    found: Row = {}
    for method in methods:
        chosen = some(pictures, few) if method.slow else pictures
        row: Row = {
            "settings": method.settings,
            "pictures": len(chosen),
            "float": {},
            "clipped": {},
        }
        seconds, pixels = 0.0, 0
        first = next(iter(chosen.values()))
        method.run(noisy_of(first, 25, 0, clipped=True), 25)  # libraries and graphs load lazily
        for protocol in ("float", "clipped"):
            for level in levels:
                scores = []
                for number, clean in enumerate(chosen.values()):
                    noisy = noisy_of(clean, level, number, clipped=protocol == "clipped")
                    began = time.process_time()
                    out = method.run(noisy, level)
                    seconds += time.process_time() - began
                    pixels += clean.shape[0] * clean.shape[1]
                    scores.append(quality(out, clean))
                row[protocol][f"{level:g}"] = mean(scores)
        row["cpu_seconds_per_megapixel"] = 1e6 * seconds / pixels
        found[method.name] = row
        print(f"{method.name}: {row['float']}", flush=True)
    return found


def blind(denoiser: vaetools.Denoiser, pictures: Pictures, levels: Sequence[float]) -> list[Row]:
    """What not knowing the level costs, on files of 8 bit; level 0 are the pictures themselves."""
    rows = []
    for level in levels:
        told, auto, errors = [], [], []
        for number, clean in enumerate(pictures.values()):
            image = as_image(noisy_of(clean, level, number, clipped=True))
            found = denoiser.noise_level(image)
            errors.append(found - level)
            told.append(quality(as_rgb(denoiser.denoise(image, level).image), clean))
            auto.append(quality(as_rgb(denoiser.denoise(image, found).image), clean))
        rows.append(
            {
                "level": level,
                "estimate": level + mean(errors),
                "worst": max(errors, key=abs),
                "told": mean(told),
                "auto": mean(auto),
                "least": min(auto),
            }
        )
        print(f"auto: {rows[-1]}", flush=True)
    return rows


def sure(denoiser: vaetools.Denoiser, pictures: Pictures, levels: Sequence[float]) -> list[Row]:
    """How many true values lie within the intervals that are to hold 90 %, and how wide they are."""
    rows = []
    for level in levels:
        row: Row = {"level": level}
        for protocol in ("float", "clipped"):
            held, widths = [], []
            for number, clean in enumerate(pictures.values()):
                noisy = noisy_of(clean, level, number, clipped=protocol == "clipped")
                found = denoiser.denoise(as_image(noisy), level, uncertainty=True)
                assert found.uncertainty is not None  # asked for
                error = np.abs(255 * as_rgb(found.image) - clean)
                held.append(float((error <= found.uncertainty[..., None]).mean()))
                widths.append(float(found.uncertainty.mean()))
            row |= {protocol: 100 * mean(held), f"{protocol}_width": mean(widths)}
        rows.append(row)
        print(f"intervals: {row}", flush=True)
    return rows


def samples(denoiser: vaetools.Denoiser, pictures: Pictures, levels: Sequence[float]) -> list[Row]:
    """One sample, and the mean of many, beside the mean that the network gives."""
    rows = []
    for level in levels:
        scores: dict[str, list[float]] = {"mean": [], "one": [], "many": []}
        for number, clean in enumerate(pictures.values()):
            noisy = as_image(noisy_of(clean, level, number, clipped=False))
            found = denoiser.denoise(noisy, level, seeds=range(SAMPLES))
            drawn = [as_rgb(sample) for sample in found.samples]
            scores["mean"].append(quality(as_rgb(found.image), clean))
            scores["one"].append(quality(drawn[0], clean))
            scores["many"].append(quality(np.mean(drawn, axis=0), clean))
        rows.append({"level": level, **{name: mean(values) for name, values in scores.items()}})
        print(f"samples: {rows[-1]}", flush=True)
    return rows


def drifts(denoiser: vaetools.Denoiser, pictures: Pictures, levels: Sequence[float]) -> list[Row]:
    """See `drift`, for every level."""

    def moved_at(level: float) -> Callable[[np.ndarray, int], np.ndarray]:
        def moved(clean: np.ndarray, number: int) -> np.ndarray:
            noisy = noisy_of(clean, level, number, clipped=False)
            out = as_rgb(denoiser.denoise(as_image(noisy), level).image)
            away: np.ndarray = 255 * (out.mean(axis=(0, 1)) - noisy.mean(axis=(0, 1)))
            return away

        return moved

    return [{"level": level, **drift(moved_at(level), pictures)} for level in levels]


def real(denoiser: vaetools.Denoiser, folder: Path) -> Row:
    """Noise of cameras: pairs of pictures, told apart by the ends of their names."""
    pictures, _ = read_pictures(folder, None)
    noisy_end, clean_end = REAL
    scores: dict[str, list[float]] = {"input": [], "auto": [], "local": [], "photo": []}
    levels = []
    for name, noisy in pictures.items():
        stem, suffix = Path(name).stem, Path(name).suffix
        clean = pictures.get(f"{stem.removesuffix(noisy_end)}{clean_end}{suffix}")
        if clean is None or not stem.endswith(noisy_end):
            continue
        image = as_image(np.asarray(noisy / 255, np.float32))
        told = {
            "auto": denoiser.noise_level(image),
            "local": denoiser.noise_map(image),
            "photo": denoiser.photo_level(image),
        }
        levels.append(told["auto"])
        scores["input"].append(metrics.psnr(noisy, clean))
        for way, level in told.items():
            scores[way].append(quality(as_rgb(denoiser.denoise(image, level).image), clean))
    if not levels:
        raise SystemExit(f"{folder}: no pairs of names that end in {noisy_end} and {clean_end}")
    found = {name: mean(values) for name, values in scores.items()}
    return {"pairs": len(levels), **found, "levels": [min(levels), max(levels)]}


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    folder = "pictures without noise, never compressed with loss"
    parser = arguments(__doc__, folder, "bench-denoise", few="pictures for samples and CBM3D")
    parser.add_argument("--levels", type=float, nargs="+", default=[15, 25, 50], metavar="SIGMA")
    parser.add_argument("--anchors", nargs="*", default=list(ANCHORS), choices=list(ANCHORS))
    parser.add_argument("--real", type=Path, metavar="DIR", help="pairs NAME_real, NAME_mean")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = options(argv)
    pictures, _ = read_pictures(args.folder, args.quick)
    hub = vaetools.open(args.device, models_dirs=args.models_dir, threads=args.threads)
    denoiser = vaetools.Denoiser(hub.registry.for_task("denoise", args.model))
    methods = [*anchors(args.anchors), ours(denoiser)]
    few = some(pictures, args.few)
    top = [level for level in (5, 10, 15, 25, 35, 50) if level <= denoiser.strongest]
    found: Row = {
        "title": f"Denoising of {len(pictures)} pictures ({args.folder.resolve().name})",
        "ours": methods[-1].name,
        "methods": compare(methods, pictures, args.levels, args.few),
        "blind": blind(denoiser, pictures, [0, *top]),
        "drift": drifts(denoiser, few, args.levels),
        "samples_of": len(few),
        "real": None if args.real is None else real(denoiser, args.real),
    }
    if denoiser.spec.levels:  # a model may have only a mean
        found["sure"] = sure(denoiser, pictures, top)
        found["samples"] = samples(denoiser, few, args.levels)
    args.out.mkdir(parents=True, exist_ok=True)
    sheet(denoiser, methods, some(pictures, 3), 25.0, args.out / "denoise.png")
    write(found, "denoise", argv, args.out, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
