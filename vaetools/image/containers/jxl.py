"""JPEG XL: a codestream, alone or in boxes. Its header is read here, since the decoder has no limits.

References: ISO/IEC 18181-1 (codestream), 18181-2 (boxes).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaetools.errors import DamagedImageError
from vaetools.image.containers.base import Bare, Container
from vaetools.image.containers.isobmff import boxes, exif_of
from vaetools.image.metadata.reading import Blocks
from vaetools.image.metadata.writing import Holds

if TYPE_CHECKING:
    from vaetools.image.metadata import Metadata

_BOXES = b"\0\0\0\x0cJXL \r\n\x87\n"
_KEPT = {b"JXL ", b"ftyp", b"jxll", b"jxli", b"jxlc", b"jxlp"}
_CODESTREAM = b"\xff\x0a"
_ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))
_ALPHA, _SPOT_COLOUR, _FILTER_ARRAY = 0, 2, 5
_LINEAR, _SRGB = 8 - 2, 13 - 2  # transfer functions
_LINEAR_GREY = 1 << 2 | 1 << 4 | 2 << 7 | _LINEAR << 9
"""A colour encoding: no default, no profile; grey, D65, no gamma, the transfer function."""
_LINEAR_GREY_BITS = 13
_RATIOS = (None, (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


@dataclass(frozen=True)
class CodestreamHeader:
    """The start of a codestream.

    Attributes:
        width, height: as they are stored, before the orientation.
        animated: whether there may be several frames.
        depth: bits of a colour sample.
        exact: whether the colours are coded as they are, not in the space of lossy files (XYB).
        end: position of the colour encoding, in bits behind the signature.
    """

    width: int
    height: int
    animated: bool
    depth: int = 8
    exact: bool = False
    end: int = 0


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
    if bits(1):  # all_default
        return CodestreamHeader(width, height, animated=False)
    animated = bool(bits(1)) and _is_animated(bits)  # extra_fields
    depth = _depth(bits)
    bits(1)  # buffers of 16 bits
    for _ in range(_choice(bits, (0, 0), (0, 1), (4, 2), (12, 1))):
        _skip_extra_channel(bits)
    exact = not bits(1)
    return CodestreamHeader(width, height, animated, depth, exact, bits.read)


def is_lossless(data: bytes) -> bool:
    """Whether a JPEG XL file has the pixels that it was made from, as far as its header says."""
    if data.startswith(_BOXES) and any(
        kind == b"jbrd" for kind, _, _ in boxes(data, 0, len(data), strict=False)
    ):
        return False  # made from a JPEG file
    return read_header(unwrap(data, strict=False).data).exact


def wrap(data: bytes, metadata: Metadata) -> bytes:
    """A file with other metadata around the same codestream.

    What is needed to get a JPEG file back is left out: it holds metadata as well.
    """
    if data.startswith(_BOXES):
        found = boxes(data, 0, len(data), strict=False)
        parts = [(kind, data[start:end]) for kind, start, end in found if kind in _KEPT]
    else:
        parts = [(b"JXL ", _BOXES[8:]), (b"ftyp", b"jxl \0\0\0\0jxl "), (b"jxlc", data)]
    if metadata.exif is not None:
        parts.append((b"Exif", bytes(4) + metadata.exif))
    if metadata.xmp is not None:
        parts.append((b"xml ", metadata.xmp))
    return b"".join(
        struct.pack(">L4s", 8 + len(content), kind) + content for kind, content in parts
    )


def as_srgb(data: bytes) -> bytes:
    """A file of grey pixels whose colour encoding is linear, with that of sRGB instead."""
    at = data.index(_CODESTREAM)
    head = data[at : at + 64]
    start = 16 + read_header(head).end
    number = int.from_bytes(head, "little")
    if number >> start & (1 << _LINEAR_GREY_BITS) - 1 != _LINEAR_GREY:
        return data
    number ^= (_LINEAR ^ _SRGB) << start + _LINEAR_GREY_BITS - 4
    return data[:at] + number.to_bytes(len(head), "little") + data[at + 64 :]


class _Bits:
    """Bits, the lowest of each byte first. `read` is the number of bits that were read."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data, "little")
        self.read = 0

    def __call__(self, count: int) -> int:
        self.read += count
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
    """Read the extra fields of ImageMetadata."""
    bits(3)  # orientation
    if bits(1):  # intrinsic size
        _size(bits)
    if bits(1):  # preview, of whose size only the length matters
        _skip_preview(bits)
    if not bits(1):
        return False
    _choice(bits, (0, 100), (0, 1000), (10, 1), (30, 1))  # ticks per second
    _choice(bits, (0, 1), (0, 1001), (8, 1), (10, 1))
    _choice(bits, (0, 0), (3, 0), (16, 0), (32, 0))  # loops
    bits(1)  # time codes
    return True


def _choice(bits: _Bits, *choices: tuple[int, int]) -> int:
    """A number in one of four forms, each with its number of bits and what is added to them."""
    count, offset = choices[bits(2)]
    return bits(count) + offset


def _depth(bits: _Bits) -> int:
    if not bits(1):
        return _choice(bits, (0, 8), (0, 10), (0, 12), (6, 1))
    depth = _choice(bits, (0, 32), (0, 16), (0, 24), (6, 1))  # floats
    bits(4)  # of the exponent
    return depth


def _skip_extra_channel(bits: _Bits) -> None:
    if bits(1):  # alpha of 8 bits
        return
    kind = _choice(bits, *_ENUM)
    _depth(bits)
    _choice(bits, (0, 0), (0, 3), (0, 4), (3, 1))  # how much smaller
    for _ in range(_choice(bits, (0, 0), (4, 0), (5, 16), (10, 48))):  # name
        bits(8)
    if kind == _ALPHA:
        bits(1)
    elif kind == _SPOT_COLOUR:
        bits(64)
    elif kind == _FILTER_ARRAY:
        _choice(bits, (0, 1), (2, 0), (4, 3), (8, 19))


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
