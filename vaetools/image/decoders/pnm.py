"""PNM (PBM, PGM, PPM), text and raw, by numpy.

Samples are scaled to 8 bit, or from a maximum above 255 on to 16 bit.

Reference: https://netpbm.sourceforge.net/doc/pnm.html
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vaetools.errors import DamagedImageError
from vaetools.image.decoders.base import Opened, Planes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaetools.image.containers import Bare

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_NUMBER = rb"(\d{1,9})"
_BITMAP = re.compile(rb"P[14]" + _GAP + _NUMBER + _GAP + _NUMBER + rb"\s")
_SAMPLES = re.compile(rb"P[2356]" + _GAP + _GAP.join([_NUMBER] * 3) + rb"\s")
_MOST_HEADER = 2**16
"""Bytes, comments included."""


class _Header(NamedTuple):
    kind: int  # the digit behind P
    width: int
    height: int
    maximum: int
    start: int  # of the samples

    @property
    def channels(self) -> int:
        return 3 if self.kind in (3, 6) else 1

    @property
    def dtype(self) -> type:
        return np.uint8 if self.maximum < 256 else np.uint16


def open_pnm(bare: Bare, strict: bool) -> Opened:  # noqa: ARG001
    header = _read_header(bare.data[:_MOST_HEADER])
    mode = "1" if header.kind in (1, 4) else "RGB" if header.channels == 3 else "L"
    deep = " 16 bit" if header.dtype is np.uint16 else ""
    decode = partial(_decode, bare.data, header)
    frames = _count_frames(bare.data, header)
    return Opened(header.width, header.height, mode + deep, decode, frames)


def _read_header(head: bytes) -> _Header:
    found = _BITMAP.match(head) or _SAMPLES.match(head)
    if found is None:
        raise DamagedImageError(f"no PNM header in the first {_MOST_HEADER} bytes")
    width, height, *rest = map(int, found.groups())
    maximum = rest[0] if rest else 1
    if not width or not height or not 1 <= maximum <= 65535:
        raise DamagedImageError(f"a PNM header of {width}×{height} pixels up to {maximum}")
    return _Header(int(head[1:2]), width, height, maximum, found.end())


def _length(header: _Header) -> int:
    """The least number of bytes that the samples take; exact for the raw kinds."""
    row = header.width * header.channels
    if header.kind == 1:
        return row * header.height
    if header.kind in (2, 3):  # a digit and a space each
        return 2 * row * header.height - 1
    bits = 1 if header.kind == 4 else 8 * np.dtype(header.dtype).itemsize
    return (bits * row + 7) // 8 * header.height


def _count_frames(data: bytes, header: _Header) -> int:
    """Raw files may have further images behind the first one; 2 stands for all of them."""
    if header.kind < 4:
        return 1
    following = data[header.start + _length(header) :][:64]
    return 2 if re.match(rb"\s*P[1-6][\s#]", following) else 1


def _decode(data: bytes, header: _Header, strict: bool) -> Planes:
    length = len(data) - header.start
    if strict and length < _length(header):
        raise DamagedImageError(
            f"truncated: {length} bytes of samples where {_length(header)} are needed"
        )
    count = header.width * header.height * header.channels
    samples = _samples(data, header, count)
    if len(samples) < count:
        if strict or not len(samples):
            raise DamagedImageError(f"truncated: {len(samples)} of {count} samples")
        samples = np.concatenate([samples, np.zeros(count - len(samples), samples.dtype)])
    if samples.min() < 0 or samples.max() > header.maximum:
        raise DamagedImageError(f"a sample is not 0 … {header.maximum}")
    pixels = _scaled(samples, header)
    if header.channels == 1:
        return pixels.reshape(header.height, header.width), None
    rgb = pixels.reshape(header.height, header.width, 3)
    return np.ascontiguousarray(rgb[..., ::-1]), None


def _scaled(samples: NDArray[Any], header: _Header) -> NDArray[Any]:
    top = np.iinfo(header.dtype).max
    if header.maximum == top:
        return samples.astype(header.dtype, copy=False)
    levels = np.rint(np.arange(header.maximum + 1) * (top / header.maximum))
    scaled: NDArray[Any] = levels.astype(header.dtype)[samples]
    return scaled


def _samples(data: bytes, header: _Header, count: int) -> NDArray[Any]:
    """At most `count` samples as they are in the file, white as 1 in bitmaps."""
    body = memoryview(data)[header.start :]
    if header.kind == 4:
        row = (header.width + 7) // 8
        rows = np.frombuffer(body, np.uint8, min(len(body) // row, header.height) * row)
        return 1 - np.unpackbits(rows.reshape(-1, row), axis=1)[:, : header.width].ravel()
    if header.kind in (5, 6):
        dtype = np.dtype(header.dtype).newbyteorder(">")
        return np.frombuffer(body, dtype, min(count, len(body) // dtype.itemsize))
    text = re.sub(rb"#[^\r\n]*", b"", body)
    if header.kind == 1:  # spaces between digits may be missing
        digits = np.frombuffer(text.translate(None, b" \t\n\v\f\r"), np.uint8)[:count]
        return 49 - digits.astype(np.int16)
    numbers: NDArray[Any] = np.fromstring(text, np.int64, count, sep=" ")
    return numbers
