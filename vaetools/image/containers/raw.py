"""Camera RAW: what the sensor measured, mostly in TIFF directories behind a small preview."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vaetools.errors import DamagedImageError
from vaetools.image.containers.base import Bare, Container
from vaetools.image.metadata.reading import Blocks
from vaetools.image.metadata.tiff_directory import (
    Field,
    exif_of_tiff,
    find,
    first_directory,
    read_directory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOTE = "developed from camera RAW with LibRaw's defaults, 8 bit"
_SUB_DIRECTORIES, _PHOTOMETRIC, _COMPRESSION, _DNG_VERSION = 330, 262, 259, 50706
_SENSOR = {32803, 34892}  # photometric: colour filter array, linear raw
_MAKERS = {32767, 32769, 32770, 34713, 65535}  # compression: Sony, packed, Samsung, Nikon, Pentax
_MOST_DIRECTORIES = 16


def unwrap(data: bytes, strict: bool) -> Bare:
    blocks = Blocks(orientation=1, notes=[_NOTE])  # LibRaw turns the image
    directories = list(_directories(data))
    if directories:
        blocks.exif = exif_of_tiff(data, directories[0]) or b""
    else:
        blocks.notes.append("EXIF of a camera RAW file that is no TIFF")
    if strict and any(_end(data, fields) > len(data) for fields in directories):
        raise DamagedImageError("truncated: pixels are missing at the end")
    metadata, _ = blocks.understood()
    return Bare("raw", data, metadata)


def is_raw(data: bytes) -> bool:
    """Whether a TIFF file is a camera's, so that its first image is only a preview."""
    return data[8:10] == b"CR" or any(_is_sensor(data, fields) for fields in _directories(data))


def _directories(data: bytes) -> Iterator[list[Field]]:
    """The directories of a TIFF structure and those below; none if it is something else."""
    try:
        waiting = [first_directory(data)]
        for _ in range(_MOST_DIRECTORIES):
            if not waiting:
                return
            fields, following = read_directory(data, waiting.pop(0))
            yield fields
            below = find(fields, _SUB_DIRECTORIES)
            waiting += below.numbers(data) if below else ()
            waiting += [following] if following else []
    except (ValueError, struct.error):
        return


def _end(data: bytes, fields: list[Field]) -> int:
    """Where the last strip or tile ends."""
    ends = [0]
    for offsets_tag, counts_tag in ((273, 279), (324, 325)):
        offsets, counts = find(fields, offsets_tag), find(fields, counts_tag)
        if offsets is not None and counts is not None:
            ends += map(sum, zip(offsets.numbers(data), counts.numbers(data), strict=False))
    return max(ends)


def _is_sensor(data: bytes, fields: list[Field]) -> bool:
    def numbers(tag: int) -> set[int]:
        field = find(fields, tag)
        return set(field.numbers(data)) if field else set()

    return bool(
        find(fields, _DNG_VERSION)
        or numbers(_PHOTOMETRIC) & _SENSOR
        or numbers(_COMPRESSION) & _MAKERS
    )


RAW = Container(
    "raw",
    (".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    rb"II(?:RO|RS|U\0)|MMOR|FUJIFILMCCD-RAW|.{4}ftypcrx |FOVb|\0MRM",
    unwrap,
    is_written=False,
    extra="raw",
)
