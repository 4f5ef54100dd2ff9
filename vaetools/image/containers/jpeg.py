"""JPEG: marker segments before the coded data.

Reference: ITU-T T.81, T.871 (JFIF); Exif 2.32; XMP Specification Part 3; CIPA DC-007 (MPF).
"""

from __future__ import annotations

import hashlib
import re
import struct
from typing import TYPE_CHECKING

from vaetools.errors import DamagedImageError
from vaetools.image.containers.base import Bare, Container, unknown
from vaetools.image.containers.limits import check_jpeg
from vaetools.image.metadata import xmp
from vaetools.image.metadata.exif import EXIF_PREFIX
from vaetools.image.metadata.fields import MAX_BLOCK, Density, Metadata
from vaetools.image.metadata.iptc import as_resource
from vaetools.image.metadata.reading import Blocks, density_of
from vaetools.image.metadata.tiff_directory import find, first_directory, read_directory
from vaetools.image.metadata.writing import Holds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

JFIF_PREFIX = b"JFIF\0"
ICC_PREFIX = b"ICC_PROFILE\0"
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
EXTENSION_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
PHOTOSHOP_PREFIX = b"Photoshop 3.0\0"
MPF_PREFIX = b"MPF\0"
_GAIN_MAPS = (
    b"urn:iso:std:iso:ts:21496:-1",
    b"http://ns.apple.com/HDRGainMap/",
    b"http://ns.adobe.com/hdr-gain-map/",
)

LARGEST = 65533
"""Content of one segment in bytes."""

_EXTENSION = struct.Struct(">32sLL")
_COMMENT, _ADOBE, _JFIF, _APP1, _APP2, _APP13, _LAST_APP = 0xFE, 0xEE, 0xE0, 0xE1, 0xE2, 0xED, 0xEF
# Segments of metadata: marker, and what their content begins with.
_KINDS = {
    "jfif": (_JFIF, JFIF_PREFIX),
    "exif": (_APP1, EXIF_PREFIX),
    "xmp": (_APP1, XMP_PREFIX),
    "extension": (_APP1, EXTENSION_PREFIX),
    "icc": (_APP2, ICC_PREFIX),
    "index": (_APP2, MPF_PREFIX),
    "gain map": (_APP2, _GAIN_MAPS[0]),
    "photoshop": (_APP13, PHOTOSHOP_PREFIX),
    "comment": (_COMMENT, b""),
}
# Segments of what is written anew: thumbnails, how components are coded, settings of an encoder.
_IMPLIED = ((_JFIF, b"JFXX\0"), (_ADOBE, b"Adobe"), (0xEC, b"Ducky"))
_NAME = re.compile(rb"[!-~]{2,32}")
_PREVIEWS = (0x010001, 0x010002)  # types of images that only show the first one smaller
_NUMBER_OF_IMAGES, _IMAGES = 0xB001, 0xB002


def unwrap(data: bytes, strict: bool) -> Bare:
    check_jpeg(data, strict=strict)
    kept = [data[:2]]
    segments = []
    at = 2
    for marker, start, stop in _segments(data):
        at = stop
        segments.append((marker, data[start + 4 : stop]))
        if marker != _APP1:  # EXIF or XMP
            kept.append(data[start:stop])
    kept.append(data[at:])
    # Inside the coded data 0xFF is always escaped, so the end marker cannot be there by chance.
    end = data.find(b"\xff\xd9", at)
    if end < 0:
        if strict:
            raise DamagedImageError("truncated: the end-of-image marker is missing")
        kept.append(b"\xff\xd9")  # with it, decoders give what there is
    blocks = _blocks(segments)
    blocks.has_gain_map |= any(data.find(mark, at) >= 0 for mark in _GAIN_MAPS)
    blocks.has_tail = end >= 0 and bool(data[end + 2 :].strip(b"\0\r\n "))
    metadata, orientation = blocks.understood()
    return Bare("jpeg", b"".join(kept), metadata, orientation)


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


def _blocks(segments: Sequence[tuple[int, bytes]]) -> Blocks:
    found: dict[str, list[bytes]] = {name: [] for name in _KINDS}
    for marker, content in segments:
        for name, (wanted, prefix) in _KINDS.items():
            if marker == wanted and content.startswith(prefix):
                found[name].append(content[len(prefix) :])
    icc: dict[int, bytes] = {}
    for part in found["icc"]:
        icc.setdefault(part[0] if part else 0, part[2:])
    blocks = Blocks(
        icc=b"".join(part for _, part in sorted(icc.items())),
        exif=b"".join(found["exif"]),
        xmp=(*found["xmp"], b"")[0],
        photoshop=b"".join(found["photoshop"]),
        more_images=sum(map(_more_images, found["index"])),
        has_previews=bool(found["index"]),
        has_gain_map=bool(found["gain map"]),
        notes=["comment"] if found["comment"] else [],
    )
    if found["jfif"] and len(found["jfif"][0]) >= 7:
        unit, x, y = struct.unpack_from(">BHH", found["jfif"][0], 2)
        blocks.density = density_of(x, y, unit + 1)
    blocks.extended_xmp = _extended(blocks, found["extension"])
    blocks.notes += unknown("segments", _unknown(segments))
    return blocks


def _unknown(segments: Iterable[tuple[int, bytes]]) -> Iterator[str]:
    """Names of application segments that we do not know, such as `APP11 JP` of C2PA."""
    known = (*_KINDS.values(), *_IMPLIED)
    for marker, content in segments:
        is_known = any(m == marker and content.startswith(prefix) for m, prefix in known)
        if _JFIF <= marker <= _LAST_APP and not is_known:
            name = _NAME.match(content)
            yield f"APP{marker - _JFIF} {name[0].decode() if name else ''}".strip()


def _extended(blocks: Blocks, extensions: list[bytes]) -> bytes:
    """The extended packet that the packet names, put together."""
    parts: dict[int, bytes] = {}
    total = 0
    for content in extensions:
        if len(content) < _EXTENSION.size:
            continue
        digest, total_here, offset = _EXTENSION.unpack_from(content)
        if digest in blocks.xmp and total_here <= MAX_BLOCK:
            total = total_here
            parts.setdefault(offset, content[_EXTENSION.size :])
    packet = b""
    for offset, part in sorted(parts.items()):
        if offset == len(packet):
            packet += part
    if extensions and (not packet or len(packet) != total):
        blocks.notes.append("extended XMP that is not whole")
        return b""
    return packet


def _more_images(index: bytes) -> int:
    """How many images stand behind the first one, by the index of a multi-picture file.

    Previews of the first image do not count.
    """
    try:
        fields, _ = read_directory(index, first_directory(index))
    except (ValueError, struct.error):
        return 0
    entries = find(fields, _IMAGES)
    if entries is None:
        return 0
    order = ">" if index.startswith(b"MM") else "<"
    kinds = [
        kind & 0xFFFFFF
        for kind, *_ in struct.iter_unpack(f"{order}L12x", _whole(entries.raw(index)))
    ]
    return sum(kind not in _PREVIEWS for kind in kinds[1:])


def _whole(entries: bytes) -> bytes:
    return entries[: len(entries) // 16 * 16]


def wrap(data: bytes, metadata: Metadata, colours: bytes | None = None) -> bytes:
    """A JPEG file with this metadata and no other, its coded data unchanged.

    Args:
        data: a JPEG file; its application segments and comments are dropped.
        metadata: as `writing.fitted` gives it for `JPEG.holds`.
        colours: Adobe's segment, or nothing for YCbCr; None keeps that of the file.
    """
    tables, at = [colours or b""], 2
    adobe = bool(colours)
    for marker, start, stop in _segments(data):
        at = stop
        is_kept = marker == _ADOBE and colours is None
        adobe |= is_kept
        if is_kept or not (_JFIF <= marker <= _LAST_APP or marker == _COMMENT):
            tables.append(data[start:stop])
    head = [] if adobe else [_segment(_JFIF, _jfif(metadata.density))]
    parts = [data[:2], *head, *_described(metadata), *tables, data[at:]]
    return b"".join(parts)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _jfif(density: Density | None) -> bytes:
    """JFIF 1.01 (1.02 is for thumbnails)."""
    unit, x, y = 0, 1, 1
    if density is not None and density.absolute:
        unit, x, y = 1, round(density.x), round(density.y)
        if max(x, y) > 65535 or abs(density.x - x) + abs(density.y - y) > 0.02:
            unit, x, y = 2, round(density.x / 2.54), round(density.y / 2.54)
    elif density is not None:
        x, y = round(density.x), round(density.y)
    x, y = (min(max(value, 1), 65535) for value in (x, y))
    return JFIF_PREFIX + struct.pack(">BBBHHBB", 1, 1, unit, x, y, 0, 0)


def _described(metadata: Metadata) -> Iterator[bytes]:
    """EXIF first, as its standard wants it, then XMP, IPTC and the ICC profile."""
    if metadata.exif is not None:
        yield _segment(_APP1, EXIF_PREFIX + metadata.exif)
    if metadata.xmp is not None:
        yield from _packets(metadata.xmp)
    if metadata.iptc is not None:
        for part in _cut(as_resource(metadata.iptc), LARGEST - len(PHOTOSHOP_PREFIX)):
            yield _segment(_APP13, PHOTOSHOP_PREFIX + part)
    if metadata.icc is not None:
        parts = _cut(metadata.icc, LARGEST - len(ICC_PREFIX) - 2)
        for number, part in enumerate(parts, start=1):
            yield _segment(_APP2, ICC_PREFIX + bytes([number, len(parts)]) + part)


def _packets(packet: bytes) -> Iterator[bytes]:
    if len(XMP_PREFIX) + len(packet) <= LARGEST:
        yield _segment(_APP1, XMP_PREFIX + packet)
        return
    digest = hashlib.md5(packet, usedforsecurity=False).hexdigest().upper()
    yield _segment(_APP1, XMP_PREFIX + xmp.split(digest))
    offset = 0
    for part in _cut(packet, LARGEST - len(EXTENSION_PREFIX) - _EXTENSION.size):
        head = _EXTENSION.pack(digest.encode(), len(packet), offset)
        yield _segment(_APP1, EXTENSION_PREFIX + head + part)
        offset += len(part)


def _cut(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


JPEG = Container(
    "jpeg",
    (".jpg", ".jpeg", ".jpe", ".jfif"),
    rb"\xff\xd8\xff",
    unwrap,
    Holds(
        frozenset({"icc", "exif", "xmp", "iptc", "density"}),
        largest={"exif": LARGEST - 6, "icc": 255 * (LARGEST - len(ICC_PREFIX) - 2)},
    ),
)
