"""Files with metadata, made by Pillow and by hand, and what is in files that we write."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image as PillowImage

from tests.torture import picture, saved
from vaetools.image.containers import PNG_SIGNATURE, png_chunk

RED = (255, 0, 0)
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
IPTC = b"\x1c\x02\x78\0\x02hi" + b"\x1c\x02\x5a\0\x04Bern"
RESOURCE = b"8BIM\x04\x04\0\0" + struct.pack(">L", len(IPTC)) + IPTC + b"\0" * (len(IPTC) % 2)


def xmp(inside: str = "", attributes: str = 'xmp:Rating="4"') -> bytes:
    """An XMP packet with these properties."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
        ' xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/"'
        ' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
        ' xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'
        f" {attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>\n"
        '<?xpacket end="w"?>'
    ).encode()


def thumbnail() -> bytes:
    """A red JPEG."""
    return saved(np.full((60, 80, 3), RED, np.uint8), "JPEG")


def exif_with(
    orientation: int = 1, *, order: str = "<", note: bytes = b"note of the maker"
) -> bytes:
    """A block as cameras write it: sizes of the sensor, maker note, resolution, red thumbnail."""

    def directory(
        start: int, entries: list[tuple[int, int, int, bytes]], following: int = 0
    ) -> bytes:
        table, values = struct.pack(f"{order}H", len(entries)), b""
        at = start + 2 + 12 * len(entries) + 4
        for tag, kind, count, raw in sorted(entries):
            value = raw.ljust(4, b"\0")
            if len(raw) > 4:
                value = struct.pack(f"{order}L", at + len(values))
                values += raw + b"\0" * (len(raw) % 2)
            table += struct.pack(f"{order}HHL", tag, kind, count) + value
        return table + struct.pack(f"{order}L", following) + values

    def short(number: int) -> bytes:
        return struct.pack(f"{order}H", number)

    def longer(number: int) -> bytes:
        return struct.pack(f"{order}L", number)

    per_inch = struct.pack(f"{order}LL", 300, 1)
    first = [
        (271, 2, 6, b"Canon\0"),
        (274, 3, 1, short(orientation)),
        (282, 5, 1, per_inch),
        (283, 5, 1, per_inch),
        (296, 3, 1, short(2)),
        (0x8769, 4, 1, bytes(4)),
    ]
    inner = [
        (0x927C, 7, len(note), note),
        (0xA002, 4, 1, longer(64)),
        (0xA003, 3, 1, short(48)),
    ]
    inner_at = 8 + len(directory(8, first))
    first[-1] = (0x8769, 4, 1, longer(inner_at))
    last_at = inner_at + len(directory(inner_at, inner))
    small = thumbnail()
    last = [(259, 3, 1, short(6)), (513, 4, 1, bytes(4)), (514, 4, 1, longer(len(small)))]
    small_at = last_at + len(directory(last_at, last))
    last[1] = (513, 4, 1, longer(small_at))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return (
        mark
        + longer(8)
        + directory(8, first, last_at)
        + directory(inner_at, inner)
        + directory(last_at, last)
        + small
    )


def with_segments(*segments: tuple[int, bytes]) -> bytes:
    """A JPEG file with these segments (marker, content) behind its start."""
    data = saved(picture(), "JPEG", quality=95)
    parts = [struct.pack(">BBH", 0xFF, marker, len(c) + 2) + c for marker, c in segments]
    return data[:2] + b"".join(parts) + data[2:]


def with_chunks(*chunks: tuple[bytes, bytes], channels: int = 3) -> bytes:
    """A PNG file with these chunks before its pixels."""
    data = saved(picture(channels=channels), "PNG")
    head = len(PNG_SIGNATURE) + 25
    return data[:head] + b"".join(png_chunk(*chunk) for chunk in chunks) + data[head:]


def raw_profile(name: str, content: bytes, kind: bytes = b"zTXt") -> tuple[bytes, bytes]:
    """A text chunk as ImageMagick and exiv2 write them."""
    digits = content.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = f"\n{name.lower()}\n{len(content):8d}\n{lines}\n".encode()
    key = f"Raw profile type {name}".encode()
    if kind == b"zTXt":
        return kind, key + b"\0\0" + zlib.compress(text)
    if kind == b"iTXt":
        return kind, key + b"\0\1\0\0\0" + zlib.compress(text)
    return kind, key + b"\0" + text


def chunks_of(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG file by kind."""
    at, found = 8, {}
    while at < len(data):
        (length,) = struct.unpack_from(">L", data, at)
        found[data[at + 4 : at + 8]] = data[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def opened(data: bytes) -> PillowImage.Image:
    """The file as Pillow sees it."""
    return PillowImage.open(io.BytesIO(data))


def described_file(
    name: str, *, orientation: int = 1, packet: bytes = b"", dpi: int = 600
) -> bytes:
    """A file with EXIF (Pillow's place for it), XMP, IPTC where it has a place, and a density."""
    exif = exif_with(orientation)
    packet = packet or xmp()
    if name == "jpeg":
        return with_segments(
            (0xE1, b"Exif\0\0" + exif),
            (0xE1, XMP_PREFIX + packet),
            (0xED, b"Photoshop 3.0\0" + RESOURCE),
        )
    if name == "png":
        return with_chunks(
            (b"pHYs", struct.pack(">LLB", round(dpi / 0.0254), round(dpi / 0.0254), 1)),
            (b"eXIf", exif),
            (b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + packet),
            raw_profile("iptc", RESOURCE),
        )
    if name == "webp":
        return saved(picture(), "WEBP", lossless=True, exif=b"Exif\0\0" + exif, xmp=packet)
    tags = {700: packet, 33723: IPTC, 271: "Canon", 274: orientation}
    return saved(picture(), "TIFF", tiffinfo=tags, dpi=(dpi, dpi))
