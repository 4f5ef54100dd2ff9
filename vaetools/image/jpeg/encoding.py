"""Coefficients to a JPEG file: one sequential scan with Huffman tables made for it (T.81, annex K)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vaetools.image.jpeg.scans import members, scan_order
from vaetools.image.jpeg.structure import Huffman, Scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.image.jpeg.structure import Frame

END = b"\xff\xd9"
"""The marker behind the last scan."""

_MCUS = 1 << 14  # MCUs that are coded at a time


@dataclass(frozen=True)
class Tokens:
    """Symbols in the order of the data.

    Attributes:
        symbol: (N,) with the number of the Huffman table times 256 added.
        value: the bits behind the code.
        size: their number.
        per_block: (blocks,), the number of symbols of each block.
    """

    symbol: np.ndarray
    value: np.ndarray
    size: np.ndarray
    per_block: np.ndarray


def encode(frame: Frame, planes: Sequence[np.ndarray]) -> bytes:
    """The segments of frame, tables and scan, and the end of the image.

    Args:
        frame: of the source; sampling factors and quantisation tables are its own.
        planes: coefficients of each component, as `coefficients` gives them.
    """
    tokens = list(_tokens(frame, planes))
    tables = 4 if len(planes) > 1 else 2
    counts = np.zeros((tables, 256), np.int64)
    for part in tokens:
        counts += np.bincount(part.symbol, minlength=tables * 256).reshape(tables, 256)
    huffman = [_optimal(row) for row in counts]
    data = packed(tokens, *code_books(huffman))
    return header(frame, huffman) + escaped(data) + END


def header(frame: Frame, huffman: Sequence[Huffman], restart: int = 0) -> bytes:
    """All segments before the data of a frame's only scan.

    Args:
        frame: of the source.
        huffman: the tables: DC and AC of the first component, then of the others.
        restart: MCUs between restart markers, or 0.
    """
    interval = [segment(0xDD, struct.pack(">H", restart))] if restart else []
    return b"".join(
        [
            *_quantisation(frame),
            _frame_segment(frame),
            *_huffman_segments(huffman),
            *interval,
            _scan_segment(frame),
        ]
    )


def escaped(data: bytes) -> bytes:
    """Entropy-coded data in which no byte can be taken for a marker."""
    return data.replace(b"\xff", b"\xff\0")


def segment(marker: int, body: bytes) -> bytes:
    """A marker segment."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def _quantisation(frame: Frame) -> list[bytes]:
    """One table for each component: they may have used the same number at different times."""
    parts = []
    for number, c in enumerate(frame.components):
        if number and number == _table_of(frame, number):
            parts.append((number, c.table))
        elif not number:
            parts.append((0, c.table))
    return [
        segment(
            0xDB,
            bytes([number | (16 if table.max() > 255 else 0)])
            + table.astype(">u2" if table.max() > 255 else np.uint8).tobytes(),
        )
        for number, table in parts
    ]


def _table_of(frame: Frame, index: int) -> int:
    """The number of a component's table: that of the first component that has the same one."""
    tables = [c.table for c in frame.components]
    return next(n for n, table in enumerate(tables) if np.array_equal(table, tables[index]))


def _frame_segment(frame: Frame) -> bytes:
    body = struct.pack(">BHHB", 8, frame.height, frame.width, len(frame.components))
    for index, c in enumerate(frame.components):
        body += bytes([c.identity, c.across << 4 | c.down, _table_of(frame, index)])
    large = max(int(c.table.max()) for c in frame.components) > 255
    return segment(0xC1 if large else 0xC0, body)  # baseline has tables of 8 bits


def _scan_segment(frame: Frame) -> bytes:
    body = bytes([len(frame.components)])
    for index, c in enumerate(frame.components):
        body += bytes([c.identity, 0x11 if index else 0])
    return segment(0xDA, body + bytes([0, 63, 0]))


def _tokens(frame: Frame, planes: Sequence[np.ndarray]) -> list[Tokens]:
    """The scan in pieces."""
    whole = Scan(tuple((n, None, None) for n in range(len(planes))), (0, 63), 0, 0, 0, b"")
    order, owner = scan_order(frame, whole), members(frame, whole)
    last = [0] * len(planes)
    found = []
    for mcu in range(0, order[0].size, _MCUS):
        pieces = []
        for n, plane in enumerate(planes):
            mine = [b for b, who in enumerate(owner) if who == n]
            blocks = np.stack([order[b][mcu : mcu + _MCUS] for b in mine], 1)
            values = plane.reshape(-1, 64)[blocks].astype(np.int32)
            dc = values[..., 0].ravel()
            differences = np.diff(dc, prepend=last[n])
            last[n] = int(dc[-1])
            values[..., 0] = differences.reshape(values.shape[:2])
            pieces.append(values)
        values = np.concatenate(pieces, axis=1)
        chroma = np.tile([who > 0 for who in owner], len(values))
        found.append(tokens_of(values.reshape(-1, 64), chroma))
    return found


def tokens_of(blocks: np.ndarray, chroma: np.ndarray) -> Tokens:
    """The symbols of blocks, (N, 64), whose DC is a difference."""
    ac = blocks[:, 1:]
    row, column = np.nonzero(ac)
    value = ac[row, column]
    fresh = np.ones(len(row), bool)  # the first of its block
    fresh[1:] = row[1:] != row[:-1]
    before = np.where(fresh, -1, np.concatenate([[-1], column[:-1]]))
    run = column - before - 1
    longs = run >> 4  # runs of 16 zeros
    per_block = np.bincount(row, weights=longs + 1, minlength=len(blocks)).astype(np.int64)
    ends = ac[:, -1] == 0
    total = 1 + per_block + ends
    start = np.cumsum(total) - total
    symbol = np.full(int(total.sum()), 0xF0, np.int64)
    bits = np.zeros(len(symbol), np.int64)
    size = np.zeros(len(symbol), np.int64)
    table = np.repeat(np.where(chroma, 768, 256), total)  # AC; DC is set below
    dc_size = _bit_length(blocks[:, 0])
    symbol[start], size[start] = dc_size, dc_size
    bits[start] = _extended(blocks[:, 0], dc_size)
    table[start] = np.where(chroma, 512, 0)
    symbol[(start + total - 1)[ends]] = 0
    steps = np.cumsum(longs + 1)
    first = np.concatenate([[0], steps])[np.searchsorted(row, row)]
    at = start[row] + (steps - first)
    ac_size = _bit_length(value)
    symbol[at] = (run & 15) << 4 | ac_size
    size[at], bits[at] = ac_size, _extended(value, ac_size)
    return Tokens(
        (symbol + table).astype(np.int16), bits.astype(np.int32), size.astype(np.uint8), total
    )


def _bit_length(values: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.frexp(np.abs(values).astype(np.float64))[1].astype(np.int64)
    return lengths


def _extended(values: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Values as their bits: negative ones less one."""
    return np.where(values < 0, values + (1 << size) - 1, values).astype(np.int64)


def _optimal(counts: np.ndarray) -> Huffman:
    """The table for these counts of symbols, as in T.81, K.2; no code is all ones."""
    frequency = [*counts.tolist(), 1]  # the last one reserves the code of all ones
    sizes, other = [0] * 257, [-1] * 257
    while True:
        live = sorted((f, -s) for s, f in enumerate(frequency) if f)[:2]
        if len(live) < 2:
            break
        one, two = -live[0][1], -live[1][1]
        frequency[one] += frequency[two]
        frequency[two] = 0
        for first in (one, two):
            at = first
            while True:
                sizes[at] += 1
                if other[at] < 0:
                    break
                at = other[at]
            if first == one:
                other[at] = two
                break
        at = two
        while at >= 0:
            sizes[at] += 1
            at = other[at]
    return _limited(sizes)


def _limited(sizes: list[int]) -> Huffman:
    """Code lengths of 16 at most."""
    number = [0] * (max(sizes) + 2)
    for size in sizes:
        number[size] += size > 0
    for length in range(len(number) - 1, 16, -1):
        while number[length] > 0:
            shorter = length - 2
            while number[shorter] == 0:
                shorter -= 1
            number[length] -= 2
            number[length - 1] += 1
            number[shorter + 1] += 2
            number[shorter] -= 1
    number = (number + [0] * 17)[:17]
    longest = max(length for length in range(17) if number[length])
    number[longest] -= 1  # the reserved code
    symbols = sorted((s for s in range(256) if sizes[s]), key=lambda s: (sizes[s], s))
    return Huffman(tuple(number[1:]), bytes(symbols))


def code_books(tables: Sequence[Huffman]) -> tuple[np.ndarray, np.ndarray]:
    """(length, code) of the 256 symbols of each table, one table after the other; 0 for none."""
    lengths, codes = np.zeros((2, len(tables), 256), np.int64)
    for table, length_of, code_of in zip(tables, lengths, codes, strict=True):
        code = at = 0
        for length, count in enumerate(table.counts, 1):
            for symbol in table.symbols[at : at + count]:
                length_of[symbol], code_of[symbol] = length, code
                code += 1
            code, at = code << 1, at + count
    return lengths.ravel(), codes.ravel()


def _huffman_segments(tables: Sequence[Huffman]) -> list[bytes]:
    kinds = (0x00, 0x10, 0x01, 0x11)
    return [
        segment(0xC4, bytes([kind, *table.counts, *table.symbols]))
        for kind, table in zip(kinds, tables, strict=False)
    ]


def packed(tokens: list[Tokens], lengths: np.ndarray, codes: np.ndarray) -> bytes:
    """The bits of all symbols, filled up with ones."""
    parts = []
    carry, carried = 0, 0  # bits that do not fill a word yet
    for part in tokens:
        size = part.size.astype(np.int64)
        length = np.concatenate([[carried], lengths[part.symbol] + size])
        code = np.concatenate([[carry], codes[part.symbol] << size | part.value])
        stop = np.cumsum(length)
        word, bit = (stop - length) >> 5, (stop - length) & 31
        placed = code << (63 - length - bit)  # 63 bits from the beginning of the word
        total = int(stop[-1])
        # Bits do not overlap, so that sums of up to 32 bits are exact in float64.
        words = np.bincount(word, placed >> 31, total // 32 + 2)
        words += np.bincount(word + 1, (placed & 0x7FFFFFFF) << 1, total // 32 + 2)
        whole = words.astype(np.uint32)
        parts.append(whole[: total // 32].astype(">u4").tobytes())
        carried = total % 32
        carry = int(whole[total // 32]) >> (32 - carried) if carried else 0
    fill = -carried % 8
    rest = (carry << fill | ((1 << fill) - 1)).to_bytes((carried + fill) // 8, "big")
    return b"".join([*parts, rest])
