"""What a `.vae` file says about its image, from its header and metadata. Nothing is decoded."""

from __future__ import annotations

import dataclasses
import io
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaetools.codec.container import (
    COUNT,
    CRC,
    ENTRY,
    FIXED,
    MAX_METADATA,
    Section,
    SectionKind,
    read_header,
)
from vaetools.codec.pixels import metadata_of
from vaetools.errors import ChecksumError, InputError
from vaetools.image import MAX_PIXELS, inspect_image
from vaetools.image.decoders.pillow import pillow_header

if TYPE_CHECKING:
    from typing import BinaryIO

    from vaetools.codec.container import Header
    from vaetools.image import Metadata

MIME = "image/x-vae"
"""The type of `.vae` files; not registered with IANA."""

METADATA = frozenset(
    {
        SectionKind.ICC,
        SectionKind.EXIF,
        SectionKind.XMP,
        SectionKind.IPTC,
        SectionKind.CICP,
        SectionKind.DENSITY,
    }
)


@dataclass(frozen=True)
class VaeInfo:
    """Facts about the image in a `.vae` file.

    Attributes:
        width, height: in pixels.
        depth: bits per sample: 8, 16, or 32 for floats.
        grey: True for one colour channel, False for three.
        alpha: whether there is an alpha channel.
        stored: True if the file holds the original image file.
        model_id: id of the model that encoded the file.
        level: rate index.
        metadata: ICC profile, EXIF and so on.
    """

    width: int
    height: int
    depth: int
    grey: bool
    alpha: bool
    stored: bool
    model_id: str
    level: int
    metadata: Metadata


def read_info(stream: BinaryIO, *, max_pixels: int = MAX_PIXELS) -> VaeInfo:
    """Read header and metadata; the other sections are skipped, unless it is a stored file.

    Args:
        stream: the file, seekable, at its start.
        max_pixels: limit on width × height.

    Raises:
        BitstreamError: the header or the metadata is damaged, or the image is too large.
    """
    header = _header(stream, max_pixels)
    sections = dict(_sections(stream, header))
    head = header.fields
    if head.stored:
        metadata, alpha = _embedded(sections[SectionKind.SOURCE])
    else:
        found = tuple(Section(kind, data) for kind, data in sections.items())
        metadata = metadata_of(dataclasses.replace(head, sections=found))
        alpha = any(kind == SectionKind.ALPHA for kind, _, _ in header.entries)
    return VaeInfo(
        width=head.width,
        height=head.height,
        depth=head.depth,
        grey=head.grey,
        alpha=alpha,
        stored=head.stored,
        model_id=head.model_id,
        level=head.level,
        metadata=metadata,
    )


def _header(stream: BinaryIO, max_pixels: int) -> Header:
    """The header, read in three steps, since its length stands in it."""
    head = stream.read(FIXED.size)
    if len(head) == FIXED.size:
        head += stream.read(head[-1] + COUNT.size)  # the model id, and the number of sections
        if len(head) == FIXED.size + head[FIXED.size - 1] + COUNT.size:
            (count,) = COUNT.unpack(head[-COUNT.size :])
            head += stream.read(count * ENTRY.size + CRC.size)
    return read_header(head, max_pixels=max_pixels)


def _sections(stream: BinaryIO, header: Header) -> list[tuple[SectionKind, bytes]]:
    """Kind and bytes of the sections of metadata, and of the source of a stored file."""
    found = []
    at = header.size
    size = stream.seek(0, io.SEEK_END)
    for kind, length, crc in header.entries:
        is_metadata = kind in METADATA and length <= 2 * MAX_METADATA  # zlib adds very little
        if is_metadata or kind == SectionKind.SOURCE:
            stream.seek(at)
            data = stream.read(min(length, max(size - at, 0)))  # a length may be forged
            known = SectionKind(kind)
            if len(data) < length or zlib.crc32(data) != crc:
                raise ChecksumError(f"the section {known.name.lower()} at byte {at} is damaged")
            found.append((known, data))
        at += length
    return found


def _embedded(source: bytes) -> tuple[Metadata, bool]:
    """Metadata of an embedded file, and whether it has alpha."""
    try:
        info = inspect_image(source)
    except InputError as error:
        raise ChecksumError(f"the embedded image: {error.problem}") from None
    has_alpha = info.mode.split()[0] in {"LA", "PA", "RGBA"}
    if info.format in {"png", "gif"}:  # a transparent colour stands beside the mode
        has_alpha |= "transparency" in pillow_header(info.format, source).info
    return info.metadata, has_alpha
