"""Files of each format: what is written is read again."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from tests.image.samples import (
    exif_values,
    images,
    noise,
    same,
)
from tests.torture import (
    picture,
)
from vaetools.errors import (
    OptionError,
    UnsupportedImageError,
    UsageError,
)
from vaetools.image import (
    SUFFIXES,
    Image,
    decode_image,
    encode_image,
    format_of,
)


@settings(deadline=None)
@given(images((np.uint8, np.uint16)), st.sampled_from(["png", "tiff"]))
def test_png_and_tiff_are_lossless(image, name):
    if name == "tiff" and image.grey and image.alpha is not None and image.depth == 16:
        with pytest.raises(UnsupportedImageError, match="16-bit grey and alpha"):
            encode_image(image, name)
        return
    back = decode_image(encode_image(image, name))
    assert same(back.pixels, image.pixels)
    assert same(back.alpha, image.alpha)
    assert back.icc == image.icc
    assert back.format == name
    assert (back.exif is None) == (image.exif is None)
    if image.exif is not None:
        assert exif_values(back.exif) == exif_values(image.exif)


@pytest.mark.parametrize("name", ["png", "tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_other_programs_read_our_png_and_tiff(name, dtype, channels, monkeypatch):
    import cv2

    # Strips and parts of a few rows each, as a large picture has them.
    monkeypatch.setattr("vaetools.image.encode._BLOCK", 1000)
    array = noise(dtype, 37, 53, *channels)
    data = encode_image(Image.from_array(array), name)
    by_cv2 = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if (name, dtype, channels) != ("tiff", np.uint8, (4,)):  # cv2 multiplies these by alpha
        assert same(by_cv2, array)
    by_pillow = PillowImage.open(io.BytesIO(data))
    by_pillow.load()
    if dtype == np.uint8:
        order = {1: np.s_[:], 3: np.s_[..., ::-1], 4: np.s_[..., [2, 1, 0, 3]]}
        assert same(np.asarray(by_pillow), array[order[channels[0] if channels else 1]])


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_float_is_written_with_16_bits(name):
    image = Image.from_array(noise(np.float32, 9, 11, 4))
    back = decode_image(encode_image(image, name))
    assert back.depth == 16
    assert np.abs(back.pixels / 65535 - image.pixels).max() < 0.51 / 65535
    assert np.abs(back.alpha / 65535 - image.alpha).max() < 0.51 / 65535


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_near_and_keeps_full_colour_resolution_from_90_on(channels):
    array = picture(channels=channels)
    data = encode_image(Image.from_array(array), "jpeg", quality=95)
    back = decode_image(data)
    assert back.grey == (channels == 1)
    assert np.abs(back.pixels.astype(int) - array).mean() < 2
    if channels == 3:
        layers = {
            quality: PillowImage.open(
                io.BytesIO(encode_image(Image.from_array(array), "jpeg", quality=quality))
            ).layer[0][1:3]
            for quality in (89, 90)
        }
        assert layers == {89: (2, 2), 90: (1, 1)}


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_webp_is_lossless_at_100(channels):
    array = noise(np.uint8, 37, 53, *channels)
    array[..., -1:][:9] = 0  # transparent, or black
    back = decode_image(encode_image(Image.from_array(array), "webp", quality=100)).to_array()
    assert same(back, array if channels else np.dstack([array] * 3))


def test_webp_keeps_alpha_at_any_quality():
    image = Image.from_array(noise(np.uint8, 37, 53, 4))
    assert same(decode_image(encode_image(image, "webp", quality=30)).alpha, image.alpha)


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize(
    ("name", "dtype"), [("bmp", np.uint8), ("ppm", np.uint8), ("ppm", np.uint16)]
)
def test_bmp_and_pnm_are_lossless(name, dtype, channels):
    image = Image(noise(dtype, 13, 7, *channels))
    assert same(decode_image(encode_image(image, name)).pixels, image.pixels)


@pytest.mark.parametrize("quality", [0, 1, 50, 100])
@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_quality_orders_sizes(name, quality):
    image = Image(picture())
    size = len(encode_image(image, name, quality=quality))
    assert size >= len(encode_image(image, name, quality=0))


@pytest.mark.parametrize(
    ("image", "name", "words"),
    [
        (
            Image(np.zeros((4, 4), np.uint16)),
            "jpeg",
            "jpeg cannot hold 16-bit.*--to png or --to tiff",
        ),
        (Image(np.zeros((4, 4), np.uint16)), "webp", "16-bit"),
        (Image(np.zeros((4, 4), np.float32)), "jpeg", "32-bit"),
        (Image(np.zeros((4, 4), np.uint16)), "bmp", "16-bit"),
        (Image(*[np.zeros((4, 4), np.uint8)] * 2), "jpeg", "jpeg cannot hold alpha.*--to png"),
        (Image(*[np.zeros((4, 4), np.uint8)] * 2), "ppm", "alpha"),
        (Image(np.zeros((1, 16384, 3), np.uint8)), "webp", "16384×1 pixels are too many"),
        (Image(np.zeros((65501, 1), np.uint8)), "jpeg", "too many"),
        (Image(np.zeros((4, 4), np.uint8)), "gif", "not written"),
    ],
)
def test_nothing_is_dropped_without_a_word(image, name, words):
    with pytest.raises(UnsupportedImageError, match=words):
        encode_image(image, name)


def test_bad_options_are_refused():
    image = Image(np.zeros((4, 4), np.uint8))
    with pytest.raises(UsageError, match="unknown image format"):
        encode_image(image, "xyz")
    with pytest.raises(OptionError, match="quality=101"):
        encode_image(image, "jpeg", quality=101)
    with pytest.raises(OptionError, match="strip='icc'"):
        encode_image(image, "png", strip="icc")  # type: ignore[arg-type]


def test_formats_of_suffixes():
    assert format_of(".jpg") == format_of("JPEG") == format_of("jpg") == "jpeg"
    assert format_of(Path("a.b/c.TIF")) == "tiff"
    without_extras = {"jpeg", "png", "webp", "tiff", "bmp", "gif", "ppm", "avif"}
    found = {format_of(suffix) for suffix in SUFFIXES}
    assert without_extras <= found <= without_extras | {"heif", "jxl", "raw"}
    with pytest.raises(UsageError, match=r"'?\.xyz.* not a known image format.*\.jpg"):
        format_of(".xyz")
