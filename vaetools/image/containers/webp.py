"""WebP: RIFF chunks."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vaetools.image.containers.base import Bare, Container
from vaetools.image.containers.limits import check_chunks
from vaetools.image.metadata.reading import Blocks
from vaetools.image.metadata.writing import Holds

if TYPE_CHECKING:
    from collections.abc import Iterator


def unwrap(data: bytes, strict: bool) -> Bare:  # noqa: ARG001 - the decoder sees damage itself
    chunks: dict[bytes, bytes] = {}
    frames = 0
    for count, (kind, content) in enumerate(_chunks(data)):
        check_chunks("webp", count, len(data))
        frames += kind == b"ANMF"
        chunks.setdefault(kind, content)
    icc, exif, xmp = (chunks.get(kind, b"") for kind in (b"ICCP", b"EXIF", b"XMP "))
    metadata, orientation = Blocks(icc=icc, exif=exif, xmp=xmp).understood()
    return Bare("webp", data, metadata, orientation, max(1, frames))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<L", data, at + 4)
        if at + 8 + length > len(data):
            return
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def is_lossless(data: bytes) -> bool:
    """Whether the (first) image of a WebP file is coded without loss."""
    for kind, content in _chunks(data):
        if kind == b"ANMF":  # a frame: 16 bytes, then chunks
            return is_lossless(bytes(12) + content[16:])
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
    return False


WEBP = Container(
    "webp",
    (".webp",),
    rb"RIFF.{4}WEBP",
    unwrap,
    Holds(frozenset({"icc", "exif", "xmp"}), grey=False),
)
