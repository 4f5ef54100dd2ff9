"""What sequential and progressive scans have in common: order of blocks, segments, codes."""

from __future__ import annotations

import functools
import re
from array import array
from typing import TYPE_CHECKING

import numpy as np

from vaetools.image.jpeg.structure import NotCoveredError

if TYPE_CHECKING:
    from vaetools.image.jpeg.structure import Frame, Huffman, Scan

_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")


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
        raise NotCoveredError("restart markers are missing")
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
                raise NotCoveredError("a Huffman table")
            lengths[start:stop], symbols[start:stop] = length, table.symbols[at]
            code, at = code + 1, at + 1
        code <<= 1
    return lengths, symbols
