"""Our curve and published curves for the same images."""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING

from bd_rate import RatePoint, bd_rate, common_range
from codec_report import OUR_COLOUR

if TYPE_CHECKING:
    from pathlib import Path

    from codec_report import Curve

MIN_POINTS = 3
"""Curves with fewer points are ignored."""


def read_published(file: Path) -> dict[str, list[RatePoint]]:
    """Curves by name, without notes (names that start with `_`) and models trained for MS-SSIM."""
    found = {}
    for name, rows in json.loads(file.read_text(encoding="utf-8")).items():
        if name.startswith("_") or name.endswith("_msssim"):
            continue
        points = [(row["bpp"], row["psnr"]) for row in rows if row.get("psnr")]
        if len(points) >= MIN_POINTS:
            found[name] = points
    return found


def published_table(ours: Curve, others: dict[str, list[RatePoint]]) -> str:
    """BD-rates of ours against each curve as a Markdown page, strongest opponent last."""
    rows = []
    for name, points in others.items():
        rate = bd_rate(ours.rates, points)
        low, high = common_range(ours.rates, points)
        if not math.isnan(rate):
            figure = f"{rate:+.1f} %".replace("-", "−")
            rows.append((rate, f"| {name} | {figure} | {low:.1f}–{high:.1f} dB |"))
    head = [
        f"# {ours.codec.name} against published curves",
        "",
        "How many more (+) or fewer (−) bits ours needs at the same PSNR. The others count payloads or",
        "whole files, depending on the source, and their metrics may differ in detail.",
        "",
        "| codec | BD-rate of ours | range |",
        "|---|---:|---|",
    ]
    return "\n".join([*head, *(line for _, line in sorted(rows)), ""])


def plot_published(ours: Curve, others: dict[str, list[RatePoint]], title: str, file: Path) -> None:
    """PSNR over a logarithmic rate, with a ranking of the curves at 0.5 bpp beside it."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    lowest, highest = 0.06, 2.5
    figure, axis = plt.subplots(figsize=(11, 8), layout="constrained")
    ends = []
    ranked = sorted(others.items(), key=lambda item: _at_half(item[1]))
    for number, (name, points) in enumerate(ranked):
        inside = sorted(p for p in points if lowest <= p[0] <= highest)
        colour = plt.get_cmap("viridis")(number / len(others))
        axis.plot(*zip(*inside, strict=True), color=colour, linewidth=0.9, alpha=0.8)
        ends.append((_at_half(points), name, colour))
    axis.plot(*zip(*ours.rates, strict=True), color=OUR_COLOUR, linewidth=3.2, marker="o", zorder=5)
    ends.append((_at_half(ours.rates), ours.codec.name, OUR_COLOUR))
    axis.set_xscale("log")
    ticks = [0.1, 0.2, 0.5, 1, 2]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.set_xlim(lowest, highest)
    axis.set_ylim(24, 42)
    axis.set_xlabel("bits per pixel")
    axis.set_ylabel("PSNR (dB)")
    axis.grid(color="#e3e6ea", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    ends.sort(reverse=True)
    for row, (quality, name, colour) in enumerate(ends):
        mine = name == ours.codec.name
        axis.annotate(
            f"{quality:.2f}  {name}",
            (1.02, 1 - (row + 0.5) / len(ends)),
            xycoords="axes fraction",
            color=colour,
            fontsize=9 if mine else 7.5,
            fontweight="bold" if mine else "normal",
            va="center",
        )
    axis.annotate("dB at 0.5 bpp", (1.02, 1.01), xycoords="axes fraction", fontsize=8)
    figure.suptitle(title, fontsize=13, fontweight="bold")
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _at_half(points: list[RatePoint]) -> float:
    """PSNR at 0.5 bpp, interpolated linearly over ln(bpp), or that of the nearest point."""
    rows = sorted((math.log(rate), quality) for rate, quality in points)
    wanted = math.log(0.5)
    for (x0, y0), (x1, y1) in itertools.pairwise(rows):
        if x0 <= wanted <= x1:
            return y0 + (y1 - y0) * (wanted - x0) / (x1 - x0)
    return min(rows, key=lambda row: abs(row[0] - wanted))[1]
