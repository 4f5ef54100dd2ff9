"""What a `.vae` file holds of a picture beside its latents, and how pixels come out of floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaetools.codec.container import Container, Section, SectionKind, deflate, inflate
from vaetools.errors import ChecksumError, InputError
from vaetools.image import Image, decode_image, encode_image

if TYPE_CHECKING:
    from vaetools.tiling import Box

DTYPES = {8: np.uint8, 16: np.uint16, 32: np.float32}
"""Samples of a picture by its depth."""


def padded(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels (h, w, C) with the last row and column repeated up to height × width."""
    below, right = height - pixels.shape[0], width - pixels.shape[1]
    if not below and not right:
        return pixels
    return np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")


def floats_of(image: Image, part: Box) -> np.ndarray:
    """A part of a picture as float32 RGB, (1, 3, H, W) in [0, 1]; what lies beyond its edges repeats its
    last pixels."""
    rows, columns = part
    pixels = Image(image.pixels[rows, columns]).to_rgb()
    whole = padded(pixels, rows.stop - rows.start, columns.stop - columns.start)
    return np.ascontiguousarray(whole.transpose(2, 0, 1)[None])


def as_samples(rgb: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Float RGB (H, W, 3) as samples of the shape and type of `like`."""
    return Image(np.empty_like(like, order="C")).with_rgb(rgb).pixels


def metadata_sections(image: Image) -> list[Section]:
    """ICC, EXIF and alpha, as far as there are any; the smallest first, for whoever waits for a
    preview."""
    sections = []
    if image.icc:
        sections.append(Section(SectionKind.ICC, deflate(image.icc)))
    if image.exif:
        sections.append(Section(SectionKind.EXIF, deflate(image.exif)))
    if image.alpha is not None:
        data = encode_image(Image(image.alpha), "png")
        sections.append(Section(SectionKind.ALPHA, data))
    return sections


def image_of(pixels: np.ndarray, container: Container, chosen: Box) -> Image:
    """The picture from its pixels and what else the container holds."""
    icc, exif = (container.one(k) for k in (SectionKind.ICC, SectionKind.EXIF))
    alpha = _alpha_of(container, pixels.dtype)
    return Image(
        pixels,
        alpha=None if alpha is None else np.ascontiguousarray(alpha[chosen]),
        icc=None if icc is None else inflate(icc),
        exif=None if exif is None else inflate(exif),
    )


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
        raise ChecksumError("the alpha section has another size than the picture")
    stored = np.uint16 if dtype == np.float32 else dtype
    if alpha.dtype != stored or decoded.format != "png":
        raise ChecksumError("the alpha section has another depth than the picture, or is no PNG")
    if dtype == np.float32:
        return (alpha / np.float32(65535)).astype(np.float32)
    return alpha
