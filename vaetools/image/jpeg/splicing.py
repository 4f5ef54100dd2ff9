"""New blocks in a sequential scan, whose other bits are copied.

A block depends on another one only by the difference of their DC coefficients. So new blocks, and
those whose predecessor is new, are coded with the tables of the source; what lies between them is
copied.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from vaetools.image.jpeg.encoding import END, code_books, escaped, header, packed, tokens_of
from vaetools.image.jpeg.scans import members, scan_order
from vaetools.image.jpeg.sequential import find_blocks, read_blocks, sums, tables_of
from vaetools.image.jpeg.structure import SEQUENTIAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vaetools.image.jpeg.sequential import Blocks, Tables
    from vaetools.image.jpeg.structure import Frame, Huffman

_BLOCKS = 1 << 16  # blocks that are coded at a time


def spliced(frame: Frame, new: Sequence[tuple[np.ndarray, np.ndarray]]) -> bytes | None:
    """The segments of frame, tables and scan, and the end of the image.

    Args:
        frame: of the source.
        new: for each component the flat indices of its new blocks, (N,), and their quantised
            coefficients, (N, 64) in coded order.

    Returns:
        None where the tables of the source have no code for a new coefficient, and for files of
        several scans, progressive ones, or with tables of their own for the third component.

    Raises:
        NotCoveredError: damaged.
    """
    scan = frame.scans[0]
    if frame.marker not in SEQUENTIAL or len(scan.parts) < len(frame.components):
        return None
    tables = tables_of(scan)
    if len(frame.scans) > 1 or tables[1:2] != tables[2:]:
        return None
    blocks, owner = find_blocks(frame, scan), np.array(members(frame, scan))
    order = scan_order(frame, scan)
    places, values = [], []
    for n, (index, _, _) in enumerate(scan.parts):
        mine = np.flatnonzero(owner == n)
        where = np.stack([order[b] for b in mine], 1)
        touched, coefficients = _recoded(blocks, mine, where.ravel(), tables[n], *new[index])
        mcu, b = np.divmod(touched, len(mine))
        places.append(mcu * len(owner) + mine[b])
        values.append(coefficients)
    at = np.concatenate(places)
    sorting = np.argsort(at)
    at = at[sorting]
    huffman = [table for pair in tables[:2] for table in pair]
    coded = _coded(np.concatenate(values)[sorting], owner[at % len(owner)] > 0, huffman)
    if coded is None:
        return None
    return header(frame, huffman, scan.restart) + _joined(blocks, at, *coded) + END


def _coded(
    values: np.ndarray, chroma: np.ndarray, huffman: list[Huffman]
) -> tuple[np.ndarray, np.ndarray] | None:
    """The bits of blocks, one in each byte, and where each of them ends; None without a code."""
    lengths, codes = code_books(huffman)
    tokens = [
        tokens_of(values[first : first + _BLOCKS], chroma[first : first + _BLOCKS])
        for first in range(0, len(values), _BLOCKS)
    ]
    if not all(lengths[part.symbol].all() for part in tokens):
        return None
    ends, end = [np.zeros(0, np.int64)], 0
    for part in tokens:
        bits = np.cumsum(lengths[part.symbol] + part.size)
        ends.append(end + bits[np.cumsum(part.per_block) - 1])
        end += int(bits[-1])
    data = packed(tokens, lengths, codes)
    return np.unpackbits(np.frombuffer(data, np.uint8)), np.concatenate(ends)


def _recoded(
    blocks: Blocks,
    mine: np.ndarray,
    where: np.ndarray,
    tables: Tables,
    new: np.ndarray,
    coefficients: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The blocks of a component that must be coded, and their coefficients with differences as DC.

    Args:
        blocks: of the scan.
        mine: the blocks of an MCU that belong to the component.
        where: (N,) the flat index of each of its blocks, in the order of the data.
        tables: its own.
        new: flat indices of the new blocks.
        coefficients: of these.

    Returns:
        (K,) positions among the component's blocks in the order of the data; (K, 64) int32.
    """
    starts = blocks.starts[:, mine].ravel()
    counts = [len(mine) * mcus for mcus in blocks.mcus]
    before = read_blocks(blocks.data, starts, tables[0], None)[:, 0]
    dc = sums(before, counts)
    position = np.empty(int(where.max()) + 1, np.int64)
    position[where] = np.arange(len(where))
    fresh = position[new]
    dc[fresh] = coefficients[:, 0]
    after = np.diff(dc, prepend=0)
    first = np.cumsum([0, *counts[:-1]])
    after[first] = dc[first]  # a restart
    is_touched = after != before
    is_touched[fresh] = True
    touched = np.flatnonzero(is_touched)
    values = read_blocks(blocks.data, starts[touched], *tables).astype(np.int32)
    values[np.searchsorted(touched, fresh)] = coefficients
    values[:, 0] = after[touched]
    return touched, values


def _joined(blocks: Blocks, at: np.ndarray, coded: np.ndarray, ends: np.ndarray) -> bytes:
    """All segments, with restart markers between them.

    Args:
        blocks: of the source.
        at: positions of the coded blocks in the data, sorted.
        coded: their bits, one in each byte.
        ends: where each of them ends in `coded`.
    """
    source = np.unpackbits(np.frombuffer(blocks.data, np.uint8))
    starts, stops = blocks.starts.ravel(), blocks.stops.ravel()
    edges = np.cumsum([0, *blocks.mcus]) * blocks.starts.shape[1]
    offsets = [0, *ends.tolist()]
    segments = []
    for first, stop in itertools.pairwise(edges.tolist()):
        low, high = np.searchsorted(at, (first, stop)).tolist()
        pieces, p = [], int(starts[first])
        for one, other in _runs(at[low:high]):
            pieces.append(source[p : starts[at[low + one]]])
            pieces.append(coded[offsets[low + one] : offsets[low + other]])
            p = int(stops[at[low + other - 1]])
        pieces.append(source[p : stops[stop - 1]])
        bits = np.concatenate(pieces)
        fill = np.ones(-len(bits) % 8, np.uint8)
        segments.append(escaped(np.packbits(np.concatenate([bits, fill])).tobytes()))
    markers = (bytes([0xFF, 0xD0 | n % 8]) for n in range(len(segments) - 1))
    between = itertools.zip_longest(segments, markers, fillvalue=b"")
    return b"".join(itertools.chain.from_iterable(between))


def _runs(at: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of consecutive numbers, as (first, behind the last) positions in `at`."""
    breaks = np.flatnonzero(np.diff(at) != 1) + 1
    edges = [0, *breaks.tolist(), len(at)]
    return itertools.pairwise(edges) if len(at) else iter(())
