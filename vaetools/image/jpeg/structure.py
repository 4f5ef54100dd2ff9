"""The marker segments of a JPEG file: frame, quantisation and Huffman tables, scans."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

import numpy as np


class NotCoveredError(ValueError):
    """A kind of JPEG file whose coefficients are not read here, or a damaged one."""


SEQUENTIAL, PROGRESSIVE = (0xC0, 0xC1), (0xC2,)
_OTHER_FRAMES = {0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xDC, 0xDE, 0xDF}

ZIGZAG = np.array(
    [
        *(0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5),
        *(12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28),
        *(35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51),
        *(58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63),
    ]
)
"""Position in a row-major block of each coefficient in coded order."""


@dataclass(frozen=True)
class Huffman:
    """A Huffman table: number of codes of each length 1 … 16, and their symbols."""

    counts: tuple[int, ...]
    symbols: bytes


@dataclass(frozen=True)
class Component:
    """One colour component.

    Attributes:
        identity: its number in the file.
        across, down: sampling factors.
        table: quantisation table, (64,) in coded order.
        selector: the number of that table.
        shape: blocks (rows, columns) that hold pixels.
        padded: blocks (rows, columns) in whole MCUs.
    """

    identity: int
    across: int
    down: int
    selector: int
    shape: tuple[int, int]
    padded: tuple[int, int]
    table: np.ndarray = field(default_factory=lambda: np.ones(64, np.int32))


@dataclass(frozen=True)
class Scan:
    """One scan.

    Attributes:
        parts: for each component its index in the frame, its DC table and its AC table.
        band: first and last coefficient, in coded order.
        high, low: bit positions of successive approximation.
        restart: MCUs between restart markers, or 0.
        data: the entropy-coded data with its escapes and restart markers.
    """

    parts: tuple[tuple[int, Huffman | None, Huffman | None], ...]
    band: tuple[int, int]
    high: int
    low: int
    restart: int
    data: bytes


@dataclass
class Frame:
    """A JPEG file.

    Attributes:
        marker: its kind of frame, such as 0xC0.
        height, width: in pixels.
        adobe: colour transform of the Adobe marker, or None without one.
        jfif: whether there is a JFIF marker.
    """

    marker: int
    height: int
    width: int
    components: tuple[Component, ...]
    scans: list[Scan]
    adobe: int | None
    jfif: bool

    @property
    def across(self) -> int:
        """Largest horizontal sampling factor."""
        return max(c.across for c in self.components)

    @property
    def down(self) -> int:
        """Largest vertical sampling factor."""
        return max(c.down for c in self.components)

    @property
    def has_luma(self) -> bool:
        """Whether three components are YCbCr, not RGB; decided as libjpeg does."""
        if self.jfif:
            return True
        if self.adobe is not None:
            return self.adobe == 1
        return tuple(c.identity for c in self.components) != (0x52, 0x47, 0x42)


class _Reader:
    """Goes through the segments of a file and collects what they say."""

    def __init__(self) -> None:
        self.tables: dict[int, np.ndarray] = {}
        self.huffman: dict[tuple[int, int], Huffman] = {}
        self.restart = 0
        self.frame: Frame | None = None
        self.adobe: int | None = None
        self.jfif = False

    def segment(self, marker: int, body: bytes) -> None:
        if marker == 0xDB:
            self._quantisation(body)
        elif marker == 0xC4:
            self._huffman(body)
        elif marker == 0xDD:
            self.restart = int.from_bytes(body[:2], "big")
        elif marker in SEQUENTIAL + PROGRESSIVE:
            if self.frame is not None:
                raise NotCoveredError("several frames")
            self._frame(marker, body)
        elif marker in _OTHER_FRAMES:
            raise NotCoveredError(f"a frame of kind {marker:#x}")
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            self.adobe = body[11]
        elif marker == 0xE0 and body.startswith(b"JFIF\0"):
            self.jfif = True

    def _quantisation(self, body: bytes) -> None:
        while body:
            size = 2 if body[0] >> 4 else 1
            values = np.frombuffer(body[1 : 1 + 64 * size], f">u{size}").astype(np.int32)
            if values.size < 64 or not values.all():
                raise NotCoveredError("a quantisation table")
            self.tables[body[0] & 15] = values
            body = body[1 + 64 * size :]

    def _huffman(self, body: bytes) -> None:
        while body:
            counts = tuple(body[1:17])
            if len(counts) < 16 or len(body) < 17 + sum(counts):
                raise NotCoveredError("a Huffman table")
            self.huffman[(body[0] >> 4, body[0] & 15)] = Huffman(
                counts, body[17 : 17 + sum(counts)]
            )
            body = body[17 + sum(counts) :]

    def _frame(self, marker: int, body: bytes) -> None:
        precision, height, width, count = struct.unpack_from(">BHHB", body)
        if precision != 8 or count not in (1, 3) or not height or not width:
            raise NotCoveredError(f"{precision} bits, {count} components")
        layout = [
            (body[at], body[at + 1] >> 4, body[at + 1] & 15, body[at + 2])
            for at in range(6, 6 + 3 * count, 3)
        ]
        across, down = max(part[1] for part in layout), max(part[2] for part in layout)
        if not all(a and d and across % a == 0 and down % d == 0 for _, a, d, _ in layout):
            raise NotCoveredError("sampling factors")
        if count == 1:  # its sampling factors have no meaning
            layout, across, down = [(layout[0][0], 1, 1, layout[0][3])], 1, 1
        mcus = -(-height // (8 * down)), -(-width // (8 * across))
        components = tuple(
            Component(
                identity,
                a,
                d,
                selector,
                (_blocks(height * d, down), _blocks(width * a, across)),
                (mcus[0] * d, mcus[1] * a),
            )
            for identity, a, d, selector in layout
        )
        self.frame = Frame(marker, height, width, components, [], None, False)

    def scan(self, body: bytes, data: bytes) -> None:
        if self.frame is None:
            raise NotCoveredError("a scan before the frame")
        count = body[0]
        index = {c.identity: i for i, c in enumerate(self.frame.components)}
        parts = []
        for at in range(1, 1 + 2 * count, 2):
            dc, ac = body[at + 1] >> 4, body[at + 1] & 15
            parts.append((index[body[at]], self.huffman.get((0, dc)), self.huffman.get((1, ac))))
        first, last, bits = body[1 + 2 * count : 4 + 2 * count]
        self.frame.scans.append(
            Scan(tuple(parts), (first, last), bits >> 4, bits & 15, self.restart, data)
        )
        self._assign_tables([part[0] for part in parts])

    def _assign_tables(self, indices: list[int]) -> None:
        """Quantisation tables count as they are when a component comes first."""
        assert self.frame is not None
        known = {part[0] for scan in self.frame.scans[:-1] for part in scan.parts}
        components = list(self.frame.components)
        for i in set(indices) - known:
            found = self.tables.get(components[i].selector)
            if found is None:
                raise NotCoveredError("no quantisation table")
            c = components[i]
            components[i] = Component(
                c.identity, c.across, c.down, c.selector, c.shape, c.padded, found
            )
        self.frame.components = tuple(components)


def _blocks(samples: int, factor: int) -> int:
    """Blocks of 8 that hold `samples / factor` samples, both rounded up."""
    return -(-samples // (8 * factor))


# It begins with one byte and not with a run: such patterns are searched at the speed of memchr.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)


def first_image(data: bytes) -> bytes:
    """A JPEG file without what follows the end of its first image, such as a gain map.

    Raises:
        NotCoveredError: as `read_structure`.
    """
    return data[: _read(data)[1]]


def read_structure(data: bytes) -> Frame:
    """The structure of a JPEG file; what follows its first image is not looked at.

    Raises:
        NotCoveredError: not a sequential or progressive Huffman-coded image with 8 bits and one or three
            components, or damaged.
    """
    return _read(data)[0]


def _read(data: bytes) -> tuple[Frame, int]:
    """The structure, and where the image ends."""
    reader = _Reader()
    at = 2
    try:
        while True:
            while data[at] == 0xFF and data[at + 1] == 0xFF:
                at += 1
            marker = data[at + 1]
            if data[at] != 0xFF:
                raise NotCoveredError("bytes between segments")
            if marker == 0xD9:
                break
            stop = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
            body = data[at + 4 : stop]
            if marker == 0xDA:
                found = _END_OF_SCAN.search(data, stop)
                if found is None:
                    raise NotCoveredError("no end")
                end = found.start()
                while end > stop and data[end - 1] == 0xFF:  # fill bytes
                    end -= 1
                reader.scan(body, data[stop:end])
                stop = end
            else:
                reader.segment(marker, body)
            at = stop
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise NotCoveredError(str(error)) from error
    if reader.frame is None or not reader.frame.scans:
        raise NotCoveredError("no image")
    reader.frame.adobe, reader.frame.jfif = reader.adobe, reader.jfif
    return reader.frame, at + 2
