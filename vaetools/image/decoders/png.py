"""The chunks of a PNG file that pixels come from, checked before a decoder sees them.

libpng prints its errors and warnings to stderr without a file name, and Pillow takes half of the
rows for an image. After these checks libpng has nothing to say.

Reference: PNG (ISO/IEC 15948).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import DamagedImageError
from vaetools.image.containers.png import PNG_SIGNATURE, png_chunk
from vaetools.image.decoders.base import Opened, Planes
from vaetools.image.decoders.opencv import decode_cv2
from vaetools.image.decoders.pillow import decode_pillow, pillow_header, planes_of_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

    from vaetools.image.containers import Bare

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PIECE = 1 << 14
"""Bytes that are inflated at a time, to at most 17 MB."""
_MOST_RATIO = 1032
"""A byte of Deflate becomes at most this many."""

# Adam7: first column, first row, step in columns, step in rows.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def open_png(bare: Bare, strict: bool) -> Opened:  # noqa: ARG001
    header = pillow_header("png", bare.data)
    depth, colour_type = bare.data[24], bare.data[25]
    if colour_type == 0 and depth in (2, 4) and "transparency" in header.info:
        # Pillow scales the samples to 8 bits, and not the level that is transparent.
        top = (1 << depth) - 1
        header.info["transparency"] = (header.info["transparency"] & top) * (255 // top)
    if depth == 16:
        decode = partial(_decode_deep, bare.data, header)
        return Opened(*header.size, f"{header.mode} 16 bit", decode)
    plain = depth == 8 and colour_type != 3 and "transparency" not in header.info
    return replace(decode_pillow(header), decode=partial(_decode, bare.data, header, plain))


def _decode(data: bytes, header: ImageFile, plain: bool, strict: bool) -> Planes:
    if not strict:
        return planes_of_header(header, strict)
    if plain:
        return _planes(decode_cv2(_pixel_data(data), header.size, np.uint8), data[25])
    _check_pixel_data(data)
    return planes_of_header(header, strict)


def _decode_deep(data: bytes, header: ImageFile, strict: bool) -> Planes:  # noqa: ARG001
    array = decode_cv2(_pixel_data(data), header.size, np.uint16)
    key = header.info.get("transparency")
    if array.ndim == 2 and key is not None:
        return array, np.where(array == key, 0, 65535).astype(np.uint16)
    return _planes(array, data[25])


def _planes(array: NDArray[Any], colour_type: int) -> Planes:
    """Grey (H, W), BGR or BGRA as cv2 gave it -> planes."""
    if colour_type == 4:  # grey and alpha, which cv2 makes colour
        return array[..., 0].copy(), array[..., 3].copy()
    if array.ndim == 2 or array.shape[2] == 3:
        return array, None
    return array[..., :3].copy(), array[..., 3].copy()


def _pixel_data(data: bytes) -> bytes:
    """The file with IHDR, IDAT and a valid tRNS only, for OpenCV.

    Args:
        data: a PNG file of whole chunks, not a palette image.

    Raises:
        DamagedImageError: the zlib stream is broken, or has fewer rows than the image.
    """
    header, transparency, packed = _parts(data)
    extra = _check_rows(header, packed)
    if extra:  # harmless, but libpng would warn
        rows = zlib.decompressobj().decompress(packed, _size(header))
        packed = zlib.compress(rows, 0)
    chunks = [(b"IHDR", header), *transparency, (b"IDAT", packed), (b"IEND", b"")]
    return b"".join([PNG_SIGNATURE, *(png_chunk(kind, content) for kind, content in chunks)])


def _check_pixel_data(data: bytes) -> None:
    """Raise `DamagedImageError` unless the zlib stream holds every row of the image."""
    header, _, packed = _parts(data)
    _check_rows(header, packed)


def _parts(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """(IHDR, tRNS as a list of at most one chunk, all IDAT together)."""
    header = b""
    transparency: list[tuple[bytes, bytes]] = []
    packed: list[bytes] = []
    for kind, content in _chunks(data):
        if kind == b"IHDR":
            header = content
        elif kind == b"tRNS" and not transparency and not packed:
            transparency = [(kind, content)]
        elif kind == b"IDAT":
            packed.append(content)
    if transparency and len(transparency[0][1]) != {0: 2, 2: 6}.get(header[9]):
        transparency = []
    return header, transparency, b"".join(packed)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def _blocks(header: bytes) -> list[tuple[int, int]]:
    """(rows, bytes of a row with its filter byte) of the image or of each interlace pass."""
    width, height, depth, colour_type, _, _, interlaced = struct.unpack(">LLBBBBB", header)
    bits = depth * _CHANNELS[colour_type]
    sizes = [(width, height)]
    if interlaced:
        sizes = [
            (-((x - width) // step_x), -((y - height) // step_y))
            for x, y, step_x, step_y in _PASSES
        ]
    return [(rows, 1 + (bits * columns + 7) // 8) for columns, rows in sizes if rows and columns]


def _size(header: bytes) -> int:
    return sum(rows * length for rows, length in _blocks(header))


def _check_rows(header: bytes, packed: bytes) -> bool:
    """Inflate in pieces and keep none of them. Returns whether there is more than the image."""
    unpacker = zlib.decompressobj()
    expected = _size(header)
    if len(packed) * _MOST_RATIO < expected:
        raise DamagedImageError("truncated: the pixel data is too short for the size of the image")
    filters = _FilterBytes(header)
    done = 0
    for at in range(0, len(packed), _PIECE):
        try:
            piece = unpacker.decompress(packed[at : at + _PIECE])
        except zlib.error as error:
            raise DamagedImageError(
                f"the pixel data is corrupt ({str(error).rpartition(': ')[2]})"
            ) from error
        if filters.highest(piece, done) > 4:
            raise DamagedImageError("the pixel data is corrupt: it has an unknown filter type")
        done += len(piece)
        if done > expected:
            return True
        if unpacker.eof and done == expected:
            return bool(unpacker.unused_data) or at + _PIECE < len(packed)
        if unpacker.eof:
            break
    raise DamagedImageError("truncated: the pixel data ends early")


class _FilterBytes:
    """The first byte of each row, which names its filter."""

    def __init__(self, header: bytes) -> None:
        self._blocks = _blocks(header)
        self._next = 0  # position of the next filter byte
        self._end = 0  # of its block
        self._length = 0  # of a row of its block

    def highest(self, piece: bytes, start: int) -> int:
        """The highest filter in this piece of the inflated data, which begins at `start`."""
        highest = 0
        while self._next < start + len(piece):
            if self._next == self._end:
                if not self._blocks:
                    return highest
                rows, self._length = self._blocks.pop(0)
                self._end += rows * self._length
            found = piece[self._next - start : self._end - start : self._length]
            highest = max(highest, *found)
            self._next += len(found) * self._length
        return highest
