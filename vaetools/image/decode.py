"""Files to `Image`: what it is, whether it is whole, how large it is; only then the pixels.

Nothing here touches state that is shared between threads: not Pillow's MAX_IMAGE_PIXELS (its header
classes are called without `Image.open`, whose limit would come on top of ours), nor its
LOAD_TRUNCATED_IMAGES, nor the filters of warnings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vaetools.errors import (
    DamagedImageError,
    EmptyFileError,
    InputError,
    TooLargeError,
    UnsupportedImageError,
)
from vaetools.image.array import Image
from vaetools.image.containers import sniff, unwrap
from vaetools.image.decoders import open_bare, read_planes, turned
from vaetools.image.read_bytes import most_bytes, read_file
from vaetools.libraries import library_errors

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.image.containers import Bare
    from vaetools.image.decoders.base import Opened
    from vaetools.image.metadata import Metadata

MAX_PIXELS = 2**28
"""The default limit: 268 megapixels."""


def read_image(
    path: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    first_frame: bool = False,
    strict: bool = True,
    keep_encoded: bool = False,
) -> Image:
    """Read an image file; what it is goes by its content, not by its suffix.

    Args:
        path: a regular file.
        max_pixels: refuse images with more, before memory is taken for them.
        first_frame: read the first frame or page of a file with several, instead of refusing it.
        strict: refuse truncated and corrupt files; without it, what can be decoded is accepted, and
            `Image.damage` says what is wrong.
        keep_encoded: keep the bytes of a file that is not damaged in `Image.encoded`.

    Raises:
        UnreadableError: not there, not permitted, a directory, a pipe.
        EmptyFileError, NotAnImageError, DamagedImageError, TooLargeError, UnsupportedImageError:
            see `decode_image`.
    """
    data = read_file(path, check_head=_sniff_if_any, most=most_bytes(max_pixels))
    image = decode_image(
        data, file=path, max_pixels=max_pixels, first_frame=first_frame, strict=strict
    )
    # A damaged file is not passed on: it could not be decoded strictly again.
    return replace(image, encoded=data) if keep_encoded and not image.damage else image


@library_errors()
def decode_image(
    data: bytes,
    *,
    file: str | Path | None = None,
    max_pixels: int = MAX_PIXELS,
    first_frame: bool = False,
    strict: bool = True,
) -> Image:
    """Decode the bytes of an image file: JPEG, PNG, WebP, TIFF, AVIF, BMP, GIF or PNM.

    HEIF, JPEG XL and camera RAW need the extras `heif`, `jxl` and `raw` of the package.

    The EXIF orientation is applied. CMYK becomes RGB through its profile if it has one. A JPEG with
    more images behind the first (a phone's gain map, a stereo pair) is read as the first.

    Args:
        file: named in errors.
        max_pixels: as for `read_image`.
        first_frame: as for `read_image`.
        strict: as for `read_image`.

    Raises:
        EmptyFileError: no bytes (E011).
        NotAnImageError: unknown content (E010).
        DamagedImageError: truncated or corrupt (E012).
        TooLargeError: more pixels than the limit (E013).
        UnsupportedImageError: several frames, or pixels of a kind that we do not handle (E014).
        LibraryError: OpenCV or Pillow does not work (E061).
    """
    try:
        return _decode_as_far(bytes(data), max_pixels, first_frame, strict)
    except InputError as error:
        if file is not None:
            error.about(file)
        raise


def check_image(
    data: bytes, *, max_pixels: int = MAX_PIXELS, first_frame: bool = False, strict: bool = True
) -> int:
    """Check everything that `decode_image` checks before it decodes pixels. Raises as it does.

    Returns:
        Width × height.
    """
    _, opened = _checked(bytes(data), max_pixels, first_frame, strict)
    return opened.width * opened.height


@dataclass(frozen=True)
class ImageInfo:
    """What a file says about itself.

    Attributes:
        format: as in `Image`.
        width, height: as it is to be seen, with the orientation applied.
        mode: Pillow's word for the kind of pixels, such as `RGB`, `L` or `P`, and ` 16 bit` if so.
        frames: frames or pages.
        icc, exif: how many bytes of each.
        metadata: all that is known beside the pixels.
    """

    format: str
    width: int
    height: int
    mode: str
    frames: int
    icc: int
    exif: int
    metadata: Metadata


@library_errors()
def inspect_image(data: bytes, *, file: str | Path | None = None) -> ImageInfo:
    """Read the header only: no limits, no pixels; damage behind the header goes unseen.

    Raises:
        EmptyFileError, NotAnImageError, DamagedImageError, UnsupportedImageError: see
            `decode_image`.
    """
    try:
        return _inspect(bytes(data))
    except InputError as error:
        if file is not None:
            error.about(file)
        raise


def _inspect(data: bytes) -> ImageInfo:
    bare, opened = _opened(data, strict=False)
    metadata, orientation = _metadata(bare, opened)
    size = (opened.width, opened.height)
    if orientation >= 5:
        size = size[::-1]
    frames = max(bare.frames, opened.frames)
    icc, exif = (len(block or b"") for block in (metadata.icc, metadata.exif))
    return ImageInfo(bare.format, *size, opened.mode, frames, icc, exif, metadata)


def _sniff_if_any(head: bytes) -> None:
    if head:  # an empty file has an error of its own
        sniff(head)


def _decode_as_far(data: bytes, max_pixels: int, first_frame: bool, strict: bool) -> Image:
    """Decode strictly; then, without `strict`, what a damaged file still has."""
    try:
        return _decode(data, max_pixels, first_frame, strict=True)
    except DamagedImageError as error:
        if strict:
            raise
        damage = error.problem
    return replace(_decode(data, max_pixels, first_frame, strict=False), damage=damage)


def _decode(data: bytes, max_pixels: int, first_frame: bool, strict: bool) -> Image:
    bare, opened = _checked(data, max_pixels, first_frame, strict)
    pixels, alpha = read_planes(opened, bare.format, strict=strict)
    metadata, orientation = _metadata(bare, opened)
    return Image(
        turned(pixels, orientation),
        None if alpha is None else turned(alpha, orientation),
        format=bare.format,
        metadata=metadata if opened.keeps_icc else replace(metadata, icc=None),
    )


def _checked(data: bytes, max_pixels: int, first_frame: bool, strict: bool) -> tuple[Bare, Opened]:
    """A file with one image that is not too large, before its pixels are decoded."""
    bare, opened = _opened(data, strict)
    if opened.width * opened.height > max_pixels:
        raise _too_large(f"{_millions(opened.width * opened.height)} megapixels", max_pixels)
    if not first_frame and max(bare.frames, opened.frames) > 1:
        raise UnsupportedImageError(
            "it has several frames or pages", remedy="take the first with --frames first"
        )
    return bare, opened


def _opened(data: bytes, strict: bool) -> tuple[Bare, Opened]:
    if not data:
        raise EmptyFileError("the file is empty")
    bare = unwrap(data, strict=strict)
    return bare, open_bare(bare, strict=strict)


def _metadata(bare: Bare, opened: Opened) -> tuple[Metadata, int]:
    """The metadata, and the orientation that is to be applied."""
    if bare.metadata is None:
        return opened.blocks.understood()
    metadata = bare.metadata
    if metadata.icc is None and opened.blocks.icc:
        metadata = replace(metadata, icc=opened.blocks.icc)
    return metadata, bare.orientation


def _too_large(amount: str, max_pixels: int) -> TooLargeError:
    limit = f"{max_pixels / 1e6:.0f}" if max_pixels >= 10**7 else f"{max_pixels / 1e6:g}"
    return TooLargeError(
        f"{amount} is over the limit of {limit}", remedy="raise it with --max-pixels"
    )


def _millions(number: int) -> str:
    """Rounded up, so that what is over a limit does not look equal to it."""
    return str(math.ceil(number / 1e6)) if number >= 10**7 else f"{number / 1e6:g}"
