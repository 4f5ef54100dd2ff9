"""Compress a folder of pictures with JPEG, WebP, AVIF, JPEG XL and vaetools, and compare.

    python benchmarks/codec.py FOLDER [--out DIR] [--quick N] [--model ID] [--levels Q ...]

Real bytes of whole files; PSNR from one MSE over R, G and B of the 8-bit picture, per picture, then
the mean; BD-rate by PCHIP on ln(bpp) over the common PSNR range. Everything is measured in one run
on one machine. The anchors' results are kept in DIR, so that the next model is measured quickly.
See README.md beside this file.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import io
import json
import math
import os
import platform
import shlex
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, features

import vaetools
from vaetools import metrics
from vaetools.errors import VaetoolsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Rgb = npt.NDArray[np.uint8]
Result = TypeVar("Result")

SUFFIXES = {".png", ".bmp", ".tif", ".tiff", ".webp", ".jpg", ".jpeg"}
MEASUREMENT = 1
"""Raise it when what is measured changes: results kept under another number are not used."""


class Codec(Protocol):
    """What can be measured. `levels` are qualities, in the codec's own words, best last."""

    name: str
    settings: str
    levels: Sequence[int]

    def encode(self, rgb: Rgb, level: int) -> bytes: ...
    def decode(self, data: bytes) -> Rgb: ...


@dataclass
class PillowCodec:
    """A format that Pillow writes; `options` are Pillow's."""

    name: str
    format: str
    settings: str
    levels: Sequence[int]
    options: dict[str, Any] = field(default_factory=dict)

    def encode(self, rgb: Rgb, level: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, self.format, quality=level, **self.options)
        return file.getvalue()

    def decode(self, data: bytes) -> Rgb:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))


class Vaetools:
    """Ours, through the public face: `vaetools.open()`, BGR in, BGR out."""

    def __init__(self, hub: Any, model: str | None, device: str, levels: Sequence[int]) -> None:
        self.hub = hub
        self.name = f"vaetools {model}" if model else "vaetools"
        self.settings = f"vaetools {vaetools.__version__}, device {device}"
        self.levels = levels
        self.model = model

    def encode(self, rgb: Rgb, level: int) -> bytes:
        chosen = {"model": self.model} if self.model else {}
        data: bytes = self.hub.compress(_flipped(rgb), quality=level, **chosen)
        return data

    def decode(self, data: bytes) -> Rgb:
        return _flipped(self.hub.decompress(data))

    def payload(self, rgb: Rgb, level: int) -> tuple[float, int] | None:
        """Ideal bits from the model's probabilities, and the real bytes of that payload.

        Optional: a codec without this method, or a hub without a registry, has no such column.
        """
        registry = getattr(self.hub, "registry", None)
        if registry is None:
            return None
        from vaetools.codec.rate import level_of

        coder = vaetools.Codec(registry.for_task("compress", self.model))
        analysed = coder.analyse(vaetools.Image(_flipped(rgb)))
        coded = coder.code(analysed, level_of(level, coder.levels))
        return coded.bits, coded.payload_bytes


def _flipped(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """RGB from BGR, and back."""
    return np.ascontiguousarray(image[..., ::-1])


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


# --- the codecs -----------------------------------------------------------------------------------


def anchors(names: Sequence[str]) -> list[Codec]:
    """The codecs to compare with, as far as this machine has them."""
    found = []
    for name in names:
        try:
            found.append(ANCHORS[name]())
        except ImportError as error:
            print(f"{name}: skipped, {error}")
    return found


def _jpeg() -> Codec:
    turbo = features.version("libjpeg_turbo")
    settings = f"4:2:0, optimised Huffman tables, libjpeg-turbo {turbo}"
    levels = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95)
    return PillowCodec("JPEG", "JPEG", settings, levels, {"subsampling": "4:2:0", "optimize": True})


def _webp() -> Codec:
    settings = f"lossy, method 6, 4:2:0, libwebp {features.version('webp')}"
    return PillowCodec("WebP", "WEBP", settings, (0, 5, 20, 40, 60, 80, 90, 95), {"method": 6})


def _avif() -> Codec:
    return _libavif("AVIF", "4:4:4, speed 6", (10, 20, 30, 40, 50, 60, 75, 90), {})


def _avif_psnr() -> Codec:
    # libaom tunes stills for the eye unless told otherwise; tuned for PSNR it is a harder anchor.
    tuning = {"advanced": {"tune": "psnr"}}
    levels = (5, 10, 20, 30, 40, 55, 70, 85)
    return _libavif("AVIF tune=psnr", "4:4:4, speed 6, tune=psnr", levels, tuning)


def _libavif(name: str, settings: str, levels: Sequence[int], more: dict[str, Any]) -> Codec:
    if not features.check("avif"):
        raise ImportError("this Pillow was built without AVIF")
    settings = f"{settings}, all threads, libavif {features.version('avif')}"
    options = {"subsampling": "4:4:4", "speed": 6, **more}
    return PillowCodec(name, "AVIF", settings, levels, options)


def _jxl() -> Codec:
    import pillow_jxl  # noqa: F401 - teaches Pillow the format; pip install pillow-jxl-plugin

    settings = f"XYB, effort 7, all threads, pillow-jxl-plugin {_version('pillow-jxl-plugin')}"
    return PillowCodec("JPEG XL", "JXL", settings, (5, 20, 35, 50, 65, 80, 90, 95), {"effort": 7})


ANCHORS: dict[str, Callable[[], Codec]] = {
    "jpeg": _jpeg,
    "webp": _webp,
    "avif": _avif,
    "avif-psnr": _avif_psnr,
    "jxl": _jxl,
}


def ours(model: str | None, device: str, levels: Sequence[int]) -> Codec | None:
    """vaetools, or None with a line that says why not; a model that was asked for must be there."""
    try:
        codec = Vaetools(vaetools.open(device=device), model, device, levels)
        codec.encode(np.zeros((64, 64, 3), np.uint8), levels[0])  # is there a model at all?
    except (ImportError, VaetoolsError) as error:
        if model is not None:
            raise SystemExit(f"vaetools: {error}") from error
        print(f"vaetools: skipped, {error}")
        return None
    return codec


# --- measuring ------------------------------------------------------------------------------------


@dataclass
class Point:
    """One codec at one quality: means over the pictures; of the times, in seconds, medians."""

    codec: str
    level: int
    bpp: float
    psnr: float
    ms_ssim: float | None
    encode_cpu: float
    encode_wall: float
    decode_cpu: float
    decode_wall: float
    payload_excess: float | None  # per cent of the entropy-coded payload above its ideal length
    pictures: list[dict[str, Any]]


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
    versions = [platform.python_version(), _version("pillow"), _version("numpy")]
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


# --- reporting ------------------------------------------------------------------------------------


@dataclass
class Curve:
    """A codec and its points; `kept` if the times were measured in an earlier run."""

    codec: Codec
    points: list[Point]
    kept: bool

    @property
    def rates(self) -> list[metrics.Point]:
        return [(point.bpp, point.psnr) for point in self.points]


def report(curves: list[Curve], title: str, command: str) -> str:
    """The page `codec.md`."""
    return "\n".join(
        [
            f"# {title}",
            "",
            "Whole files; PSNR from one MSE over R, G and B, per picture, then the mean; so are",
            "bpp and MS-SSIM. Times are medians over the pictures in milliseconds, CPU of all",
            "threads / wall, from pixels to file bytes and back. The machine may have had other",
            "work: compare them with each other, in one run, only.",
            "",
            *_codec_table(curves),
            "",
            "## BD-rate (PCHIP on ln(bpp) over the common PSNR range; negative = fewer bits)",
            "",
            *_bd_table(curves),
            "",
            "## Points",
            "",
            *_point_table(curves),
            "",
            "![PSNR and MS-SSIM over bits per pixel](codec.png)",
            "",
            "## How it was run",
            "",
            *(f"- {line}" for line in _circumstances(command)),
            "",
        ]
    )


def _codec_table(curves: list[Curve]) -> list[str]:
    lines = ["| codec | settings | encode ms | decode ms | times |", "|---|---|---:|---:|---|"]
    for curve in curves:
        encode, decode = (
            _times(
                statistics.median(getattr(p, f"{what}_cpu") for p in curve.points),
                statistics.median(getattr(p, f"{what}_wall") for p in curve.points),
            )
            for what in ("encode", "decode")
        )
        when = "cached, an earlier run" if curve.kept else "this run"
        lines.append(
            f"| {curve.codec.name} | {curve.codec.settings} | {encode} | {decode} | {when} |"
        )
    return lines


def _bd_table(curves: list[Curve]) -> list[str]:
    """Ours against every anchor, and every codec against the first one."""
    pairs = [
        (test, anchor)
        for test in curves
        for anchor in curves
        if test is not anchor and (anchor is curves[0] or isinstance(test.codec, Vaetools))
    ]
    lines = ["| codec | against | BD-rate | range |", "|---|---|---:|---|"]
    for test, anchor in pairs:
        rate = metrics.bd_rate(test.rates, anchor.rates)
        low, high = metrics.common_range(test.rates, anchor.rates)
        cells = (
            ("–", "less than 1 dB in common")
            if math.isnan(rate)
            else (f"{rate:+.1f} %".replace("-", "−"), f"{low:.1f}–{high:.1f} dB")
        )
        lines.append(f"| {test.codec.name} | {anchor.codec.name} | {cells[0]} | {cells[1]} |")
    return lines


def _point_table(curves: list[Curve]) -> list[str]:
    points = [point for curve in curves for point in curve.points]
    excess = any(point.payload_excess is not None for point in points)
    lines = [
        "| codec | quality | bpp | PSNR dB | MS-SSIM | encode ms | decode ms |"
        + (" payload over ideal |" if excess else ""),
        "|---|---:|---:|---:|---:|---:|---:|" + ("---:|" if excess else ""),
    ]
    for p in points:
        similarity = "–" if p.ms_ssim is None else f"{p.ms_ssim:.4f}"
        line = f"| {p.codec} | {p.level} | {p.bpp:.3f} | {p.psnr:.2f} | {similarity} "
        line += f"| {_times(p.encode_cpu, p.encode_wall)} | {_times(p.decode_cpu, p.decode_wall)} |"
        if excess:
            line += " – |" if p.payload_excess is None else f" {p.payload_excess:+.2f} % |"
        lines.append(line)
    return lines


def _times(cpu: float, wall: float) -> str:
    return f"{1000 * cpu:.3g} / {1000 * wall:.3g}"


def _circumstances(command: str) -> list[str]:
    packages = ("onnxruntime", "onnxruntime-gpu", "pillow", "numpy", "opencv-python")
    versions = ", ".join(f"{name} {_version(name)}" for name in packages if _version(name))
    now = dt.datetime.now(dt.UTC)
    lines = [
        f"`{command}`",
        f"{now:%Y-%m-%d %H:%M} UTC",
        f"vaetools {vaetools.__version__}, Python {platform.python_version()}, {versions}",
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
    ]
    if hasattr(os, "getloadavg"):
        lines.append(f"load average at the end {os.getloadavg()[0]:.1f}")
    return lines


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


COLOURS = {
    "JPEG": "#8a8f98",
    "WebP": "#2f9e6e",
    "AVIF": "#e08a1e",
    "AVIF tune=psnr": "#b8470f",
    "JPEG XL": "#8b5fbf",
}
MARKERS = {"JPEG": "s", "WebP": "^", "AVIF": "D", "AVIF tune=psnr": "d", "JPEG XL": "v"}
OUR_COLOUR = "#0b57d0"


def plot(curves: list[Curve], title: str, file: Path) -> None:
    """PSNR, and MS-SSIM where the pictures are large enough, over a logarithmic rate.

    On that axis the distance between two curves from left to right is the saving in per cent.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels: list[tuple[str, Callable[[Point], float]]] = [("PSNR (dB)", lambda p: p.psnr)]
    if all(point.ms_ssim is not None for curve in curves for point in curve.points):
        panels.append(("MS-SSIM (−10 log₁₀(1 − x), dB)", _decibels))
    figure, axes = plt.subplots(1, len(panels), figsize=(6.6 * len(panels), 5.6), squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.14, h_pad=0.1)
    for axis, (label, value) in zip(axes[0], panels, strict=True):
        for curve in curves:
            _draw(axis, curve, value)
        _dress(axis, label)
    axes[0][0].legend(loc="upper left", frameon=False, fontsize=11)
    figure.suptitle(title, fontsize=13, fontweight="bold")
    figure.savefig(file, dpi=160)
    plt.close(figure)


def _decibels(point: Point) -> float:
    return -10 * math.log10(max(1e-6, 1 - (point.ms_ssim or 0)))


def _draw(axis: Any, curve: Curve, value: Callable[[Point], float]) -> None:
    mine = isinstance(curve.codec, Vaetools)
    axis.plot(
        [point.bpp for point in curve.points],
        [value(point) for point in curve.points],
        label=curve.codec.name,
        color=COLOURS.get(curve.codec.name, OUR_COLOUR),
        marker=MARKERS.get(curve.codec.name, "o"),
        linewidth=3 if mine else 1.7,
        markersize=7.5 if mine else 5,
        markeredgecolor="white",
        markeredgewidth=0.8,
        zorder=3 if mine else 2,
    )


def _dress(axis: Any, label: str) -> None:
    axis.set_xscale("log")
    ticks = [0.05, 0.1, 0.2, 0.5, 1, 2, 4]
    low, high = axis.get_xlim()
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.set_xlim(low, high)
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("bits per pixel, whole file", fontsize=11)
    axis.set_ylabel(label, fontsize=11)
    axis.grid(color="#e3e6ea", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#8a8f98")


# --- the command ----------------------------------------------------------------------------------


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
        "--anchors",
        nargs="*",
        default=["jpeg", "webp", "avif", "jxl"],
        choices=list(ANCHORS),
        help="what to compare with; the first is the base",
    )
    parser.add_argument("--anchor-levels", type=int, nargs="+", metavar="Q", help="their qualities")
    parser.add_argument("--fresh", action="store_true", help="measure the anchors anew")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = arguments(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    pictures, content = read_pictures(args.folder, args.quick)
    our_codec = ours(args.model, args.device, args.levels)  # first: a typing error shows at once
    curves = []
    for codec in anchors(args.anchors):
        if args.anchor_levels:
            codec.levels = args.anchor_levels
        points, kept = measured_or_kept(codec, pictures, content, args.out, fresh=args.fresh)
        curves.append(Curve(codec, points, kept))
    if our_codec is not None:
        curves.append(Curve(our_codec, measure(our_codec, pictures), kept=False))
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
        "run": _circumstances(command),
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
    print("\n".join(_bd_table(curves)))
    print(f"written: {args.out}/codec.md, codec.json, codec.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
