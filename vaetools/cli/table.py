"""Tables of text: aligned columns without colours or lines, readable on any terminal and in pipes."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

NARROWEST = 24
"""Characters of the last column below which it goes into a line of its own."""


def table(
    rows: Sequence[Sequence[str]],
    header: Sequence[str],
    *,
    right: Collection[int] = (),
    width: int | None = None,
) -> Iterator[str]:
    """The lines of a table.

    On a terminal there is a header, and the last column is wrapped to the width. Otherwise, for other
    programs, each row is one line.

    Args:
        rows: Cells of text.
        header: Names of the columns.
        right: Numbers of the columns that are aligned to the right.
        width: Of the terminal in characters; by default that of stdout, 0 if it is none.
    """
    if width is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    shown = [*([header] if width else []), *rows]
    columns = zip(*(row[:-1] for row in shown), strict=True)
    widths = [max(map(len, column)) for column in columns]
    for row in shown:
        cells = [
            cell.rjust(size) if number in right else cell.ljust(size)
            for number, (cell, size) in enumerate(zip(row, widths, strict=False))
        ]
        yield from _lines(
            "  ".join(cells).rstrip() if not row[-1] else "  ".join(cells), row[-1], width
        )


def _lines(before: str, last: str, width: int) -> Iterator[str]:
    """A row: all cells but the last one, and the last one, wrapped."""
    if not width or len(before) + 2 + len(last) <= width:
        yield f"{before}  {last}".rstrip()
        return
    indent = len(before) + 2
    if width - indent < NARROWEST:
        yield before.rstrip()
        yield from textwrap.wrap(
            last, max(width, NARROWEST), initial_indent="    ", subsequent_indent="    "
        )
        return
    first, *more = textwrap.wrap(last, width - indent) or [""]
    yield f"{before}  {first}"
    yield from (" " * indent + line for line in more)
