"""Compress a folder of pictures with JPEG, WebP, AVIF, JPEG XL and vaetools, and compare.

    python benchmarks/codec.py FOLDER [--out DIR] [--quick N] [--model ID] [--levels Q ...]

Real bytes of whole files; PSNR from one MSE over R, G and B of the 8-bit picture, per picture, then
the mean; BD-rate by PCHIP on ln(bpp) over the common PSNR range. Everything is measured in one run
on one machine. The anchors' results are kept in DIR, so that the next model is measured quickly.
See README.md beside this file.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import platform
import shlex
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from vaetools import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

from codec_published import plot_published, published_table, read_published
from codec_report import Curve, Point, bd_table, circumstances, plot, report
from codecs_compared import ANCHORS, Codec, Rgb, anchors, ours, version_of

Result = TypeVar("Result")

SUFFIXES = {".png", ".bmp", ".tif", ".tiff", ".webp", ".jpg", ".jpeg"}
MEASUREMENT = 1
"""Raise it when what is measured changes: results kept under another number are not used."""


def measure(codec: Codec, pictures: dict[str, Rgb]) -> list[Point]:
    """All points of a codec, by rising level."""
    first = next(iter(pictures.values()))
    codec.decode(codec.encode(first, codec.levels[0]))  # warm up: libraries and models load lazily
    points = []
    for level in codec.levels:
        points.append(
            _point(codec, level, [_row(codec, level, *item) for item in pictures.items()])
        )
        print(
            f"{codec.name} {level}: {points[-1].bpp:.3f} bpp, {points[-1].psnr:.2f} dB", flush=True
        )
    return points


def _row(codec: Codec, level: int, name: str, rgb: Rgb) -> dict[str, Any]:
    """One picture at one quality."""
    data, *encode = _timed(lambda: codec.encode(rgb, level))
    back, *decode = _timed(lambda: codec.decode(data))
    payload = getattr(codec, "payload", lambda *_: None)(rgb, level)
    return {
        "picture": name,
        "bytes": len(data),
        "bpp": metrics.bpp(len(data), rgb.shape[1], rgb.shape[0]),
        "psnr": metrics.psnr(rgb, back),
        "ms_ssim": _ms_ssim(rgb, back),
        "encode": encode,
        "decode": decode,
        "payload": payload,
    }


def _timed(function: Callable[[], Result]) -> tuple[Result, float, float]:
    """The result, CPU seconds of all threads of this process, and seconds on the wall."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = function()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def _ms_ssim(a: Rgb, b: Rgb) -> float | None:
    if min(a.shape[:2]) < metrics.MS_SSIM_SMALLEST:
        return None
    return metrics.ms_ssim(a, b)


def _point(codec: Codec, level: int, rows: list[dict[str, Any]]) -> Point:
    scores = [row["ms_ssim"] for row in rows if row["ms_ssim"] is not None]
    payloads = [row["payload"] for row in rows if row["payload"] is not None]
    excess = None
    if payloads:
        excess = 100 * (8 * sum(size for _, size in payloads) / sum(b for b, _ in payloads) - 1)
    return Point(
        codec=codec.name,
        level=level,
        bpp=statistics.fmean(row["bpp"] for row in rows),
        psnr=statistics.fmean(row["psnr"] for row in rows),
        ms_ssim=statistics.fmean(scores) if scores else None,
        encode_cpu=statistics.median(row["encode"][0] for row in rows),
        encode_wall=statistics.median(row["encode"][1] for row in rows),
        decode_cpu=statistics.median(row["decode"][0] for row in rows),
        decode_wall=statistics.median(row["decode"][1] for row in rows),
        payload_excess=excess,
        pictures=rows,
    )


def measured_or_kept(
    codec: Codec, pictures: dict[str, Rgb], content: str, out: Path, *, fresh: bool
) -> tuple[list[Point], bool]:
    """An anchor's points, and whether they come from an earlier run.

    Args:
        content: hash of the pictures.
        fresh: measure anew even if there are results.
    """
    versions = [platform.python_version(), version_of("pillow"), version_of("numpy")]
    key = [MEASUREMENT, content, codec.name, codec.settings, list(codec.levels), versions]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    file = out / f"anchors-{digest}.json"
    if file.exists() and not fresh:
        print(f"{codec.name}: from {file.name}, times as measured then")
        return [Point(**point) for point in json.loads(file.read_text(encoding="utf-8"))], True
    points = measure(codec, pictures)
    _write(file, json.dumps([asdict(point) for point in points]))
    return points, False


def _write(file: Path, text: str) -> None:
    """All or nothing, so that an interrupted run leaves no half of a cache."""
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def read_pictures(folder: Path, quick: int | None) -> tuple[dict[str, Rgb], str]:
    """Pictures of a folder as 8-bit RGB by file name, and a hash of their files.

    Args:
        quick: take that many, evenly spread; None for all.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise SystemExit(f"{folder}: no pictures")
    if quick is not None and quick < len(files):
        files = [files[i * len(files) // quick] for i in range(quick)]
    content = hashlib.sha256()
    pictures = {}
    for file in files:
        data = file.read_bytes()
        content.update(file.name.encode() + hashlib.sha256(data).digest())
        with Image.open(io.BytesIO(data)) as image:
            pictures[file.name] = np.asarray(image.convert("RGB"))
    return pictures, content.hexdigest()


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="pictures, at best never compressed with loss")
    parser.add_argument("--out", type=Path, default=Path("bench-codec"), help="where results go")
    parser.add_argument("--quick", type=int, metavar="N", help="only N pictures, evenly spread")
    parser.add_argument("--model", metavar="ID", help="our model, if not the only one")
    parser.add_argument("--device", default="cpu", help="where our model runs (cpu)")
    parser.add_argument(
        "--levels",
        type=int,
        nargs="+",
        default=[0, 15, 30, 45, 60, 75, 90, 100],
        metavar="Q",
        help="our qualities, 0 to 100",
    )
    parser.add_argument(
        "--refine",
        type=int,
        nargs="+",
        default=[0],
        metavar="PASSES",
        help="our passes of refinement: a curve for each number",
    )
    parser.add_argument(
        "--anchors",
        nargs="*",
        default=["jpeg", "webp", "avif", "jxl"],
        choices=list(ANCHORS),
        help="what to compare with; the first is the base",
    )
    parser.add_argument("--anchor-levels", type=int, nargs="+", metavar="Q", help="their qualities")
    parser.add_argument(
        "--published",
        type=Path,
        metavar="JSON",
        help="a second chart, with curves of others: {name: [{bpp, psnr}, …]}, on the same pictures",
    )
    parser.add_argument("--fresh", action="store_true", help="measure the anchors anew")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = arguments(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    pictures, content = read_pictures(args.folder, args.quick)
    # First, so that a typing error shows at once.
    our_codecs = ours(args.model, args.device, args.levels, args.refine)
    curves = []
    for codec in anchors(args.anchors):
        if args.anchor_levels:
            codec.levels = args.anchor_levels
        points, kept = measured_or_kept(codec, pictures, content, args.out, fresh=args.fresh)
        curves.append(Curve(codec, points, kept))
    curves += [Curve(codec, measure(codec, pictures), kept=False) for codec in our_codecs]
    if not curves:
        raise SystemExit("nothing to measure")

    title = f"Compression of {len(pictures)} pictures ({args.folder.resolve().name})"
    command = shlex.join(
        ["python", "benchmarks/codec.py", *(sys.argv[1:] if argv is None else argv)]
    )
    page = report(curves, title, command)
    _write(args.out / "codec.md", page)
    everything = {
        "title": title,
        "run": circumstances(command),
        "curves": {
            curve.codec.name: {
                "settings": curve.codec.settings,
                "times_kept": curve.kept,
                "points": [asdict(point) for point in curve.points],
            }
            for curve in curves
        },
    }
    _write(args.out / "codec.json", json.dumps(everything, indent=1))
    plot(curves, title, args.out / "codec.png")
    if args.published:
        others = read_published(args.published)
        _write(args.out / "published.md", published_table(curves[-1], others))
        plot_published(curves[-1], others, title, args.out / "published.png")
    print("\n".join(bd_table(curves)))
    print(f"written: {args.out}/codec.md, codec.json, codec.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
