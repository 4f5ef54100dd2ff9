"""AVIF and HEIF: the boxes of ISO base media files, and the items that make one image.

References: ISO/IEC 14496-12 (boxes), ISO/IEC 23008-12 (HEIF), AV1 Image File Format 1.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vaetools.errors import DamagedImageError
from vaetools.image.containers.limits import MOST_PARTS, check_chunks
from vaetools.image.metadata import Cicp
from vaetools.image.metadata.reading import Blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

# (angle of irot in quarter turns, axis of imir behind it) -> EXIF orientation.
_TURNED = {
    (0, None): 1,
    (1, None): 8,
    (2, None): 3,
    (3, None): 6,
    (0, 0): 4,
    (1, 0): 5,
    (2, 0): 2,
    (3, 0): 7,
    (0, 1): 2,
    (1, 1): 7,
    (2, 1): 4,
    (3, 1): 5,
}
_APPLE_GAIN_MAP = b"urn:com:apple:photo:2020:aux:hdrgainmap"
_UNKNOWN = 2  # primaries, transfer and matrix: not specified


@dataclass
class Items:
    """What the `meta` box says about the primary image.

    Attributes:
        primary: number of the primary item.
        kinds: item -> type, such as `av01`, `hvc1`, `grid`, `Exif`; and content type of `mime`.
        extents: item -> (start, end) in the file.
        properties: of the primary item, in order.
        references: (type, from, to).
        is_sequence: whether the file is, or has, a sequence of images.
    """

    primary: int = 0
    kinds: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    extents: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    references: list[tuple[bytes, int, int]] = field(default_factory=list)
    is_sequence: bool = False

    def content(self, data: bytes, item: int) -> bytes:
        return b"".join(data[start:end] for start, end in self.extents.get(item, ()))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) before turning. Raises `DamagedImageError` if there is none."""
        for kind, content in self.properties:
            if kind == b"ispe" and len(content) >= 12:
                width, height = struct.unpack_from(">LL", content, 4)
                return width, height
        raise DamagedImageError("truncated or corrupt: no size of the image")

    @property
    def depth(self) -> int:
        """Bits per sample."""
        for kind, content in self.properties:
            if kind == b"pixi" and len(content) > 5:
                return max(content[5 : 5 + content[4]], default=8)
            if kind == b"av1C" and len(content) > 2:
                return (12 if content[2] & 0x20 else 10) if content[2] & 0x40 else 8
        return 8

    @property
    def monochrome(self) -> bool:
        """Whether an AVIF image is grey."""
        return any(
            kind == b"av1C" and len(content) > 2 and content[2] & 0x10
            for kind, content in self.properties
        )

    @property
    def premultiplied(self) -> bool:
        """Whether colours are already multiplied by alpha."""
        return any(kind == b"prem" for kind, _, _ in self.references)


def read_items(data: bytes, *, strict: bool) -> Items:
    """Read the boxes of a file.

    Raises:
        DamagedImageError: no such boxes; or with `strict`, the file ends too early.
    """
    items = Items()
    meta = (0, 0)
    for kind, start, end in boxes(data, 0, len(data), strict=strict):
        if kind == b"ftyp":
            items.is_sequence = data[start : start + 4] in (b"avis", b"hevc", b"msf1")
        if kind == b"meta" and not meta[1]:
            meta = start + 4, end
    try:
        _read_meta(items, data, *meta)
    except (struct.error, IndexError, ValueError):
        raise DamagedImageError("truncated or corrupt: the boxes of the file") from None
    ends = [end for extents in items.extents.values() for _, end in extents]
    if strict and max(ends, default=0) > len(data):
        raise DamagedImageError("truncated: pixels are missing at the end")
    return items


def blocks_of(data: bytes, items: Items, *, applied: bool) -> Blocks:
    """Metadata of the primary image.

    The orientation in the EXIF block is not to be applied: the container has its own.

    Args:
        applied: whether the decoder turns the image.
    """
    blocks = Blocks(orientation=1 if applied else _orientation(items.properties))
    for kind, content in items.properties:
        if kind == b"colr" and content[:4] in (b"prof", b"rICC"):
            blocks.icc = content[4:]
        elif kind == b"colr" and content[:4] == b"nclx" and len(content) >= 11:
            primaries, transfer = struct.unpack_from(">HH", content, 4)
            if _UNKNOWN not in (primaries, transfer):
                blocks.cicp = Cicp(primaries, transfer)  # of the decoded RGB samples
    if blocks.icc:  # it counts; the code points are there for the decoder
        blocks.cicp = None
    kinds = {kind for kind, _ in items.kinds.values()}
    blocks.has_gain_map = b"tmap" in kinds or _APPLE_GAIN_MAP in data
    describing = {source for kind, source, to in items.references if kind == b"cdsc"}
    for item, (kind, content_type) in items.kinds.items():
        if kind == b"Exif" and item in describing:
            blocks.exif = blocks.exif or exif_of(items.content(data, item))
        elif content_type == b"application/rdf+xml" and item in describing:
            blocks.xmp = blocks.xmp or items.content(data, item)
    return blocks


def exif_of(content: bytes) -> bytes:
    """The EXIF block of an item or box, behind the offset at which it begins."""
    if content.startswith((b"II*\0", b"MM\0*")):  # some encoders forget the offset
        return content
    return content[4 + int.from_bytes(content[:4], "big") :]


def _orientation(properties: list[tuple[bytes, bytes]]) -> int:
    turns, axis = 0, None
    for kind, content in properties:
        if kind == b"irot" and content:
            angle = content[0] & 3
            turns += -angle if axis is not None else angle  # a mirrored image turns backwards
        elif kind == b"imir" and content:
            axis = content[0] & 1
    return _TURNED[turns % 4, axis]


def boxes(
    data: bytes, at: int, end: int, *, strict: bool = False
) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of the contents of boxes."""
    count = 0
    while at + 8 <= end:
        count += 1
        check_chunks("boxed", count, len(data))
        size, kind = struct.unpack_from(">L4s", data, at)
        start = at + 8
        if size == 1 and at + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        stop = end if size == 0 else at + size
        if size and stop < start:
            raise DamagedImageError("truncated or corrupt: a box without a size")
        if strict and stop > end:
            raise DamagedImageError("truncated: the file ends inside a box")
        yield kind, start, min(stop, end)
        at = stop
    if strict and at < end:
        raise DamagedImageError("truncated: the file ends inside a box")


def _read_meta(items: Items, data: bytes, start: int, end: int) -> None:
    inside = {kind: (begin, stop) for kind, begin, stop in boxes(data, start, end)}
    if b"pitm" in inside:
        begin, stop = inside[b"pitm"]
        items.primary = int.from_bytes(data[begin + 4 : stop], "big")
    if b"iinf" in inside:
        _read_kinds(items, data, *inside[b"iinf"])
    if b"iloc" in inside:
        _read_extents(items, data, inside[b"iloc"][0], inside.get(b"idat", (0, 0))[0])
    if b"iref" in inside:
        _read_references(items, data, *inside[b"iref"])
    if b"iprp" in inside:
        _read_properties(items, data, *inside[b"iprp"])


def _read_kinds(items: Items, data: bytes, start: int, end: int) -> None:
    first = start + (6 if data[start] == 0 else 8)
    for kind, begin, stop in boxes(data, first, end):
        version = data[begin]
        if kind != b"infe" or version < 2:
            continue
        width = 2 if version == 2 else 4
        number = int.from_bytes(data[begin + 4 : begin + 4 + width], "big")
        at = begin + 6 + width
        rest = data[at + 4 : stop].split(b"\0")
        items.kinds[number] = data[at : at + 4], rest[1] if len(rest) > 1 else b""


def _read_extents(items: Items, data: bytes, start: int, idat: int) -> None:
    version = data[start]
    sizes = data[start + 4] >> 4, data[start + 4] & 15, data[start + 5] >> 4
    index_size = data[start + 5] & 15 if version else 0
    at = start + 6

    def number(width: int) -> int:
        nonlocal at
        if at + width > len(data):
            raise ValueError("the box ends")
        at += width
        return int.from_bytes(data[at - width : at], "big")

    offset_size, length_size, base_size = sizes
    total = 0
    for _ in range(number(2 if version < 2 else 4)):
        item = number(2 if version < 2 else 4)
        method = number(2) & 15 if version else 0
        number(2)  # where the data is: in this file
        base = number(base_size) + (idat if method == 1 else 0)
        extents = []
        for _ in range(number(2)):
            total += 1
            if total > MOST_PARTS:
                raise ValueError("too many extents")
            number(index_size)
            begin = base + number(offset_size)
            length = number(length_size)
            extents.append((begin, begin + length if length else len(data)))
        items.extents[item] = extents


def _read_references(items: Items, data: bytes, start: int, end: int) -> None:
    width = 2 if data[start] == 0 else 4
    for kind, begin, stop in boxes(data, start + 4, end):
        numbers = data[begin + width + 2 : stop]
        source = int.from_bytes(data[begin : begin + width], "big")
        for at in range(0, len(numbers) - width + 1, width):
            to = int.from_bytes(numbers[at : at + width], "big")
            items.references.append((kind, source, to))


def _read_properties(items: Items, data: bytes, start: int, end: int) -> None:
    known: list[tuple[bytes, bytes]] = []
    for kind, begin, stop in boxes(data, start, end):
        if kind == b"ipco":
            known = [(name, data[a:b]) for name, a, b in boxes(data, begin, stop)]
    for kind, begin, stop in boxes(data, start, end):
        if kind == b"ipma":
            numbers = _associated(data[begin:stop], items.primary)
            items.properties += [known[n - 1] for n in numbers if 0 < n <= len(known)]


def _associated(content: bytes, item: int) -> list[int]:
    """The numbers of the properties of an item."""
    item_size = 2 if content[0] == 0 else 4
    size = 2 if content[3] & 1 else 1
    (count,) = struct.unpack_from(">L", content, 4)
    at = 8
    found: list[int] = []
    for _ in range(min(count, len(content))):
        number = int.from_bytes(content[at : at + item_size], "big")
        at += item_size
        entries = content[at] if at < len(content) else 0
        at += 1
        if number == item:
            mask = 0x7FFF if size == 2 else 0x7F
            places = range(at, at + entries * size, size)
            found += [int.from_bytes(content[p : p + size], "big") & mask for p in places]
        at += entries * size
    return found
