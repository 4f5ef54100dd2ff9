"""Scans of progressive JPEG files: one bit plane or band of coefficients at a time (T.81, annex G).

Later scans can only be read with what earlier ones gave, one symbol after the other.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from vaetools.image.jpeg.scans import lookup, members, scan_order, segments, windows
from vaetools.image.jpeg.structure import NotCoveredError

if TYPE_CHECKING:
    from vaetools.image.jpeg.structure import Frame, Huffman, Scan


@functools.lru_cache(maxsize=16)
def _codes(table: Huffman) -> list[int]:
    """Length of the code and 256 times the symbol, for each 16 bits that begin with a code."""
    lengths, symbols = lookup(table)
    entries = lengths.astype(np.int64) | (symbols.astype(np.int64) << 8)
    return entries.tolist()  # type: ignore[no-any-return]


class _Bits:
    """Reads bits and symbols."""

    def __init__(self, data: bytes, table: Huffman | None) -> None:
        self.view = windows(data)
        self.end = 8 * len(data) + 32
        self.at = 0
        if table is not None:
            self.codes = _codes(table)

    def symbol(self) -> int:
        entry = self.codes[(self.view[self.at >> 3] >> (8 - (self.at & 7))) & 65535]
        if entry & 255 == 0 or self.at > self.end:
            raise NotCoveredError("damaged")
        self.at += entry & 255
        return entry >> 8

    def number(self, count: int) -> int:
        """The next `count` bits, 16 at most."""
        window = (self.view[self.at >> 3] >> (8 - (self.at & 7))) & 65535
        self.at += count
        return window >> (16 - count)

    def value(self, size: int) -> int:
        """A signed number of `size` bits."""
        bits = self.number(size)
        return bits if bits >> (size - 1) else bits - (1 << size) + 1


def read_scan(frame: Frame, scan: Scan, found: list[np.ndarray]) -> None:
    """Add one scan to the coefficients. Raises `NotCoveredError`."""
    order, owner = scan_order(frame, scan), members(frame, scan)
    if scan.band[0] > 0 and len(scan.parts) > 1:
        raise NotCoveredError("a band of several components")
    mcu = 0
    for data, mcus in segments(scan, order[0].size):
        if scan.band[0] > 0:
            planes = found[scan.parts[0][0]].reshape(-1, 64)
            blocks = order[0][mcu : mcu + mcus]
            table = scan.parts[0][2]
            if table is None:
                raise NotCoveredError("no Huffman table")
            first = _first if scan.high == 0 else _refined
            first(_Bits(data, table), planes, blocks, scan)
        elif scan.high == 0:
            _dc_first(data, scan, owner, [o[mcu : mcu + mcus] for o in order], found)
        else:
            _dc_refined(data, scan, owner, [o[mcu : mcu + mcus] for o in order], found)
        mcu += mcus


def _dc_first(
    data: bytes, scan: Scan, owner: list[int], order: list[np.ndarray], found: list[np.ndarray]
) -> None:
    readers = [_Bits(data, dc) for _, dc, _ in scan.parts]
    last = [0] * len(scan.parts)
    values: list[list[int]] = [[] for _ in owner]
    at = 0
    for _ in range(len(order[0])):
        for n, who in enumerate(owner):
            bits = readers[who]
            bits.at = at
            size = bits.symbol() & 15
            if size:
                last[who] += bits.value(size)
            values[n].append(last[who])
            at = bits.at
    for n, who in enumerate(owner):
        planes = found[scan.parts[who][0]].reshape(-1, 64)
        planes[order[n], 0] = np.array(values[n]) << scan.low


def _dc_refined(
    data: bytes, scan: Scan, owner: list[int], order: list[np.ndarray], found: list[np.ndarray]
) -> None:
    size = len(order[0]) * len(owner)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))[:size]
    bits = np.pad(bits, (0, size - len(bits))).reshape(-1, len(owner)).astype(np.int16)
    for n, who in enumerate(owner):
        planes = found[scan.parts[who][0]].reshape(-1, 64)
        planes[order[n], 0] |= bits[:, n] << scan.low


def _first(bits: _Bits, planes: np.ndarray, blocks: np.ndarray, scan: Scan) -> None:
    start, stop = scan.band
    places: list[int] = []
    values: list[int] = []
    run = 0
    for block in blocks.tolist():
        if run:
            run -= 1
            continue
        k = start
        while k <= stop:
            symbol = bits.symbol()
            zeros, size = symbol >> 4, symbol & 15
            if size:
                k += zeros
                places.append(64 * block + k)
                values.append(bits.value(size) << scan.low)
                k += 1
            elif zeros == 15:
                k += 16
            else:
                run = (1 << zeros) - 1 + (bits.number(zeros) if zeros else 0)
                break
        if k > 64:
            raise NotCoveredError("damaged")
    planes.reshape(-1)[places] = values


def _refined(bits: _Bits, planes: np.ndarray, blocks: np.ndarray, scan: Scan) -> None:
    start, stop = scan.band
    one = 1 << scan.low
    run = 0
    for block in blocks.tolist():
        row = planes[block, start : stop + 1].tolist()
        k = 0
        if run == 0:
            k, run = _refined_block(bits, row, one)
        if run:
            _correct(bits, row, k, len(row), one)
            run -= 1
        planes[block, start : stop + 1] = row


def _refined_block(bits: _Bits, row: list[int], one: int) -> tuple[int, int]:
    """Refine a block up to the end of its band; (position, blocks from here on with no new values)."""
    k, end = 0, len(row)
    while k < end:
        symbol = bits.symbol()
        zeros, size = symbol >> 4, symbol & 15
        value = 0
        if size:
            value = one if bits.number(1) else -one
        elif zeros < 15:
            return k, (1 << zeros) + (bits.number(zeros) if zeros else 0)
        while k < end:
            if row[k]:
                k = _correct(bits, row, k, k + 1, one)
                continue
            if zeros == 0:
                break
            zeros -= 1
            k += 1
        if value:
            if k >= end:
                raise NotCoveredError("damaged")
            row[k] = value
        k += 1
    return k, 0


def _correct(bits: _Bits, row: list[int], k: int, end: int, one: int) -> int:
    """One more bit for each value that is not zero."""
    while k < end:
        value = row[k]
        if value and bits.number(1) and not abs(value) & one:
            row[k] = value + one if value > 0 else value - one
        k += 1
    return k
