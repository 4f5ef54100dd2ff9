"""The curves of a run, drawn from its log."""

from __future__ import annotations

import csv
import logging
from typing import TYPE_CHECKING

from vaetools.tiling import ceil_div

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from logging import Logger
    from pathlib import Path

log: Logger = logging.getLogger(__name__)

LOG = "log.csv"
NOT_PLOTTED = ("step", "minutes", "progress", "norm")


def draw_curves(run: Path) -> None:
    """Plot `log.csv` as `curves.png`: one panel per figure, with training and held-out values."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        log.info("no curves.png: pip install matplotlib")
        return
    rows = read_log(run)
    if not rows:
        return
    panels = list(dict.fromkeys(n.removeprefix("held_") for n in rows[0] if n not in NOT_PLOTTED))
    steps = [row["step"] for row in rows]
    columns = min(3, len(panels))
    lines = ceil_div(len(panels), columns)
    figure = Figure(figsize=(4.2 * columns, 3 * lines), layout="constrained")
    for number, name in enumerate(panels, 1):
        axes = figure.add_subplot(lines, columns, number)
        for column, colour, label in (
            (name, "tab:gray", "batch"),
            (f"held_{name}", "tab:blue", "held out"),
        ):
            if column in rows[0]:
                axes.plot(steps, [row[column] for row in rows], color=colour, label=label)
        axes.legend(frameon=False)
        axes.set_title(name.replace("_", " "))
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    figure.savefig(run / "curves.png", dpi=100)


def append_row(run: Path, row: Mapping[str, float]) -> None:
    """Append a row to `log.csv`. In the log of an older version, new columns are added first."""
    path = run / LOG
    columns = [*row]
    if path.exists():
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            columns = [*(reader.fieldnames or ())]
            added = [name for name in row if name not in columns]
            rows = [*reader] if added else []
        if added:
            columns += added
            _write(path, columns, [dict.fromkeys(added, "nan") | old for old in rows])
    else:
        _write(path, columns, [])
    with path.open("a", newline="") as file:
        shown = {name: f"{value:.5g}" for name, value in row.items()}
        csv.DictWriter(file, columns, restval="nan").writerow(
            {**shown, "step": f"{row['step']:.0f}"}
        )


def _write(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


def read_log(run: Path) -> list[dict[str, float]]:
    """The rows of `log.csv`; none if there is no log yet."""
    names, rows = _read(run / LOG)
    return [dict(zip(names, map(float, row), strict=True)) for row in rows]


def drop_rows_after(run: Path, step: int) -> None:
    """Drop the rows of `log.csv` after `step`: an interrupted run repeats those steps."""
    path = run / LOG
    names, rows = _read(path)
    if not names:
        path.unlink(missing_ok=True)
        return
    kept = [dict(zip(names, row, strict=True)) for row in rows if float(row[0]) <= step]
    _write(path, names, kept)


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    """(columns, rows) of a log. Rows that are cut or damaged, as by a full disk, are left out."""
    if not path.exists():
        return [], []
    text = path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    names, *rows = list(csv.reader(text.splitlines())) or [[]]
    return names, [row for row in rows if len(row) == len(names) and all(map(_is_number, row))]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
