"""Tiles that cover the holes of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from vaetools.restoration import patches as parts
from vaetools.tiling import Tile, ceil_div, grown, shrinking, tiles, window, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vaetools.model.folder import Model
    from vaetools.tiling import Box


def for_each_hole(hole: np.ndarray, model: Model, work: Callable[[Tile], None]) -> None:
    """Call `work` for `hole_tiles`, and again for smaller ones where a device lacks memory."""
    cell = model.manifest.size.multiple_of
    height, width = (ceil_div(side, cell) for side in hole.shape)
    halo = ceil_div(model.manifest.tiling.halo, cell)
    windows = model.device.fixed_shapes
    done = shrinking(work, height=height, width=width, halo=halo, windows=windows)
    for tile in hole_tiles(hole, model):
        done(tile)


def hole_tiles(hole: np.ndarray, model: Model) -> Iterator[Tile]:
    """Tiles, in cells, that together cover a hole (H, W) bool and as little else as possible.

    Parts of the hole whose halos touch share a box, so that many small parts need few forward passes.
    Large boxes are cut into tiles, and tiles without a hole are skipped. For devices that want fixed
    shapes, sides are powers of two or those of a whole tile.
    """
    manifest = model.manifest
    cell = manifest.size.multiple_of
    halo = ceil_div(manifest.tiling.halo, cell)
    size = max(1, parts.TILE // cell)
    cells = _cells(hole, cell)
    for box in _boxes(cells, halo):
        rows, columns = box
        height, width = rows.stop - rows.start, columns.stop - columns.start
        for tile in tiles(height, width, size=size, halo=0):
            core = _moved(tile.core, rows.start, columns.start)
            if cells[core].any():
                core = _bounds(cells, core)
                outer = grown(core, halo, *cells.shape)
                if model.device.fixed_shapes:
                    outer = window(outer, 0, _round_sides(outer, size + 2 * halo), *cells.shape)
                yield Tile(core, outer, within(core, outer))


def depth_of(hole: np.ndarray) -> np.ndarray:
    """Distance of each pixel of a hole (H, W) to the nearest known one, in pixels; 0 outside."""
    return np.asarray(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5))


def halved(rgb: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) float32 at half the size, rounded up, from the known pixels of each 2 x 2, and
    its hole: where none of them is known."""
    known = (~hole).astype(np.float32)
    weight = half(known)
    mean = half(rgb * known[..., None]) / np.maximum(weight, np.float32(0.25))[..., None]
    return mean, weight == 0


def half(plane: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels of a float32 plane (H, W) or (H, W, C); odd sides repeat their edge."""
    height, width = plane.shape[:2]
    even = ((0, height % 2), (0, width % 2), *((0, 0),) * (plane.ndim - 2))
    size = (ceil_div(width, 2), ceil_div(height, 2))
    whole = np.pad(plane, even, mode="edge")
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.float32)


def _round_sides(box: Box, most: int) -> tuple[int, int]:
    """The next powers of two, up to a limit."""
    height, width = (1 << (span.stop - span.start - 1).bit_length() for span in box)
    return min(most, height), min(most, width)


def _cells(hole: np.ndarray, cell: int) -> np.ndarray:
    """(rows, columns) bool: the cells with a pixel of the hole."""
    rows, columns = (np.arange(0, side, cell) for side in hole.shape)
    found: np.ndarray = np.logical_or.reduceat(np.logical_or.reduceat(hole, rows), columns, axis=1)
    return found


def _boxes(cells: np.ndarray, halo: int) -> list[Box]:
    """Boxes around the holes; none lies within the halo of another."""
    side = 2 * halo + 1
    covered = cv2.dilate(cells.astype(np.uint8), np.ones((side, side), np.uint8))
    before = 0
    while True:
        count, _, stats, _ = cv2.connectedComponentsWithStats(covered, connectivity=8)
        found = [
            (slice(int(y), int(y + h)), slice(int(x), int(x + w))) for x, y, w, h, _ in stats[1:]
        ]
        if count == before:
            return [_bounds(cells, box) for box in found]
        before = count
        for box in found:  # boxes may overlap where their holes do not: repeat
            covered[box] = 1


def _bounds(cells: np.ndarray, box: Box) -> Box:
    """The bounding box of the holes within a box."""
    x, y, width, height = cv2.boundingRect(cells[box].astype(np.uint8))
    return _moved((slice(y, y + height), slice(x, x + width)), box[0].start, box[1].start)


def _moved(box: Box, down: int, right: int) -> Box:
    rows, columns = box
    return (
        slice(rows.start + down, rows.stop + down),
        slice(columns.start + right, columns.stop + right),
    )
