"""What the benchmarks of denoising and inpainting share."""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from common import circumstances

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Row = dict[str, Any]
Images = dict[str, np.ndarray]
"""8-bit RGB images by name."""

Rgb = npt.NDArray[np.float32]
"""(H, W, 3), nominally in [0, 1]; noise may exceed that range."""


def mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)


def noisy_of(clean: np.ndarray, sigma: float, number: int, *, clipped: bool) -> Rgb:
    """Add Gaussian noise, the same for all methods.

    Args:
        clean: (H, W, 3) uint8.
        sigma: standard deviation on the 0–255 scale.
        number: number of the image; with `sigma` it seeds the noise.
        clipped: round and clip to 8 bits.
    """
    rng = np.random.default_rng([number, round(10 * sigma)])
    noisy = clean + rng.normal(0, sigma, clean.shape)
    if clipped:
        noisy = np.clip(np.rint(noisy), 0, 255)
    return np.asarray(noisy / 255, np.float32)


def to_8_bit(rgb: Rgb) -> np.ndarray:
    return np.clip(np.rint(255 * rgb), 0, 255).astype(np.uint8)


def uniform_fields(side: int = 128) -> Images:
    """Images of one colour: greys from dark to light, and a dark blue."""
    colours = [(g, g, g) for g in (16, 64, 128, 192, 240)] + [(33, 25, 70)]
    return {str(c): np.tile(np.array(c, np.uint8), (side, side, 1)) for c in colours}


def drift(moved: Callable[[np.ndarray, int], np.ndarray], images: Images) -> Row:
    """Change of mean colours on the 0–255 scale, in images and in uniform fields: mean and maximum.

    Args:
        moved: the change of each channel's mean, (3,), for an image and its number.
        images: the images.
    """
    row: Row = {}
    for what, group in (("images", images), ("fields", uniform_fields())):
        largest = [float(np.abs(moved(p, n)).max()) for n, p in enumerate(group.values())]
        row |= {what: mean(largest), f"worst_{what}": max(largest)}
    return row


def subset(images: Images, count: int) -> Images:
    """`count` of the images, evenly spread."""
    names = list(images)
    step = max(1, len(names) // max(1, count))
    return {name: images[name] for name in names[::step][:count]}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; the first column is text, the others are numbers."""
    line = "|---|" + "---:|" * (len(head) - 1)
    return [f"| {' | '.join(head)} |", line, *(f"| {' | '.join(row)} |" for row in rows)]


def drift_section(name: str, rows: dict[str, dict[str, float]], what: str, count: int) -> list[str]:
    """Results of `drift`, one row each; `name` is the head of the first column."""
    head = [name, "images", "worst", "uniform fields", "worst"]
    figures = ("images", "worst_images", "fields", "worst_fields")
    cells = [[title, *(f"{row[figure]:.2f}" for figure in figures)] for title, row in rows.items()]
    note = f"{what}, on the 0–255 scale; {count} images, 6 uniform fields."
    return ["## Colour drift", "", *table(head, cells), "", note]


def arguments(doc: str | None, folder: str, out: str, few: str) -> argparse.ArgumentParser:
    """Common options; `folder` and `few` are help texts, `out` is the default output folder."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help=folder)
    parser.add_argument(
        "--out", type=Path, default=Path(out), help="output folder [default: %(default)s]"
    )
    parser.add_argument("--quick", type=int, metavar="N", help="use only N images, evenly spread")
    parser.add_argument("--few", type=int, default=8, metavar="N", help=few)
    parser.add_argument("--model", metavar="ID", help="id of our model")
    parser.add_argument("--models-dir", action="append", default=[], type=Path, metavar="DIR")
    parser.add_argument("--device", default="cpu", help="device of our model [default: cpu]")
    parser.add_argument("--threads", type=int, help="threads of our model")
    return parser


def draw(rows: Sequence[dict[str, np.ndarray]], file: Path) -> None:
    """Draw rows of images with their names; single planes in false colours."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    size = (2.2 * len(rows[0]), 2.4 * len(rows))
    figure, axes = plt.subplots(len(rows), len(rows[0]), figsize=size, squeeze=False)
    figure.set_layout_engine("constrained")
    for line, row in zip(axes, rows, strict=True):
        for axis, (name, image) in zip(line, row.items(), strict=True):
            colours = "magma" if image.ndim == 2 else None
            axis.imshow(image, cmap=colours, interpolation="nearest")
            axis.set_title(name, fontsize=9)
            axis.axis("off")
    figure.savefig(file, dpi=150)
    plt.close(figure)


def write(
    found: Row, name: str, argv: Sequence[str] | None, out: Path, report: Callable[[Row], str]
) -> None:
    """Write and print the results of benchmarks/NAME.py, with the command line."""
    words = sys.argv[1:] if argv is None else argv
    found["run"] = circumstances(shlex.join(["python", f"benchmarks/{name}.py", *words]))
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (out / f"{name}.md").write_text(report(found), encoding="utf-8")
    print(report(found))
    print(f"written: {out}/{name}.md, {name}.json, {name}.png")
