"""What `augment.py` found, as Markdown: accuracies, and differences that are more than chance."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

BASE = "classic"
"""The arm that the others are compared with, seed by seed."""

ABOUT = """\
Every arm: the same pictures, the same first weights and {steps} gradient steps; {copies} copies of each
picture, strength {strength:g}, {seeds} seeds. Test accuracy in per cent, ± half of the 95 % interval of
the mean.

The latent arms also know what their model, `{model}`, was trained on. `mnist-conv` saw all of MNIST's
60,000 training pictures, without labels: for MNIST its gain is semi-supervised learning as well as
augmentation, for other digits it is transfer."""


def interval(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half the width of its 95 % interval), by Student's t."""
    error = statistics.stdev(values) / len(values) ** 0.5
    return statistics.fmean(values), float(stats.t.ppf(0.975, len(values) - 1)) * error


def report(found: dict[str, Any]) -> str:
    settings = found["settings"]
    lines = [
        "# Augmentation on few pictures",
        "",
        *(f"- {line}" for line in found["circumstances"]),
    ]
    lines += ["", ABOUT.format_map(settings)]
    for name, result in found["sets"].items():
        counts = [str(count) for count in settings["counts"]]
        head = [
            "| per class | " + " | ".join(counts) + " |",
            "|---" * (1 + len(counts)) + "|",
        ]
        scores = result["accuracy"]
        lines += ["", f"## {name}, {result['tested']:,} test pictures", "", *head]
        lines += [_row(arm, [_score(by[c]) for c in counts]) for arm, by in scores.items()]
        if BASE in scores:
            lines += [
                "",
                f"Points above `{BASE}`, seed by seed; bold: the interval leaves out 0.",
                "",
            ]
            lines += head
            for arm, by in scores.items():
                if arm != BASE:
                    cells = [_difference(by[c], scores[BASE][c]) for c in counts]
                    lines.append(_row(arm, cells))
    return "\n".join(lines) + "\n"


def _row(arm: str, cells: Sequence[str]) -> str:
    return f"| {arm} | " + " | ".join(cells) + " |"


def _score(values: Sequence[float]) -> str:
    mean, half = interval(values)
    return f"{mean:.2f} ± {half:.2f}"


def _difference(values: Sequence[float], base: Sequence[float]) -> str:
    mean, half = interval([a - b for a, b in zip(values, base, strict=True)])
    text = f"{mean:+.2f} ± {half:.2f}"
    return f"**{text}**" if abs(mean) > half else text
