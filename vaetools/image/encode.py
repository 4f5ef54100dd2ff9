"""`Image` to the bytes of a file.

    JPEG, WebP, BMP, AVIF     Pillow
    JPEG XL             pillow-jxl-plugin
    PNG, TIFF           here: 8 and 16 bit, grey, colour, alpha, ICC and EXIF in every combination

No encoder at hand writes all of these: Pillow cuts RGB to 8 bit and takes 3 … 5 times as long, cv2
knows no grey with alpha and no metadata. Both formats need no more than horizontal differences
and zlib, and the result is as fast and as small as cv2's.

References: PNG (ISO/IEC 15948), TIFF 6.0 with Adobe Deflate.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import OptionError, UnsupportedImageError, UsageError
from vaetools.image.array import Image, quantise
from vaetools.image.containers import CONTAINERS, FORMATS, PNG_SIGNATURE, png_chunk
from vaetools.image.containers.jpeg import wrap
from vaetools.image.containers.png import metadata_chunks
from vaetools.image.containers.tiff import metadata_items
from vaetools.image.jxl import encode_jxl
from vaetools.image.keeping import kept
from vaetools.image.metadata.exif import EXIF_PREFIX
from vaetools.image.metadata.tiff_directory import (
    LONG,
    SHORT,
    byte_order,
    descriptive_items,
    write_directory,
)
from vaetools.image.metadata.writing import Strip, fitted, stripped
from vaetools.image.quality import quality_options
from vaetools.libraries import check_codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from vaetools.image.metadata import Metadata
    from vaetools.image.metadata.tiff_directory import Item, Order
    from vaetools.image.quality import Origin

_BLOCK = 1 << 20  # bytes of pixels that are compressed at a time
_LONGEST_SIDE = {"jpeg": 65500, "webp": 16383, "avif": 65536}
_NAMES = {"gif": "GIF", "heif": "HEIF", "raw": "camera RAW"}
_EIGHT_BIT = ("jpeg", "webp", "bmp", "avif")
_WITHOUT_ALPHA = ("jpeg", "bmp", "ppm")


def encode_image(
    image: Image,
    format: str,  # noqa: A002
    *,
    quality: int | None = None,
    strip: Strip = "none",
    origin: Origin | None = None,
    lost: list[str] | None = None,
) -> bytes:
    """The image as a file of that format.

    PNG and TIFF are lossless; float32 is written as 16 bit. WebP and JPEG XL are lossless at quality
    100. WebP and AVIF have no grey: it comes back as colour. JPEG XL needs the extra `jxl` and holds
    16 bit of grey only. Metadata that the format has no place for is left out: see
    `not_kept`.

    Args:
        image: checked, as from `Image.from_array`.
        format: `jpeg`, `png`, `webp`, `tiff`, `bmp`, `ppm`, `avif` or `jxl` (see `format_of`).
        quality: 0 … 100, for JPEG, WebP, AVIF and JPEG XL; JPEG and AVIF keep the full colour
            resolution from 90 on. By
            default as in a JPEG or lossless file that is the origin, and otherwise 95.
        strip: metadata to leave out.
        origin: the file that the image was made from. A JPEG file keeps the blocks of an origin of
            that format where no pixel changed, and then its orientation in the EXIF block as well.
        lost: gets a phrase if pixels of the origin that did not change are not kept exactly.

    Raises:
        UnsupportedImageError: the format cannot hold this image's depth, alpha or size; depth
            and alpha are never dropped without a word.
        UsageError, OptionError: an unknown format, or an option out of bounds.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown image format {format!r}", remedy=f"known: {' '.join(FORMATS)}")
    if quality is not None and not 0 <= quality <= 100:
        raise OptionError(f"quality={quality!r} is not 0 … 100")
    _check_fits(image, format)
    metadata, _ = _fitted(image, format, strip)
    if format in _EXACT:
        return _EXACT[format](image, metadata)
    options = quality_options(format, quality, origin)
    if quality is None and origin is not None and origin.format == format:
        data = kept(image, origin, strip)
        if data is not None:
            return data
        if lost is not None and origin.has_unchanged and not options.get("lossless"):
            lost.append(f"exact pixels ({format} is coded anew as a whole)")
    if format == "jxl":
        return encode_jxl(_samples(image), metadata, options["quality"])
    return _by_pillow(image, format, options, metadata)


def not_kept(image: Image, format: str, strip: Strip = "none") -> tuple[str, ...]:  # noqa: A002
    """What `encode_image` has no place for, and what was lost in reading; a phrase each.

    Some formats have no place for some metadata, such as IPTC in WebP. What `strip` names is left
    out on purpose and not listed.
    """
    _, lost = _fitted(image, format, strip)
    lost = tuple(f"{what} ({format} has no place for it)" for what in lost)
    return lost if strip == "all" else (*image.metadata.notes, *lost)


def _fitted(image: Image, format_name: str, strip: Strip) -> tuple[Metadata, tuple[str, ...]]:
    holds = CONTAINERS[format_name].holds
    return fitted(
        image.metadata, image.width, image.height, grey=image.grey, holds=holds, strip=strip
    )


def _check_fits(image: Image, format_name: str) -> None:
    problem, remedy = "", "use --to png"
    if not CONTAINERS[format_name].is_written:
        problem = f"{_NAMES[format_name]} is not written"
    elif format_name in _EIGHT_BIT and image.depth > 8:
        problem = f"{format_name} cannot hold {image.depth}-bit pixels"
        remedy = "use --to png or --to tiff"
    elif format_name in _WITHOUT_ALPHA and image.alpha is not None:
        problem = f"{format_name} cannot hold alpha"
    elif format_name == "tiff" and image.alpha is not None and image.grey and image.depth > 8:
        problem = "hardly a program reads TIFF with 16-bit grey and alpha"
    elif max(image.height, image.width) > _LONGEST_SIDE.get(format_name, 2**31):
        problem = f"{image.width}×{image.height} pixels are too many for {format_name}"
    if problem:
        raise UnsupportedImageError(problem, remedy=remedy)


def strip_metadata(image: Image, strip: Strip) -> Image:
    """`image` without the metadata that `strip` names, and without its source file; see
    `encode_image`."""
    encoded = image.encoded if strip == "none" else None
    return replace(image, metadata=stripped(image.metadata, strip), encoded=encoded)


def _samples(image: Image) -> NDArray[Any]:
    """(H, W, 1 … 4) grey, grey and alpha, RGB or RGBA; uint8, or uint16 for 16 bit and float."""
    if image.depth != 32 and not image.grey and image.alpha is None:
        return _rgb(image.pixels)
    planes = image.pixels[..., None] if image.grey else image.pixels[..., ::-1]
    if image.alpha is not None:
        planes = np.concatenate([planes, image.alpha[..., None]], axis=2)
    return quantise(planes, 16) if image.depth == 32 else np.ascontiguousarray(planes)


def _rgb(pixels: NDArray[Any]) -> NDArray[Any]:
    """BGR as RGB; faster than a copy with reversed strides."""
    import cv2

    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _by_pillow(
    image: Image, format_name: str, options: dict[str, Any], metadata: Metadata
) -> bytes:
    from PIL import Image as PillowImage

    check_codec(format_name)
    samples = _samples(image)
    if image.grey and not CONTAINERS[format_name].holds.grey:
        samples = samples[..., [0, 0, 0, *range(1, samples.shape[2])]]
    if format_name != "jpeg":
        options = _metadata_options(metadata) | options
    out = io.BytesIO()
    converted = PillowImage.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    converted.save(out, format_name.upper(), **options)
    return wrap(out.getvalue(), metadata) if format_name == "jpeg" else out.getvalue()


def _metadata_options(metadata: Metadata) -> dict[str, Any]:
    options: dict[str, Any] = {"icc_profile": metadata.icc, "xmp": metadata.xmp}
    if metadata.exif is not None:
        options["exif"] = EXIF_PREFIX + metadata.exif
    if metadata.density is not None:
        options["dpi"] = metadata.density[:2]
    return {name: value for name, value in options.items() if value is not None}


def _png(image: Image, metadata: Metadata) -> bytes:
    samples = _samples(image)
    height, width, channels = samples.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    depth = 8 * samples.itemsize
    header = struct.pack(">LLBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), *metadata_chunks(metadata)]
    chunks += [png_chunk(b"IDAT", part) for part in _png_data(samples)]
    return b"".join([PNG_SIGNATURE, *chunks, png_chunk(b"IEND", b"")])


def _png_data(samples: NDArray[Any]) -> list[bytes]:
    """The zlib stream, in parts: each row is a filter's number and the filtered bytes."""
    packer = _packer()
    parts = []
    for block in _blocks(samples):
        pixels = block.astype(block.dtype.newbyteorder(">"), copy=False)
        octets = pixels.view(np.uint8).reshape(*block.shape[:2], -1)
        rows = np.ones((len(block), 1 + octets[0].size), np.uint8)  # 1 is the filter Sub
        rows[:, 1:] = _differences(octets).reshape(len(block), -1)
        parts.append(packer.compress(rows.data))
    parts.append(packer.flush())
    return [part for part in parts if part]


def _tiff(image: Image, metadata: Metadata) -> bytes:
    """The EXIF block, then the strips, then the file's directory.

    An EXIF block is a TIFF file without an image. Put at the start of the file, all its offsets
    stay right, maker notes included, and the file's directory can point into it.
    """
    start, described = _tiff_start(metadata.exif)
    order = byte_order(start)
    samples = _samples(image)
    parts = [start]
    offset = len(start)
    offsets = []
    for block in _blocks(samples):
        differences = _differences(block).astype(block.dtype.newbyteorder(order), copy=False)
        packer = _packer()
        packed = packer.compress(differences.data) + packer.flush()
        parts.append(packed.ljust(len(packed) + len(packed) % 2, b"\0"))
        offsets.append((offset, len(packed)))
        offset += len(parts[-1])
    described += [*metadata_items(order, metadata), *_tiff_items(order, samples, offsets)]
    items = {item[0]: item for item in described}
    try:
        parts.append(write_directory(order, offset, items.values()))
    except struct.error:
        raise UnsupportedImageError("tiff cannot hold 4 GiB", remedy="use --to png") from None
    parts[0] = start[:4] + struct.pack(f"{order}L", offset) + start[8:]
    return b"".join(parts)


def _tiff_start(exif: bytes | None) -> tuple[bytes, list[Item]]:
    """What the file begins with, and the descriptive fields for its directory."""
    try:
        if exif is not None:
            return exif.ljust(len(exif) + len(exif) % 2, b"\0"), descriptive_items(exif)
    except (ValueError, struct.error):
        pass  # an EXIF block that nothing can read
    return b"II*\0\0\0\0\0", []


def _tiff_items(order: Order, samples: NDArray[Any], strips: list[tuple[int, int]]) -> list[Item]:
    height, width, channels = samples.shape
    values = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [8 * samples.itemsize] * channels),  # bits per sample
        259: (SHORT, [8]),  # Adobe Deflate
        262: (SHORT, [1 if channels < 3 else 2]),  # zero is black, or RGB
        273: (LONG, [offset for offset, _ in strips]),
        277: (SHORT, [channels]),
        278: (LONG, [_rows_per_block(samples)]),
        279: (LONG, [size for _, size in strips]),
        284: (SHORT, [1]),  # channels interleaved
        317: (SHORT, [2]),  # horizontal differences
    }
    if channels in (2, 4):
        values[338] = (SHORT, [2])  # the extra sample is straight alpha
    codes = {SHORT: "H", LONG: "L"}
    return [
        (tag, kind, len(numbers), struct.pack(f"{order}{len(numbers)}{codes[kind]}", *numbers))
        for tag, (kind, numbers) in values.items()
    ]


def _pnm(image: Image) -> bytes:
    samples = _samples(image)
    kind = "P5" if image.grey else "P6"
    header = f"{kind}\n{image.width} {image.height}\n{np.iinfo(samples.dtype).max}\n"
    return header.encode() + samples.astype(samples.dtype.newbyteorder(">")).tobytes()


def _packer() -> zlib._Compress:
    # Run lengths after horizontal differences: on photos as small as level 6, at 3 × the speed.
    return zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)


def _rows_per_block(samples: NDArray[Any]) -> int:
    return max(1, min(len(samples), _BLOCK // int(samples[0].nbytes)))


def _blocks(samples: NDArray[Any]) -> list[NDArray[Any]]:
    """Bands of rows, about a megabyte each: they stay in the processor's cache."""
    rows = _rows_per_block(samples)
    return [samples[start : start + rows] for start in range(0, len(samples), rows)]


def _differences(block: NDArray[Any]) -> NDArray[Any]:
    """Each sample less the one to its left, wrapping around; the first column is kept."""
    differences = block.copy()
    differences[:, 1:] -= block[:, :-1]
    return differences


_EXACT: dict[str, Callable[[Image, Metadata], bytes]] = {
    "png": _png,
    "tiff": _tiff,
    "ppm": lambda image, _: _pnm(image),
    "bmp": lambda image, metadata: _by_pillow(image, "bmp", {}, metadata),
}
"""Formats without a quality."""
