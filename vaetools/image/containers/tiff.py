"""TIFF: a directory of fields. Only the classic kind, with 32-bit offsets."""

from __future__ import annotations

import struct

from vaetools.errors import DamagedImageError, UnsupportedImageError
from vaetools.image.containers.base import Bare, Container
from vaetools.image.metadata import Metadata
from vaetools.image.metadata.tiff_directory import (
    ICC_PROFILE,
    ORIENTATION,
    Field,
    byte_order,
    exif_of_tiff,
    find,
    first_directory,
    read_directory,
    unique,
    write_directory,
)

_PIXEL_FIELDS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, *range(319, 326)}
) | {332, 333, 334, 336, 338, 339, 340, 341, 347, *range(512, 522), *range(529, 533), ICC_PROFILE}


def unwrap(data: bytes, strict: bool) -> Bare:
    if data[2:4] in (b"+\0", b"\0+"):
        raise UnsupportedImageError("BigTIFF is not supported", remedy="save it as a classic TIFF")
    try:
        fields, following = read_directory(data, first_directory(data))
        turned = find(fields, ORIENTATION)
        orientation = (*turned.numbers(data), 1)[0] if turned else 1
        exif = exif_of_tiff(data, fields)
        icc = find(fields, ICC_PROFILE)
    except (ValueError, struct.error):
        raise DamagedImageError("truncated or corrupt: no TIFF directory") from None
    if strict:
        _check_strips(data, fields)
    bare = _with_directory(data, unique(f for f in fields if f.tag in _PIXEL_FIELDS))
    orientation = orientation if 1 <= orientation <= 8 else 1
    metadata = Metadata(icc=icc.raw(data) if icc else None, exif=exif)
    return Bare("tiff", bare, metadata, orientation, 1 + _directories_from(data, following))


def _directories_from(data: bytes, offset: int) -> int:
    """How many directories follow each other, the first one at `offset`; 0 ends them."""
    order = byte_order(data)
    seen: set[int] = set()
    while offset and offset not in seen and offset + 2 <= len(data):
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
        return
    raise DamagedImageError("truncated or corrupt: the TIFF directory has no pixel data")


def _with_directory(data: bytes, fields: list[Field]) -> bytes:
    """The TIFF file with a directory of these fields only, put behind everything else."""
    order = byte_order(data)
    offset = len(data) + len(data) % 2
    items = [(field.tag, field.kind, field.count, field.raw(data)) for field in fields]
    header = data[:4] + struct.pack(f"{order}L", offset)
    return header + data[8:].ljust(offset - 8, b"\0") + write_directory(order, offset, items)


TIFF = Container("tiff", (".tif", ".tiff"), rb"II[*+]\0|MM\0[*+]", unwrap)
