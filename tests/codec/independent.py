"""A second decoder of `.vae` files, written from docs/format.md and nothing else.

It shares no code with vaetools: what both decoders agree on is what the page says. Slow on purpose:
Python's own integers cannot overflow and need no library whose behaviour would have to be trusted.
Section numbers are those of the page.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

HYPER, TILE, ALPHA, ICC, EXIF = range(1, 6)
TOTAL = 2**24


class Refused(Exception):
    """The file is not a valid version 1 file; the message names the check."""


def require(holds, check):
    if not holds:
        raise Refused(check)


# --- 2. container ---------------------------------------------------------------------------------


@dataclass
class File:
    """The header's fields, and the sections as (kind, bytes)."""

    width: int
    height: int
    depth: int
    grey: bool
    level: int
    tile: int
    stream_id: str
    model_id: str
    sections: list[tuple[int, bytes]]

    def of_kind(self, kind):
        return [data for k, data in self.sections if k == kind]


def parse(data, max_pixels=2**28):
    """Bytes of a whole file -> `File`."""
    require(data[:4] == b"\x89VAE", "magic")
    require(len(data) >= 27, "length of the fixed part")
    version, depth, flags, level = data[4:8]
    require(version == 1, "version")
    width, height, tile = struct.unpack("<IIH", data[8:18])
    name_end = 27 + data[26]
    require(len(data) >= name_end + 2, "length of the model id")
    (count,) = struct.unpack("<H", data[name_end : name_end + 2])
    table_end = name_end + 2 + 9 * count
    require(len(data) >= table_end + 4, "length of the section table")
    (crc,) = struct.unpack("<I", data[table_end : table_end + 4])
    require(crc == zlib.crc32(data[:table_end]), "header crc")
    model_id = data[27:name_end].decode("latin-1")
    check_fields(width, height, depth, flags, tile, model_id, max_pixels)
    entries = [struct.unpack("<BII", data[at : at + 9]) for at in range(name_end + 2, table_end, 9)]
    check_sections([kind for kind, _, _ in entries], width, height, tile)
    require(len(data) == table_end + 4 + sum(length for _, length, _ in entries), "file length")
    sections, at = [], table_end + 4
    for kind, length, crc in entries:
        part = data[at : at + length]
        require(zlib.crc32(part) == crc, "section crc")
        sections.append((kind, part))
        at += length
    stream_id = data[18:26].hex()
    return File(width, height, depth, flags == 1, level, tile, stream_id, model_id, sections)


def check_fields(width, height, depth, flags, tile, model_id, max_pixels):
    require(width >= 1 and height >= 1, "size")
    require(width * height <= max_pixels, "pixel limit")
    padded = 64 * cells(width) * 64 * cells(height)
    require(padded <= 2 * max(max_pixels, 2**24), "padded pixel limit")
    require(depth in (8, 16, 32), "depth")
    require(flags in (0, 1), "flags")
    require(tile >= 4 and tile % 4 == 0, "tile")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    require(1 <= len(model_id) <= 63 and model_id[0] in letters, "model id")
    require(set(model_id) <= set(letters + "._-"), "model id")


def check_sections(kinds, width, height, tile):
    require(all(HYPER <= kind <= EXIF for kind in kinds), "section kind")
    require(kinds.count(TILE) == len(tile_boxes(width, height, tile)), "number of tiles")
    require(kinds.count(HYPER) == 1, "number of hyper sections")
    require(all(kinds.count(kind) <= 1 for kind in (ALPHA, ICC, EXIF)), "repeated section")


def cells(pixels):
    """Cells of 64 pixels that cover so many pixels."""
    return (pixels + 63) // 64


def tile_boxes(width, height, tile):
    """(top, bottom, left, right) in latents, row by row."""
    rows, columns = 4 * cells(height), 4 * cells(width)
    return [
        (top, min(top + tile, rows), left, min(left + tile, columns))
        for top in range(0, rows, tile)
        for left in range(0, columns, tile)
    ]


# --- 3. payloads ----------------------------------------------------------------------------------


def read_leb128(data, at):
    value = shift = 0
    while True:
        require(at < len(data) and shift < 35, "leb128")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


class Payload:
    """A payload while it is decoded.

    Attributes:
        words: what has not been read yet; the last one is next.
        state: the coder's 64-bit state.
        escaped: values that have not been read yet; the first one is next.
    """

    def __init__(self, data):
        length, at = read_leb128(data, 0)
        end = at + length
        require(end <= len(data) and (len(data) - end) % 4 == 0, "payload length")
        self.escaped = []
        while at < end:
            code, at = read_leb128(data[:end], at)
            self.escaped.append(code // 2 if code % 2 == 0 else -(code + 1) // 2)
        self.words = [word for (word,) in struct.iter_unpack("<I", data[end:])]
        require(not self.words or self.words[-1] != 0, "last word is zero")
        self.state = 0
        while self.words and self.state < 2**32:
            self.state = self.state * 2**32 + self.words.pop()

    def symbol(self, starts):
        """The next symbol; symbol i owns the quantiles starts[i] … starts[i + 1] − 1."""
        quantile = self.state % TOTAL
        symbol = bisect_right(starts, quantile) - 1
        frequency = starts[symbol + 1] - starts[symbol]
        self.state = self.state // TOTAL * frequency + quantile - starts[symbol]
        if self.state < 2**32 and self.words:
            self.state = self.state * 2**32 + self.words.pop()
        return symbol

    def values(self, count, frequencies, reach):
        """The next `count` integers, coded with one table."""
        starts = [0, *accumulate(int(f) for f in frequencies)]
        escape = 2 * reach + 1  # no symbol has this number in a table without escape
        values = []
        for _ in range(count):
            symbol = self.symbol(starts)
            values.append(self.escaped_value(reach) if symbol == escape else symbol - reach)
        return values

    def escaped_value(self, reach):
        require(self.escaped, "escaped value is missing")
        value = self.escaped.pop(0)
        require(reach < abs(value) < 2**31, "escaped value")
        return value

    def finish(self):
        require(self.state == 0 and not self.words and not self.escaped, "payload not used up")


# --- 5. decoding ----------------------------------------------------------------------------------


def hyper_latents(file, tables):
    """z, (N, rows, columns) int64."""
    rows, columns = cells(file.height), cells(file.width)
    group = tables["hyper_frequencies"][tables["hyper_group"][file.level]]
    reach = (group.shape[1] - 1) // 2
    payload = Payload(file.of_kind(HYPER)[0])
    channels = [payload.values(rows * columns, frequencies, reach) for frequencies in group]
    payload.finish()
    return np.array(channels, np.int64).reshape(len(group), rows, columns)


def table_index(base, tables, level):
    """(M, 4 rows, 4 columns) from the integer network -> number of the table of every latent."""
    offset = tables["index_offset"][level].astype(np.int64)
    return np.clip(base + offset[:, None, None], 0, len(tables["latent_reach"]) - 1)


def residuals(file, tables, index):
    """r, (M, 4 rows, 4 columns) int64."""
    r = np.zeros(index.shape, np.int64)
    boxes = tile_boxes(file.width, file.height, file.tile)
    for (top, bottom, left, right), data in zip(boxes, file.of_kind(TILE), strict=True):
        part = index[:, top:bottom, left:right]
        r[:, top:bottom, left:right] = tile_values(data, part.ravel(), tables).reshape(part.shape)
    return r


def tile_values(data, index, tables):
    payload = Payload(data)
    values = np.zeros(len(index), np.int64)
    start = 0
    for number, reach in enumerate(int(r) for r in tables["latent_reach"]):
        frequencies = tables["latent_frequencies"][start : start + 2 * reach + 2]
        start += 2 * reach + 2
        places = np.flatnonzero(index == number)
        values[places] = payload.values(len(places), frequencies, reach)
    payload.finish()
    return values


def restored_latents(z, r, tables, level, hyper_mean, context_mean):
    """ŷ, (1, M, 4 rows, 4 columns) float32; the networks are functions of float32 arrays."""
    channels, rows, columns = r.shape
    c, y, x = np.indices((channels, rows, columns))
    first = ((y + x) % 2 == 0) != (c >= channels // 2)
    steps = r.astype(np.float32) * tables["inverse_gain"][level][:, None, None]
    mean = hyper_mean(z[None].astype(np.float32))
    known = np.where(first, mean + steps, np.float32(0))
    return np.where(first, mean, context_mean(known, mean)) + steps


def picture(latents, file, tables, synthesis):
    """Pixels of the picture, (height, width, 3) float32 RGB in [0, 1]."""
    rate = tables["rate"][file.level].reshape(1, 1, 1, 1)
    rgb = synthesis(latents, rate)[0].transpose(1, 2, 0)
    return np.clip(rgb[: file.height, : file.width], 0, 1)


# --- 8. encoding a payload ------------------------------------------------------------------------


def leb128(number):
    out = bytearray()
    while number >= 128:
        out.append(128 | number & 127)
        number >>= 7
    return bytes([*out, number])


def encode_payload(groups):
    """[(values, frequencies, reach), …] in the order of decoding -> payload."""
    escaped, coded = b"", []
    for values, frequencies, reach in groups:
        starts = [0, *accumulate(int(f) for f in frequencies)]
        for value in values:
            symbol = value + reach
            if abs(value) > reach:
                symbol = 2 * reach + 1
                escaped += leb128(2 * value if value >= 0 else -2 * value - 1)
            coded.append((starts[symbol], starts[symbol + 1] - starts[symbol]))
    state, words = 0, b""
    for start, frequency in reversed(coded):
        if state // 2**40 >= frequency:
            words += struct.pack("<I", state % 2**32)
            state //= 2**32
        state = state // frequency * TOTAL + start + state % frequency
    while state:
        words += struct.pack("<I", state % 2**32)
        state //= 2**32
    return leb128(len(escaped)) + escaped + words
