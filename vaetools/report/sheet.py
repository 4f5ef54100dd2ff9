"""The contact sheet: inputs and outputs side by side on one PNG image."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import printable
from vaetools.model.session import usable_cores
from vaetools.report.previews import coloured, files_of, read_for_preview, shrunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.image import Image
    from vaetools.record import Record
    from vaetools.report.previews import Decode

SOFTWARE = "vaetools contact sheet"
"""Text in the PNG file by which an earlier contact sheet is recognised."""

MOST_INPUTS = 120
"""Inputs on one sheet; the rest is counted."""

COLUMNS = 3
EDGE = 200
"""Longest edge of an image on the sheet, in pixels."""

_MARGIN, _TEXT, _SHOTS = 12, 16, 2
_GREY, _INK, _BAD, _EMPTY = (70, 70, 70), (20, 20, 20), (179, 38, 30), (240, 240, 240)


def contact_sheet(records: Sequence[Record], summary: str, decode: Decode | None = None) -> bytes:
    """The PNG file of a contact sheet.

    Args:
        records: In the order of the sheet; only the first `MOST_INPUTS` are shown.
        summary: One line about the run.
        decode: See `Previews`.
    """
    from PIL import Image as Canvas
    from PIL import ImageDraw, PngImagePlugin

    shown = records[:MOST_INPUTS]
    width = _MARGIN + COLUMNS * (_cell_width() + _MARGIN)
    rows = -(-len(shown) // COLUMNS)
    top = _MARGIN + 2 * _TEXT
    canvas = Canvas.new("RGB", (width, top + rows * _cell_height() + _MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    rest = f", the first {len(shown)} of {len(records):,}" if len(records) > len(shown) else ""
    _write(draw, (_MARGIN, _MARGIN), f"{summary}{rest}", width - 2 * _MARGIN, _INK)
    with ThreadPoolExecutor(min(usable_cores(), 4)) as pool:
        cells = pool.map(lambda record: _tiles(record, decode), shown)
        for number, (record, tiles) in enumerate(zip(shown, cells, strict=True)):
            row, column = divmod(number, COLUMNS)
            left = _MARGIN + column * (_cell_width() + _MARGIN)
            _draw_cell(canvas, draw, record, tiles, (left, top + row * _cell_height()))
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", SOFTWARE)
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def is_contact_sheet(path: Path) -> bool:
    """Whether a regular file is a contact sheet."""
    try:
        with path.open("rb") as file:
            head = file.read(200)
    except OSError:
        return False
    return not os.path.islink(path) and f"Software\0{SOFTWARE}".encode() in head


def _cell_width() -> int:
    return _SHOTS * EDGE + (_SHOTS - 1) * 4


def _cell_height() -> int:
    return EDGE + 2 * _TEXT + _MARGIN


def _tiles(record: Record, decode: Decode | None) -> list[np.ndarray]:
    """RGB pixels of the input and the first output, as far as they can be read."""
    tiles = []
    for role, file in files_of(record)[:_SHOTS]:
        image = read_for_preview(Path(file), decode)
        if image is not None:
            tiles.append(_rgb(coloured(image)[0] if role == "uncertainty" else image))
    return tiles


def _rgb(image: Image) -> np.ndarray:
    pixels = shrunk(image.pixels, EDGE)
    rgb = np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels[:, :, ::-1]
    return np.ascontiguousarray(rgb)


def _draw_cell(
    canvas: Any, draw: Any, record: Record, tiles: Sequence[np.ndarray], at: tuple[int, int]
) -> None:
    from PIL import Image as Canvas

    left, top = at
    if not tiles:
        draw.rectangle((left, top, left + _cell_width() - 1, top + EDGE - 1), fill=_EMPTY)
    for number, tile in enumerate(tiles):
        height, width = tile.shape[:2]
        x = left + number * (EDGE + 4) + (EDGE - width) // 2
        canvas.paste(Canvas.fromarray(tile), (x, top + (EDGE - height) // 2))
    name = printable(os.path.basename(record.file))  # noqa: PTH119
    _write(draw, (left, top + EDGE + 2), name, _cell_width(), _INK)
    is_bad = record.status == "failed"
    text = f"{record.status} {record.code}" if is_bad else record.status
    message = record.message.removeprefix(f"{printable(record.file)}: ")
    text = f"{text}: {printable(message)}" if message else text
    _write(draw, (left, top + EDGE + 2 + _TEXT), text, _cell_width(), _BAD if is_bad else _GREY)


def _write(draw: Any, at: tuple[int, int], text: str, width: int, colour: Any) -> None:
    """Write text, shortened to a width in pixels."""
    from PIL import ImageFont

    font = ImageFont.load_default(13)
    if draw.textlength(text, font=font) > width:
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            fits = draw.textlength(f"{text[:middle]}…", font=font) <= width
            low, high = (middle, high) if fits else (low, middle - 1)
        text = f"{text[:low]}…"
    draw.text(at, text, fill=colour, font=font)
