"""EXIF blocks: TIFF structures without an image."""

from __future__ import annotations

from vaetools.image.metadata.tiff_directory import upright

EXIF_PREFIX = b"Exif\0\0"


def split_exif(payload: bytes) -> tuple[bytes | None, int]:
    """The EXIF block without `Exif` prefixes, orientation 1, and the orientation it had."""
    while payload.startswith(EXIF_PREFIX):
        payload = payload[len(EXIF_PREFIX) :]
    return upright(payload) if payload else (None, 1)
