"""Conversions between `Image` and the codec: pixels for networks, sections for alpha and metadata."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vaetools.codec.container import Container, Section, SectionKind, deflate, inflate
from vaetools.codec.region import box_within
from vaetools.errors import ChecksumError, InputError
from vaetools.image import Cicp, Density, Image, decode_image, encode_image
from vaetools.image.metadata.reading import Blocks
from vaetools.image.metadata.writing import for_vae

if TYPE_CHECKING:
    from vaetools.codec.region import Region
    from vaetools.image import Metadata
    from vaetools.tiling import Box

DTYPES: dict[int, type[np.generic]] = {8: np.uint8, 16: np.uint16, 32: np.float32}
"""Sample type by bit depth."""


DENSITY, CICP = struct.Struct("<ddB"), struct.Struct("<BBBB")
EMPTY = deflate(b"")


def padded(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels (h, w, C), padded to height × width by repeating the last row and column."""
    below, right = height - pixels.shape[0], width - pixels.shape[1]
    if not below and not right:
        return pixels
    return np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")


def rgb_of(image: Image, box: Box) -> np.ndarray:
    """Pixels of a box as float32 RGB, (1, 3, H, W) in [0, 1].

    The box may extend beyond the right and bottom edges, where the last pixels are repeated.
    """
    rows, columns = box
    pixels = Image(image.pixels[rows, columns]).to_rgb()
    whole = padded(pixels, rows.stop - rows.start, columns.stop - columns.start)
    return np.ascontiguousarray(whole.transpose(2, 0, 1)[None])


def bgr_of(image: Image, box: Box) -> np.ndarray:
    """Like `rgb_of`, for 8-bit images: uint8 BGR, (H, W, 3); grey is repeated in all channels."""
    rows, columns = box
    pixels = image.pixels[rows, columns]
    if image.grey:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    whole = padded(pixels, rows.stop - rows.start, columns.stop - columns.start)
    return np.ascontiguousarray(whole)


def as_samples(rgb: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Float RGB (H, W, 3) in [0, 1], converted to the shape and dtype of `like`."""
    return Image(np.empty_like(like, order="C")).with_rgb(rgb).pixels


SOURCE_FORMATS = frozenset({"jpeg", "png", "webp", "tiff", "bmp", "gif", "ppm"})
"""Formats of the files that stored files hold: those that every reader has."""


def metadata_sections(image: Image) -> tuple[list[Section], tuple[str, ...]]:
    """Sections for metadata and alpha, if present; and what is not kept, a phrase each.

    The largest comes last, because in a file they stand before the data that previews do not need.

    Raises:
        UnsupportedImageError: a kind of metadata exceeds the limit.
    """
    metadata, lost = for_vae(image.metadata, image.width, image.height, grey=image.grey)
    blocks = {
        SectionKind.DENSITY: metadata.density and DENSITY.pack(*metadata.density),
        SectionKind.CICP: metadata.cicp and CICP.pack(*metadata.cicp),
        SectionKind.ICC: metadata.icc and deflate(metadata.icc),
        SectionKind.EXIF: metadata.exif and deflate(metadata.exif),
        SectionKind.IPTC: metadata.iptc and deflate(metadata.iptc),
        SectionKind.XMP: metadata.xmp and deflate(metadata.xmp),
    }
    sections = [Section(kind, data) for kind, data in blocks.items() if data]
    if image.alpha is not None:
        data = encode_image(Image(image.alpha), "png")
        sections.append(Section(SectionKind.ALPHA, data))
    return sections, lost


def image_of(pixels: np.ndarray, container: Container, box: Box) -> Image:
    """Image of the decoded pixels of a box, with alpha and metadata from the container.

    Raises:
        BitstreamError: an alpha or metadata section is damaged.
    """
    alpha = _alpha_of(container, pixels.dtype)
    return Image(
        pixels,
        alpha=None if alpha is None else np.ascontiguousarray(alpha[box]),
        metadata=metadata_of(container),
    )


def metadata_of(container: Container) -> Metadata:
    """The metadata sections.

    What writers other than ours put there is treated as that of image files: thumbnails are dropped.
    """
    kinds = (SectionKind.ICC, SectionKind.EXIF, SectionKind.XMP, SectionKind.IPTC)
    blocks = (container.one(kind) for kind in kinds)
    icc, exif, xmp, iptc = (inflate(EMPTY if block is None else block) for block in blocks)
    density, cicp = (container.one(kind) for kind in (SectionKind.DENSITY, SectionKind.CICP))
    found = Blocks(
        icc=icc,
        exif=exif,
        xmp=xmp,
        iptc=iptc,
        density=_density_of(density) if density is not None else None,
        cicp=_cicp_of(cicp) if cicp is not None else None,
    )
    metadata, _ = found.understood()
    return metadata


def _density_of(data: bytes) -> Density:
    if len(data) != DENSITY.size:
        raise ChecksumError(f"the section density has {len(data)} bytes, not {DENSITY.size}")
    x, y, absolute = DENSITY.unpack(data)
    return Density(x, y, absolute == 1)


def _cicp_of(data: bytes) -> Cicp:
    if len(data) != CICP.size:
        raise ChecksumError(f"the section cicp has {len(data)} bytes, not {CICP.size}")
    return Cicp(data[0], data[1], data[2], data[3] == 1)


def source_image(container: Container, region: Region | None) -> Image:
    """The image embedded in a stored file, or a region of it; as a whole with its own file.

    Raises:
        ChecksumError: the embedded file is damaged, or is not what the header says.
        OptionError: the region is not inside the image.
    """
    source = container.all(SectionKind.SOURCE)[0]
    limit = container.width * container.height  # the header was checked against the user's limit
    try:
        image = decode_image(source, max_pixels=limit, first_frame=True)
    except InputError as error:
        raise ChecksumError(f"the embedded image: {error.problem}") from None
    if image.format not in SOURCE_FORMATS:
        raise ChecksumError(f"the embedded image is {image.format}, which no stored file holds")
    if (image.width, image.height) != (container.width, container.height):
        raise ChecksumError("the size of the embedded image differs from the header")
    if (image.depth, image.grey) != (container.depth, container.grey):
        raise ChecksumError("the bit depth or colour of the embedded image differs from the header")
    if region is None:
        return replace(image, encoded=source)
    return image.cropped(*box_within(region, container))


def _alpha_of(container: Container, dtype: np.dtype) -> np.ndarray | None:
    data = container.one(SectionKind.ALPHA)
    if data is None:
        return None
    limit = container.width * container.height
    try:
        decoded = decode_image(data, max_pixels=limit)
    except InputError as error:
        raise ChecksumError(f"the alpha section: {error.problem}") from None
    alpha = decoded.pixels
    if alpha.shape != (container.height, container.width):
        raise ChecksumError("the size of the alpha section differs from the image")
    stored = np.uint16 if dtype == np.float32 else dtype
    if alpha.dtype != stored or decoded.format != "png":
        raise ChecksumError("the alpha section is not a PNG of the image's bit depth")
    if dtype == np.float32:
        return (alpha / np.float32(65535)).astype(np.float32)
    return alpha
