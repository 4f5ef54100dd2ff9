"""Sheets of small images with labels, as uint8 RGB arrays; Pillow draws the letters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.tiling import ceil_div

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST, LARGEST = 96, 128
"""Sides, in pixels, that tiles are brought to: small ones are repeated a whole number of times."""

MARGIN, LETTERS, LINE = 16, 14, 18
INK, PAPER = (40, 40, 40), 255


@dataclass(frozen=True)
class Bar:
    """A colour bar.

    Attributes:
        colours: (256, 3) uint8 RGB, lowest first.
        low, high: the values at its ends.
        meaning: what the values are.
    """

    colours: np.ndarray
    low: float
    high: float
    meaning: str


@dataclass(frozen=True)
class Sheet:
    """Tiles in rows. Tiles are uint8 RGB (h, w, 3), None for an empty place.

    Attributes:
        title: lines above.
        labels: one per row, left of it; may have several lines.
        headings: one per column, above it.
        captions: one per tile, below it.
        gap: pixels between tiles.
    """

    title: str
    tiles: list[list[np.ndarray | None]]
    labels: Sequence[str] = ()
    headings: Sequence[str] = ()
    captions: list[list[str]] = field(default_factory=list)
    bar: Bar | None = None
    gap: int = 6


def thumbnail(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 1 or 3) float in [0, 1], clipped -> a tile (h, w, 3) uint8.

    Small images are enlarged by a whole number, pixels staying squares; large ones averaged.
    """
    pixels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return scaled(pixels)


def scaled(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) with its longer side brought to about 96 … 128."""
    import cv2

    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest > LARGEST:
        size = (max(1, width * LARGEST // longest), max(1, height * LARGEST // longest))
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    times = ceil_div(SMALLEST, longest)
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def sequential() -> np.ndarray:
    """(256, 3) uint8 RGB from black over red to yellow: inferno, even in lightness."""
    import cv2

    ramp = np.arange(256, dtype=np.uint8)[None]
    return np.asarray(cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)[0, :, ::-1], np.uint8)


def diverging() -> np.ndarray:
    """(256, 3) uint8 RGB from blue over white to red, for values around zero."""
    ends = np.array([[33, 80, 170], [250, 250, 250], [180, 30, 40]], np.float64)
    places = np.linspace(0, 2, 256)
    return np.stack([np.interp(places, [0, 1, 2], ends[:, c]) for c in range(3)], axis=1).astype(
        np.uint8
    )


def heat(values: np.ndarray, bar: Bar) -> np.ndarray:
    """(H, W) -> uint8 (H, W, 3) in the bar's colours; NaN becomes grey."""
    span = bar.high - bar.low
    places = (np.nan_to_num(values) - bar.low) / span if span > 0 else np.zeros(values.shape)
    colours = bar.colours[np.round(255 * np.clip(places, 0, 1)).astype(int)]
    return np.where(np.isnan(values)[..., None], np.uint8(200), colours)


def render(sheet: Sheet) -> np.ndarray:
    """The sheet as uint8 RGB (H, W, 3)."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=LETTERS)
    layout = _Layout(sheet, font)
    canvas = Image.new("RGB", (layout.width, layout.height), (PAPER,) * 3)
    pen = ImageDraw.Draw(canvas)
    pen.multiline_text((MARGIN, MARGIN), ascii_only(sheet.title), INK, font, spacing=4)
    for column, heading in enumerate(sheet.headings):
        middle = layout.x(column) + layout.tile_width // 2
        pen.text((middle, layout.top - 4), ascii_only(heading), INK, font, anchor="ms")
    for row, tiles in enumerate(sheet.tiles):
        _draw_row(sheet, layout, row, tiles, canvas, pen)
    if sheet.bar is not None:
        _draw_bar(sheet.bar, layout, canvas, pen)
    return np.asarray(canvas, np.uint8)


class _Layout:
    """Where things are, in pixels."""

    def __init__(self, sheet: Sheet, font: Any) -> None:
        shapes = [tile.shape for row in sheet.tiles for tile in row if tile is not None]
        lines = [line for label in sheet.labels for line in label.split("\n")]
        captions = [line for row in sheet.captions for one in row for line in one.split("\n")]
        deepest = max((one.count("\n") + 1 for row in sheet.captions for one in row), default=0)
        columns = max(map(len, sheet.tiles))

        def widest(texts: Sequence[str]) -> int:
            return int(max((font.getlength(ascii_only(text)) for text in texts), default=0))

        self.font = font
        self.gap = sheet.gap
        self.tile_height = max((shape[0] for shape in shapes), default=0)
        wide = max((shape[1] for shape in shapes), default=0)
        self.tile_width = max(wide, widest(captions), widest(sheet.headings))
        self.left = MARGIN + (widest(lines) + 10 if lines else 0)
        title = LINE * (sheet.title.count("\n") + 1)
        self.top = MARGIN + title + 10 + (LINE if sheet.headings else 0)
        self.caption = LINE * deepest
        self.bottom = self.top + len(sheet.tiles) * self.pitch
        bar = 2 * LINE + 16 if sheet.bar is not None else 0
        tiles = self.left + columns * (self.tile_width + self.gap) - self.gap
        heading = MARGIN + widest(sheet.title.split("\n"))
        ramp = self.left + 266 + widest([sheet.bar.meaning]) if sheet.bar is not None else 0
        self.width = MARGIN + max(tiles, heading, ramp)
        self.height = self.bottom + bar + MARGIN - self.gap

    @property
    def pitch(self) -> int:
        return self.tile_height + self.caption + self.gap

    def x(self, column: int) -> int:
        return self.left + column * (self.tile_width + self.gap)

    def y(self, row: int) -> int:
        return self.top + row * self.pitch


def _draw_row(
    sheet: Sheet, layout: _Layout, row: int, tiles: list[np.ndarray | None], canvas: Any, pen: Any
) -> None:
    from PIL import Image

    y = layout.y(row)
    if row < len(sheet.labels):
        place = (layout.left - 10, y + layout.tile_height // 2)
        text = ascii_only(sheet.labels[row])
        pen.multiline_text(place, text, INK, layout.font, anchor="rm", align="right", spacing=4)
    for column, tile in enumerate(tiles):
        if tile is None:
            continue
        space = layout.tile_width - tile.shape[1]
        place = (layout.x(column) + space // 2, y + (layout.tile_height - tile.shape[0]) // 2)
        canvas.paste(Image.fromarray(tile), place)
        if sheet.captions:
            middle = layout.x(column) + layout.tile_width // 2
            pen.multiline_text(
                (middle, y + layout.tile_height + 3),
                ascii_only(sheet.captions[row][column]),
                INK,
                layout.font,
                anchor="ma",
                align="center",
                spacing=4,
            )


def _draw_bar(bar: Bar, layout: _Layout, canvas: Any, pen: Any) -> None:
    from PIL import Image

    y = layout.bottom + 6
    ramp = np.repeat(bar.colours[None], 14, axis=0)
    canvas.paste(Image.fromarray(np.ascontiguousarray(ramp)), (layout.left, y))
    pen.text((layout.left, y + 18), f"{bar.low:.3g}", INK, layout.font)
    pen.text((layout.left + 256, y + 18), f"{bar.high:.3g}", INK, layout.font, anchor="ra")
    pen.text((layout.left + 266, y), ascii_only(bar.meaning), INK, layout.font)


def ascii_only(text: str) -> str:
    """`text` with a question mark for each letter that Pillow's own font does not have."""
    return text.encode("ascii", "replace").decode()
