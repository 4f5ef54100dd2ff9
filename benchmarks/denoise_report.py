"""Report of `denoise.py`: tables and a sheet of crops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from denoisers_compared import as_image, as_rgb
from restoration import draw, drift_section, noisy_of, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from denoisers_compared import Method

    import vaetools

PUBLISHED = (
    ("CBM3D", {"15": 33.52, "25": 30.71, "50": 27.38}),
    ("FFDNet (213 kMAC per pixel)", {"15": 33.87, "25": 31.21, "50": 27.96}),
    ("DRUNet (2118 kMAC per pixel)", {"15": 34.30, "25": 31.69, "50": 28.51}),
)
"""All CBSD68 images, noise not clipped; from the tables of FFDNet and DPIR (github.com/cszn)."""

CROP = 128
"""Side of the crops on the sheet in pixels."""


def report(found: dict[str, Any]) -> str:
    """The page `denoise.md`."""
    sections = [f"# {found['title']}", "", *_quality(found), "", *_blind(found["blind"])]
    for name, rows in found["exposed"].items():
        sections += ["", *_blind(rows, f"## The same, {name} images")]
    if "intervals" in found:
        sections += [
            "",
            *_intervals(found["intervals"]),
            "",
            *_samples(found["samples"], found["samples_of"]),
        ]
    moved = {f"{row['level']:g}": row for row in found["drift"]}
    what = "Change of the mean of a channel"
    sections += ["", *drift_section("σ", moved, what, found["samples_of"])]
    sections += ["", *_pages(found["pages"])]
    if found["real"] is not None:
        sections += ["", *_real(found["real"])]
    run = [f"- {line}" for line in found["run"]]
    image = "![Noisy, denoised, one sample, and the uncertainty](denoise.png)"
    return "\n".join([*sections, "", image, "", "## Run", "", *run, ""])


def _quality(found: dict[str, Any]) -> list[str]:
    """PSNR by method, protocol and level, with the time it takes."""
    methods = found["methods"]
    levels = list(next(iter(methods.values()))["float"])
    head = ["PSNR, dB", *(f"σ {level}" for level in levels)]
    head += [*(f"σ {level}, 8 bit" for level in levels), "CPU s per megapixel"]
    rows = []
    for name, row in methods.items():
        scores = [f"{row[p][level]:.2f}" for p in ("float", "clipped") for level in levels]
        few = "" if row["images"] == max(r["images"] for r in methods.values()) else " *"
        rows.append([name + few, *scores, f"{row['cpu_seconds_per_megapixel']:.2f}"])
    for name, figures in PUBLISHED:
        scores = [f"{figures[level]:.2f}" if level in figures else "–" for level in levels]
        rows.append([f"published, CBSD68: {name}", *scores, *("–" for _ in levels), "–"])
    ours = methods[found["ours"]]["cpu_seconds_per_megapixel"]
    times = [
        f"{name} takes {row['cpu_seconds_per_megapixel'] / ours:.0f} times as long as ours."
        for name, row in methods.items()
        if row["cpu_seconds_per_megapixel"] > 2 * ours
    ]
    notes = [
        f"- {name}: {row['settings']}; {row['images']} images" for name, row in methods.items()
    ]
    note = "8 bit: noisy values are clipped and rounded, as in files."
    fewer = "*: on fewer images, see below." if any("*" in r[0] for r in rows) else ""
    return [*table(head, rows), "", " ".join([note, fewer, *times]).strip(), "", *notes]


BLIND = "## Estimated noise level (`--sigma auto`), 8-bit input"


def _blind(rows: list[dict[str, Any]], title: str = BLIND) -> list[str]:
    head = [
        "σ",
        "estimate",
        "worst error",
        "PSNR, known σ",
        "PSNR, auto",
        "difference",
        "worst",
        "lowest PSNR",
    ]
    cells = [
        [
            f"{row['level']:g}",
            f"{row['estimate']:.2f}",
            f"{row['worst']:+.1f}",
            f"{row['known']:.2f}",
            f"{row['auto']:.2f}",
            f"{row['auto'] - row['known']:+.2f}",
            f"{-row['most_lost']:+.2f}",
            f"{row['lowest']:.2f}",
        ]
        for row in rows
    ]
    return [title, "", *table(head, cells), "", "σ 0: clean images; 60 dB means no change."]


def _pages(rows: list[dict[str, Any]]) -> list[str]:
    names = ("white_known", "white_auto", "black_known", "black_auto")
    head = ["σ", "white, known σ", "white, auto", "black, known σ", "black, auto"]
    cells = [[f"{row['level']:g}", *(f"{row[name]:+.2f}" for name in names)] for row in rows]
    note = "Mean of the result minus 255 or 0. The noise of the input is cut off there."
    return ["## White and black pages, 8-bit input", "", *table(head, cells), "", note]


def _intervals(rows: list[dict[str, Any]]) -> list[str]:
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
    return ["## Coverage of the 90 % intervals", "", *table(head, cells)]


def _samples(rows: list[dict[str, Any]], count: int) -> list[str]:
    head = [
        "σ",
        "mean of the network",
        "mean of 32 samples",
        "difference",
        "one sample",
        "difference",
    ]
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
    note = f"PSNR in dB, {count} images. An exact posterior sample is 3.0 dB below the mean."
    return ["## Samples", "", *table(head, cells), "", note]


def _real(row: dict[str, Any]) -> list[str]:
    head = [f"{row['pairs']} pairs", "input", "auto", "local", "photo"]
    cells = [["PSNR, dB", *(f"{row[name]:.2f}" for name in ("input", "auto", "local", "photo"))]]
    low, high = row["levels"]
    note = f"Estimated noise levels: {low:.1f} to {high:.1f}."
    return ["## Camera noise", "", *table(head, cells), "", note]


def sheet(
    denoiser: vaetools.Denoiser,
    methods: Sequence[Method],
    images: dict[str, np.ndarray],
    level: float,
    file: Path,
) -> None:
    """Draw crops: clean, noisy, every fast method, one sample, the uncertainty."""
    with_samples = bool(denoiser.spec.levels)
    rows = []
    for number, clean in enumerate(images.values()):
        noisy = noisy_of(clean, level, number, clipped=True)
        row = {"clean": clean / 255.0, f"noisy, σ {level:g}": noisy}
        row |= {method.name: method.run(noisy, level) for method in methods if not method.slow}
        if with_samples:
            found = denoiser.denoise(as_image(noisy), level, seeds=[0], uncertainty=True)
            assert found.uncertainty is not None  # asked for
            row |= {"one sample": as_rgb(found.samples[0]), "uncertainty": found.uncertainty}
        rows.append({name: _crop(image) for name, image in row.items()})
    draw(rows, file)


def _crop(image: np.ndarray) -> np.ndarray:
    """The centre of an image; colours are clipped to [0, 1]."""
    top, left = (max(0, (side - CROP) // 2) for side in image.shape[:2])
    crop = image[top : top + CROP, left : left + CROP]
    return crop if crop.ndim == 2 else np.clip(crop, 0, 1)
