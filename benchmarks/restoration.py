"""What the benchmarks of restoration have in common."""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

import numpy as np
from codec_report import circumstances

Row = dict[str, Any]
Pictures = dict[str, np.ndarray]
"""8-bit RGB by name."""


def mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)


def even_fields(side: int = 128) -> Pictures:
    """Pictures of one colour: greys from dark to light, and a dark blue."""
    colours = [(g, g, g) for g in (16, 64, 128, 192, 240)] + [(33, 25, 70)]
    return {str(c): np.tile(np.array(c, np.uint8), (side, side, 1)) for c in colours}


def drift(moved: Callable[[np.ndarray, int], np.ndarray], pictures: Pictures) -> Row:
    """How far mean colours move, in grey levels, in pictures and in even fields: mean and worst.

    Args:
        moved: from a picture and its number, how far the mean of each channel moves, (3,).
    """
    row: Row = {}
    for what, group in (("pictures", pictures), ("fields", even_fields())):
        most = [float(np.abs(moved(p, n)).max()) for n, p in enumerate(group.values())]
        row |= {what: mean(most), f"worst_{what}": max(most)}
    return row


def some(pictures: Pictures, count: int) -> Pictures:
    """So many of the pictures, evenly spread."""
    names = list(pictures)
    step = max(1, len(names) // max(1, count))
    return {name: pictures[name] for name in names[::step][:count]}


def arguments(doc: str | None, folder: str, out: str, few: str) -> argparse.ArgumentParser:
    """The options of all; `folder`, `few`: their help, `out`: a default."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help=folder)
    parser.add_argument("--out", type=Path, default=Path(out), help="where results go")
    parser.add_argument("--quick", type=int, metavar="N", help="only N pictures, evenly spread")
    parser.add_argument("--few", type=int, default=8, metavar="N", help=few)
    parser.add_argument("--model", metavar="ID", help="our model, if not the only one")
    parser.add_argument("--models-dir", action="append", default=[], type=Path, metavar="DIR")
    parser.add_argument("--device", default="cpu", help="where our model runs (cpu)")
    parser.add_argument("--threads", type=int, help="of our model")
    return parser


def draw(rows: Sequence[dict[str, np.ndarray]], file: Path) -> None:
    """A sheet of pictures with their names above, a row of them in a line; planes in false colours."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    size = (2.2 * len(rows[0]), 2.4 * len(rows))
    figure, axes = plt.subplots(len(rows), len(rows[0]), figsize=size, squeeze=False)
    figure.set_layout_engine("constrained")
    for line, row in zip(axes, rows, strict=True):
        for axis, (name, picture) in zip(line, row.items(), strict=True):
            colours = "magma" if picture.ndim == 2 else None
            axis.imshow(picture, cmap=colours, interpolation="nearest")
            axis.set_title(name, fontsize=9)
            axis.axis("off")
    figure.savefig(file, dpi=150)
    plt.close(figure)


def write(
    found: Row, name: str, argv: Sequence[str] | None, out: Path, report: Callable[[Row], str]
) -> None:
    """Write and show the results of benchmarks/NAME.py, with the command that made them."""
    words = sys.argv[1:] if argv is None else argv
    found["run"] = circumstances(shlex.join(["python", f"benchmarks/{name}.py", *words]))
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (out / f"{name}.md").write_text(report(found), encoding="utf-8")
    print(report(found))
    print(f"written: {out}/{name}.md, {name}.json, {name}.png")
