"""TIFF directories: tagged fields, as TIFF files and EXIF blocks (which are small TIFFs) have them.

Own code because the EXIF writers at hand take a block apart and put it together anew, which breaks
maker notes, and none writes it into a 16-bit TIFF. Editing in place keeps every other byte.

    "II*\\0" or "MM\\0*", offset of the first directory
    directory: count, count × (tag, kind, count, value or its offset), offset of the next directory

Reference: TIFF 6.0, section 2; Exif 2.32, section 4.6.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ORIENTATION = 274
ICC_PROFILE = 34675
EXIF_POINTER, GPS_POINTER, INTEROP_POINTER = 0x8769, 0x8825, 0xA005
SHORT, LONG, UNDEFINED = 3, 4, 7

# Fields about the image (not about how its pixels are stored) that go from file to file:
# description, maker, resolution, software, date, artist, copyright, rating, Windows titles.
DESCRIPTIVE = frozenset(
    {270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 33432, *range(40091, 40096)}
) | {EXIF_POINTER, GPS_POINTER}

RESOLUTION = frozenset({282, 283, 296})

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "L", 13: "L"}
_POINTERS_BY_LEVEL = ({EXIF_POINTER, GPS_POINTER}, {INTEROP_POINTER}, set[int]())

Order: TypeAlias = Literal["<", ">"]

Item: TypeAlias = tuple[int, int, int, bytes]
"""What `write_directory` takes: tag, kind, count, raw value."""


@dataclass(frozen=True)
class Field:
    """One field of a directory: `entry` is where its 12 bytes are, `start` and `size` its value."""

    tag: int
    kind: int
    count: int
    entry: int
    start: int
    size: int

    def raw(self, data: bytes) -> bytes:
        return bytes(data[self.start : self.start + self.size])

    def numbers(self, data: bytes) -> tuple[int, ...]:
        """The values, if they are unsigned whole numbers; else nothing."""
        code = _WHOLE_NUMBERS.get(self.kind)
        if code is None:
            return ()
        return struct.unpack(f"{byte_order(data)}{self.count}{code}", self.raw(data))


def byte_order(data: bytes | bytearray) -> Order:
    """`<` or `>`. Raises `ValueError` if `data` is no (classic) TIFF structure."""
    if data[:4] == b"II*\0":
        return "<"
    if data[:4] == b"MM\0*":
        return ">"
    raise ValueError("not a TIFF structure")


def first_directory(data: bytes) -> int:
    """Offset of the first directory."""
    return int(struct.unpack_from(f"{byte_order(data)}L", data, 4)[0])


def read_directory(data: bytes, offset: int) -> tuple[list[Field], int]:
    """The fields at `offset`, and the offset of the next directory or 0.

    Fields whose value is not inside `data`, or of an unknown kind, are left out: cameras and
    editors do leave such behind. Nor can fields claim more bytes together than there are.

    Raises:
        ValueError, struct.error: no directory there.
    """
    order = byte_order(data)
    (count,) = struct.unpack_from(f"{order}H", data, offset)
    end = offset + 2 + 12 * count
    fields = []
    claimed = 0
    for entry in range(offset + 2, end, 12):
        tag, kind, number = struct.unpack_from(f"{order}HHL", data, entry)
        size = _SIZES.get(kind, 0) * number
        start = entry + 8
        if size > 4:
            (start,) = struct.unpack_from(f"{order}L", data, entry + 8)
        claimed += size
        if size > 0 and start + size <= len(data) and claimed <= len(data):
            fields.append(Field(tag, kind, number, entry, start, size))
    following = struct.unpack_from(f"{order}L", data, end)[0] if end + 4 <= len(data) else 0
    return fields, following


def write_directory(order: Order, offset: int, items: Iterable[Item]) -> bytes:
    """A directory, to be placed at `offset`, with its values behind it and no next directory."""
    ordered = sorted(items)
    table = struct.pack(f"{order}H", len(ordered))
    values = b""
    values_at = offset + 2 + 12 * len(ordered) + 4
    for tag, kind, count, raw in ordered:
        value = raw.ljust(4, b"\0")
        if len(raw) > 4:
            value = struct.pack(f"{order}L", values_at + len(values))
            values += raw + b"\0" * (len(raw) % 2)
        table += struct.pack(f"{order}HHL", tag, kind, count) + value
    return table + struct.pack(f"{order}L", 0) + values


def find(fields: Sequence[Field], tag: int) -> Field | None:
    """The first field with that tag."""
    return next((field for field in fields if field.tag == tag), None)


def unique(fields: Iterable[Field]) -> list[Field]:
    """The first field of each tag; what follows one of the same tag is ignored, as in `find`."""
    by_tag: dict[int, Field] = {}
    for field in fields:
        by_tag.setdefault(field.tag, field)
    return list(by_tag.values())


def upright(exif: bytes) -> tuple[bytes, int]:
    """The EXIF block with orientation 1, and the orientation 1 … 8 that it had.

    A block that has none, and one that cannot be read and is returned as it is, have 0.
    """
    changed, value = with_orientation(exif, 1)
    return changed, value if 1 <= value <= 8 else 0


def with_orientation(exif: bytes, orientation: int) -> tuple[bytes, int]:
    """The EXIF block with another orientation, and the number that it had.

    A block that has none or cannot be read is returned as it is, with 0.
    """
    try:
        field = find(read_directory(exif, first_directory(exif))[0], ORIENTATION)
        value = field.numbers(exif)[:1] if field is not None else ()
    except (ValueError, struct.error):
        return exif, 0
    if field is None or not value:
        return exif, 0
    number = struct.pack(f"{byte_order(exif)}{_WHOLE_NUMBERS[field.kind]}", orientation)
    return exif[: field.start] + number + exif[field.start + len(number) :], value[0]


def without_gps(exif: bytes) -> bytes | None:
    """The EXIF block with the GPS directory overwritten with zeros, every other byte in its place.

    A block that cannot be read might hold a position, so None is returned for it.
    """
    try:
        fields, _ = read_directory(exif, first_directory(exif))
        pointers = [field for field in fields if field.tag == GPS_POINTER]
        block = bytearray(exif)
        for pointer in reversed(pointers):  # from the back: removing one moves those behind it
            _blank_directory(block, pointer.numbers(exif)[0])
            _remove_entry(block, first_directory(exif), pointer.entry)
    except (ValueError, IndexError, struct.error):
        return None
    return bytes(block)


def _blank_directory(block: bytearray, offset: int) -> None:
    fields, _ = read_directory(bytes(block), offset)
    (count,) = struct.unpack_from(f"{byte_order(block)}H", block, offset)
    spans = [(field.start, field.size) for field in fields]
    for start, size in [*spans, (offset, 2 + 12 * count + 4)]:
        stop = min(start + size, len(block))
        block[start:stop] = bytes(stop - start)


def _remove_entry(block: bytearray, directory: int, entry: int) -> None:
    order = byte_order(block)
    (count,) = struct.unpack_from(f"{order}H", block, directory)
    end = directory + 2 + 12 * count + 4
    block[entry:end] = block[entry + 12 : end] + bytes(12)
    struct.pack_into(f"{order}H", block, directory, count - 1)


def descriptive_items(exif: bytes) -> list[Item]:
    """The fields of an EXIF block that a TIFF's own directory takes over; pointers stay.

    Raises:
        ValueError, struct.error: the block cannot be read.
    """
    fields, _ = read_directory(exif, first_directory(exif))
    kept = unique(field for field in fields if field.tag in DESCRIPTIVE)
    return [(field.tag, field.kind, field.count, field.raw(exif)) for field in kept]


def exif_of_tiff(data: bytes, fields: Sequence[Field]) -> bytes | None:
    """An EXIF block with a TIFF file's descriptive fields and its EXIF and GPS directories.

    Maker notes that count their offsets from the start of the file do not survive this move.
    """
    kept = [field for field in fields if field.tag in DESCRIPTIVE]
    if all(field.tag in RESOLUTION for field in kept):  # a TIFF has fields of its own for these
        return None
    body, directory = _rebuilt(data, kept, 8, level=0)
    return data[:4] + struct.pack(f"{byte_order(data)}L", directory) + body


def _rebuilt(data: bytes, fields: Sequence[Field], offset: int, level: int) -> tuple[bytes, int]:
    """Bytes to be placed at `offset`, and where the directory itself will be."""
    order = byte_order(data)
    body = b""
    items: list[Item] = []
    for field in unique(fields):
        raw = field.raw(data)
        if field.tag in _POINTERS_BY_LEVEL[level]:
            try:
                inner, _ = read_directory(data, field.numbers(data)[0])
            except (ValueError, IndexError, struct.error):
                continue
            part, at = _rebuilt(data, inner, offset + len(body), level + 1)
            body += part
            raw = struct.pack(f"{order}L", at)
            items.append((field.tag, LONG, 1, raw))
        else:
            items.append((field.tag, field.kind, field.count, raw))
    return body + write_directory(order, offset + len(body), items), offset + len(body)
