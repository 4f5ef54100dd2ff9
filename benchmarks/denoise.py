"""Compare vaetools with classical denoisers on a folder of images.

    python benchmarks/denoise.py FOLDER [--out DIR] [--quick N] [--model ID] [--real PAIRS]

Noise-free images get Gaussian noise of known standard deviation, seeded per image and level. Two
protocols: *float*, that of the literature (not clipped, not rounded), and *8 bit*, what files hold.
PSNR: one MSE over R, G and B of the result rounded to 8 bits, per image, then the mean.

Methods: OpenCV's and scikit-image's non-local means, wavelets (needs PyWavelets) and CBM3D (needs bm3d;
on `--few` images, because it takes minutes). Missing packages are skipped. OpenCV's method gets 8-bit
images in both protocols.

Also measured: the estimated noise level (`--sigma auto`) against the true one, and its effect on clean,
on dark and on bright images; coverage and width of the 90 % intervals; single samples and the mean of 32
against the mean of the network, on `--few` images; drift of mean colours, and of white and black pages;
with `--real DIR`, camera noise on image pairs `NAME_real`, `NAME_mean`.

Writes `denoise.md`, `denoise.json` and `denoise.png` (a sheet of crops).
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

    from restoration import Rgb

from common import read_images
from denoise_report import report, sheet
from denoisers_compared import ANCHORS, Method, anchors, as_image, as_rgb, ours
from restoration import Images, Row, arguments, drift, mean, noisy_of, subset, to_8_bit, write

SAMPLES = 32

EXPOSURES = {"dark": 0.2, "bright": 1.7}
"""Factors of the 8-bit values."""

REAL = ("_real", "_mean")
"""Name endings of noisy and clean images for `--real`, as in the data of Nam et al."""


def quality(rgb: Rgb, clean: np.ndarray) -> float:
    return metrics.psnr(to_8_bit(rgb), clean)


def compare(methods: Sequence[Method], images: Images, levels: Sequence[float], few: int) -> Row:
    """PSNR by method, protocol and level, and CPU time; slow methods get `few` images."""
    found: Row = {}
    for method in methods:
        chosen = subset(images, few) if method.slow else images
        row: Row = {
            "settings": method.settings,
            "images": len(chosen),
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


def blind(denoiser: vaetools.Denoiser, images: Images, levels: Sequence[float]) -> list[Row]:
    """Estimated against known noise level on 8-bit images; level 0 is the clean image."""
    rows = []
    for level in levels:
        known, auto, errors = [], [], []
        for number, clean in enumerate(images.values()):
            image = as_image(noisy_of(clean, level, number, clipped=True))
            found = denoiser.noise_level(image)
            errors.append(found - level)
            known.append(quality(as_rgb(denoiser.denoise(image, level).image), clean))
            auto.append(quality(as_rgb(denoiser.denoise(image, found).image), clean))
        rows.append(
            {
                "level": level,
                "estimate": level + mean(errors),
                "worst": max(errors, key=abs),
                "known": mean(known),
                "auto": mean(auto),
                "lowest": min(auto),
                "most_lost": max(k - a for k, a in zip(known, auto, strict=True)),
            }
        )
        print(f"auto: {rows[-1]}", flush=True)
    return rows


def exposed(denoiser: vaetools.Denoiser, images: Images) -> dict[str, list[Row]]:
    """`blind` for dark images, and for bright ones that are cut off at white."""
    found = {}
    for name, factor in EXPOSURES.items():
        changed = {
            file: np.rint(np.minimum(factor * image, 255.0)).astype(np.uint8)
            for file, image in images.items()
        }
        found[name] = blind(denoiser, changed, [15, 25])
    return found


def pages(denoiser: vaetools.Denoiser, levels: Sequence[float]) -> list[Row]:
    """Mean of white and black pages, whose noise is cut off, against 255 and 0."""
    rows = []
    for level in levels:
        row: Row = {"level": level}
        for name, value in (("white", 255), ("black", 0)):
            page = np.full((256, 256, 3), value, np.uint8)
            image = as_image(noisy_of(page, level, 0, clipped=True))
            for how, sigma in (("known", level), ("auto", denoiser.noise_level(image))):
                out = to_8_bit(as_rgb(denoiser.denoise(image, sigma).image))
                row[f"{name}_{how}"] = float(out.mean()) - value
        rows.append(row)
        print(f"pages: {row}", flush=True)
    return rows


def intervals(denoiser: vaetools.Denoiser, images: Images, levels: Sequence[float]) -> list[Row]:
    """Coverage in per cent and mean half-width of the 90 % intervals."""
    rows = []
    for level in levels:
        row: Row = {"level": level}
        for protocol in ("float", "clipped"):
            held, widths = [], []
            for number, clean in enumerate(images.values()):
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


def samples(denoiser: vaetools.Denoiser, images: Images, levels: Sequence[float]) -> list[Row]:
    """PSNR of the network's mean, of one sample, and of the mean of many samples."""
    rows = []
    for level in levels:
        scores: dict[str, list[float]] = {"mean": [], "one": [], "many": []}
        for number, clean in enumerate(images.values()):
            noisy = as_image(noisy_of(clean, level, number, clipped=False))
            found = denoiser.denoise(noisy, level, seeds=range(SAMPLES))
            drawn = [as_rgb(sample) for sample in found.samples]
            scores["mean"].append(quality(as_rgb(found.image), clean))
            scores["one"].append(quality(drawn[0], clean))
            scores["many"].append(quality(np.mean(drawn, axis=0), clean))
        rows.append({"level": level, **{name: mean(values) for name, values in scores.items()}})
        print(f"samples: {rows[-1]}", flush=True)
    return rows


def drifts(denoiser: vaetools.Denoiser, images: Images, levels: Sequence[float]) -> list[Row]:
    """`drift` at every level."""

    def moved_at(level: float) -> Callable[[np.ndarray, int], np.ndarray]:
        def moved(clean: np.ndarray, number: int) -> np.ndarray:
            noisy = noisy_of(clean, level, number, clipped=False)
            out = as_rgb(denoiser.denoise(as_image(noisy), level).image)
            away: np.ndarray = 255 * (out.mean(axis=(0, 1)) - noisy.mean(axis=(0, 1)))
            return away

        return moved

    return [{"level": level, **drift(moved_at(level), images)} for level in levels]


def real(denoiser: vaetools.Denoiser, folder: Path) -> Row:
    """PSNR on pairs of images with and without camera noise, found by the ends of their names."""
    images, _ = read_images(folder, None)
    noisy_end, clean_end = REAL
    scores: dict[str, list[float]] = {"input": [], "auto": [], "local": [], "photo": []}
    levels = []
    for file, noisy in images.items():
        stem, suffix = Path(file).stem, Path(file).suffix
        clean = images.get(f"{stem.removesuffix(noisy_end)}{clean_end}{suffix}")
        if clean is None or not stem.endswith(noisy_end):
            continue
        image = as_image(np.asarray(noisy / 255, np.float32))
        estimates = {
            "auto": denoiser.noise_level(image),
            "local": denoiser.noise_map(image),
            "photo": denoiser.photo_level(image),
        }
        levels.append(estimates["auto"])
        scores["input"].append(metrics.psnr(noisy, clean))
        for name, level in estimates.items():
            scores[name].append(quality(as_rgb(denoiser.denoise(image, level).image), clean))
    if not levels:
        raise SystemExit(f"{folder}: contains no pairs NAME{noisy_end}, NAME{clean_end}")
    found = {name: mean(values) for name, values in scores.items()}
    return {"pairs": len(levels), **found, "levels": [min(levels), max(levels)]}


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    folder = "noise-free images, never lossily compressed"
    parser = arguments(
        __doc__, folder, "bench-denoise", few="number of images for samples and CBM3D"
    )
    parser.add_argument("--levels", type=float, nargs="+", default=[15, 25, 50], metavar="SIGMA")
    parser.add_argument("--anchors", nargs="*", default=list(ANCHORS), choices=list(ANCHORS))
    parser.add_argument(
        "--real", type=Path, metavar="DIR", help="folder of pairs NAME_real, NAME_mean"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = options(argv)
    images, _ = read_images(args.folder, args.quick)
    hub = vaetools.open(args.device, models_dirs=args.models_dir, threads=args.threads)
    denoiser = vaetools.Denoiser(hub.registry.for_task("denoise", args.model))
    methods = [*anchors(args.anchors), ours(denoiser)]
    few = subset(images, args.few)
    top = [level for level in (5, 10, 15, 25, 35, 50) if level <= denoiser.max_sigma]
    found: Row = {
        "title": f"Denoising of {len(images)} images ({args.folder.resolve().name})",
        "ours": methods[-1].name,
        "methods": compare(methods, images, args.levels, args.few),
        "blind": blind(denoiser, images, [0, *top]),
        "exposed": exposed(denoiser, subset(images, 4 * args.few)),
        "drift": drifts(denoiser, few, args.levels),
        "pages": pages(denoiser, args.levels),
        "samples_of": len(few),
        "real": None if args.real is None else real(denoiser, args.real),
    }
    if denoiser.spec.levels:  # some models only give a mean
        found["intervals"] = intervals(denoiser, images, top)
        found["samples"] = samples(denoiser, few, args.levels)
    args.out.mkdir(parents=True, exist_ok=True)
    sheet(denoiser, methods, subset(images, 3), 25.0, args.out / "denoise.png")
    write(found, "denoise", argv, args.out, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
