"""JPEG: marker segments before the coded data."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vaetools.errors import DamagedImageError
from vaetools.image.containers.base import Bare, Container
from vaetools.image.metadata import Metadata
from vaetools.image.metadata.exif import EXIF_PREFIX, split_exif

if TYPE_CHECKING:
    from collections.abc import Iterator

ICC_PREFIX = b"ICC_PROFILE\0"


def unwrap(data: bytes, strict: bool) -> Bare:
    kept = [data[:2]]
    exif: list[bytes] = []
    icc: dict[int, bytes] = {}
    at = 2
    for marker, start, stop in _segments(data):
        at = stop
        content = data[start + 4 : stop]
        if (
            marker == 0xE2 and content.startswith(ICC_PREFIX) and len(content) > 14
        ):  # stays: CMYK is converted through it
            icc.setdefault(content[12], content[14:])
        if marker != 0xE1:  # APP1: EXIF or XMP
            kept.append(data[start:stop])
        elif content.startswith(EXIF_PREFIX):
            exif.append(content[len(EXIF_PREFIX) :])
    kept.append(data[at:])
    # Inside the coded data 0xFF is always escaped, so the end marker cannot be there by chance.
    if data.find(b"\xff\xd9", at) < 0:
        if strict:
            raise DamagedImageError("truncated: the end-of-image marker is missing")
        kept.append(b"\xff\xd9")  # with it, decoders give what there is
    block, orientation = split_exif(b"".join(exif))
    profile = b"".join(part for _, part in sorted(icc.items()))
    return Bare("jpeg", b"".join(kept), Metadata(icc=profile or None, exif=block), orientation)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, stop) of the segments before the first scan."""
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF:
        marker = data[start + 1]
        if marker == 0xFF:  # padding
            start += 1
            continue
        if marker < 0xC0 or 0xD0 <= marker <= 0xDA:  # start of scan, or nothing that has a length
            return
        stop = start + 2 + int(struct.unpack_from(">H", data, start + 2)[0])
        if stop > len(data):
            return
        yield marker, start, stop
        start = stop


JPEG = Container("jpeg", (".jpg", ".jpeg", ".jpe", ".jfif"), rb"\xff\xd8\xff", unwrap)
