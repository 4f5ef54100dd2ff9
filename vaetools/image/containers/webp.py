"""WebP: RIFF chunks."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vaetools.image.containers.base import Bare, Container, unknown
from vaetools.image.containers.limits import check_chunks
from vaetools.image.metadata.exif import EXIF_PREFIX
from vaetools.image.metadata.reading import Blocks
from vaetools.image.metadata.writing import Holds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.image.metadata import Metadata


_FLAGS = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}
"""In the chunk `VP8X`."""

_KNOWN = {*_FLAGS, b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"}


def unwrap(data: bytes, strict: bool) -> Bare:  # noqa: ARG001 - the decoder sees damage itself
    chunks: dict[bytes, bytes] = {}
    frames = 0
    for count, (kind, content) in enumerate(_chunks(data)):
        check_chunks("webp", count, len(data))
        frames += kind == b"ANMF"
        chunks.setdefault(kind, content)
    icc, exif, xmp = (chunks.get(kind, b"") for kind in (b"ICCP", b"EXIF", b"XMP "))
    names = [kind.decode("latin-1").strip() for kind in chunks if kind not in _KNOWN]
    notes = unknown("chunks", names)
    metadata, orientation = Blocks(icc=icc, exif=exif, xmp=xmp, notes=notes).understood()
    return Bare("webp", data, metadata, orientation, max(1, frames))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<L", data, at + 4)
        if at + 8 + length > len(data):
            return
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def image_chunk(data: bytes) -> tuple[bytes, bytes]:
    """Kind and content of the chunk with the pixels: `VP8L` (lossless) or `VP8 `; empty without."""
    for kind, content in _chunks(data):
        if kind == b"ANMF":  # a frame: 16 bytes, then chunks
            return image_chunk(bytes(12) + content[16:])
        if kind in (b"VP8L", b"VP8 "):
            return kind, content
    return b"", b""


def wrap(data: bytes, metadata: Metadata) -> bytes | None:
    """A WebP file with this metadata and no other, its coded pixels unchanged.

    Args:
        data: a WebP file with one frame.
        metadata: as `writing.fitted` gives it for `WEBP.holds`.

    Returns:
        None for an animation, and for a file without a place for the metadata.
    """
    chunks = list(_chunks(data))
    kinds = [kind for kind, _ in chunks]
    exif = None if metadata.exif is None else EXIF_PREFIX + metadata.exif
    added = {b"ICCP": metadata.icc, b"EXIF": exif, b"XMP ": metadata.xmp}
    if b"ANIM" in kinds or (b"VP8X" not in kinds and any(added.values())):
        return None
    flags = sum(bit for kind, bit in _FLAGS.items() if added[kind])
    parts = []
    for kind, content in chunks:
        if kind == b"VP8X":
            head = bytes([content[0] & ~sum(_FLAGS.values()) | flags]) + content[1:]
            parts += [_chunk(kind, head), _chunk(b"ICCP", metadata.icc)]
        elif kind in (b"VP8 ", b"VP8L", b"ALPH"):
            parts.append(_chunk(kind, content))
    parts += [_chunk(kind, added[kind]) for kind in (b"EXIF", b"XMP ")]
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<L", len(body)) + body


def _chunk(kind: bytes, content: bytes | None) -> bytes:
    if content is None:
        return b""
    return kind + struct.pack("<L", len(content)) + content + bytes(len(content) % 2)


WEBP = Container(
    "webp",
    (".webp",),
    rb"RIFF.{4}WEBP",
    unwrap,
    Holds(frozenset({"icc", "exif", "xmp"}), grey=False),
)
