"""EXIF blocks: TIFF structures without an image. Edited in place, so that maker notes stay valid.

Where an entry has to be added, the first directory is written anew at the end of the block, and
everything else stays where it is. Reference: Exif 2.32 (CIPA DC-008).
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from vaetools.image.metadata.tiff_directory import (
    EXIF_POINTER,
    GPS_POINTER,
    INTEROP_POINTER,
    LONG,
    SHORT,
    Field,
    byte_order,
    find,
    first_directory,
    read_directory,
    unique,
    upright,
    write_directory,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vaetools.image.metadata.fields import Density
    from vaetools.image.metadata.tiff_directory import Item

EXIF_PREFIX = b"Exif\0\0"
RATIONAL = 5
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296

# Tags of width and height, by directory: first, EXIF, interoperability.
_SIZES = {256: "width", 257: "height", 0xA002: "width", 0xA003: "height"} | {
    0x1001: "width",
    0x1002: "height",
}
_COLOUR_SPACE, _INTEROPERABILITY_INDEX = 0xA001, 1
_FOREIGN = {700: "xmp", 33723: "iptc", 34377: "photoshop", 34675: "icc"}
# A JPEG inside the block: start of image, then a marker that can follow it.
_JPEG_START = re.compile(rb"\xff\xd8\xff[\xc0-\xc4\xdb\xdd\xe0-\xef\xfe]")
_MAX_PREVIEWS = 32
_MAX_DIRECTORIES = 8  # that follow the first; a camera writes one


def split_exif(payload: bytes) -> tuple[bytes | None, int]:
    """The EXIF block without `Exif` prefixes, orientation 1, and the orientation it had, or 0."""
    while payload.startswith(EXIF_PREFIX):
        payload = payload[len(EXIF_PREFIX) :]
    return upright(payload) if payload else (None, 0)


def is_exif(block: bytes) -> bool:
    """Whether a block begins as a TIFF file does."""
    return block[:4] in (b"II*\0", b"MM\0*")


def density_of_exif(exif: bytes) -> tuple[float, float, int] | None:
    """(x, y, unit) of the resolution; unit 1 none, 2 inch, 3 centimetre. None without one."""
    try:
        fields, _ = read_directory(exif, first_directory(exif))
    except (ValueError, struct.error):
        return None
    return density_of_fields(exif, fields)


def density_of_fields(data: bytes, fields: list[Field]) -> tuple[float, float, int] | None:
    """Like `density_of_exif`, for a directory of a TIFF structure."""
    x, y = (_rational(data, find(fields, tag)) for tag in (X_RESOLUTION, Y_RESOLUTION))
    unit = find(fields, RESOLUTION_UNIT)
    number = (*(unit.numbers(data) if unit else ()), 2)[0]
    return None if x is None or y is None else (x, y, number)


def is_adobe_rgb(exif: bytes) -> bool:
    """Whether cameras mean Adobe RGB: not sRGB, and the interoperability index R03 (DCF 2.0)."""
    try:
        fields = list(_fields(exif, first_directory(exif), level=0))
    except (ValueError, struct.error):
        return False
    space, index = find(fields, _COLOUR_SPACE), find(fields, _INTEROPERABILITY_INDEX)
    is_other = space is not None and space.numbers(exif) in ((2,), (0xFFFF,))
    return is_other and index is not None and index.raw(exif).rstrip(b"\0") == b"R03"


def _rational(data: bytes, field: Field | None) -> float | None:
    return (*rationals(data, field), None)[0] if field is not None else None


def rationals(data: bytes, field: Field) -> list[float]:
    """The values of a field of positive fractions; empty if it is another one."""
    if field.kind != RATIONAL:
        return []
    numbers = struct.unpack(f"{byte_order(data)}{2 * field.count}L", field.raw(data))
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return [above / below for above, below in pairs if below]


def without_thumbnails(exif: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The block without pictures, and blocks of other kinds that were inside.

    The thumbnail's directory and data are overwritten with zeros, or cut off at the end. So are
    JPEG previews inside of maker notes, of which every other byte stays. XMP, IPTC and ICC in the
    first directory are taken out, since they have places of their own.

    Returns:
        The block, and what was taken out by name: `xmp`, `iptc`, `photoshop`.
    """
    try:
        fields, following = read_directory(exif, first_directory(exif))
    except (ValueError, struct.error):
        return exif, {}
    block = bytearray(exif)
    kept = list(_spans(exif, first_directory(exif), level=0))
    seen = {first_directory(exif)}
    thumbnail = following
    while following and following not in seen and len(seen) < _MAX_DIRECTORIES:
        seen.add(following)
        following = _blank_thumbnail(block, exif, following, kept)
    _unlink(block, first_directory(exif))
    for start, stop in _previews(bytes(block)):
        block[start:stop] = bytes(stop - start)
    taken = {name: f.raw(exif) for tag, name in _FOREIGN.items() if (f := find(fields, tag))}
    without = bytes(block)
    if taken:
        items = [_item(f, without) for f in unique(fields) if f.tag not in _FOREIGN]
        for field in fields:
            if field.tag in _FOREIGN and field.size > 4:
                block[field.start : field.start + field.size] = bytes(field.size)
        without = _with_first_directory(bytes(block), items)
    return (_cut(without, kept) if thumbnail and not taken else without), taken


def _previews(block: bytes) -> Iterator[tuple[int, int]]:
    """(start, stop) of the JPEG files inside a block."""
    at = 0
    for _ in range(_MAX_PREVIEWS):
        found = _JPEG_START.search(block, at)
        if found is None:
            return
        stop = _end_of_jpeg(block, found.start())
        at = max(stop, found.end())
        if stop:
            yield found.start(), stop


def _end_of_jpeg(block: bytes, start: int) -> int:
    """Where a JPEG ends: its segments may hold another one, so the first end marker will not do.

    0 if it has no pixels.
    """
    at = start + 2
    while at + 4 <= len(block) and block[at] == 0xFF and block[at + 1] >= 0xC0:
        if block[at + 1] == 0xDA:
            return block.find(b"\xff\xd9", at) + 2 if b"\xff\xd9" in block[at:] else len(block)
        at += 2 + int.from_bytes(block[at + 2 : at + 4], "big")
    return 0


def _item(field: Field, data: bytes) -> Item:
    return field.tag, field.kind, field.count, field.raw(data)


def _spans(exif: bytes, directory: int, level: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of a directory, its values, and the directories that it points to."""
    try:
        fields, _ = read_directory(exif, directory)
    except struct.error:
        return
    (count,) = struct.unpack_from(f"{byte_order(exif)}H", exif, directory)
    yield directory, directory + 2 + 12 * count + 4
    for field in fields:
        yield field.start, field.start + field.size
    for field in unique(fields):
        if level < 2 and field.tag in (EXIF_POINTER, GPS_POINTER, INTEROP_POINTER):
            yield from _spans(exif, (*field.numbers(exif), 0)[0], level + 1)


def _blank_thumbnail(
    block: bytearray, exif: bytes, directory: int, kept: list[tuple[int, int]]
) -> int:
    """Overwrite a directory, its values and its pixels, except what others use as well."""
    try:
        fields, following = read_directory(exif, directory)
    except struct.error:
        return 0
    spans = list(_spans(exif, directory, level=2))
    for at, size in ((513, 514), (273, 279)):  # JPEG, strips
        starts, sizes = (find(fields, tag) for tag in (at, size))
        if starts and sizes:
            pairs = zip(starts.numbers(exif), sizes.numbers(exif), strict=False)
            spans += [(start, start + length) for start, length in pairs]
    before = [(stop - start, bytes(block[start:stop])) for start, stop in kept]
    for start, stop in spans:
        stop = min(stop, len(block))  # noqa: PLW2901
        block[start:stop] = bytes(max(stop - start, 0))
    for (start, stop), (_, content) in zip(kept, before, strict=True):
        block[start:stop] = content
    return following


def _unlink(block: bytearray, directory: int) -> None:
    """No directory follows this one."""
    order = byte_order(block)
    (count,) = struct.unpack_from(f"{order}H", block, directory)
    end = directory + 2 + 12 * count
    if end + 4 <= len(block):
        struct.pack_into(f"{order}L", block, end, 0)


def _cut(block: bytes, kept: list[tuple[int, int]]) -> bytes:
    """Without the zeros at the end that no directory uses."""
    end = max((stop for _, stop in kept), default=8)
    return block[: max(end, len(block.rstrip(b"\0")))]


def fitted_exif(exif: bytes, width: int, height: int, density: Density | None) -> bytes:
    """The block with this size and resolution in the fields that are there for them.

    The resolution is added if it is missing. A block that cannot be read is returned as it is.
    """
    try:
        sized = _with_size(exif, {"width": width, "height": height})
        if density is None or not density.absolute:
            return sized
        return _with_resolution(sized, density)
    except (ValueError, struct.error):
        return exif


def exif_with_resolution(density: Density) -> bytes:
    """A block that says nothing but the resolution."""
    return _with_resolution(b"II*\0\x08\0\0\0" + bytes(6), density)


def _with_size(exif: bytes, sizes: dict[str, int]) -> bytes:
    order = byte_order(exif)
    block = bytearray(exif)
    for field in _fields(exif, first_directory(exif), level=0):
        if field.tag in _SIZES and field.kind in (SHORT, LONG) and field.count == 1:
            value = struct.pack(f"{order}HHLL", field.tag, LONG, 1, sizes[_SIZES[field.tag]])
            if sizes[_SIZES[field.tag]] < 2**16 and field.kind == SHORT:
                number = sizes[_SIZES[field.tag]]
                value = struct.pack(f"{order}HHLHH", field.tag, SHORT, 1, number, 0)
            block[field.entry : field.entry + 12] = value
    return bytes(block)


def _fields(exif: bytes, directory: int, level: int) -> Iterator[Field]:
    """The fields of a directory, and of those of EXIF and interoperability inside."""
    try:
        fields, _ = read_directory(exif, directory)
    except struct.error:
        return
    for field in unique(fields):
        yield field
        if level < 2 and field.tag in (EXIF_POINTER, INTEROP_POINTER) and field.numbers(exif):
            yield from _fields(exif, field.numbers(exif)[0], level + 1)


def _with_resolution(exif: bytes, density: Density) -> bytes:
    order = byte_order(exif)
    items: list[Item] = [
        (X_RESOLUTION, RATIONAL, 1, rational(order, density.x)),
        (Y_RESOLUTION, RATIONAL, 1, rational(order, density.y)),
        (RESOLUTION_UNIT, SHORT, 1, struct.pack(f"{order}H", 2)),
    ]
    fields, _ = read_directory(exif, first_directory(exif))
    old = [find(fields, tag) for tag, *_ in items]
    if all(
        f and f.kind == kind and f.count == 1 for f, (_, kind, *_) in zip(old, items, strict=True)
    ):
        block = bytearray(exif)
        for field, (*_, raw) in zip(old, items, strict=True):
            assert field is not None
            block[field.start : field.start + field.size] = raw
        return bytes(block)
    changed = {tag for tag, *_ in items}
    kept = [_item(field, exif) for field in unique(fields) if field.tag not in changed]
    return _with_first_directory(exif, [*kept, *items])


def _with_first_directory(exif: bytes, items: Iterable[Item]) -> bytes:
    """The block with another first directory, at its end."""
    order = byte_order(exif)
    old = first_directory(exif)
    offset = len(exif) + len(exif) % 2
    block = bytearray(exif.ljust(offset, b"\0"))
    (count,) = struct.unpack_from(f"{order}H", block, old)
    stop = min(old + 2 + 12 * count + 4, len(block))
    block[old:stop] = bytes(stop - old)
    struct.pack_into(f"{order}L", block, 4, offset)
    return bytes(block) + write_directory(order, offset, items)


def rational(order: str, value: float) -> bytes:
    """A positive number as an unsigned rational, exact for whole numbers."""
    below = 1 if abs(value - round(value)) < 0.005 else 10000
    return struct.pack(f"{order}LL", min(round(value * below), 2**32 - 1), below)
