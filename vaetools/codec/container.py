"""The `.vae` container: a header with checksum, a table of sections, and their bytes.

Nothing here knows networks or pixels. All numbers are little-endian. Version 3:

    offset  bytes  field
    0       4      magic 89 56 41 45
    4       1      version = 3; 2 if no section is ancillary
    5       1      depth: 8, 16 (unsigned) or 32 (float) bits per sample
    6       1      flags: bit 0 = grey, bit 1 = stored; other bits 0
    7       1      level: rate index, 0 … levels − 1 of the model
    8       4      width in pixels
    12      4      height in pixels
    16      2      tile: side of an entropy-coded tile in latents
    18      8      stream id: identifies the bitstream of the encoder's model
    26      1      n, length of the model id
    27      n      model id, ASCII
    27+n    2      k, number of sections
    29+n    9 k    per section: kind (1), length (4), CRC-32 (4)
    …       4      CRC-32 of all preceding bytes
    …              the sections in order, up to the end of the file

A reader rejects unknown section kinds below 128 and skips ancillary ones, from 128 on (see
`SectionKind`). `docs/format.md` specifies the contents of
the sections.
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
from vaetools.tiling import ceil_div

MAGIC = b"\x89VAE"
VERSION = 3
PLAIN_VERSION = 2
"""The version before there were ancillary sections; files without any are still written so."""

ANCILLARY = 128
"""Kinds of sections from here on may be skipped: pixels do not depend on them."""

SUFFIX = ".vae"
FIXED = struct.Struct("<4sBBBBIIH8sB")
ENTRY = struct.Struct("<BII")
COUNT = struct.Struct("<H")
CRC = struct.Struct("<I")
GREY, STORED = 1, 2
DOWNSCALE = 16
"""Pixels per latent along each axis."""

CELL = 64
"""Pixels per hyper-latent along each axis; images are padded to multiples of it."""

MAX_METADATA = 16 * 2**20
"""Limit on the decompressed size of a section of metadata, in bytes."""

MIN_PADDED_PIXELS = 2**24
"""Padded size in pixels that is always allowed: padding turns 1 x N into 64 x N."""


class SectionKind(IntEnum):
    """Contents of a section."""

    HYPER = 1
    """Hyper-latents; exactly one section."""

    COARSE = 2
    """Coarse latent channels of a tile, for previews; one section per tile in raster order."""

    FINE = 3
    """Remaining latent channels of a tile; one section per tile in raster order."""

    ALPHA = 4
    """Alpha channel as PNG."""

    ICC = 5
    """ICC profile, zlib-compressed."""

    EXIF = 6
    """EXIF data, zlib-compressed."""

    LEVELS = 7
    """Rate map: the rate index of every cell, zlib-compressed; absent if all are equal."""

    SOURCE = 8
    """The original image file, unchanged; the only section of a stored file."""

    XMP = 128
    """XMP packet, zlib-compressed."""

    IPTC = 129
    """IPTC-IIM records, zlib-compressed."""

    CICP = 130
    """Colour space as code points: 4 bytes."""

    DENSITY = 131
    """Pixels per inch: two doubles and a byte."""


PREVIEW = (SectionKind.LEVELS, SectionKind.HYPER, SectionKind.COARSE)
"""Sections that a preview is decoded from."""


def is_ancillary(kind: int) -> bool:
    """Whether a reader may skip sections of this kind."""
    return kind >= ANCILLARY


@dataclass(frozen=True)
class Section:
    """Kind and bytes of one section."""

    kind: SectionKind
    data: bytes


@dataclass(frozen=True)
class Container:
    """A complete file in memory.

    Attributes:
        width, height: size of the image in pixels.
        depth: bits per sample: 8, 16 (unsigned integers) or 32 (floats).
        grey: True for one colour channel, False for three.
        level: rate index; with a `LEVELS` section, that of cells whose rate is not lowered.
        tile: side of an entropy-coded tile in latents.
        stream_id: identifies the bitstream, 16 hexadecimal digits; see `CodecSpec.stream_id`.
        model_id: id of the model that encoded the file.
        sections: in file order.
        stored: True if the file holds the original image file instead of an encoded image.
    """

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
        """Data of the only section of a kind, or None."""
        return next((s.data for s in self.sections if s.kind == kind), None)

    def all(self, kind: SectionKind) -> list[bytes]:
        """Data of all sections of a kind, in file order."""
        return [s.data for s in self.sections if s.kind == kind]

    def pack(self) -> bytes:
        """Serialise to the bytes of a `.vae` file."""
        has_ancillary = any(is_ancillary(section.kind) for section in self.sections)
        header = FIXED.pack(
            MAGIC,
            VERSION if has_ancillary else PLAIN_VERSION,
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
    """The parsed header of a file.

    Attributes:
        fields: the header's fields, as a `Container` without sections.
        entries: (kind, length in bytes, CRC-32) of every section; the kind is a plain number for
            ancillary sections that are not known.
        size: length of the header in bytes.
    """

    fields: Container
    entries: tuple[tuple[int, int, int], ...]
    size: int


def read_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Parse and validate the header. Allocates no memory for the sizes that it declares.

    Args:
        data: the file, or at least its header.
        max_pixels: limit on width × height.

    Raises:
        NotAVaeFileError: the magic bytes are missing.
        VersionError: the version or a section kind is unknown.
        ChecksumError: the header is truncated or its CRC-32 does not match.
        HeaderLimitError: a field is out of range, or fields contradict each other.
    """
    check_magic(data)
    if len(data) < FIXED.size:
        raise ChecksumError("is truncated inside the header")
    _, version, depth, flags, level, width, height, tile, stream_id, id_length = FIXED.unpack_from(
        data
    )
    if version not in (PLAIN_VERSION, VERSION):
        raise VersionError(
            f"version {version} is not {PLAIN_VERSION} or {VERSION}", remedy="update vaetools"
        )
    count_at = FIXED.size + id_length
    if len(data) < count_at + COUNT.size:
        raise ChecksumError("is truncated inside the header")
    (count,) = COUNT.unpack_from(data, count_at)
    end = count_at + COUNT.size + count * ENTRY.size
    if len(data) < end + CRC.size:
        raise ChecksumError("is truncated inside the header")
    if CRC.unpack_from(data, end)[0] != zlib.crc32(data[:end]):
        raise ChecksumError("the header is damaged")
    table = data[count_at + COUNT.size : end]
    model_id = data[FIXED.size : count_at].decode("ascii", "replace")
    grey, stored = bool(flags & GREY), bool(flags & STORED)
    header = Container(
        width, height, depth, grey, level, tile, stream_id.hex(), model_id, (), stored
    )
    _check_fields(header, flags, max_pixels)
    _check_sections(header, table[:: ENTRY.size], version)
    rows = ENTRY.iter_unpack(table)
    known = set(SectionKind)
    entries = tuple(
        (SectionKind(kind) if kind in known else kind, length, crc) for kind, length, crc in rows
    )
    return Header(header, entries, end + CRC.size)


def unpack(data: bytes, *, max_pixels: int = MAX_PIXELS, preview: bool = False) -> Container:
    """Parse a complete file and verify all checksums.

    Args:
        data: the bytes of the file.
        max_pixels: limit on width × height.
        preview: accept a truncated file that contains all sections needed for a preview.

    Raises:
        NotAVaeFileError, VersionError, HeaderLimitError: see `read_header`.
        ChecksumError: bytes are damaged, missing or left over.
    """
    return read_sections(data, read_header(data, max_pixels=max_pixels), preview=preview)


def read_sections(data: bytes, header: Header, *, preview: bool = False) -> Container:
    """The rest of `unpack`, for a file whose header was parsed before.

    Raises:
        ChecksumError: see `unpack`.
    """
    expected = header.size + sum(length for _, length, _ in header.entries)
    if len(data) > expected or (len(data) < expected and not preview):
        raise ChecksumError(f"is {len(data)} bytes long, but {expected} bytes were written")
    sections, at = [], header.size
    for kind, length, crc in header.entries:
        part = data[at : at + length]
        at += length
        if at > len(data):
            if kind in PREVIEW or kind == SectionKind.SOURCE:
                raise ChecksumError("is truncated before the end of the preview data")
            continue
        if zlib.crc32(part) != crc:
            name = kind.name.lower() if isinstance(kind, SectionKind) else kind
            raise ChecksumError(f"the section {name} at byte {at - length} is damaged")
        if isinstance(kind, SectionKind):
            sections.append(Section(kind, part))
    return dataclasses.replace(header.fields, sections=tuple(sections))


def tile_grid(width: int, height: int, tile: int) -> tuple[int, int]:
    """(rows, columns) of entropy-coded tiles; the image is padded to multiples of 64 pixels."""
    rows, columns = (ceil_div(side, CELL) * CELL // DOWNSCALE for side in (height, width))
    return ceil_div(rows, tile), ceil_div(columns, tile)


def is_too_thin(width: int, height: int, max_pixels: int) -> bool:
    """Whether padding to whole cells enlarges an image far beyond the limit."""
    padded = ceil_div(width, CELL) * ceil_div(height, CELL) * CELL**2
    return padded > 2 * max(max_pixels, MIN_PADDED_PIXELS)


def check_magic(head: bytes) -> None:
    """Check the first bytes of a file.

    Raises:
        NotAVaeFileError: it is not a `.vae` file.
    """
    if head[: len(MAGIC)] != MAGIC:
        raise NotAVaeFileError("is not a .vae file")


def deflate(data: bytes) -> bytes:
    """Compress metadata for a section.

    Raises:
        UnsupportedImageError: the data exceeds the limit that readers accept.
    """
    if len(data) > MAX_METADATA:
        raise UnsupportedImageError(
            f"metadata of {len(data)} bytes is over the limit of {MAX_METADATA} for each kind",
            remedy="remove it with --strip all",
        )
    return zlib.compress(data, 9)


def inflate(data: bytes, max_bytes: int = MAX_METADATA) -> bytes:
    """Inverse of `deflate`. Never allocates much more than `max_bytes`.

    Raises:
        ChecksumError: the data is not one complete zlib stream.
        HeaderLimitError: the result exceeds `max_bytes`.
    """
    unpacker = zlib.decompressobj()
    try:
        result = unpacker.decompress(data, max_bytes + 1)
    except zlib.error:
        raise ChecksumError("a section is not zlib data") from None
    if len(result) > max_bytes:
        raise HeaderLimitError(f"a section decompresses to more than {max_bytes} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise ChecksumError("a section is not one complete zlib stream")
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
            f"size {head.width} x {head.height} is too narrow to be padded to {CELL}-pixel cells"
        )
    if head.depth not in (8, 16, 32):
        raise HeaderLimitError(f"depth {head.depth} is not 8, 16 or 32")
    if flags & ~(GREY | STORED):
        raise HeaderLimitError(
            f"flags {flags:#04x} sets bits that version {VERSION} does not define"
        )
    if not 4 <= head.tile <= MAX_TILE or head.tile % 4:
        raise HeaderLimitError(f"tile {head.tile} is not a multiple of 4 up to {MAX_TILE}")
    if not MODEL_ID.fullmatch(head.model_id):
        raise HeaderLimitError(f"model id {head.model_id!r} is not valid")


def _check_sections(head: Container, kinds: bytes, version: int) -> None:
    """Check the kinds of all sections, one byte each, before any entry is parsed."""
    unknown = {kind for kind in set(kinds) - set(SectionKind) if not is_ancillary(kind)}
    ancillary = {kind for kind in kinds if is_ancillary(kind)}
    if version == PLAIN_VERSION:
        unknown |= ancillary
    elif not ancillary:
        raise HeaderLimitError(f"has no ancillary section, but is of version {VERSION}")
    if unknown:
        raise VersionError(f"section kind {min(unknown)} is unknown", remedy="update vaetools")
    for kind, (low, high) in _section_counts(head).items():
        count = kinds.count(kind)
        if not low <= count <= high:
            expected = str(high) if low == high else f"{low} to {high}"
            raise HeaderLimitError(f"has {count} {kind.name.lower()} sections, not {expected}")


def _section_counts(head: Container) -> dict[SectionKind, tuple[int, int]]:
    """Minimum and maximum number of sections of every kind."""
    if head.stored:
        return dict.fromkeys(SectionKind, (0, 0)) | {SectionKind.SOURCE: (1, 1)}
    rows, columns = tile_grid(head.width, head.height, head.tile)
    tiles = (rows * columns, rows * columns)
    once = {SectionKind.HYPER: (1, 1), SectionKind.COARSE: tiles, SectionKind.FINE: tiles}
    return dict.fromkeys(SectionKind, (0, 1)) | once | {SectionKind.SOURCE: (0, 0)}
