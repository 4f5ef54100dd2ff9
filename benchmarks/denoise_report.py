"""The report of `denoise.py`: tables, and a sheet of pictures to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from restoration import draw

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from denoisers_compared import Method

    import vaetools

PUBLISHED = (
    ("CBM3D", {"15": 33.52, "25": 30.71, "50": 27.38}),
    ("FFDNet (213 kMAC per pixel)", {"15": 33.87, "25": 31.21, "50": 27.96}),
    ("DRUNet (2118 kMAC per pixel)", {"15": 34.30, "25": 31.69, "50": 28.51}),
)
"""Of all CBSD68 pictures, noise not clipped: the tables of FFDNet and DPIR (github.com/cszn)."""

CROP = 128
"""Side of the cut-outs on the sheet, in pixels."""


def report(found: dict[str, Any]) -> str:
    """The page `denoise.md`."""
    sections = [f"# {found['title']}", "", *_quality(found), "", *_blind(found["blind"])]
    if "sure" in found:
        sections += [
            "",
            *_sure(found["sure"]),
            "",
            *_samples(found["samples"], found["samples_of"]),
        ]
    moved = {f"{row['level']:g}": row for row in found["drift"]}
    what = "that the mean of a channel moves"
    sections += ["", *drift_section("σ", moved, what, found["samples_of"])]
    if found["real"] is not None:
        sections += ["", *_real(found["real"])]
    run = [f"- {line}" for line in found["run"]]
    picture = "![Noisy, denoised, one sample, and the uncertainty](denoise.png)"
    return "\n".join([*sections, "", picture, "", "## How it was run", "", *run, ""])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown; the first column is text, the others are numbers."""
    line = "|---|" + "---:|" * (len(head) - 1)
    return [f"| {' | '.join(head)} |", line, *(f"| {' | '.join(row)} |" for row in rows)]


def _quality(found: dict[str, Any]) -> list[str]:
    """PSNR by method, protocol and level, with the time it takes."""
    methods = found["methods"]
    levels = list(next(iter(methods.values()))["float"])
    head = ["PSNR, dB", *(f"σ {level}" for level in levels)]
    head += [*(f"σ {level}, 8 bit" for level in levels), "CPU s per megapixel"]
    rows = []
    for name, row in methods.items():
        scores = [f"{row[p][level]:.2f}" for p in ("float", "clipped") for level in levels]
        few = "" if row["pictures"] == max(r["pictures"] for r in methods.values()) else " *"
        rows.append([name + few, *scores, f"{row['cpu_seconds_per_megapixel']:.2f}"])
    for name, figures in PUBLISHED:
        scores = [f"{figures[level]:.2f}" if level in figures else "–" for level in levels]
        rows.append([f"published, CBSD68: {name}", *scores, *("–" for _ in levels), "–"])
    ours = methods[found["ours"]]["cpu_seconds_per_megapixel"]
    times = [
        f"{row['cpu_seconds_per_megapixel'] / ours:.0f} times as long as ours: {name}."
        for name, row in methods.items()
        if row["cpu_seconds_per_megapixel"] > 2 * ours
    ]
    notes = [
        f"- {name}: {row['settings']}; {row['pictures']} pictures" for name, row in methods.items()
    ]
    told = (
        "Left: noise not clipped, as in the literature. Right: clipped and rounded, as files are."
    )
    fewer = "With *: on fewer pictures, see below." if any("*" in r[0] for r in rows) else ""
    return [*table(head, rows), "", " ".join([told, fewer, *times]).strip(), "", *notes]


def _blind(rows: list[dict[str, Any]]) -> list[str]:
    head = [
        "σ",
        "estimate",
        "worst error",
        "PSNR, σ told",
        "PSNR, auto",
        "difference",
        "least PSNR",
    ]
    cells = [
        [
            f"{row['level']:g}",
            f"{row['estimate']:.2f}",
            f"{row['worst']:+.1f}",
            f"{row['told']:.2f}",
            f"{row['auto']:.2f}",
            f"{row['auto'] - row['told']:+.2f}",
            f"{row['least']:.2f}",
        ]
        for row in rows
    ]
    title = "## The level is estimated (`--sigma auto`), 8-bit input"
    return [title, "", *table(head, cells), "", "σ 0: the pictures themselves; 60 dB is no change."]


def _sure(rows: list[dict[str, Any]]) -> list[str]:
    head = ["σ", "float, %", "half-width", "8 bit, %", "half-width"]
    cells = [
        [
            f"{row['level']:g}",
            f"{row['float']:.1f}",
            f"{row['float_width']:.2f}",
            f"{row['clipped']:.1f}",
            f"{row['clipped_width']:.2f}",
        ]
        for row in rows
    ]
    return ["## True values within the 90 % intervals", "", *table(head, cells)]


def _samples(rows: list[dict[str, Any]], count: int) -> list[str]:
    head = ["σ", "mean head", "mean of 32 samples", "difference", "one sample", "difference"]
    cells = [
        [
            f"{row['level']:g}",
            f"{row['mean']:.2f}",
            f"{row['many']:.2f}",
            f"{row['many'] - row['mean']:+.2f}",
            f"{row['one']:.2f}",
            f"{row['one'] - row['mean']:+.2f}",
        ]
        for row in rows
    ]
    told = f"PSNR in dB, {count} pictures. All that samples could be is 3.0 dB below the mean."
    return ["## Samples", "", *table(head, cells), "", told]


def drift_section(name: str, rows: dict[str, dict[str, float]], what: str, count: int) -> list[str]:
    """What `restoration.drift` found, a row for each; `name` stands above their names."""
    head = [name, "pictures", "worst", "even fields", "worst"]
    figures = ("pictures", "worst_pictures", "fields", "worst_fields")
    cells = [[title, *(f"{row[figure]:.2f}" for figure in figures)] for title, row in rows.items()]
    told = f"Grey levels of 255 {what}; {count} pictures, 6 fields."
    return ["## Colour drift", "", *table(head, cells), "", told]


def _real(row: dict[str, Any]) -> list[str]:
    head = [f"{row['pairs']} pairs", "input", "auto", "local", "photo"]
    cells = [["PSNR, dB", *(f"{row[name]:.2f}" for name in ("input", "auto", "local", "photo"))]]
    low, high = row["levels"]
    told = f"Estimated levels from {low:.1f} to {high:.1f}."
    return ["## Noise of cameras", "", *table(head, cells), "", told]


def sheet(
    denoiser: vaetools.Denoiser,
    methods: Sequence[Method],
    pictures: dict[str, np.ndarray],
    level: float,
    file: Path,
) -> None:
    """Cut-outs: clean, noisy, each quick method, one sample, the uncertainty."""
    from denoise import noisy_of
    from denoisers_compared import as_image, as_rgb

    with_samples = bool(denoiser.spec.levels)
    rows = []
    for number, clean in enumerate(pictures.values()):
        noisy = noisy_of(clean, level, number, clipped=True)
        row = {"clean": clean / 255.0, f"noisy, σ {level:g}": noisy}
        row |= {method.name: method.run(noisy, level) for method in methods if not method.slow}
        if with_samples:
            found = denoiser.denoise(as_image(noisy), level, seeds=[0], uncertainty=True)
            assert found.uncertainty is not None  # asked for
            row |= {"one sample": as_rgb(found.samples[0]), "uncertainty": found.uncertainty}
        rows.append({name: _cut(picture) for name, picture in row.items()})
    draw(rows, file)


def _cut(picture: np.ndarray) -> np.ndarray:
    """The middle of a picture; colours within [0, 1]."""
    top, left = (max(0, (side - CROP) // 2) for side in picture.shape[:2])
    cut = picture[top : top + CROP, left : left + CROP]
    return cut if cut.ndim == 2 else np.clip(cut, 0, 1)
