"""Formats that are handed to their decoder as they are: BMP and PNM."""

from __future__ import annotations

import struct

from vaetools.image.containers.base import Bare, Container
from vaetools.image.metadata import Density
from vaetools.image.metadata.fields import INCH
from vaetools.image.metadata.reading import Blocks
from vaetools.image.metadata.writing import Holds

NOTHING = Holds()


def unwrapped_by_decoder(
    name: str, suffixes: tuple[str, ...], signature: bytes, holds: Holds = NOTHING
) -> Container:
    """A container that only Pillow takes apart; what metadata it finds counts."""

    def unwrap(data: bytes, strict: bool) -> Bare:  # noqa: ARG001 - the decoder sees damage itself
        return Bare(name, data, metadata=None)

    return Container(name, suffixes, signature, unwrap, holds)


def _unwrap_bmp(data: bytes, strict: bool) -> Bare:  # noqa: ARG001 - the decoder sees damage itself
    """Resolution, and the ICC profile of a header of version 5."""
    blocks = Blocks()
    (header,) = struct.unpack_from("<L", data.ljust(18, b"\0"), 14)
    if header >= 40 and len(data) >= 46:
        x, y = struct.unpack_from("<ll", data, 38)
        blocks.density = Density(x * INCH, y * INCH)
    if header == 124 and data[70:74] == b"DBEM":
        offset, size = struct.unpack_from("<LL", data.ljust(134, b"\0"), 126)
        blocks.icc = data[14 + offset : 14 + offset + size]
    metadata, _ = blocks.understood()
    return Bare("bmp", data, metadata)


BMP = Container(
    "bmp",
    (".bmp", ".dib"),
    rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    _unwrap_bmp,
    Holds(frozenset({"density"})),
)
PPM = unwrapped_by_decoder("ppm", (".ppm", ".pgm", ".pbm", ".pnm"), rb"P[1-6][\s#]")
