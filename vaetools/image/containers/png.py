"""PNG: chunks, each with a checksum."""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING

from vaetools.errors import DamagedImageError
from vaetools.image.containers.base import Bare, Container
from vaetools.image.metadata import Metadata
from vaetools.image.metadata.exif import split_exif

if TYPE_CHECKING:
    from collections.abc import Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_BLOCK = 2**24
"""Limit on the size of an unpacked metadata block, in bytes."""

_PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """One PNG chunk: length, kind, payload, checksum."""
    checksum = zlib.crc32(payload, zlib.crc32(kind))
    return struct.pack(">L", len(payload)) + kind + payload + struct.pack(">L", checksum)


def unwrap(data: bytes, strict: bool) -> Bare:
    kept = [PNG_SIGNATURE]
    payload = b""
    icc: bytes | None = None
    frames = 1
    for kind, content in _chunks(data, strict):
        if kind in _PIXEL_CHUNKS:
            kept.append(png_chunk(kind, content))
        elif kind == b"eXIf":
            payload = content
        elif kind == b"iCCP":
            icc = _inflated(content.partition(b"\0")[2][1:]) or None
        elif kind == b"acTL":
            frames = int.from_bytes(content[:4], "big")
    exif, orientation = split_exif(payload)
    return Bare("png", b"".join(kept), Metadata(icc=icc, exif=exif), orientation, frames)


def _inflated(packed: bytes) -> bytes:
    """The content of a zlib stream; empty if it is damaged or larger than any profile."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(packed, MAX_BLOCK)
    except zlib.error:
        return b""
    return content if stream.eof else b""


def _chunks(data: bytes, strict: bool) -> Iterator[tuple[bytes, bytes]]:
    """(kind, payload) up to IEND; without `strict`, as far as there is something."""
    at = len(PNG_SIGNATURE)
    kind = b""
    while kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        checksum = data[at + 8 + length : at + 12 + length]
        if len(checksum) < 4 and strict:
            raise DamagedImageError("truncated: the file ends inside a chunk")
        if strict and int.from_bytes(checksum, "big") != zlib.crc32(content, zlib.crc32(kind)):
            raise DamagedImageError(f"the checksum of chunk {kind.decode('latin-1')!r} is wrong")
        if len(kind) < 4:
            return
        yield kind, content
        at += 12 + length


PNG = Container("png", (".png",), re.escape(PNG_SIGNATURE), unwrap)
