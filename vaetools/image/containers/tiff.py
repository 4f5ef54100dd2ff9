"""TIFF: a directory of fields. Only the classic kind, with 32-bit offsets."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vaetools.errors import DamagedImageError, UnsupportedImageError
from vaetools.image.containers.base import Bare, Container, unknown
from vaetools.image.containers.limits import MOST_PARTS, by_tag, check_strips, check_tiles
from vaetools.image.metadata.exif import (
    RATIONAL,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    density_of_fields,
    rational,
    rationals,
)
from vaetools.image.metadata.fields import Calibration
from vaetools.image.metadata.reading import Blocks, density_of
from vaetools.image.metadata.tiff_directory import (
    DESCRIPTIVE,
    ICC_PROFILE,
    LONG,
    ORIENTATION,
    SHORT,
    UNDEFINED,
    Field,
    byte_order,
    exif_of_tiff,
    find,
    first_directory,
    read_directory,
    unique,
    write_directory,
)
from vaetools.image.metadata.writing import Holds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.image.metadata.fields import Metadata
    from vaetools.image.metadata.tiff_directory import Item, Order

XMP, IPTC, PHOTOSHOP = 700, 33723, 34377
TRANSFER_FUNCTION, WHITE_POINT, PRIMARIES = 301, 318, 319
BYTE = 1
_METADATA_FIELDS = {ICC_PROFILE, XMP, IPTC, PHOTOSHOP}
_NAMED = {TRANSFER_FUNCTION: "transfer function", 37724: "layers of Photoshop"} | {
    **dict.fromkeys((33550, 33922, 34264, 34735, 34736, 34737), "GeoTIFF"),
    **dict.fromkeys((42112, 42113), "metadata of GDAL"),
}
_KNOWN = frozenset({254, 255, 263, 264, 265, ORIENTATION, 280, 281, 297, WHITE_POINT})
"""Fields that are read, or that say which image this is, and how its samples are spread."""

_PIXEL_FIELDS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, *range(319, 326)}
) | {332, 333, 334, 336, 338, 339, 340, 341, 347, *range(512, 522), *range(529, 533), ICC_PROFILE}


def unwrap(data: bytes, strict: bool) -> Bare:
    if data[2:4] in (b"+\0", b"\0+"):
        raise UnsupportedImageError("BigTIFF is not supported", remedy="save it as a classic TIFF")
    try:
        fields, following = read_directory(data, first_directory(data))
        blocks = _blocks(data, fields)
        check_tiles(data, by_tag(fields))
    except (ValueError, struct.error):
        raise DamagedImageError("truncated or corrupt: no TIFF directory") from None
    if strict:
        _check_strips(data, fields)
    bare = _with_directory(data, unique(f for f in fields if f.tag in _PIXEL_FIELDS))
    metadata, orientation = blocks.understood()
    return Bare("tiff", bare, metadata, orientation, 1 + _directories_from(data, following))


def _blocks(data: bytes, fields: list[Field]) -> Blocks:
    raw = {f.tag: f.raw(data) for f in reversed(fields) if f.tag in _METADATA_FIELDS}
    turned = find(fields, ORIENTATION)
    orientation = (*turned.numbers(data), 1)[0] if turned else 1
    density = density_of_fields(data, fields)
    iptc = find(fields, IPTC)
    return Blocks(
        icc=raw.get(ICC_PROFILE, b""),
        exif=exif_of_tiff(data, fields) or b"",
        xmp=raw.get(XMP, b""),
        photoshop=raw.get(PHOTOSHOP, b""),
        iptc=_unswapped(iptc, data) if iptc else b"",
        density=None if density is None else density_of(*density),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        calibration=_calibration(data, fields),
        notes=list(_not_kept(fields)),
    )


def _not_kept(fields: list[Field]) -> Iterator[str]:
    """What the fields of a directory hold that has no place in `Blocks`."""
    others = {f.tag for f in fields} - _PIXEL_FIELDS - _METADATA_FIELDS - DESCRIPTIVE - _KNOWN
    yield from dict.fromkeys(_NAMED[tag] for tag in sorted(others) if tag in _NAMED)
    yield from unknown("TIFF tags", (str(tag) for tag in sorted(others) if tag not in _NAMED))


def _calibration(data: bytes, fields: list[Field]) -> Calibration | None:
    """White point and primaries; TIFF has no gamma, and that of sRGB is taken."""
    white, primaries = find(fields, WHITE_POINT), find(fields, PRIMARIES)
    if white is None or primaries is None or (white.count, primaries.count) != (2, 6):
        return None
    parts = [part for field in (white, primaries) for part in rationals(data, field)]
    return (
        Calibration(0, tuple(round(part * 100000) for part in parts)) if len(parts) == 8 else None
    )


def _unswapped(iptc: Field, data: bytes) -> bytes:
    """IPTC records; some writers call them 32-bit words, in the byte order of the file."""
    raw = iptc.raw(data)
    if iptc.kind == LONG and raw[:1] != b"\x1c":
        return b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return raw


def metadata_items(order: Order, metadata: Metadata) -> list[Item]:
    """The fields of a TIFF directory that hold metadata."""
    items: list[Item] = []
    if metadata.icc is not None:
        items.append((ICC_PROFILE, UNDEFINED, len(metadata.icc), metadata.icc))
    if metadata.xmp is not None:
        items.append((XMP, BYTE, len(metadata.xmp), metadata.xmp))
    if metadata.iptc is not None:
        items.append((IPTC, UNDEFINED, len(metadata.iptc), metadata.iptc))
    if metadata.density is not None:
        x, y, absolute = metadata.density
        unit = struct.pack(f"{order}H", 2 if absolute else 1)
        items += [
            (X_RESOLUTION, RATIONAL, 1, rational(order, x)),
            (Y_RESOLUTION, RATIONAL, 1, rational(order, y)),
            (RESOLUTION_UNIT, SHORT, 1, unit),
        ]
    return items


def _directories_from(data: bytes, offset: int) -> int:
    """How many directories follow each other, the first one at `offset`; 0 ends them."""
    order = byte_order(data)
    seen: set[int] = set()
    while offset and offset not in seen and offset + 2 <= len(data) and len(seen) < MOST_PARTS:
        seen.add(offset)
        (count,) = struct.unpack_from(f"{order}H", data, offset)
        offset = int.from_bytes(
            data[offset + 2 + 12 * count : offset + 6 + 12 * count],
            "little" if order == "<" else "big",
        )
    return len(seen)


def _check_strips(data: bytes, fields: list[Field]) -> None:
    """Raise `DamagedImageError` if strips (or tiles) of pixels are not inside the file."""
    for offsets_tag, counts_tag in ((273, 279), (324, 325)):
        offsets, counts = find(fields, offsets_tag), find(fields, counts_tag)
        if offsets is None or counts is None:
            continue
        ends = map(sum, zip(offsets.numbers(data), counts.numbers(data), strict=False))
        if max(ends, default=0) > len(data):
            raise DamagedImageError("truncated: pixels are missing at the end")
        check_strips(data, by_tag(fields), sum(counts.numbers(data)))
        return
    raise DamagedImageError("truncated or corrupt: the TIFF directory has no pixel data")


def _with_directory(data: bytes, fields: list[Field]) -> bytes:
    """The TIFF file with a directory of these fields only, put behind everything else."""
    order = byte_order(data)
    offset = len(data) + len(data) % 2
    items = [(field.tag, field.kind, field.count, field.raw(data)) for field in fields]
    header = data[:4] + struct.pack(f"{order}L", offset)
    return header + data[8:].ljust(offset - 8, b"\0") + write_directory(order, offset, items)


TIFF = Container(
    "tiff",
    (".tif", ".tiff"),
    rb"II[*+]\0|MM\0[*+]",
    unwrap,
    Holds(frozenset({"icc", "exif", "xmp", "iptc", "density"})),
)
