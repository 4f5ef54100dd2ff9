"""The `.vae` file: a checked header, a table of sections, their bytes. No network, no pixels.

All numbers are little-endian. Version 2:

    offset  bytes  field
    0       4      magic 89 56 41 45
    4       1      version = 2
    5       1      depth: 8, 16 (unsigned) or 32 (float) bits per sample
    6       1      flags: bit 0 = grey, bit 1 = stored; all other bits 0
    7       1      level: the rate, 0 … levels − 1 of the model
    8       4      width in pixels
    12      4      height in pixels
    16      2      tile: side of an entropy-coded tile, in latents
    18      8      stream id: what the model must share with the one that wrote the file
    26      1      n, length of the model id
    27      n      model id, ASCII
    27+n    2      k, number of sections
    29+n    9 k    per section: kind (1), length (4), CRC-32 (4)
    …       4      CRC-32 of everything before it
    …              the sections, one after the other, up to the end of the file

Kinds: see `SectionKind`. A reader refuses kinds that it does not know. `docs/format.md` describes what
is inside.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from vaetools.errors import (
    ChecksumError,
    HeaderLimitError,
    NotAVaeFileError,
    UnsupportedImageError,
    VersionError,
)
from vaetools.image import MAX_PIXELS
from vaetools.model.spec import MAX_TILE, MODEL_ID

MAGIC = b"\x89VAE"
VERSION = 2
SUFFIX = ".vae"
FIXED = struct.Struct("<4sBBBBIIH8sB")
ENTRY = struct.Struct("<BII")
COUNT = struct.Struct("<H")
CRC = struct.Struct("<I")
GREY, STORED = 1, 2
DOWNSCALE = 16
"""Pixels per latent, in each direction."""

CELL = 64
"""Pixels per hyper-latent, in each direction; pictures are padded to multiples of it."""

MAX_METADATA = 16 * 2**20
"""Bytes that ICC or EXIF may unpack to."""

THIN = 2**24
"""Pixels that padding may make out of a thin picture, whatever the limit: 1 x N becomes 64 x N."""


class SectionKind(IntEnum):
    """What a section holds."""

    HYPER = 1
    """Hyper-latents; once."""

    COARSE = 2
    """The coarse channels of a tile's latents, enough for a preview; one for every tile in raster
    order."""

    FINE = 3
    """The other channels of a tile's latents; as many, in the same order."""

    ALPHA = 4
    """PNG."""

    ICC = 5
    """zlib."""

    EXIF = 6
    """zlib."""

    LEVELS = 7
    """The level of every cell, if it is not the same everywhere; zlib."""

    SOURCE = 8
    """A stored file holds this and nothing else: a picture's file, as it was."""


PREVIEW = (SectionKind.LEVELS, SectionKind.HYPER, SectionKind.COARSE)
"""What a preview is decoded from."""


@dataclass(frozen=True)
class Section:
    """One section: its kind and its bytes."""

    kind: SectionKind
    data: bytes


@dataclass(frozen=True)
class Container:
    """A whole file in memory; the fields are those of the header."""

    width: int
    height: int
    depth: int
    grey: bool
    level: int
    tile: int
    stream_id: str
    model_id: str
    sections: tuple[Section, ...]
    stored: bool = False

    def one(self, kind: SectionKind) -> bytes | None:
        """The bytes of a section that occurs at most once."""
        return next((s.data for s in self.sections if s.kind == kind), None)

    def all(self, kind: SectionKind) -> list[bytes]:
        """The bytes of every section of a kind, in order."""
        return [s.data for s in self.sections if s.kind == kind]

    def pack(self) -> bytes:
        """The file's bytes."""
        header = FIXED.pack(
            MAGIC,
            VERSION,
            self.depth,
            GREY * self.grey | STORED * self.stored,
            self.level,
            self.width,
            self.height,
            self.tile,
            bytes.fromhex(self.stream_id),
            len(self.model_id),
        )
        header += self.model_id.encode("ascii") + COUNT.pack(len(self.sections))
        header += b"".join(
            ENTRY.pack(section.kind, len(section.data), zlib.crc32(section.data))
            for section in self.sections
        )
        header += CRC.pack(zlib.crc32(header))
        return header + b"".join(section.data for section in self.sections)


@dataclass(frozen=True)
class Header:
    """What a file says before its sections are read.

    Attributes:
        empty: the header's fields as a `Container` without sections.
        entries: (kind, length, CRC-32) of every section.
        size: bytes of the header.
    """

    empty: Container
    entries: tuple[tuple[SectionKind, int, int], ...]
    size: int


def read_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read and check the header; no memory is taken for what it declares.

    Raises:
        NotAVaeFileError: no magic.
        VersionError: another version, or a section kind that version 2 does not have.
        ChecksumError: cut short, or the header's CRC-32 does not fit.
        HeaderLimitError: a field is out of its range, or fields contradict each other.
    """
    check_magic(data)
    if len(data) < FIXED.size:
        raise ChecksumError("is cut short inside the header")
    _, version, depth, flags, level, width, height, tile, stream_id, id_length = FIXED.unpack_from(
        data
    )
    if version != VERSION:
        raise VersionError(f"version {version} is not {VERSION}", remedy="update vaetools")
    count_at = FIXED.size + id_length
    if len(data) < count_at + COUNT.size:
        raise ChecksumError("is cut short inside the header")
    (count,) = COUNT.unpack_from(data, count_at)
    end = count_at + COUNT.size + count * ENTRY.size
    if len(data) < end + CRC.size:
        raise ChecksumError("is cut short inside the header")
    if CRC.unpack_from(data, end)[0] != zlib.crc32(data[:end]):
        raise ChecksumError("the header is damaged")
    table = data[count_at + COUNT.size : end]
    model_id = data[FIXED.size : count_at].decode("ascii", "replace")
    grey, stored = bool(flags & GREY), bool(flags & STORED)
    empty = Container(
        width, height, depth, grey, level, tile, stream_id.hex(), model_id, (), stored
    )
    _check_fields(empty, flags, max_pixels)
    _check_sections(empty, table[:: ENTRY.size])
    rows = ENTRY.iter_unpack(table)
    entries = tuple((SectionKind(kind), length, crc) for kind, length, crc in rows)
    return Header(empty, entries, end + CRC.size)


def unpack(data: bytes, *, max_pixels: int = MAX_PIXELS, preview: bool = False) -> Container:
    """Read a whole file and check every byte of it.

    Args:
        preview: the end of the file may be missing, and the sections there, as long as all that a
            preview needs has come.

    Raises:
        as `read_header`, and `ChecksumError` for damaged, missing or additional bytes.
    """
    header = read_header(data, max_pixels=max_pixels)
    expected = header.size + sum(length for _, length, _ in header.entries)
    if len(data) > expected or (len(data) < expected and not preview):
        raise ChecksumError(f"has {len(data)} bytes where {expected} were written")
    sections, at = [], header.size
    for kind, length, crc in header.entries:
        part = data[at : at + length]
        at += length
        if at > len(data):
            if kind in PREVIEW or header.empty.stored:
                raise ChecksumError("is cut short before a preview was complete")
            continue
        if zlib.crc32(part) != crc:
            raise ChecksumError(f"the section {kind.name.lower()} at byte {at - length} is damaged")
        sections.append(Section(kind, part))
    return dataclasses.replace(header.empty, sections=tuple(sections))


def tile_grid(width: int, height: int, tile: int) -> tuple[int, int]:
    """(rows, columns) of entropy-coded tiles; the picture is padded to multiples of 64 pixels."""
    rows, columns = (-(-n // CELL) * CELL // DOWNSCALE for n in (height, width))
    return -(-rows // tile), -(-columns // tile)


def is_too_thin(width: int, height: int, max_pixels: int) -> bool:
    """Whether padding to cells of 64 x 64 makes far more pixels out of a size than the limit."""
    return -(-width // CELL) * -(-height // CELL) * CELL**2 > 2 * max(max_pixels, THIN)


def check_magic(head: bytes) -> None:
    """Raise `NotAVaeFileError` if a file that begins like this is no `.vae` file."""
    if head[: len(MAGIC)] != MAGIC:
        raise NotAVaeFileError("is not a .vae file")


def deflate(data: bytes) -> bytes:
    """ICC and EXIF as they are stored. Raises `UnsupportedImageError` for what no reader takes."""
    if len(data) > MAX_METADATA:
        raise UnsupportedImageError(
            f"ICC or EXIF data of {len(data)} bytes is over the limit of {MAX_METADATA}",
            remedy="leave it out with --strip all",
        )
    return zlib.compress(data, 9)


def inflate(data: bytes, most: int = MAX_METADATA) -> bytes:
    """The reverse of `deflate`, never more than `most` bytes. Raises `BitstreamError`s."""
    unpacker = zlib.decompressobj()
    try:
        result = unpacker.decompress(data, most + 1)
    except zlib.error:
        raise ChecksumError("a section is not zlib data") from None
    if len(result) > most:
        raise HeaderLimitError(f"a section unpacks to more than {most} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise ChecksumError("a section is not exactly one zlib stream")
    return result


def _check_fields(head: Container, flags: int, max_pixels: int) -> None:
    if head.width < 1 or head.height < 1:
        raise HeaderLimitError(f"size {head.width} x {head.height} is empty")
    if head.width * head.height > max_pixels:
        raise HeaderLimitError(
            f"{head.width * head.height / 1e6:.0f} megapixels is over the limit of "
            f"{max_pixels / 1e6:.0f}",
            remedy="raise it with --max-pixels",
        )
    if is_too_thin(head.width, head.height, max_pixels):
        raise HeaderLimitError(
            f"size {head.width} x {head.height} is too thin to be padded to cells"
        )
    if head.depth not in (8, 16, 32):
        raise HeaderLimitError(f"depth {head.depth} is not 8, 16 or 32")
    if flags & ~(GREY | STORED):
        raise HeaderLimitError(f"flags {flags:#04x} has bits that version 2 does not have")
    if not 4 <= head.tile <= MAX_TILE or head.tile % 4:
        raise HeaderLimitError(f"tile {head.tile} is not a multiple of 4 up to {MAX_TILE}")
    if not MODEL_ID.fullmatch(head.model_id):
        raise HeaderLimitError(f"model id {head.model_id!r} is not a model's name")


def _check_sections(head: Container, kinds: bytes) -> None:
    """Check the kinds of the sections, a byte each, before anything is made of them."""
    unknown = set(kinds) - set(SectionKind)
    if unknown:
        raise VersionError(f"section kind {min(unknown)} is unknown", remedy="update vaetools")
    for kind, (fewest, most) in _counts(head).items():
        count = kinds.count(kind)
        if not fewest <= count <= most:
            wanted = str(most) if fewest == most else f"{fewest} to {most}"
            raise HeaderLimitError(f"{count} sections {kind.name.lower()} where {wanted} belong")


def _counts(head: Container) -> dict[SectionKind, tuple[int, int]]:
    """The fewest and most sections of every kind."""
    if head.stored:
        return dict.fromkeys(SectionKind, (0, 0)) | {SectionKind.SOURCE: (1, 1)}
    rows, columns = tile_grid(head.width, head.height, head.tile)
    tiles = (rows * columns, rows * columns)
    once = {SectionKind.HYPER: (1, 1), SectionKind.COARSE: tiles, SectionKind.FINE: tiles}
    return dict.fromkeys(SectionKind, (0, 1)) | once | {SectionKind.SOURCE: (0, 0)}
