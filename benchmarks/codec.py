"""Compare vaetools with JPEG, WebP, AVIF and JPEG XL on a folder of images.

    python benchmarks/codec.py FOLDER [--out DIR] [--quick N] [--model ID] [--levels Q ...]

Rate: bytes of the whole file, headers included, over width × height. PSNR: one MSE over R, G and B of
the 8-bit image, per image, then the mean; MS-SSIM likewise. BD-rate: PCHIP on ln(bpp) over the PSNR
range that both curves cover. Times: medians over the images, CPU of all threads and wall clock, from
pixels in memory to file bytes in memory and back; compare them within one run only, on an idle machine.
"Payload over ideal" is how much longer our entropy-coded payload is than the model's probabilities
require.

Anchors: JPEG of libjpeg-turbo, 4:2:0, optimised Huffman tables; WebP, lossy, method 6 (always 4:2:0);
AVIF of Pillow's libavif, 4:4:4, speed 6; JPEG XL, effort 7. Slower AVIF and mozjpeg would be stronger.
JPEG XL (XYB colours) and AVIF (libaom's tuning for stills) optimise perceived quality, so PSNR
understates them; `avif-psnr` is AVIF tuned for PSNR. Their results are cached in DIR as
`anchors-<hash>.json`; the hash covers the images, settings, qualities and library versions.

Writes `codec.md` (tables), `codec.json` (all points and images) and `codec.png`; with `--published`
also `published.md` and `published.png`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import shlex
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vaetools import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

from codec_published import plot_published, published_table, read_published
from codec_report import Curve, Point, bd_table, plot, report
from codecs_compared import ANCHORS, Codec, anchors, ours
from common import Rgb, circumstances, read_images, version_of

Result = TypeVar("Result")

MEASUREMENT = 2
"""Increase it when the measurement changes: cached results with another number are not used."""


def measure(codec: Codec, images: dict[str, Rgb]) -> list[Point]:
    """Measure a codec at all its levels, in ascending order."""
    first = next(iter(images.values()))
    codec.decode(codec.encode(first, codec.levels[0]))  # libraries and models load lazily
    points = []
    for level in codec.levels:
        points.append(_point(codec, level, [_row(codec, level, *item) for item in images.items()]))
        print(
            f"{codec.name} {level}: {points[-1].bpp:.3f} bpp, {points[-1].psnr:.2f} dB", flush=True
        )
    return points


def _row(codec: Codec, level: int, name: str, rgb: Rgb) -> dict[str, Any]:
    """Measure one image at one quality."""
    data, *encode = _timed(lambda: codec.encode(rgb, level))
    back, *decode = _timed(lambda: codec.decode(data))
    payload = getattr(codec, "payload", lambda *_: None)(rgb, level)
    return {
        "image": name,
        "bytes": len(data),
        "bpp": metrics.bpp(len(data), rgb.shape[1], rgb.shape[0]),
        "psnr": metrics.psnr(rgb, back),
        "ms_ssim": _ms_ssim(rgb, back),
        "encode": encode,
        "decode": decode,
        "payload": payload,
    }


def _timed(function: Callable[[], Result]) -> tuple[Result, float, float]:
    """The result, CPU seconds of all threads of this process, and wall-clock seconds."""
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
        images=rows,
    )


def measured_or_kept(
    codec: Codec, images: dict[str, Rgb], content: str, out: Path, *, fresh: bool
) -> tuple[list[Point], bool]:
    """The points of an anchor, and whether they come from the cache.

    Args:
        codec: the anchor.
        images: images to measure.
        content: hash of the images.
        out: folder of the cache.
        fresh: measure even if cached results exist.
    """
    versions = [platform.python_version(), version_of("pillow"), version_of("numpy")]
    key = [MEASUREMENT, content, codec.name, codec.settings, list(codec.levels), versions]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    file = out / f"anchors-{digest}.json"
    if file.exists() and not fresh:
        print(f"{codec.name}: cached in {file.name}, including times")
        return [Point(**point) for point in json.loads(file.read_text(encoding="utf-8"))], True
    points = measure(codec, images)
    _write(file, json.dumps([asdict(point) for point in points]))
    return points, False


def _write(file: Path, text: str) -> None:
    """Write atomically, so that an interrupted run leaves no partial file."""
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="images, ideally never lossily compressed")
    parser.add_argument(
        "--out", type=Path, default=Path("bench-codec"), help="output folder [default: %(default)s]"
    )
    parser.add_argument("--quick", type=int, metavar="N", help="use only N images, evenly spread")
    parser.add_argument("--model", metavar="ID", help="id of our model")
    parser.add_argument("--device", default="cpu", help="device of our model [default: cpu]")
    parser.add_argument(
        "--levels",
        type=int,
        nargs="+",
        default=[0, 15, 30, 45, 60, 75, 90, 100],
        metavar="Q",
        help="qualities of vaetools, 0 to 100",
    )
    parser.add_argument(
        "--refine",
        type=int,
        nargs="+",
        default=[0],
        metavar="PASSES",
        help="refinement passes of vaetools; one curve per number [default: 0]",
    )
    parser.add_argument(
        "--anchors",
        nargs="*",
        default=["jpeg", "webp", "avif", "jxl"],
        choices=list(ANCHORS),
        help="codecs to compare with; the first is the base of the BD-rate table",
    )
    parser.add_argument(
        "--anchor-levels", type=int, nargs="+", metavar="Q", help="qualities of the anchors"
    )
    parser.add_argument(
        "--published",
        type=Path,
        metavar="JSON",
        help="also compare with published curves for the same images: {name: [{bpp, psnr}, …]}",
    )
    parser.add_argument("--fresh", action="store_true", help="ignore cached results of the anchors")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = arguments(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    images, content = read_images(args.folder, args.quick)
    # Checked first, so that a wrong model id is reported at once.
    our_codecs = ours(args.model, args.device, args.levels, args.refine)
    curves = []
    for codec in anchors(args.anchors):
        if args.anchor_levels:
            codec.levels = args.anchor_levels
        points, kept = measured_or_kept(codec, images, content, args.out, fresh=args.fresh)
        curves.append(Curve(codec, points, kept))
    curves += [Curve(codec, measure(codec, images), kept=False) for codec in our_codecs]
    if not curves:
        raise SystemExit("nothing to measure")

    title = f"Compression of {len(images)} images ({args.folder.resolve().name})"
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
