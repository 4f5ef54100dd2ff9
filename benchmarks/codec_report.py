"""Report of `codec.py`: tables and a chart."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bd_rate import RatePoint, bd_rate, common_range
from codecs_compared import Codec, Vaetools
from common import circumstances

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass
class Point:
    """One codec at one quality: means over the images; for times medians, in seconds."""

    codec: str
    level: int
    bpp: float
    psnr: float
    ms_ssim: float | None
    encode_cpu: float
    encode_wall: float
    decode_cpu: float
    decode_wall: float
    payload_excess: float | None  # of the entropy-coded payload over its ideal length, in per cent
    images: list[dict[str, Any]]


@dataclass
class Curve:
    """A codec and its points; `kept` if they were measured in an earlier run."""

    codec: Codec
    points: list[Point]
    kept: bool

    @property
    def rates(self) -> list[RatePoint]:
        return [(point.bpp, point.psnr) for point in self.points]


def report(curves: list[Curve], title: str, command: str) -> str:
    """The page `codec.md`."""
    return "\n".join(
        [
            f"# {title}",
            "",
            "Rates count whole files. PSNR: one MSE over R, G and B per image, then the mean;",
            "likewise bpp and MS-SSIM. Times: medians over the images in milliseconds, CPU of all",
            "threads / wall clock, from pixels to file bytes and back. Compare times only within",
            "one run; the machine may have been busy.",
            "",
            *_codec_table(curves),
            "",
            "## BD-rate (PCHIP on ln(bpp) over the common PSNR range; negative = fewer bits)",
            "",
            *bd_table(curves),
            "",
            "## Points",
            "",
            *_point_table(curves),
            "",
            "![PSNR and MS-SSIM over bits per pixel](codec.png)",
            "",
            "## Run",
            "",
            *(f"- {line}" for line in circumstances(command)),
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


def bd_table(curves: list[Curve]) -> list[str]:
    """BD-rates of ours against every anchor, and of every codec against the first."""
    pairs = [
        (test, anchor)
        for test in curves
        for anchor in curves
        if test is not anchor and (anchor is curves[0] or isinstance(test.codec, Vaetools))
    ]
    lines = ["| codec | against | BD-rate | range |", "|---|---|---:|---|"]
    for test, anchor in pairs:
        rate = bd_rate(test.rates, anchor.rates)
        low, high = common_range(test.rates, anchor.rates)
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
    """PSNR, and MS-SSIM if the images are large enough, over the rate.

    The rate axis is logarithmic: the horizontal distance of two curves is a saving in per cent.
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
        linestyle="--" if getattr(curve.codec, "refine", 0) else "-",
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
