"""Containers of images, one module each: what a file is, whether it is whole, its metadata.

The decoders are only shown the bytes that pixels come from. So no decoder turns an image by an
orientation that is applied elsewhere, inflates a text chunk, or warns about a broken EXIF field.
And damage is looked for by the container's own means, because the decoders let some of it pass:
OpenCV half a JPEG (before version 5), Pillow half a PNG.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from vaetools.errors import NotAnImageError, UsageError
from vaetools.image.containers.base import Bare, Container
from vaetools.image.containers.gif import GIF
from vaetools.image.containers.heif import AVIF, HEIF
from vaetools.image.containers.jpeg import JPEG
from vaetools.image.containers.jxl import JXL
from vaetools.image.containers.plain import BMP, PPM
from vaetools.image.containers.png import PNG, PNG_SIGNATURE, png_chunk
from vaetools.image.containers.raw import RAW, is_raw
from vaetools.image.containers.tiff import TIFF
from vaetools.image.containers.webp import WEBP
from vaetools.image.extras import is_installed
from vaetools.image.read_bytes import HEAD_SIZE

__all__ = [
    "CONTAINERS",
    "FORMATS",
    "PNG_SIGNATURE",
    "SUFFIXES",
    "Bare",
    "Container",
    "format_of",
    "missing_extra",
    "png_chunk",
    "sniff",
    "unwrap",
]

CONTAINERS = {c.name: c for c in (JPEG, PNG, WEBP, TIFF, BMP, GIF, PPM, AVIF, HEIF, JXL, RAW)}
FORMATS = {name: container.suffixes for name, container in CONTAINERS.items()}
SUFFIXES = frozenset(
    suffix for c in CONTAINERS.values() if is_installed(c.extra) for suffix in c.suffixes
)
"""Lower-case suffixes of the files that we read with the libraries that are installed.

Reading goes by content, whatever the suffix.
"""


def missing_extra(suffix: str) -> str:
    """The extra of the package that would read files with this suffix; empty if none would."""
    for container in CONTAINERS.values():
        if suffix.lower() in container.suffixes and not is_installed(container.extra):
            return container.extra
    return ""


def format_of(suffix_or_path: str | PurePath) -> str:
    """The format of a suffix or file name: `.jpg`, `JPG` and `a/b.jpeg` are all `jpeg`.

    Raises:
        UsageError: a suffix that is not known; the message names those that are.
    """
    text = str(suffix_or_path).lower()
    suffix = PurePath(text).suffix or f".{text.removeprefix('.')}"
    for name, suffixes in FORMATS.items():
        if suffix in suffixes or suffix == f".{name}":
            return name
    raise UsageError(
        f"{suffix_or_path!s} is not a known image format",
        remedy=f"known: {' '.join(sorted(SUFFIXES))}",
    )


def sniff(head: bytes) -> str:
    """The format of a file, from its first `HEAD_SIZE` bytes. Raises `NotAnImageError`."""
    for name, container in CONTAINERS.items():
        if re.match(container.signature, head, re.DOTALL):
            return name
    raise NotAnImageError(
        f"not an image in a supported format ({', '.join(CONTAINERS)})",
        remedy="decompress it first" if head.startswith(b"\x89VAE") else None,
    )


def unwrap(data: bytes, *, strict: bool) -> Bare:
    """Take a file apart, and with `strict` check that it is whole.

    Raises:
        NotAnImageError: unknown content.
        DamagedImageError: truncated, or a checksum is wrong (`strict`), or nothing to work with.
        UnsupportedImageError: a BigTIFF.
    """
    name = sniff(data[:HEAD_SIZE])
    if name == "tiff" and is_raw(data):  # its first image is only a preview
        name = "raw"
    return CONTAINERS[name].unwrap(data, strict)
