"""Sheets of held-out images and what the network makes of them, beside the curves of a run."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from vaetools.image import Image, encode_image
from vaetools.inspection.draw import Sheet, render
from vaetools.runner.atomic import write_files
from vaetools.tiling import ceil_div

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from logging import Logger
    from pathlib import Path

    from torch import Tensor

log: Logger = logging.getLogger(__name__)

SHEET = "sheet.png"
"""The latest sheet of a run."""

HISTORY = "sheets"
"""Folder with earlier sheets, by their step."""

SHARE = 0.01
"""Limit on the share of the training time that sheets take."""

DRAWING = 0.2
"""Seconds that drawing takes, before it has been measured."""

SPACING = 1.25
"""Ratio of the steps of neighbouring sheets in the history."""

SMALLEST = 64
"""Tiles below this size in pixels are enlarged by a whole number."""


class Sheets:
    """Draws sheets for the rows of a log, as long as they take at most `SHARE` of the time.

    Args:
        run: folder of the run.
    """

    def __init__(self, run: Path) -> None:
        self.run: Path = run
        self.begun: float = time.monotonic()
        self.spent: float = 0.0
        self.last_cost: float | None = None
        self.next_kept: float = SPACING * _last_kept(run)

    def offer(
        self,
        show: Callable[[], Mapping[str, Tensor]],
        *,
        step: int,
        title: str,
        estimate: float,
        is_last: bool,
    ) -> None:
        """Draw a sheet, if there is time for it; the last one in any case.

        Args:
            show: makes the rows; see `Task.show`.
            estimate: seconds that `show` may take; used for the first sheet.
        """
        cost = estimate + DRAWING if self.last_cost is None else self.last_cost
        start = time.monotonic()
        if not is_last and self.spent + cost > SHARE * (start - self.begun):
            return
        with torch.no_grad():
            rows = show()
        if not rows:
            return
        data = sheet_png(rows, title)
        files = [(self.run / SHEET, data)]
        if is_last or step >= self.next_kept:
            files.append((self.run / HISTORY / f"{step:08}.png", data))
            self.next_kept = SPACING * step
        try:
            write_files(files)
        except OSError as error:  # a training must not end because of a sheet
            log.warning("no %s: %s", SHEET, error)
        self.last_cost = time.monotonic() - start
        self.spent += self.last_cost


def sheet_png(rows: Mapping[str, Tensor], title: str) -> bytes:
    """A PNG file with one row of images for each label.

    Args:
        rows: (B, C, H, W) with C = 1 or 3, in about [0, 1].
    """
    tiles: list[list[np.ndarray | None]] = [[*map(_tile, images)] for images in rows.values()]
    pixels = render(Sheet(title, tiles, labels=[*rows]))
    return encode_image(Image.from_array(pixels, channel_order="rgb"), "png")


def _tile(image: Tensor) -> np.ndarray:
    """(C, H, W) -> (h, w, 3) uint8, one pixel for one, or small ones enlarged."""
    planes: np.ndarray = image.detach().float().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
    pixels: np.ndarray = np.rint(255 * planes).astype(np.uint8)
    if pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    times = max(1, ceil_div(SMALLEST, max(pixels.shape[:2])))
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def _last_kept(run: Path) -> int:
    """Step of the last sheet in the history of a run that is resumed; 0 for a new one."""
    steps = [int(path.stem) for path in (run / HISTORY).glob("*.png") if path.stem.isdecimal()]
    return max(steps, default=0)
