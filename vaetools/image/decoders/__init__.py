"""The pixels of a file, each kind by the decoder that gets it right.

JPEG                                     simplejpeg: reports what libjpeg warns about
PNG 8 and 16 bit, TIFF 16 bit            cv2: fast; Pillow would silently cut 16-bit RGB to 8 bit
PNM                                      numpy
HEIF, JPEG XL, camera RAW                libraries that extras of the package install
CMYK, palettes, 1 bit, all the rest      Pillow
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vaetools.image.decoders.guard import decoding
from vaetools.image.decoders.heif import open_avif, open_heif
from vaetools.image.decoders.jpeg import open_jpeg
from vaetools.image.decoders.jxl import open_jxl
from vaetools.image.decoders.pillow import decode_pillow, pillow_header
from vaetools.image.decoders.png import open_png
from vaetools.image.decoders.pnm import open_pnm
from vaetools.image.decoders.raw import open_raw
from vaetools.image.decoders.tiff import open_tiff
from vaetools.image.decoders.webp import open_webp

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from vaetools.image.containers import Bare
    from vaetools.image.decoders.base import Opened, Planes

_OPENERS: dict[str, Callable[[Bare, bool], Opened]] = {
    "jpeg": open_jpeg,
    "png": open_png,
    "webp": open_webp,
    "tiff": open_tiff,
    "ppm": open_pnm,
    "avif": open_avif,
    "heif": open_heif,
    "jxl": open_jxl,
    "raw": open_raw,
}
# EXIF orientation -> cv2.flip's code, after transposing from 5 on.
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}


def open_bare(bare: Bare, *, strict: bool) -> Opened:
    """Read the header; nothing is decoded yet.

    Raises:
        DamagedImageError: no header, or with `strict` one that claims more than the file can hold.
        UnsupportedImageError: a depth or kind of pixels that we do not handle.
    """
    with decoding(bare.format):
        return _OPENERS.get(bare.format, _open_by_pillow)(bare, strict)


def read_planes(opened: Opened, format_name: str, *, strict: bool) -> Planes:
    """Decode; the orientation is still to be applied.

    Raises:
        DamagedImageError: truncated or corrupt data; without `strict`, only if nothing comes of it.
        UnsupportedImageError: a kind of pixels that we do not handle.
    """
    with decoding(format_name):
        return opened.decode(strict)


def _open_by_pillow(bare: Bare, strict: bool) -> Opened:  # noqa: ARG001
    return decode_pillow(pillow_header(bare.format, bare.data))


def turned(plane: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The plane as it is to be seen, for an EXIF orientation of 1 … 8."""
    import cv2

    if orientation >= 5:
        plane = cv2.transpose(plane)
    if orientation in _FLIPS:
        plane = cv2.flip(plane, _FLIPS[orientation])
    return plane
