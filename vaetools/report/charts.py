"""Histograms of sizes and times, as numbers for a template that draws SVG."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaetools.record import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WIDTH, HEIGHT = 320, 110
"""Size of the area of the bars in units of the SVG."""

_MOST_BINS = 16


@dataclass(frozen=True)
class Bar:
    """A bar: its place in the SVG, and what it counts."""

    x: float
    y: float
    width: float
    height: float
    series: int
    text: str


@dataclass(frozen=True)
class Chart:
    """A histogram with a logarithmic axis.

    Attributes:
        title: What is counted.
        series: Names of the series, one or two.
        text: The chart in words.
        ticks: (x, text) below the axis.
        most: Number of inputs of the highest bar.
    """

    title: str
    series: tuple[str, ...]
    text: str
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    most: int


def histogram(
    title: str, series: Mapping[str, Sequence[float]], format_value: Callable[[float], str]
) -> Chart | None:
    """A histogram of positive values; None if there are fewer than two.

    Args:
        title: What is counted.
        series: Values by the name of their series.
        format_value: Text of a value, with its unit.
    """
    found = {name: sorted(v for v in values if v > 0) for name, values in series.items()}
    found = {name: values for name, values in found.items() if len(values) > 1}
    if not found:
        return None
    edges = _edges([value for values in found.values() for value in values])
    counts = [_counts(values, edges) for values in found.values()]
    most = max(max(row) for row in counts)
    step = WIDTH / (len(edges) - 1)
    width = (step - 2) / len(counts)
    bars = tuple(
        Bar(
            round(column * step + 1 + row * width, 2),
            round(HEIGHT * (1 - count / most), 2),
            round(width, 2),
            round(HEIGHT * count / most, 2),
            row if len(counts) > 1 else 1,
            f"{format_value(edges[column])} to {format_value(edges[column + 1])}: {count:,}",
        )
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
        if count
    )
    ends = (0, len(edges) // 2, len(edges) - 1)
    ticks = tuple((round(end * step, 2), format_value(edges[end])) for end in ends)
    return Chart(title, tuple(found), _text(found, format_value), bars, ticks, most)


def _text(found: dict[str, list[float]], format_value: Callable[[float], str]) -> str:
    parts = []
    for name, values in found.items():
        low, middle, high = values[0], statistics.median(values), values[-1]
        named = f"{name}: " if len(found) > 1 else ""
        parts.append(
            f"{named}{format_value(low)} to {format_value(high)}, median {format_value(middle)}"
        )
    return "; ".join(parts)


def _edges(values: Sequence[float]) -> list[float]:
    """Bounds of the bins: equal ratios, from the smallest value to the largest."""
    low, high = min(values), max(values)
    if high <= low * 1.01:
        low, high = low / 1.1, high * 1.1
    bins = max(4, min(_MOST_BINS, round(math.sqrt(len(values)) * 2)))
    ratio = (high / low) ** (1 / bins)
    return [low * ratio**index for index in range(bins)] + [high]


def _counts(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    bins = len(edges) - 1
    scale = bins / math.log(edges[-1] / edges[0])
    counts = [0] * bins
    for value in values:
        counts[min(max(int(math.log(value / edges[0]) * scale), 0), bins - 1)] += 1
    return counts


def size_text(value: float) -> str:
    """Bytes as text."""
    return format_bytes(round(value))


def time_text(value: float) -> str:
    """Milliseconds as text."""
    if value >= 1000:
        return f"{value / 1000:,.1f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"
