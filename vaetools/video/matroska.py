"""The sample aspect ratio in Matroska and WebM files, which PyAV does not pass on to the muxer.

Players read it from the display size of a track (RFC 9559). Codecs such as VP9 hold none. Nothing in a
file can be made longer after it was written. So the name of the track is written with some room behind
it, which the display size then takes.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction
    from pathlib import Path

ROOM = "~" * 64
"""What is appended to the name of the track."""

_SEGMENT, _TRACKS, _ENTRY = b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae"
_NAME, _VIDEO, _VOID, _CRC = b"\x53\x6e", b"\xe0", b"\xec", b"\xbf"
_WIDTH, _HEIGHT, _UNIT = b"\x54\xb0", b"\x54\xba", b"\x54\xb2"

_HEAD = 2**20
"""The tracks are written before the first frame, within so many bytes."""


def display_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """The size in square pixels; the side that is not shown longer stays."""
    if aspect >= 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def write_display_size(path: Path, size: tuple[int, int]) -> None:
    """Set the display size of the track that was written with room behind its name, in place.

    Args:
        path: A complete Matroska or WebM file.
        size: (width, height) in square pixels.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("r+b") as file:
        head = file.read(_HEAD)
        for segment in (e for e in _elements(head, 0, len(head)) if e[0] == _SEGMENT):
            for name, start, end in _elements(head, segment[1], min(segment[2], len(head))):
                if name == _TRACKS and end <= len(head):
                    file.seek(start)
                    file.write(_tracks(head[start:end], size))
                    return


def _tracks(data: bytes, size: tuple[int, int]) -> bytes:
    """The content of the tracks with the display size, as long as before."""
    changed, has_crc = b"", False
    at = 0
    for name, start, end in _elements(data, 0, len(data)):
        content = data[start:end]
        if name == _ENTRY and ROOM.encode() in content:
            changed += data[at:start] + _entry(content, size)
        elif name == _CRC:
            has_crc = True
            changed += data[at:end]
        else:
            changed += data[at:end]
        at = end
    if has_crc:  # the first element: identifier, length, 4 bytes
        changed = changed[:2] + zlib.crc32(changed[6:]).to_bytes(4, "little") + changed[6:]
    return changed


def _entry(data: bytes, size: tuple[int, int]) -> bytes:
    made = b""
    at = 0
    for name, start, end in _elements(data, 0, len(data)):
        content = data[start:end]
        if name == _NAME:
            title = content.removesuffix(ROOM.encode())
            made += _element(_NAME, title) if title else b""
        elif name == _VIDEO:
            made += _element(_VIDEO, _shown(content, size))
        elif name != _VOID:
            made += data[at:end]
        at = end
    return made + _element(_VOID, bytes(len(data) - len(made) - len(_element(_VOID, b""))))


def _shown(data: bytes, size: tuple[int, int]) -> bytes:
    kept, at = b"", 0
    for name, _, end in _elements(data, 0, len(data)):
        kept += b"" if name in (_WIDTH, _HEIGHT, _UNIT) else data[at:end]
        at = end
    values = zip((_WIDTH, _HEIGHT), size, strict=True)
    return kept + b"".join(name + b"\x84" + value.to_bytes(4, "big") for name, value in values)


def _element(name: bytes, content: bytes) -> bytes:
    return name + (1 << 56 | len(content)).to_bytes(8, "big") + content


def _elements(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(identifier, start and end of the content) of the elements in a range (RFC 8794)."""
    while at < end and data[at]:
        name = data[at : at + 9 - data[at].bit_length()]
        at += len(name)
        if at >= end or not data[at]:
            return
        length = 9 - data[at].bit_length()
        value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
        at += length
        yield name, at, at + value
        at += value
