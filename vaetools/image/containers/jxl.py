"""JPEG XL: a codestream, alone or in boxes. Its header is read here, since the decoder has no limits.

References: ISO/IEC 18181-1 (codestream), 18181-2 (boxes).
"""

from __future__ import annotations

from dataclasses import dataclass

from vaetools.errors import DamagedImageError
from vaetools.image.containers.base import Bare, Container
from vaetools.image.containers.isobmff import boxes, exif_of
from vaetools.image.metadata.reading import Blocks
from vaetools.image.metadata.writing import Holds

_BOXES = b"\0\0\0\x0cJXL \r\n\x87\n"
_CODESTREAM = b"\xff\x0a"
_RATIOS = (None, (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


@dataclass(frozen=True)
class CodestreamHeader:
    """The start of a codestream.

    Attributes:
        width, height: as they are stored, before the orientation.
        animated: whether there may be several frames.
    """

    width: int
    height: int
    animated: bool


def unwrap(data: bytes, strict: bool) -> Bare:
    """The codestream alone, so that a file made from a JPEG file is decoded as any other."""
    blocks = Blocks(orientation=1)  # the decoder turns the image
    if not data.startswith(_BOXES):
        return Bare("jxl", data)
    parts = []
    for kind, start, end in boxes(data, 0, len(data), strict=strict):
        if kind == b"Exif":
            blocks.exif = blocks.exif or exif_of(data[start:end])
        elif kind == b"xml ":
            blocks.xmp = blocks.xmp or data[start:end]
        elif kind == b"brob":
            blocks.notes.append("compressed metadata")
        elif kind in (b"jxlc", b"jxlp"):
            parts.append(data[start + (4 if kind == b"jxlp" else 0) : end])
    metadata, _ = blocks.understood()
    return Bare("jxl", b"".join(parts), metadata)


def read_header(codestream: bytes) -> CodestreamHeader:
    """The header of a codestream. Raises `DamagedImageError` if there is none."""
    start = codestream[:64]
    if not start.startswith(_CODESTREAM) or len(start) < 4:
        raise DamagedImageError("truncated or corrupt: no JPEG XL codestream")
    bits = _Bits(start[2:].ljust(64, b"\0"))
    height, width = _size(bits)
    return CodestreamHeader(width, height, _is_animated(bits))


class _Bits:
    """Bits, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data, "little")

    def __call__(self, count: int) -> int:
        value = self._number & (1 << count) - 1
        self._number >>= count
        return value


def _size(bits: _Bits) -> tuple[int, int]:
    """(height, width) of a SizeHeader."""
    small = bits(1)

    def side() -> int:
        return 8 * (bits(5) + 1) if small else 1 + bits((9, 13, 18, 30)[bits(2)])

    height = side()
    ratio = _RATIOS[bits(3)]
    return height, side() if ratio is None else height * ratio[0] // ratio[1]


def _is_animated(bits: _Bits) -> bool:
    """From the beginning of ImageMetadata."""
    if bits(1) or not bits(1):  # all_default; extra_fields
        return False
    bits(3)  # orientation
    if bits(1):  # intrinsic size
        _size(bits)
    if bits(1):  # preview, of whose size only the length matters
        _skip_preview(bits)
    return bits(1) == 1


def _skip_preview(bits: _Bits) -> None:
    div8 = bits(1)

    def side() -> None:
        if div8:
            choice = bits(2)
            bits((0, 0, 5, 9)[choice])
        else:
            bits((6, 8, 10, 12)[bits(2)])

    side()
    if not bits(3):
        side()


JXL = Container(
    "jxl",
    (".jxl",),
    rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
    unwrap,
    Holds(frozenset({"exif", "xmp"})),
    extra="jxl",
)
