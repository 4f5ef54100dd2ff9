"""PNG: chunks, each with a checksum.

Reference: PNG third edition (W3C, 2025). Metadata also stands in text chunks: XMP by the standard,
EXIF, XMP and IPTC as "Raw profile type ..." by ImageMagick, exiv2 and what uses them.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING

from vaetools.errors import DamagedImageError
from vaetools.image.containers.base import Bare, Container, unknown
from vaetools.image.containers.limits import check_png
from vaetools.image.metadata import raw_profile
from vaetools.image.metadata.exif import EXIF_PREFIX
from vaetools.image.metadata.fields import INCH, MAX_BLOCK, Calibration, Cicp, Density, Metadata
from vaetools.image.metadata.iptc import as_resource
from vaetools.image.metadata.reading import Blocks
from vaetools.image.metadata.writing import Holds

if TYPE_CHECKING:
    from collections.abc import Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEY = "XML:com.adobe.xmp"
_XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
_PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_TEXT_CHUNKS = {b"tEXt", b"zTXt", b"iTXt"}
_NAMED = {b"mDCV", b"cLLI", b"mDCv", b"cLLi", b"sPLT", b"hIST"}
# What is read, or says nothing about the pixels that are written: frames, time of the file, screens.
_KNOWN = {b"eXIf", b"iCCP", b"pHYs", b"cICP", b"gAMA", b"cHRM", b"sRGB"} | {
    *(b"fcTL", b"fdAT", b"tIME", b"sBIT", b"bKGD", b"iDOT")
}
_PROFILES = {"exif", "app1", "xmp", "iptc", "8bim", "icc", "icm"}


def unwrap(data: bytes, strict: bool) -> Bare:
    check_png(data)
    kept = [PNG_SIGNATURE]
    found: dict[bytes, bytes] = {}
    texts: dict[str, tuple[bytes, bytes]] = {}
    frames = 1
    for kind, content in _chunks(data, strict):
        if kind in _PIXEL_CHUNKS:
            kept.append(png_chunk(kind, content))
        elif kind in _TEXT_CHUNKS:
            key, _, rest = content.partition(b"\0")
            texts.setdefault(key.decode("latin-1"), (kind, rest))
        elif kind == b"acTL":
            frames = int.from_bytes(content[:4], "big")
        else:
            found.setdefault(kind, content)
    metadata, orientation = _blocks(found, texts).understood()
    return Bare("png", b"".join(kept), metadata, orientation, frames)


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


def _blocks(found: dict[bytes, bytes], texts: dict[str, tuple[bytes, bytes]]) -> Blocks:
    blocks = Blocks(exif=found.get(b"eXIf", b""))
    blocks.notes += [kind.decode() for kind in found if kind in _NAMED]
    others = [kind.decode("latin-1") for kind in found if kind not in _NAMED | _KNOWN]
    blocks.notes += unknown("chunks", others)
    if b"iCCP" in found:
        blocks.icc = _inflated(found[b"iCCP"].partition(b"\0")[2][1:], MAX_BLOCK)
        if not blocks.icc:
            blocks.notes.append("ICC profile (broken)")
    blocks.density = _density(found.get(b"pHYs", b""))
    blocks.cicp = _cicp(found.get(b"cICP", b""))
    if b"iCCP" not in found:
        blocks.calibration = _calibration(found)
    others = [key[:40] for key, text in texts.items() if not _take_text(blocks, key, *text)]
    blocks.notes += unknown("text", others)
    return blocks


def _take_text(blocks: Blocks, key: str, kind: bytes, rest: bytes) -> bool:
    """Whether a text chunk holds metadata, which is then put into `blocks`."""
    if key == XMP_KEY:
        blocks.xmp = _text(kind, rest) or blocks.xmp
        return True
    name = key.removeprefix(raw_profile.PREFIX).lower()
    if name == key.lower() or name not in _PROFILES:
        return False
    content = raw_profile.decoded(_text(kind, rest))
    if name in ("exif", "app1"):
        if content.startswith(_XMP_PREFIX):
            blocks.xmp = blocks.xmp or content[len(_XMP_PREFIX) :]
        elif content.startswith((EXIF_PREFIX, b"II*\0", b"MM\0*")):
            blocks.exif = blocks.exif or content
    elif name == "xmp":
        blocks.xmp = blocks.xmp or content.removeprefix(_XMP_PREFIX)
    elif name in ("iptc", "8bim"):
        blocks.iptc = blocks.iptc or content
    else:
        blocks.icc = blocks.icc or content
    return True


def _text(kind: bytes, rest: bytes) -> bytes:
    """The text of a chunk, behind its key; empty if it is damaged or too large."""
    limit = 2 * MAX_BLOCK + MAX_BLOCK // 16  # hexadecimal digits in lines
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _inflated(rest[1:], limit)
    packed, (_, _, text) = rest[:1] == b"\1", rest[2:].partition(b"\0")
    text = text.partition(b"\0")[2]
    return _inflated(text, limit) if packed else text


def _inflated(packed: bytes, limit: int) -> bytes:
    """The content of a zlib stream; empty if it is damaged or has more than `limit` bytes."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(packed, limit)
    except zlib.error:
        return b""
    return content if stream.eof else b""


def _density(content: bytes) -> Density | None:
    if len(content) != 9:
        return None
    x, y, unit = struct.unpack(">LLB", content)
    return Density(x * INCH, y * INCH) if unit == 1 else Density(x, y, absolute=False)


def _cicp(content: bytes) -> Cicp | None:
    return Cicp(content[0], content[1], content[2], content[3] != 0) if len(content) == 4 else None


def _calibration(found: dict[bytes, bytes]) -> Calibration | None:
    gamma, chromaticities = found.get(b"gAMA", b""), found.get(b"cHRM", b"")
    intent = found.get(b"sRGB", b"")
    calibration = Calibration(
        int.from_bytes(gamma, "big") if len(gamma) == 4 else 0,
        struct.unpack(">8L", chromaticities) if len(chromaticities) == 32 else None,
        intent[0] if len(intent) == 1 else None,
    )
    return calibration if calibration != Calibration() else None


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """One PNG chunk: length, kind, payload, checksum."""
    checksum = zlib.crc32(payload, zlib.crc32(kind))
    return struct.pack(">L", len(payload)) + kind + payload + struct.pack(">L", checksum)


def metadata_chunks(metadata: Metadata) -> list[bytes]:
    """The chunks that stand between IHDR and the pixels."""
    chunks = []
    if metadata.cicp is not None:
        chunks.append(png_chunk(b"cICP", bytes(int(value) for value in metadata.cicp)))
    if metadata.icc is not None:
        chunks.append(png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    elif metadata.calibration is not None:
        chunks += _calibration_chunks(metadata.calibration)
    if metadata.density is not None:
        x, y, absolute = metadata.density
        scale = 1 / INCH if absolute else 1
        numbers = [min(max(round(value * scale), 1), 2**31 - 1) for value in (x, y)]
        chunks.append(png_chunk(b"pHYs", struct.pack(">LLB", *numbers, absolute)))
    if metadata.exif is not None:
        chunks.append(png_chunk(b"eXIf", metadata.exif))
    if metadata.xmp is not None:
        chunks.append(png_chunk(b"iTXt", XMP_KEY.encode() + bytes(5) + metadata.xmp))
    if metadata.iptc is not None:
        text = raw_profile.encoded("iptc", as_resource(metadata.iptc))
        key = f"{raw_profile.PREFIX}iptc".encode()
        chunks.append(png_chunk(b"zTXt", key + b"\0\0" + zlib.compress(text)))
    return chunks


def _calibration_chunks(calibration: Calibration) -> list[bytes]:
    chunks = []
    if calibration.gamma:
        chunks.append(png_chunk(b"gAMA", struct.pack(">L", calibration.gamma)))
    if calibration.chromaticities is not None:
        chunks.append(png_chunk(b"cHRM", struct.pack(">8L", *calibration.chromaticities)))
    if calibration.srgb_intent is not None:
        chunks.append(png_chunk(b"sRGB", bytes([calibration.srgb_intent])))
    return chunks


PNG = Container(
    "png",
    (".png",),
    re.escape(PNG_SIGNATURE),
    unwrap,
    Holds(frozenset({"icc", "exif", "xmp", "iptc", "cicp", "calibration", "density"})),
)
