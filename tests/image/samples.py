"""Arrays, images and metadata that the tests of images share."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageCms

from tests.torture import (
    exif_block,
)
from vaetools.image import (
    Image,
)
from vaetools.image.metadata.icc import as_grey

DTYPES = [np.uint8, np.uint16, np.float32]
TOPS = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}
KEEPS_METADATA = ["jpeg", "png", "webp", "tiff"]
PILLOW_NAMES = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "tiff": "TIFF"}

# What each EXIF orientation asks for, in numpy's words.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.swapaxes(a[::-1, ::-1], 0, 1),
    8: lambda a: np.rot90(a, 1),
}


def noise(dtype, *shape, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == np.float32:
        return rng.random(shape, dtype=np.float32)
    return rng.integers(0, TOPS[dtype] + 1, shape).astype(dtype)


def same(first, second):
    """Equal in dtype, shape and every value; None equals None."""
    if first is None or second is None:
        return first is second
    return first.dtype == second.dtype and np.array_equal(first, second)


@st.composite
def arrays(draw, dtypes=tuple(DTYPES)):
    """Arrays as users may hand them in."""
    dtype = draw(st.sampled_from(dtypes))
    channels = draw(st.sampled_from([(), (1,), (3,), (4,)]))
    size = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    return noise(dtype, *size, *channels, seed=draw(st.integers(0, 99)))


@st.composite
def images(draw, dtypes=tuple(DTYPES)):
    """Images with and without alpha and metadata."""
    dtype = draw(st.sampled_from(dtypes))
    size = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    channels = draw(st.sampled_from([(), (3,)]))
    seed = draw(st.integers(0, 99))
    return Image(
        noise(dtype, *size, *channels, seed=seed),
        noise(dtype, *size, seed=seed + 1) if draw(st.booleans()) else None,
        icc=draw(st.sampled_from([None, icc_profile() if channels else grey_profile()])),
        exif=draw(st.sampled_from([None, exif_block()])),
    )


def icc_profile():
    """An sRGB profile that was made at the same time in every call."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + profile[36:]


def grey_profile():
    """A GRAY profile with the curve of sRGB."""
    return as_grey(icc_profile())


def exif_values(block):
    """{tag: value} of the three directories, without pointers and orientation."""
    exif = PillowImage.Exif()
    exif.load(block)
    first = {tag: value for tag, value in exif.items() if tag not in (0x8769, 0x8825, 274)}
    return first, dict(exif.get_ifd(0x8769)), dict(exif.get_ifd(0x8825))
