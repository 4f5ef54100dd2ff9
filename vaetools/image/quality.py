"""How strongly a lossy format compresses: as asked for, or as the source file was compressed."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vaetools.image.containers import FORMATS, sniff
from vaetools.image.containers.jxl import is_lossless
from vaetools.image.containers.webp import image_chunk
from vaetools.image.read_bytes import HEAD_SIZE
from vaetools.image.vp8 import quality_of

if TYPE_CHECKING:
    import numpy as np

DEFAULT_QUALITY = 95
LOSSY = frozenset({"jpeg", "webp", "avif", "jxl"})

_SUFFIXES = [suffix for suffixes in FORMATS.values() for suffix in suffixes]
TO = (
    *(name for name in ("png", "jpg", "webp", "tiff", "avif", "jxl") if f".{name}" in _SUFFIXES),
    "same",
)
"""What a user may choose as the format of image files; `same` is that of the source."""


@dataclass(frozen=True, eq=False)
class Origin:
    """The file that an image was made from, for formats that can keep parts of it.

    Attributes:
        data: the whole file.
        changed: (H, W) bool, packed along rows as by `np.packbits`: where pixels differ from those
            of the file. None if they cannot be compared.
    """

    data: bytes
    changed: np.ndarray | None = None

    @property
    def format(self) -> str:
        """As in `Image.format`."""
        return sniff(self.data[:HEAD_SIZE])

    @property
    def has_unchanged(self) -> bool:
        """Whether some pixels did not change: at least eight, side by side."""
        return self.changed is not None and 0 in self.changed

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return len(self.data) + (0 if self.changed is None else self.changed.nbytes)


def quality_options(
    format_name: str, quality: int | None, origin: Origin | None = None
) -> dict[str, Any]:
    """Options for JPEG, WebP and AVIF by Pillow, or for `encode_jxl`.

    Args:
        format_name: `jpeg`, `webp`, `avif` or `jxl`.
        quality: 0 … 100; None for that of the origin if it has the same format, and otherwise for
            `DEFAULT_QUALITY`.
        origin: what the image was made from.
    """
    is_same = origin is not None and origin.format == format_name != "avif"
    if quality is None and origin is not None and is_same:
        if format_name == "jpeg":
            return _as_jpeg(origin.data)
        quality = _quality_of_jxl(origin) if format_name == "jxl" else _quality_of_webp(origin)
    if quality is None:
        quality = DEFAULT_QUALITY
    if format_name == "jxl":
        return {"quality": quality, "lossless": quality == 100}
    if format_name == "webp" and quality == 100:
        # In lossless mode Pillow's quality is effort; exact keeps colours under transparency.
        return {"lossless": True, "quality": 75, "exact": True}
    if format_name == "webp":
        return {"quality": quality}
    if format_name == "avif":
        return {"quality": quality, "subsampling": "4:4:4" if quality >= 90 else "4:2:0"}
    # Pillow takes a JPEG quality of 0 for "unset".
    return {"quality": max(1, quality), "subsampling": 0 if quality >= 90 else 2}


def _quality_of_jxl(origin: Origin) -> int:
    return 100 if is_lossless(origin.data) else DEFAULT_QUALITY


def _quality_of_webp(origin: Origin) -> int | None:
    kind, content = image_chunk(origin.data)
    if kind == b"VP8L":
        return 100
    found = quality_of(content)
    return None if found is None else min(found, 99)


def _as_jpeg(data: bytes) -> dict[str, Any]:
    """Quantisation tables, subsampling and progression of a JPEG file."""
    from PIL.JpegImagePlugin import JpegImageFile, get_sampling

    with JpegImageFile(io.BytesIO(data)) as file:
        tables = [file.quantization[layer[3]] for layer in file.layer]
        sampling = get_sampling(file)
        progressive = bool(file.info.get("progressive"))
    # Two tables at most: of the first component, and of the others.
    return {
        "qtables": tables[:2] if len(tables) in (1, 3) else tables[:1],
        "subsampling": max(sampling, 0),
        "progressive": progressive,
        "optimize": True,
    }
