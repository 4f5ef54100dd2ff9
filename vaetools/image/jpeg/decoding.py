"""Entropy-coded data to coefficients.

The length of a block is known only when it has been read. So a loop in Python finds where blocks
begin, several symbols at a time by one table of 65,536 entries; then all blocks are read at once in
NumPy, one symbol of each at a time.
"""

from __future__ import annotations

import functools
import re
from array import array
from typing import TYPE_CHECKING

import numpy as np

from vaetools.image.jpeg.structure import PROGRESSIVE, NotCovered

if TYPE_CHECKING:
    from vaetools.image.jpeg.structure import Frame, Huffman, Scan

_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")
_END = 1 << 16  # of a walk entry: the block ends
_BAD = 1 << 17  # of a walk entry: no code begins like this
_LANES = 1 << 16  # blocks that are read at once


def coefficients(frame: Frame) -> list[np.ndarray]:
    """The quantised coefficients of each component.

    Returns:
        (rows, columns, 64) int16 in coded order, of whole MCUs.

    Raises:
        NotCovered: damaged.
    """
    found = [np.zeros((*c.padded, 64), np.int16) for c in frame.components]
    try:
        for scan in frame.scans:
            if frame.marker in PROGRESSIVE:
                from vaetools.image.jpeg.progressive import read_scan

                read_scan(frame, scan, found)
            else:
                _read_sequential(frame, scan, found)
    except (IndexError, ValueError, OverflowError) as error:
        raise NotCovered(f"damaged: {error}") from error
    return found


def scan_order(frame: Frame, scan: Scan) -> list[np.ndarray]:
    """For each block of an MCU, the flat index into its component's blocks, by MCU.

    A scan of one component has MCUs of one block, and only blocks that hold pixels.
    """
    if len(scan.parts) == 1:
        component = frame.components[scan.parts[0][0]]
        grid = np.arange(component.padded[0] * component.padded[1]).reshape(component.padded)
        return [grid[: component.shape[0], : component.shape[1]].ravel()]
    order = []
    for index, _, _ in scan.parts:
        c = frame.components[index]
        grid = np.arange(c.padded[0] * c.padded[1]).reshape(c.padded)
        order += [
            grid[row :: c.down, column :: c.across].ravel()
            for row in range(c.down)
            for column in range(c.across)
        ]
    return order


def members(frame: Frame, scan: Scan) -> list[int]:
    """For each block of an MCU, the position of its component in the scan."""
    if len(scan.parts) == 1:
        return [0]
    factors = [frame.components[part[0]] for part in scan.parts]
    return [n for n, c in enumerate(factors) for _ in range(c.down * c.across)]


def segments(scan: Scan, mcus: int) -> list[tuple[bytes, int]]:
    """(data without escapes, number of MCUs) between restart markers."""
    pieces = _RESTART.split(scan.data) if scan.restart else [scan.data]
    size = scan.restart or mcus
    counts = [min(size, mcus - at) for at in range(0, mcus, size)]
    if len(pieces) < len(counts):
        raise NotCovered("restart markers are missing")
    return [(p.replace(b"\xff\0", b"\xff"), n) for p, n in zip(pieces, counts, strict=False)]


def windows(data: bytes) -> array[int]:
    """For each byte it and the next two as one number: `>> 8 - bit & 65535` is what follows a bit."""
    padded = np.frombuffer(data + bytes(8), np.uint8).astype(np.uint32)
    joined = (padded[:-2] << 16) | (padded[1:-1] << 8) | padded[2:]
    return array("I", joined.tobytes())


@functools.lru_cache(maxsize=64)
def lookup(table: Huffman) -> tuple[np.ndarray, np.ndarray]:
    """(length of the code, symbol) for each 16 bits that begin with a code; length 0 for none."""
    lengths, symbols = np.zeros(65536, np.uint8), np.zeros(65536, np.uint8)
    code = at = 0
    for length, count in enumerate(table.counts, 1):
        for _ in range(count):
            start, stop = code << (16 - length), (code + 1) << (16 - length)
            if stop > 65536:
                raise NotCovered("a Huffman table")
            lengths[start:stop], symbols[start:stop] = length, table.symbols[at]
            code, at = code + 1, at + 1
        code <<= 1
    return lengths, symbols


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


def _walk(
    data: bytes, mcus: int, tables: list[tuple[Huffman, Huffman]]
) -> list[int]:
    """The bit at which each block begins, in the order of the data. Raises `NotCovered`."""
    view, end = windows(data), 8 * len(data) + 32
    steps = [(_dc_steps(dc), *_ac_steps(ac)) for dc, ac in tables]
    starts: list[int] = []
    p = 0
    for _ in range(mcus):
        for dc, joined, single in steps:
            starts.append(p)
            step = dc[(view[p >> 3] >> (8 - (p & 7))) & 65535]
            p += step
            k = 0
            while True:
                step = joined[(view[p >> 3] >> (8 - (p & 7))) & 65535]
                after = k + ((step & 65535) >> 7)
                if after < 63:
                    p += step & 127
                    k = after
                    if step < _END:
                        continue
                    break
                if after == 63 and step < _END:
                    p += step & 127
                    break
                p = _to_end(view, p, k, single)
                break
            if step >= _BAD or p > end:
                raise NotCovered("damaged")
    return starts


def _to_end(view: array[int], p: int, k: int, single: list[int]) -> int:
    """The bit behind a block whose last coefficient is not zero."""
    while k < 63:
        step = single[(view[p >> 3] >> (8 - (p & 7))) & 65535]
        if step >= _BAD:
            raise NotCovered("damaged")
        p += step & 127
        if step >= _END:
            return p
        k += step >> 7
    if k > 63:
        raise NotCovered("damaged")
    return p


def _read_sequential(frame: Frame, scan: Scan, found: list[np.ndarray]) -> None:
    order, owner = scan_order(frame, scan), members(frame, scan)
    tables = []
    for _, dc, ac in scan.parts:
        if dc is None or ac is None:
            raise NotCovered("no Huffman table")
        tables.append((dc, ac))
    mcu = 0
    for data, mcus in segments(scan, order[0].size):
        starts = np.array(_walk(data, mcus, [tables[n] for n in owner]), np.int64)
        starts = starts.reshape(mcus, len(owner))
        for n, (index, _, _) in enumerate(scan.parts):
            mine = [b for b, who in enumerate(owner) if who == n]
            blocks = np.stack([order[b][mcu : mcu + mcus] for b in mine], 1).ravel()
            values = _read_blocks(data, starts[:, mine].ravel(), *tables[n])
            values[:, 0] = np.cumsum(values[:, 0], dtype=np.int64)
            found[index].reshape(-1, 64)[blocks] = values
        mcu += mcus


def _read_blocks(data: bytes, starts: np.ndarray, dc: Huffman, ac: Huffman) -> np.ndarray:
    """The blocks that begin at these bits, (N, 64); DC is still the difference."""
    values = np.zeros((len(starts), 64), np.int16)
    for at in range(0, len(starts), _LANES):
        some = starts[at : at + _LANES]
        first = int(some[0]) >> 3
        piece = data[first : (int(some[-1]) >> 3) + 8 * 64 * 4]
        _read_lanes(piece, some - 8 * first, values[at : at + _LANES], dc, ac)
    return values


def _read_lanes(
    data: bytes, p: np.ndarray, values: np.ndarray, dc: Huffman, ac: Huffman
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
    lane, k, table = np.arange(len(p)), np.zeros(len(p), np.int64), lookup(ac)
    while lane.size:
        symbol, value, p = take(p, table)
        run, there = symbol >> 4, (symbol & 15) > 0
        goes_on = there | (run == 15)
        k = k + run + 1
        if (k[goes_on] > 63).any():
            raise NotCovered("damaged")
        values[lane[there], k[there]] = value[there]
        goes_on &= k < 63
        lane, k, p = lane[goes_on], k[goes_on], p[goes_on]
