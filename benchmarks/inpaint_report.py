"""The report of `inpaint.py`: tables, and a sheet of pictures to look at."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from denoise_report import drift_section, table
from inpaint_masks import KINDS, mask_of
from restoration import draw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inpainters_compared import Method

    import vaetools

CROP = 128
"""Side of the cut-outs on the sheet, in pixels."""


def report(found: dict[str, Any]) -> str:
    """The page `inpaint.md`."""
    sections = [f"# {found['title']}", "", *_quality(found)]
    if found["widths"]:
        sections += ["", *_widths(found["widths"])]
    sections += ["", *_looks(found["methods"]), ""]
    moved = "between the mean colours of the fill and of what was there"
    sections += drift_section("", found["drift"], moved, found["samples_of"])
    if "samples" in found:
        sections += ["", *_samples(found["samples"], found["samples_of"])]
    run = [f"- {line}" for line in found["run"]]
    picture = "![Damaged, true, each method, one sample, and the uncertainty](inpaint.png)"
    return "\n".join([*sections, "", picture, "", "## How it was run", "", *run, ""])


def _quality(found: dict[str, Any]) -> list[str]:
    """PSNR by method and kind, with the time it takes, and what ours gains."""
    methods, wins = found["methods"], found["wins"]
    kinds = list(wins)
    rows = [
        [
            name,
            *(f"{fmean(row['psnr'][kind]):.2f}" for kind in kinds),
            f"{row['cpu_seconds_per_megapixel']:.2f}",
        ]
        for name, row in methods.items()
    ]
    rows.append(["ours against the best other", *(f"{wins[k]['gain']:+.2f}" for k in kinds), "–"])
    rows.append(
        ["pictures where ours beats all", *(f"{wins[k]['rate']:.0f} %" for k in kinds), "–"]
    )
    notes = [f"- {name}: {row['settings']}" for name, row in methods.items()]
    told = "Over the pixels of the hole alone. All methods left every other pixel as it was."
    head = ["PSNR in the hole, dB", *kinds, "CPU s per megapixel"]
    return [*table(head, rows), "", told, "", *notes]


def _widths(widths: dict[str, dict[str, list[float]]]) -> list[str]:
    columns = list(next(iter(widths.values())))
    head = ["PSNR in the hole, dB", *(f"{column} px" for column in columns)]
    rows = [
        [name, *(f"{fmean(row[column]):.2f}" for column in columns)] for name, row in widths.items()
    ]
    return ["## By the width of strokes", "", *table(head, rows)]


def _looks(methods: dict[str, Any]) -> list[str]:
    kinds = list(next(iter(methods.values()))["grain"])
    head = ["", *(f"{kind}, grain" for kind in kinds), *(f"{kind}, seam" for kind in kinds)]
    rows = [
        [
            name,
            *(f"{row['grain'][kind]:.2f}" for kind in kinds),
            *(f"{row['seam'][kind]:.1f}" for kind in kinds),
        ]
        for name, row in methods.items()
    ]
    told = "Grain: deviation of fine detail in the hole over the true one, ideally 1. "
    told += "Seam: error of the steps across the rim, in grey levels."
    return ["## Grain and seams", "", *table(head, rows), "", told]


def _samples(rows: dict[str, dict[str, float]], count: int) -> list[str]:
    head = ["", "mean head", "mean of 8", "best of 8", "one sample", "its grain"]
    head += ["within 90 %", "half-width", "rank correlation"]
    cells = [
        [
            kind,
            *(f"{row[name]:.2f}" for name in ("mean", "many", "best", "one", "grain")),
            f"{row['held']:.1f} %",
            f"{row['width']:.1f}",
            f"{row['rank']:.2f}",
        ]
        for kind, row in rows.items()
    ]
    told = f"PSNR in the hole, dB; {count} pictures. "
    told += "All that a sample could be is 3.0 dB below the mean. "
    told += "The last: Spearman's, of the half-width and the error."
    return ["## Samples, and how sure it is", "", *table(head, cells), "", told]


def sheet(
    inpainter: vaetools.Inpainter,
    methods: Sequence[Method],
    pictures: dict[str, np.ndarray],
    file: Path,
) -> None:
    """Cut-outs, one kind a row: damaged, true, each method, one sample, the uncertainty."""
    from inpainters_compared import as_image, as_rgb

    rows = []
    shown = list(pictures.values())
    for number, kind in enumerate(KINDS):
        clean = shown[number % len(shown)]
        hole = mask_of(kind, *clean.shape[:2], number)
        damaged = np.where(hole[..., None], np.uint8(0), clean)
        row = {f"{kind}, damaged": damaged, "true": clean}
        row |= {method.name: method.run(damaged, hole) for method in methods}
        if inpainter.spec.depths:
            found = inpainter.inpaint(as_image(damaged), hole, seeds=[0], uncertainty=True)
            assert found.uncertainty is not None  # asked for
            row |= {"one sample": as_rgb(found.samples[0]), "uncertainty": found.uncertainty}
        top, left = _fullest(hole)
        rows.append({n: p[top : top + CROP, left : left + CROP] for n, p in row.items()})
    draw(rows, file)


def _fullest(hole: np.ndarray) -> tuple[int, int]:
    """Corner of the cut-out with most of the hole, on a coarse grid."""
    corners = [
        (top, left)
        for top in range(0, max(1, hole.shape[0] - CROP + 1), CROP // 2)
        for left in range(0, max(1, hole.shape[1] - CROP + 1), CROP // 2)
    ]
    return max(corners, key=lambda c: int(hole[c[0] : c[0] + CROP, c[1] : c[1] + CROP].sum()))
