"""Limits on what decoders would take long for, although the image is small enough."""

from __future__ import annotations

import math
import re
import struct
from typing import TYPE_CHECKING

from vaetools.errors import DamagedImageError, UnsupportedImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.image.metadata.tiff_directory import Field

MOST_SCANS = 500
"""Scans of a JPEG. Each is as much work as the whole image; encoders write about ten."""

MOST_PARTS = 10_000
"""Segments of a JPEG, or chunks that are shorter than 256 bytes."""

LEAST_TILE = 1024
"""A TIFF's tiles may be larger than the image, up to these sides."""

# Compression of a TIFF -> how many bytes one byte becomes at most.
_TIFF_RATIOS = {5: 4096, 8: 1032, 32946: 1032, 32773: 64}
# It begins with one byte and not with a run: such patterns are searched at the speed of memchr.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_HUFFMAN = 0xC0, 0xC1, 0xC2


def check_jpeg(data: bytes, *, strict: bool) -> None:
    """Count scans and segments, and with `strict` compare the size of the image with the file's.

    Raises:
        UnsupportedImageError: too many scans or segments.
        DamagedImageError: so many pixels do not fit into so few bytes.
    """
    scans = 0
    for count, (marker, start) in enumerate(_segments(data)):
        if marker in _HUFFMAN and strict:
            _check_length(data, start)
        scans += marker == 0xDA
        if scans > MOST_SCANS:
            raise UnsupportedImageError(f"it has more than {MOST_SCANS} scans")
        if count >= MOST_PARTS:
            raise UnsupportedImageError(f"it has more than {MOST_PARTS:,} segments")


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, where its length stands) of all segments up to the end of the first image."""
    at = 2
    while found := _MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        if marker == 0xD9 or at + 2 > len(data):  # end of image
            return
        if marker in (0x01, 0xD8):  # no length
            continue
        yield marker, at
        at += int.from_bytes(data[at : at + 2], "big")


def _check_length(data: bytes, start: int) -> None:
    """A Huffman code takes a bit at least, and a block of 8×8 pixels a code.

    A quarter of the blocks may be missing in every component, depending on how each is sampled.
    """
    height, width = struct.unpack(">HH", data[start + 3 : start + 7].ljust(4, b"\0"))
    if math.ceil(height / 8) * math.ceil(width / 8) > 4 * 8 * len(data):
        raise DamagedImageError(
            f"truncated: {len(data):,} bytes are too few for {width}×{height} pixels"
        )


def check_chunks(format_name: str, count: int, size: int) -> None:
    """Raise `UnsupportedImageError` if so many chunks in a file of `size` bytes are too short."""
    if count > MOST_PARTS + size // 256:
        raise UnsupportedImageError(f"the {format_name} file has too many short chunks")


def check_png(data: bytes) -> None:
    """Raises `UnsupportedImageError` for too many chunks, `DamagedImageError` for a bad header."""
    at = 8
    count = 0
    while at + 8 <= len(data):
        kind = data[at + 4 : at + 8]
        if (kind == b"IHDR") != (count == 0):
            raise DamagedImageError("corrupt: IHDR is not the first chunk, and only that")
        if kind == b"IEND":
            break
        count += 1
        check_chunks("png", count, len(data))
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    header = data[8:29]
    if len(header) == 21 and (header[:4] != b"\0\0\0\r" or any(header[18:20]) or header[20] > 1):
        raise DamagedImageError("corrupt: its header is not one of PNG")


def by_tag(fields: list[Field]) -> dict[int, Field]:
    """The first field of each tag."""
    return {field.tag: field for field in reversed(fields)}


def check_strips(data: bytes, fields: dict[int, Field], size: int) -> None:
    """Raise `DamagedImageError` if `size` bytes of strips or tiles are too few for the image."""

    def number(tag: int) -> int:
        return max(fields[tag].numbers(data), default=1) if tag in fields else 1

    samples = number(256) * number(257) * number(277)
    most = _TIFF_RATIOS.get(number(259))
    if most and samples * number(258) > 8 * most * size:
        raise DamagedImageError("truncated: too few bytes of pixels for the size of the image")


def check_tiles(data: bytes, fields: dict[int, Field]) -> None:
    """Raise `UnsupportedImageError` if tiles of a TIFF are much larger than the image."""
    for side, tile in ((256, 322), (257, 323)):
        if side in fields and tile in fields:
            length, most = (max(fields[tag].numbers(data), default=0) for tag in (tile, side))
            if length > max(2 * most, LEAST_TILE):
                raise UnsupportedImageError(f"tiles of {length} pixels in an image of {most}")
