"""GIF: blocks of sub-blocks. Only the first image is handed on.

Reference: GIF89a specification (CompuServe, 1990).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vaetools.errors import DamagedImageError, UnsupportedImageError
from vaetools.image.containers.base import Bare, Container, unknown
from vaetools.image.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOPS = ("NETSCAPE", "ANIMEXTS")
"""Extensions that say how often frames are repeated."""

_MOST_BLOCKS = 10_000
"""Sub-blocks in a file whose sub-blocks are short; real ones are mostly full, 255 bytes."""


def unwrap(data: bytes, strict: bool) -> Bare:  # noqa: ARG001 - the decoder sees damage itself
    """The screen's size, the palette, the first image and its transparency."""
    start, control, images = _table_end(data, 10, 13), b"", 0
    first = b""
    for kind, begin, end in _blocks(data, start):
        if kind == b"!\xf9" and not images:
            control = data[begin:end]
        if kind == b",":
            first = first or data[begin:end]
            images += 1
    if not images:
        raise DamagedImageError("truncated or corrupt: the GIF has no image")
    head = data[:6] + _screen(data, first) + data[10:start]
    metadata = Metadata(notes=tuple(_notes(data, start)))
    return Bare("gif", head + control + first + b";", metadata, frames=images)


def _notes(data: bytes, start: int) -> Iterator[str]:
    """What extensions hold beside frames and their times."""
    found = [(kind, data[begin + 3 : begin + 11]) for kind, begin, _ in _blocks(data, start)]
    if any(kind == b"!\xfe" for kind, _ in found):
        yield "comment"
    names = [name.decode("latin-1") for kind, name in found if kind == b"!\xff"]
    yield from unknown("extensions", (name for name in names if name not in _LOOPS))


def _screen(data: bytes, image: bytes) -> bytes:
    """The sides of the screen, enlarged if the first image reaches beyond them."""
    left, top, width, height = struct.unpack_from("<4H", image.ljust(9, b"\0"), 1)
    sides = struct.unpack_from("<2H", data, 6)
    return struct.pack(
        "<2H", min(65535, max(sides[0], left + width)), min(65535, max(sides[1], top + height))
    )


def _blocks(data: bytes, at: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of images, `,`, and extensions, `!` and their label.

    Pillow passes over bytes between blocks, and so do we.
    """
    rounds = _MOST_BLOCKS + len(data) // 64
    while at < len(data) and data[at : at + 1] != b";":
        start, kind = at, data[at : at + 1]
        at += 1
        rounds -= 1
        if kind == b",":
            at = _table_end(data, at + 8, at + 9) + 1
        elif kind == b"!":
            kind, at = data[start : at + 1], at + 1
        if kind[:1] in (b",", b"!"):
            while at < len(data) and data[at] and rounds > 0:
                at += 1 + data[at]
                rounds -= 1
            at += 1
            yield kind, start, at
        if rounds <= 0:
            raise UnsupportedImageError("the gif file has too many short blocks")


def _table_end(data: bytes, flags_at: int, start: int) -> int:
    """Where a colour table ends that begins at `start`, if its flags say that there is one."""
    if flags_at >= len(data):
        raise DamagedImageError("truncated: the GIF ends in its header")
    flags = data[flags_at]
    return start + (3 << (flags & 7) + 1 if flags & 0x80 else 0)


GIF = Container("gif", (".gif",), rb"GIF8[79]a", unwrap, is_written=False)
