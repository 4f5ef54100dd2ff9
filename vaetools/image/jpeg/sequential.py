"""Sequential scans: whole blocks, one after the other.

The length of a block is known only when it has been read. So a loop in Python finds where blocks
begin, several symbols at a time by one table of 65,536 entries; then all blocks are read at once in
NumPy, one symbol of each at a time.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from vaetools.image.jpeg.scans import lookup, members, scan_order, segments, windows
from vaetools.image.jpeg.structure import NotCoveredError

if TYPE_CHECKING:
    from array import array

    from vaetools.image.jpeg.structure import Frame, Huffman, Scan

Tables: TypeAlias = "tuple[Huffman, Huffman]"
"""Of DC and AC."""

_END = 1 << 16  # of a walk entry: the block ends
_BAD = 1 << 17  # of a walk entry: no code begins like this
_LANES = 1 << 16  # blocks that are read at once


@functools.lru_cache(maxsize=16)
def _dc_steps(table: Huffman) -> list[int]:
    """Bits of a DC code with its value, or `_BAD`."""
    lengths, symbols = lookup(table)
    steps = lengths.astype(np.int64) + (symbols & 15)
    steps[lengths == 0] = _BAD
    return steps.tolist()  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=16)
def _ac_steps(table: Huffman) -> tuple[list[int], list[int]]:
    """What follows in a block, for 16 bits: (as many symbols as they hold, one symbol).

    An entry is bits + 128 * coefficients + `_END` or `_BAD`.
    """
    lengths, symbols = (part.astype(np.int64) for part in lookup(table))
    size, run = symbols & 15, symbols >> 4
    ends = (size == 0) & (run < 15)
    single = lengths + size + np.where(ends, _END, (run + 1) << 7)
    single[lengths == 0] = _BAD
    joined = single.copy()
    at = np.arange(65536)
    for _ in range(7):
        bits = joined & 127
        goes_on = (joined < _END) & (bits < 16)
        following = single[(at << np.minimum(bits, 16)) & 65535]
        code = lengths[(at << np.minimum(bits, 16)) & 65535]
        # The code must lie in the 16 bits; its value may lie behind them.
        goes_on &= (following < _BAD) & (code > 0) & (bits + code <= 16)
        more = joined + following
        goes_on &= (more & 65535) >> 7 < 200
        joined = np.where(goes_on & ((bits + (following & 127)) < 128), more, joined)
    return joined.tolist(), single.tolist()


@dataclass(frozen=True)
class Blocks:
    """Where the blocks of a scan lie in its data.

    Attributes:
        data: all segments, without escapes and restart markers.
        mcus: the number of MCUs of each segment.
        starts: (MCUs, blocks of an MCU) int64, the first bit of each block.
        stops: of the same shape, the bit behind each block.
    """

    data: bytes
    mcus: list[int]
    starts: np.ndarray
    stops: np.ndarray


def find_blocks(frame: Frame, scan: Scan) -> Blocks:
    """Find the blocks of a scan.

    Raises:
        NotCoveredError: damaged.
    """
    owner = members(frame, scan)
    tables = tables_of(scan)
    pieces = segments(scan, scan_order(frame, scan)[0].size)
    data = b"".join(piece for piece, _ in pieces)
    mcus = [count for _, count in pieces]
    firsts = np.cumsum([0, *(len(piece) for piece, _ in pieces)]).tolist()
    spans = list(zip(firsts, mcus, strict=False))
    starts, ends = _walk(data, spans, [tables[n] for n in owner])
    first = np.array(starts, np.int64)
    stops = np.append(first[1:], 0)
    stops[np.cumsum(mcus) * len(owner) - 1] = ends
    return Blocks(data, mcus, first.reshape(-1, len(owner)), stops.reshape(-1, len(owner)))


def tables_of(scan: Scan) -> list[Tables]:
    """The Huffman tables of each component of a scan.

    Raises:
        NotCoveredError: one is missing.
    """
    tables = [(dc, ac) for _, dc, ac in scan.parts if dc is not None and ac is not None]
    if len(tables) < len(scan.parts):
        raise NotCoveredError("no Huffman table")
    return tables


def _walk(
    data: bytes, spans: list[tuple[int, int]], tables: list[Tables]
) -> tuple[list[int], list[int]]:
    """The bit at which each block begins, in the order of the data, and where each segment ends.

    Args:
        data: all segments.
        spans: for each segment its first byte and its number of MCUs.
        tables: of each block of an MCU.

    Raises:
        NotCoveredError: damaged.
    """
    view, end = windows(data), 8 * len(data) + 32
    steps = [(_dc_steps(dc), *_ac_steps(ac)) for dc, ac in tables]
    starts: list[int] = []
    ends: list[int] = []
    for first, mcus in spans:
        p = 8 * first
        for _ in range(mcus):
            for dc, joined, single in steps:
                starts.append(p)
                p += dc[(view[p >> 3] >> (8 - (p & 7))) & 65535]
                k = 0
                while True:
                    step = joined[(view[p >> 3] >> (8 - (p & 7))) & 65535]
                    after = k + ((step & 65535) >> 7)
                    if after < 63:
                        p += step & 127
                        k = after
                        if step < _END:
                            continue
                    elif after == 63 and step < _END:
                        p += step & 127
                    else:  # some of these symbols belong to the next block
                        p = _to_end(view, p, k, single)
                    break
                if step >= _BAD or p > end:
                    raise NotCoveredError("damaged")
        ends.append(p)
    return starts, ends


def _to_end(view: array[int], p: int, k: int, single: list[int]) -> int:
    """The bit behind a block whose last coefficient is not zero."""
    while k < 63:
        step = single[(view[p >> 3] >> (8 - (p & 7))) & 65535]
        if step >= _BAD:
            raise NotCoveredError("damaged")
        p += step & 127
        if step >= _END:
            return p
        k += step >> 7
    if k > 63:
        raise NotCoveredError("damaged")
    return p


def read_scan(frame: Frame, scan: Scan, found: list[np.ndarray]) -> None:
    order, owner = scan_order(frame, scan), members(frame, scan)
    located = find_blocks(frame, scan)
    for n, ((index, _, _), tables) in enumerate(zip(scan.parts, tables_of(scan), strict=True)):
        mine = [b for b, who in enumerate(owner) if who == n]
        blocks = np.stack([order[b] for b in mine], 1).ravel()
        values = read_blocks(located.data, located.starts[:, mine].ravel(), *tables)
        values[:, 0] = sums(values[:, 0], [len(mine) * mcus for mcus in located.mcus])
        found[index].reshape(-1, 64)[blocks] = values


def sums(differences: np.ndarray, counts: list[int]) -> np.ndarray:
    """Sums of differences, from 0 in each of the segments with these numbers of blocks."""
    total = np.concatenate([[0], np.cumsum(differences, dtype=np.int64)])
    starts = np.cumsum([0, *counts[:-1]])
    return np.asarray(total[1:] - np.repeat(total[starts], counts))


def read_blocks(data: bytes, starts: np.ndarray, dc: Huffman, ac: Huffman | None) -> np.ndarray:
    """The blocks that begin at these bits, (N, 64) int16; DC is still the difference.

    Without `ac` only the differences are read.
    """
    values = np.zeros((len(starts), 64), np.int16)
    for at in range(0, len(starts), _LANES):
        some = starts[at : at + _LANES]
        first = int(some[0]) >> 3
        piece = data[first : (int(some[-1]) >> 3) + 8 * 64 * 4]
        _read_lanes(piece, some - 8 * first, values[at : at + _LANES], dc, ac)
    return values


def _read_lanes(
    data: bytes, p: np.ndarray, values: np.ndarray, dc: Huffman, ac: Huffman | None
) -> None:
    octets = np.frombuffer(data + bytes(16), np.uint8).astype(np.uint64)
    words = np.zeros(len(octets) - 4, np.uint64)
    for n in range(5):
        words |= octets[n : n + len(words)] << np.uint64(32 - 8 * n)
    limit = len(words) - 1

    def take(p: np.ndarray, table: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
        """(symbol, value, next bit)."""
        word = words[np.minimum(p >> 3, limit)] << (p & 7).astype(np.uint64)
        code = ((word >> np.uint64(24)) & np.uint64(65535)).astype(np.int64)
        length, symbol = table[0][code].astype(np.int64), table[1][code].astype(np.int64)
        size = symbol & 15
        tail = (word >> (40 - length - size).astype(np.uint64)).astype(np.int64)
        bits = tail & ((1 << size) - 1)
        value = np.where(bits < (1 << size) >> 1, bits - (1 << size) + 1, bits)
        return symbol, value, p + length + size

    _, value, p = take(p, lookup(dc))
    values[:, 0] = value
    if ac is None:
        return
    lane, k, table = np.arange(len(p)), np.zeros(len(p), np.int64), lookup(ac)
    while lane.size:
        symbol, value, p = take(p, table)
        run, there = symbol >> 4, (symbol & 15) > 0
        goes_on = there | (run == 15)
        k = k + run + 1
        if (k[goes_on] > 63).any():
            raise NotCoveredError("damaged")
        values[lane[there], k[there]] = value[there]
        goes_on &= k < 63
        lane, k, p = lane[goes_on], k[goes_on], p[goes_on]
