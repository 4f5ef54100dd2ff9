"""Exact tiling: run a network on a large image piece by piece, with the result of one piece.

A convolutional network without global operations sees only so far: an output depends on inputs
within its receptive radius. So each tile is computed with a border of at least that radius, the
*halo*, and only its *core* is kept. Cores touch and do not overlap; nothing is blended; the result
is that of the whole image. At the image's own edge the halo is cut off, and the network's
padding acts there as it does on the whole image.

                    ┌───────────────┐
                    │ outer         │         everything is measured in cells of one grid: the
                    │   ┌───────┐   │         coarsest resolution that takes part, so that strides
                    │   │ core  │   │ halo    and phases of up- and down-sampling stay the same in
                    │   └───────┘   │         every tile
                    └───────────────┘

Devices that plan or compile for each input shape want all tiles of one shape. There the tiles are
*windows*: at the border they are not cut off but slid inwards, so that they still see the padding of
the network only where the image ends. They compute more, the fewer windows an image has.
"""

from __future__ import annotations

import contextvars
import itertools
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from vaetools.device_memory import SMALLER, DeviceMemoryError, can_shrink, note
from vaetools.errors import ImageValueError, ModelBrokenError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")

Array: TypeAlias = npt.NDArray[Any]
Box: TypeAlias = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True)
class Tile:
    """One piece of a grid; all three boxes are in cells.

    Attributes:
        core: what this tile is responsible for.
        outer: the core and its halo, as far as the grid goes; a window may be larger.
        inner: the core again, counted from the corner of `outer`.
    """

    core: Box
    outer: Box
    inner: Box


def ceil_div(a: int, b: int) -> int:
    """`a / b` rounded up, exact for integers of any size: how many cells of `b` cover `a`."""
    return -(-a // b)


def scaled(box: Box, factor: int) -> Box:
    """The same part in a grid that is `factor` times as fine."""
    rows, columns = (slice(span.start * factor, span.stop * factor) for span in box)
    return rows, columns


def grown(box: Box, by: int, height: int, width: int) -> Box:
    """The box and `by` cells around it, as far as a grid of `height` × `width` cells goes."""
    spans = zip(box, (height, width), strict=True)
    rows, columns = (slice(max(0, s.start - by), min(n, s.stop + by)) for s, n in spans)
    return rows, columns


def within(box: Box, outer: Box) -> Box:
    """`box` counted from the corner of `outer`."""
    pairs = zip(box, outer, strict=True)
    rows, columns = (slice(b.start - o.start, b.stop - o.start) for b, o in pairs)
    return rows, columns


def common(box: Box, other: Box) -> Box | None:
    """What two boxes share, if anything."""
    pairs = zip(box, other, strict=True)
    rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs)
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def window(box: Box, by: int, sides: tuple[int, int], height: int, width: int) -> Box:
    """A box of given sides that holds `box` and `by` cells around it, as far as the grid goes.

    Args:
        box: in a grid of `height` × `width` cells.
        by: cells around it.
        sides: of the result, where the grid is larger; longer where `box` needs it.
        height, width: of the grid.
    """
    spans = zip(grown(box, by, height, width), sides, (height, width), strict=True)
    rows, columns = (_slid(span, side, length) for span, side, length in spans)
    return rows, columns


def _slid(span: slice, side: int, length: int) -> slice:
    side = min(length, max(side, span.stop - span.start))
    start = min(span.start, length - side)
    return slice(start, start + side)


def tiles(
    height: int, width: int, *, size: int, halo: int, windows: bool = False
) -> Iterator[Tile]:
    """Cut a grid of `height` × `width` cells into tiles, row by row.

    Args:
        size: side of a core in cells; the last row and column may be smaller.
        halo: cells that a tile sees around its core.
        windows: make all `outer` of one shape: `size + 2 * halo` a side, or the grid's own side where
            it is shorter. Cores at the border of the grid are larger by the halo that they do not need.
    """
    if size < 1 or halo < 0:
        raise OptionError(f"invalid tile: size {size}, halo {halo}", remedy="size ≥ 1, halo ≥ 0")
    cores = _windows if windows else _spans
    side = size + 2 * halo
    for rows in cores(height, size, halo):
        for columns in cores(width, size, halo):
            core = rows, columns
            around = grown(core, halo, height, width)
            outer = window(core, halo, (side, side), height, width) if windows else around
            yield Tile(core, outer, within(core, outer))


def _spans(length: int, size: int, _: int) -> list[slice]:
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def _windows(length: int, size: int, halo: int) -> list[slice]:
    """Cores of windows: the first and the last one have a halo on one side only."""
    last = length - (size + 2 * halo)
    if last <= 0:
        return [slice(0, length)] if length else []
    inner = [start + halo for start in (*range(size, last, size), last)]
    return [slice(*ends) for ends in itertools.pairwise([0, *inner, length])]


def shrinking(
    work: Callable[[Tile], R],
    *,
    height: int,
    width: int,
    halo: int,
    windows: bool = False,
) -> Callable[[Tile], list[tuple[Tile, R]]]:
    """`work` for tiles that a device may have too little memory for.

    Args:
        work: of a tile of a grid of `height` × `width` cells.
        halo, windows: as for `tiles`.

    Returns:
        Function of a tile that gives it and its result; or, once a device lacked memory, its quarters
        and theirs. Where these need too much as well, sessions compute on the CPU.
    """
    lacking = False

    def done(tile: Tile) -> list[tuple[Tile, R]]:
        nonlocal lacking
        if not lacking:
            try:
                with can_shrink():
                    return [(tile, work(tile))]
            except DeviceMemoryError as error:
                note(error.device, SMALLER)
                lacking = True
        quarters = quarters_of(tile, height=height, width=width, halo=halo, windows=windows)
        return [(quarter, work(quarter)) for quarter in quarters]

    return done


def quarters_of(
    tile: Tile, *, height: int, width: int, halo: int, windows: bool = False
) -> list[Tile]:
    """Up to four tiles that together have the core of `tile`; the arguments are those of `tiles`."""
    rows, columns = (_spans(s.stop - s.start, ceil_div(s.stop - s.start, 2), 0) for s in tile.core)
    top, left = (span.start for span in tile.core)
    side = max(span.stop for span in (rows[0], columns[0])) + 2 * halo
    made = []
    for row, column in itertools.product(rows, columns):
        core = (
            slice(top + row.start, top + row.stop),
            slice(left + column.start, left + column.stop),
        )
        outer = grown(core, halo, height, width)
        if windows:
            outer = window(core, halo, (side, side), height, width)
        made.append(Tile(core, outer, within(core, outer)))
    return made


def map_ordered(work: Callable[[T], R], pieces: Sequence[T], threads: int) -> Iterator[R]:
    """`work(piece)` for every piece, in order, while threads work on the next pieces.

    Buffers at most `threads + 1` finished results. An exception is raised in its turn; pieces that
    were not started by then never are.

    Args:
        work: must be safe to call from several threads.
        pieces: its arguments.
        threads: with 1, each piece is computed when its result is requested.
    """
    if threads < 2 or len(pieces) < 2:
        yield from map(work, pieces)
        return
    with ThreadPoolExecutor(min(threads, len(pieces))) as pool:
        begun: deque[Future[R]] = deque()
        try:
            for piece in pieces:
                begun.append(pool.submit(contextvars.copy_context().run, work, piece))
                if len(begun) > threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()


def map_tiles(
    function: Callable[..., Array],
    inputs: Sequence[Array],
    *,
    scale_in: Sequence[int],
    scale_out: int,
    size: int,
    halo: int,
    windows: bool = False,
) -> Array:
    """`function(*inputs)`, computed tile by tile.

    The inputs may differ in resolution, as long as each is an integer multiple of one grid. A
    synthesis that takes latents and gives 16 × 16 pixels for each has `scale_in=[1]` and
    `scale_out=16`; one that also takes hyper-latents at a quarter of the latents' resolution is
    counted in hyper-latents: `scale_in=[4, 1]`, `scale_out=64`.

    Args:
        function: takes arrays N×C×H×W (contiguous) in the order of `inputs`, gives one such array.
            It must be shift-invariant by a grid cell and see no further than `halo` cells.
        inputs: arrays N×C×H×W.
        scale_in: elements per side of a grid cell, for each input.
        scale_out: elements per side of a grid cell in the result.
        size: side of a tile's core in grid cells.
        halo: receptive radius in grid cells, rounded up. Too small a halo gives visible seams.
        windows: make all tiles of one shape; see `tiles`.

    Returns:
        The result, N×C×H×W, with the dtype that `function` gives.

    Raises:
        ImageValueError: the inputs do not fit one grid.
        ModelBrokenError: `function` returned another size than `scale_out` says.
    """
    height, width = _grid(inputs, scale_in)
    result: Array | None = None

    def computed(tile: Tile) -> Array:
        pieces = [
            np.ascontiguousarray(_cut(array, tile.outer, scale))
            for array, scale in zip(inputs, scale_in, strict=True)
        ]
        piece = function(*pieces)
        _check_piece(piece, tile, scale_out)
        return piece

    done = shrinking(computed, height=height, width=width, halo=halo, windows=windows)
    every = tiles(height, width, size=size, halo=halo, windows=windows)
    for tile, piece in itertools.chain.from_iterable(map(done, every)):
        if result is None:
            shape = (*piece.shape[:2], height * scale_out, width * scale_out)
            result = np.empty(shape, piece.dtype)
        _cut(result, tile.core, scale_out)[...] = _cut(piece, tile.inner, scale_out)
    if result is None:
        raise ImageValueError("there is nothing to divide into tiles: the image has no pixels")
    return result


def pad_to_multiple(
    image: Array, multiple: int, minimum: int = 1, *, mirrored: bool = False
) -> tuple[Array, tuple[int, int]]:
    """Repeat the last row and column until both sides are multiples of `multiple`.

    Args:
        image: H×W or H×W×C.
        multiple: what the sides become multiples of.
        minimum: the shortest side allowed.
        mirrored: go on with the mirror image instead: noise goes on as noise, where repeating one row
            of it makes streaks.

    Returns:
        The padded image (the image itself, not a copy, if it fits already), and the height and
        width it had: `padded[:height, :width]` is the original.
    """
    height, width = image.shape[:2]
    if height < 1 or width < 1:
        raise ImageValueError(f"an image of {width}×{height} pixels has no edge to repeat")
    below = _padding(height, multiple, minimum)
    right = _padding(width, multiple, minimum)
    if below == right == 0:
        return image, (height, width)
    extra = [(0, below), (0, right)] + [(0, 0)] * (image.ndim - 2)
    return np.pad(image, extra, mode="symmetric" if mirrored else "edge"), (height, width)


def _padding(side: int, multiple: int, minimum: int) -> int:
    return ceil_div(max(side, minimum), multiple) * multiple - side


def _grid(inputs: Sequence[Array], scales: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the grid that all inputs share."""
    sides = [array.shape[2:] for array in inputs]
    grids = {(h // scale, w // scale) for (h, w), scale in zip(sides, scales, strict=True)}
    whole = all(h % scale == w % scale == 0 for (h, w), scale in zip(sides, scales, strict=True))
    if len(grids) != 1 or not whole:
        shapes = ", ".join(
            f"{h}×{w} at {scale}" for (h, w), scale in zip(sides, scales, strict=True)
        )
        raise ImageValueError(
            f"arrays of different grids (size, elements per cell): {shapes}",
            remedy="pad the image to a multiple of the model's cell",
        )
    return grids.pop()


def _cut(array: Array, box: Box, scale: int) -> Array:
    """A view of the cells in `box` of an array with `scale` elements per side of a cell."""
    return array[(..., *scaled(box, scale))]


def _check_piece(piece: Array, tile: Tile, scale: int) -> None:
    expected = tuple((span.stop - span.start) * scale for span in tile.outer)
    if piece.shape[2:] != expected:
        raise ModelBrokenError(
            f"a tile should become {expected[0]}×{expected[1]} elements, not shape {piece.shape}"
        )
