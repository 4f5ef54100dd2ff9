"""AVIF, and HEIF with HEVC images (HEIC)."""

from __future__ import annotations

from vaetools.image.containers.base import Bare, Container
from vaetools.image.containers.isobmff import blocks_of, read_items
from vaetools.image.metadata.writing import Holds

_BOX = rb".{4}ftyp"


def _unwrap_avif(data: bytes, strict: bool) -> Bare:
    items = read_items(data, strict=strict)
    metadata, orientation = blocks_of(data, items, applied=False).understood()
    return Bare("avif", data, metadata, orientation)


def _unwrap_heif(data: bytes, strict: bool) -> Bare:
    items = read_items(data, strict=strict)
    metadata, _ = blocks_of(data, items, applied=True).understood()
    return Bare("heif", data, metadata)


AVIF = Container(
    "avif",
    (".avif",),
    _BOX + rb"(?:avi[fs]|(?:mif1|msf1).{4}(?:.{4}){0,8}?avi[fs])",
    _unwrap_avif,
    Holds(frozenset({"icc", "exif", "xmp"}), grey=False),
)
HEIF = Container(
    "heif",
    (".heic", ".heif", ".hif"),
    _BOX + rb"(?:hei[cxms]|hev[cxms]|mif1|msf1)",
    _unwrap_heif,
    is_written=False,
    extra="heif",
)
