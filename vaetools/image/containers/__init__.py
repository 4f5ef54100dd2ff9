"""What a file is, whether it is whole, and its bytes without metadata.

The decoders are only shown the bytes that pixels come from. So no decoder turns an image by an
orientation that is applied elsewhere, inflates a text chunk, or warns about a broken EXIF field.
And damage is looked for by the container's own means, because the decoders let some of it pass:
OpenCV half a JPEG (before version 5), Pillow half a PNG.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from vaetools.errors import (
    DamagedImageError,
    NotAnImageError,
    UnsupportedImageError,
    UsageError,
)
from vaetools.image.read_bytes import HEAD_SIZE
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
    upright,
    write_directory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS: dict[str, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "png": (".png",),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "bmp": (".bmp", ".dib"),
    "gif": (".gif",),
    "ppm": (".ppm", ".pgm", ".pbm", ".pnm"),
}
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
"""Lower-case suffixes of the files that we read. Reading goes by content, whatever the suffix."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
EXIF_PREFIX = b"Exif\0\0"

_SIGNATURES = {
    "jpeg": rb"\xff\xd8\xff",
    "png": re.escape(PNG_SIGNATURE),
    "webp": rb"RIFF.{4}WEBP",
    "tiff": rb"II[*+]\0|MM\0[*+]",
    "bmp": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "gif": rb"GIF8[79]a",
    "ppm": rb"P[1-6][\s#]",
}
_PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"IDAT", b"IEND"}
_PIXEL_FIELDS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, *range(319, 326)}
) | {332, 333, 334, 336, 338, 339, 340, 341, 347, *range(512, 522), *range(529, 533), ICC_PROFILE}


@dataclass(frozen=True)
class Bare:
    """A file without its metadata.

    Attributes:
        data: the same format, pixels and ICC profile only; WebP, GIF, BMP and PNM as they were.
        exif: the EXIF block, orientation 1.
        orientation: 1 … 8, still to be applied.
        frames: how many frames or pages; for GIF and WebP the decoder knows.
    """

    format: str
    data: bytes
    exif: bytes | None = None
    orientation: int = 1
    frames: int = 1


def format_of(suffix_or_path: str | PurePath) -> str:
    """The format of a suffix or file name: `.jpg`, `JPG` and `a/b.jpeg` are all `jpeg`.

    Raises:
        UsageError: a suffix that is not known; the message names those that are.
    """
    text = str(suffix_or_path).lower()
    suffix = PurePath(text).suffix or f".{text.removeprefix('.')}"
    for name, suffixes in FORMATS.items():
        if suffix in suffixes or suffix == f".{name}":
            return name
    raise UsageError(
        f"{suffix_or_path!s} is not a known image format",
        remedy=f"known: {' '.join(sorted(SUFFIXES))}",
    )


def sniff(head: bytes) -> str:
    """The format of a file, from its first `HEAD_SIZE` bytes. Raises `NotAnImageError`."""
    for name, pattern in _SIGNATURES.items():
        if re.match(pattern, head, re.DOTALL):
            return name
    raise NotAnImageError(
        f"not an image in a supported format ({', '.join(_SIGNATURES)})",
        remedy="decompress it first" if head.startswith(b"\x89VAE") else None,
    )


def unwrap(data: bytes, *, strict: bool) -> Bare:
    """Take the metadata off a file, and with `strict` check that the file is whole.

    Raises:
        NotAnImageError: unknown content.
        DamagedImageError: truncated, or a checksum is wrong (`strict`), or nothing to work with.
        UnsupportedImageError: a BigTIFF.
    """
    name = sniff(data[:HEAD_SIZE])
    if name == "jpeg":
        return _unwrap_jpeg(data, strict)
    if name == "png":
        return _unwrap_png(data, strict)
    if name == "tiff":
        return _unwrap_tiff(data, strict)
    return Bare(name, data)


def split_exif(payload: bytes) -> tuple[bytes | None, int]:
    """The EXIF block without `Exif` prefixes, orientation 1, and the orientation it had."""
    while payload.startswith(EXIF_PREFIX):
        payload = payload[len(EXIF_PREFIX) :]
    return upright(payload) if payload else (None, 1)


def _unwrap_jpeg(data: bytes, strict: bool) -> Bare:
    kept = [data[:2]]
    payload: list[bytes] = []
    at = 2
    for marker, start, stop in _jpeg_segments(data):
        at = stop
        if marker != 0xE1:  # APP1: EXIF or XMP
            kept.append(data[start:stop])
        elif data[start + 4 : start + 10] == EXIF_PREFIX:
            payload.append(data[start + 10 : stop])
    kept.append(data[at:])
    # Inside the coded data 0xFF is always escaped, so the end marker cannot be there by chance.
    if data.find(b"\xff\xd9", at) < 0:
        if strict:
            raise DamagedImageError("truncated: the end-of-image marker is missing")
        kept.append(b"\xff\xd9")  # with it, decoders give what there is
    exif, orientation = split_exif(b"".join(payload))
    return Bare("jpeg", b"".join(kept), exif, orientation)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
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


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """One PNG chunk: length, kind, payload, checksum."""
    checksum = zlib.crc32(payload, zlib.crc32(kind))
    return struct.pack(">L", len(payload)) + kind + payload + struct.pack(">L", checksum)


def _unwrap_png(data: bytes, strict: bool) -> Bare:
    kept = [PNG_SIGNATURE]
    payload = b""
    frames = 1
    for kind, content in _png_chunks(data, strict):
        if kind in _PIXEL_CHUNKS:
            kept.append(png_chunk(kind, content))
        elif kind == b"eXIf":
            payload = content
        elif kind == b"acTL":
            frames = int.from_bytes(content[:4], "big")
    exif, orientation = split_exif(payload)
    return Bare("png", b"".join(kept), exif, orientation, frames)


def _png_chunks(data: bytes, strict: bool) -> Iterator[tuple[bytes, bytes]]:
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


def _unwrap_tiff(data: bytes, strict: bool) -> Bare:
    if data[2:4] in (b"+\0", b"\0+"):
        raise UnsupportedImageError("BigTIFF is not supported", remedy="save it as a classic TIFF")
    try:
        fields, following = read_directory(data, first_directory(data))
        turned = find(fields, ORIENTATION)
        orientation = (*turned.numbers(data), 1)[0] if turned else 1
        exif = exif_of_tiff(data, fields)
    except (ValueError, struct.error):
        raise DamagedImageError("truncated or corrupt: no TIFF directory") from None
    if strict:
        _check_strips(data, fields)
    bare = _with_directory(data, unique(f for f in fields if f.tag in _PIXEL_FIELDS))
    orientation = orientation if 1 <= orientation <= 8 else 1
    return Bare("tiff", bare, exif, orientation, 1 + _directories_from(data, following))


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
