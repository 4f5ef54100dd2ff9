"""Report of `inpaint.py`: tables and a sheet of crops."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from inpaint_masks import KINDS, mask_of
from inpainters_compared import as_image, as_rgb
from restoration import draw, drift_section, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inpainters_compared import Method

    import vaetools

CROP = 128
"""Side of the crops on the sheet in pixels."""


def report(found: dict[str, Any]) -> str:
    """The page `inpaint.md`."""
    sections = [f"# {found['title']}", "", *_quality(found)]
    if found["widths"]:
        sections += ["", *_widths(found["widths"])]
    sections += ["", *_looks(found["methods"]), ""]
    moved = "Difference of the mean colours of the fill and the original"
    sections += drift_section("", found["drift"], moved, found["samples_of"])
    if "samples" in found:
        sections += ["", *_samples(found["samples"], found["samples_of"])]
    run = [f"- {line}" for line in found["run"]]
    image = "![Damaged, true, each method, one sample, and the uncertainty](inpaint.png)"
    return "\n".join([*sections, "", image, "", "## Run", "", *run, ""])


def _quality(found: dict[str, Any]) -> list[str]:
    """PSNR by method and kind, time, and the gain of ours."""
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
    rows.append(["ours over the best other", *(f"{wins[k]['gain']:+.2f}" for k in kinds), "–"])
    rows.append(["images on which ours is best", *(f"{wins[k]['rate']:.0f} %" for k in kinds), "–"])
    notes = [f"- {name}: {row['settings']}" for name, row in methods.items()]
    note = "Within the hole. No method changed any other pixel."
    head = ["PSNR in the hole, dB", *kinds, "CPU s per megapixel"]
    return [*table(head, rows), "", note, "", *notes]


def _widths(widths: dict[str, dict[str, list[float]]]) -> list[str]:
    columns = list(next(iter(widths.values())))
    head = ["PSNR in the hole, dB", *(f"{column} px" for column in columns)]
    rows = [
        [name, *(f"{fmean(row[column]):.2f}" for column in columns)] for name, row in widths.items()
    ]
    return ["## By stroke width", "", *table(head, rows)]


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
    note = "Grain: standard deviation of fine detail in the hole over the true one, ideally 1. "
    note += "Seam: error of the steps across the border, on the 0–255 scale."
    return ["## Grain and seams", "", *table(head, rows), "", note]


def _samples(rows: dict[str, dict[str, float]], count: int) -> list[str]:
    head = ["", "mean of the network", "mean of 8", "best of 8", "one sample", "its grain"]
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
    note = f"PSNR in the hole, dB; {count} images. "
    note += "An exact posterior sample is 3.0 dB below the mean. "
    note += "Rank correlation: Spearman's ρ of half-width and error."
    return ["## Samples and uncertainty", "", *table(head, cells), "", note]


def sheet(
    inpainter: vaetools.Inpainter,
    methods: Sequence[Method],
    images: dict[str, np.ndarray],
    file: Path,
) -> None:
    """Draw crops, one row per kind: damaged, original, every method, one sample, the uncertainty."""
    rows = []
    shown = list(images.values())
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
    """Corner of the crop with the most hole pixels, on a coarse grid."""
    corners = [
        (top, left)
        for top in range(0, max(1, hole.shape[0] - CROP + 1), CROP // 2)
        for left in range(0, max(1, hole.shape[1] - CROP + 1), CROP // 2)
    ]
    return max(corners, key=lambda c: int(hole[c[0] : c[0] + CROP, c[1] : c[1] + CROP].sum()))
