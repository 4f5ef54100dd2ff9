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

HYPER, COARSE, FINE, ALPHA, ICC, EXIF, LEVELS, SOURCE = range(1, 9)
XMP, IPTC, CICP, DENSITY = range(128, 132)
KNOWN = (*range(HYPER, SOURCE + 1), XMP, IPTC, CICP, DENSITY)
ONCE = (ALPHA, ICC, EXIF, LEVELS, XMP, IPTC, CICP, DENSITY)
NEEDED = (LEVELS, HYPER, COARSE, SOURCE)
"""Kinds of which a preview needs all."""

TOTAL = 2**24


class Refused(Exception):
    """The file is not valid; the message names the check."""


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
    stored: bool
    level: int
    tile: int
    stream_id: str
    model_id: str
    sections: list[tuple[int, bytes]]

    def of_kind(self, kind):
        return [data for k, data in self.sections if k == kind]


def parse(data, max_pixels=2**28, preview=False):
    """Bytes of a file -> `File`; for a preview without the sections that have not come wholly."""
    require(data[:4] == b"\x89VAE", "magic")
    require(len(data) >= 27, "length of the fixed part")
    version, depth, flags, level = data[4:8]
    require(version in (2, 3), "version")
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
    stored = flags & 2 != 0
    entries = [struct.unpack("<BII", data[at : at + 9]) for at in range(name_end + 2, table_end, 9)]
    kinds = [kind for kind, _, _ in entries]
    require((version == 3) == any(kind >= 128 for kind in kinds), "version of ancillary sections")
    check_sections(kinds, stored, width, height, tile)
    file_end = table_end + 4 + sum(length for _, length, _ in entries)
    require(len(data) == file_end or (preview and len(data) < file_end), "file length")
    sections, at = [], table_end + 4
    for kind, length, crc in entries:
        part = data[at : at + length]
        at += length
        if at <= len(data):
            require(zlib.crc32(part) == crc, "section crc")
            sections += [(kind, part)] if kind in KNOWN else []
        else:
            require(kind not in NEEDED, "too little for a preview")
    grey, stream_id = flags & 1 == 1, data[18:26].hex()
    return File(width, height, depth, grey, stored, level, tile, stream_id, model_id, sections)


def check_fields(width, height, depth, flags, tile, model_id, max_pixels):
    require(width >= 1 and height >= 1, "size")
    require(width * height <= max_pixels, "pixel limit")
    padded = 64 * cells(width) * 64 * cells(height)
    require(padded <= 2 * max(max_pixels, 2**24), "padded pixel limit")
    require(depth in (8, 16, 32), "depth")
    require(flags < 4, "flags")
    require(4 <= tile <= 128 and tile % 4 == 0, "tile")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    require(1 <= len(model_id) <= 63 and model_id[0] in letters, "model id")
    require(set(model_id) <= set(letters + "._-"), "model id")


def check_sections(kinds, stored, width, height, tile):
    require(all(HYPER <= kind <= SOURCE or kind >= 128 for kind in kinds), "section kind")
    kinds = [kind for kind in kinds if kind in KNOWN]
    if stored:
        require(kinds == [SOURCE], "sections of a stored file")
        return
    tiles = len(tile_boxes(width, height, tile))
    require(kinds.count(COARSE) == kinds.count(FINE) == tiles, "number of tiles")
    require(kinds.count(HYPER) == 1, "number of hyper sections")
    require(all(kinds.count(k) <= 1 for k in ONCE), "repeated section")
    require(SOURCE not in kinds, "source in a file that is not stored")


def unpacked(data, limit):
    """The content of a section that is one zlib stream, of at most `limit` bytes."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, limit + 1)
    except zlib.error:
        raise Refused("zlib stream") from None
    require(len(content) <= limit, "unpacked length")
    require(stream.eof and not stream.unused_data, "zlib stream")
    return content


def code_points(file):
    """Primaries, transfer, matrix, and whether the range is full; None without the section."""
    if not file.of_kind(CICP):
        return None
    content = file.of_kind(CICP)[0]
    require(len(content) == 4, "length of cicp")
    return content[0], content[1], content[2], content[3] == 1


def density(file):
    """Pixels per inch along x and y, or their ratio, and whether it is pixels per inch; or None."""
    if not file.of_kind(DENSITY):
        return None
    content = file.of_kind(DENSITY)[0]
    require(len(content) == 17, "length of density")
    x, y, absolute = struct.unpack("<ddB", content)
    return x, y, absolute == 1


def level_map(file, tables):
    """The level of every cell, (rows, columns) int64."""
    known = len(tables["rate"])
    require(file.level < known, "level")
    rows, columns = cells(file.height), cells(file.width)
    if not file.of_kind(LEVELS):
        return np.full((rows, columns), file.level)
    content = unpacked(file.of_kind(LEVELS)[0], rows * columns)
    require(len(content) == rows * columns, "number of levels")
    require(max(content) < known, "level of a cell")
    return np.array(list(content)).reshape(rows, columns)


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
    groups = tables["hyper_group"][level_map(file, tables)]
    channels, size = tables["hyper_frequencies"].shape[1:]
    z = np.zeros((channels, *groups.shape), np.int64)
    payload = Payload(file.of_kind(HYPER)[0])
    for group in sorted(set(groups.ravel().tolist())):
        here = groups == group
        for channel, frequencies in enumerate(tables["hyper_frequencies"][group]):
            z[channel, here] = payload.values(here.sum(), frequencies, (size - 1) // 2)
    payload.finish()
    return z


def of_latents(levels, per_level):
    """(rows, columns) levels and (L, M) -> what belongs to every latent, (M, 4 rows, 4 columns)."""
    return per_level[levels.repeat(4, axis=0).repeat(4, axis=1)].transpose(2, 0, 1)


def table_index(base, tables, levels):
    """(M, 4 rows, 4 columns) from the integer network -> number of the table of every latent."""
    offset = of_latents(levels, tables["index_offset"].astype(np.int64))
    return np.clip(base + offset, 0, len(tables["latent_reach"]) - 1)


def residuals(file, tables, index, preview=False):
    """r, (M, 4 rows, 4 columns) int64."""
    r = np.zeros(index.shape, np.int64)
    boxes = tile_boxes(file.width, file.height, file.tile)
    for kind, channels in ((COARSE, tables["coarse"]), (FINE, ~tables["coarse"])):
        if kind == FINE and preview:
            continue
        for (top, bottom, left, right), data in zip(boxes, file.of_kind(kind), strict=True):
            part = index[channels, top:bottom, left:right]
            values = section_values(data, part.ravel(), tables)
            r[channels, top:bottom, left:right] = values.reshape(part.shape)
    return r


def section_values(data, index, tables):
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


def restored_latents(z, r, tables, levels, hyper_mean, context_mean):
    """ŷ, (1, M, 4 rows, 4 columns) float32; the networks are functions of float32 arrays."""
    channels, rows, columns = r.shape
    c, y, x = np.indices((channels, rows, columns))
    q = 4 * c // channels
    phase = 2 * ((y + x + q // 2) % 2) + (y + q) % 2
    steps = r.astype(np.float32) * of_latents(levels, tables["inverse_gain"])
    mean = first = hyper_mean(z[None].astype(np.float32))
    known = np.where(phase == 0, mean + steps, np.float32(0))
    for p in (1, 2, 3):
        mean = np.where(phase == p, context_mean(known, first), mean)
        known = np.where(phase == p, mean + steps, known)
    return mean + steps


def restored_on_grid(z, r, tables, levels, index, hyper_mean, passes):
    """ŷ of a model with a grid context; `passes` are the three graphs, each with all its outputs."""
    steps = of_latents(levels, tables["inverse_gain"])
    if "centroid" in tables:
        r = r - np.sign(r) * tables["centroid"][index]
    step = np.broadcast_to((r * steps).astype(np.float32), r.shape)[None]
    latents = hyper_mean(z[None].astype(np.float32))
    places = [(0, 0), (1, 1), (0, 1), (1, 0)]
    known, features = [], []
    for number, (y, x) in enumerate(places):
        mean, factor = latents[..., y::2, x::2], 1
        if number:
            former = np.concatenate(known, axis=1)
            mean, *factor, handed_on = passes[number - 1](former, mean, *features)
            factor, features = factor[0] if factor else 1, [handed_on]
        known.append(mean + step[..., y::2, x::2] * factor)
    latents = latents.copy()
    for (y, x), values in zip(places, known, strict=True):
        latents[..., y::2, x::2] = values
    return latents


def picture(latents, file, tables, levels, synthesis):
    """Pixels of the picture, (height, width, 3) float32 RGB in [0, 1]."""
    rate = tables["rate"][levels]
    same = (levels == levels[0, 0]).all()
    rate = rate[:1, :1] if same else rate.repeat(8, axis=0).repeat(8, axis=1)
    rgb = synthesis(latents, rate[None, None])[0].transpose(1, 2, 0)
    return np.clip(rgb[: file.height, : file.width], 0, 1)


def samples(rgb, file):
    """The picture in its own depth: (height, width, 3), or (height, width) if it is grey."""
    values = rgb @ np.array([0.299, 0.587, 0.114], np.float32) if file.grey else rgb
    if file.depth == 32:
        return values
    dtype = {8: np.uint8, 16: np.uint16}[file.depth]
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


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
