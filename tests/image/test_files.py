"""Pictures in and out: what goes in comes back, and what is wrong is said with its code."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageCms, ImageFile

from tests.paths import ROOT
from tests.profiles import examples
from tests.torture import (
    bomb,
    exif_block,
    picture,
    png,
    saved,
    saved_image,
    torture_files,
    write_torture,
)
from vaetools.errors import (
    DamagedImageError,
    ImageValueError,
    InputError,
    OptionError,
    TooLargeError,
    UnreadableError,
    UnsupportedImageError,
    UsageError,
)
from vaetools.image import (
    SUFFIXES,
    Image,
    decode_image,
    encode_image,
    format_of,
    inspect_image,
    read_image,
    strip_metadata,
)
from vaetools.image.containers import png_chunk

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
        icc=draw(st.sampled_from([None, icc_profile()])),
        exif=draw(st.sampled_from([None, exif_block()])),
    )


def icc_profile():
    """An sRGB profile that was made at the same time in every call."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + profile[36:]


def exif_values(block):
    """{tag: value} of the three directories, without pointers and orientation."""
    exif = PillowImage.Exif()
    exif.load(block)
    first = {tag: value for tag, value in exif.items() if tag not in (0x8769, 0x8825, 274)}
    return first, dict(exif.get_ifd(0x8769)), dict(exif.get_ifd(0x8825))


# --- Arrays ---


@given(arrays(), st.sampled_from(["bgr", "rgb"]))
def test_an_array_comes_back_as_it_was(array, order):
    before = array.copy()
    image = Image.from_array(array, channel_order=order)
    back = image.to_array(channel_order=order)
    expected = array.reshape(array.shape[:2]) if array.shape[2:] == (1,) else array
    assert same(back, expected)
    assert back.flags.c_contiguous
    back[:] = 0
    assert same(array, before)
    assert same(image.to_array(channel_order=order), expected)


@given(arrays())
def test_other_memory_layouts_are_the_same_image(array):
    turned = np.swapaxes(np.ascontiguousarray(np.swapaxes(array, 0, 1)), 0, 1)
    assert same(Image.from_array(turned).to_array(), Image.from_array(array).to_array())


@given(arrays())
def test_changing_the_array_later_changes_nothing(array):
    image = Image.from_array(array)
    before = image.to_array()
    array[:] = 0
    assert same(image.to_array(), before)


def test_channel_orders_are_each_other_reversed():
    array = noise(np.uint8, 5, 7, 4)
    rgb = Image.from_array(array).to_array(channel_order="rgb")
    assert same(rgb, array[..., [2, 1, 0, 3]])
    assert same(Image.from_array(rgb, channel_order="rgb").pixels, array[..., :3])


def test_grey_with_alpha_is_replicated():
    image = Image(noise(np.uint8, 5, 7), noise(np.uint8, 5, 7, seed=1))
    array = image.to_array()
    assert same(array, np.dstack([image.pixels] * 3 + [image.alpha]))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4), np.float64), "dtype float64"),
        (np.zeros((4, 4), bool), "dtype bool"),
        (np.zeros((4, 4), ">u2"), "dtype >u2"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (np.full((4, 4), np.nan, np.float32), "NaN"),
        (np.full((4, 4), np.inf, np.float32), "outside 0 … 1"),
        (np.full((4, 4), 255, np.float32), "from 255 to 255, outside 0 … 1"),
        (np.full((4, 4), -1e-3, np.float32), "outside 0 … 1"),
        ([[0, 1]], "not list"),
    ],
)
def test_what_is_no_image_is_refused(array, words):
    with pytest.raises(ImageValueError, match=words) as caught:
        Image.from_array(array)
    assert caught.value.code == "E016"


def test_an_unknown_channel_order_is_refused():
    array = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(OptionError, match="'xyz' is not one of bgr, rgb"):
        Image.from_array(array, channel_order="xyz")  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        Image.from_array(array).to_array(channel_order="xyz")  # type: ignore[arg-type]


@given(images())
def test_properties(image):
    assert (image.height, image.width) == image.pixels.shape[:2]
    assert image.grey == (image.pixels.ndim == 2)
    assert image.depth == image.pixels.itemsize * 8
    assert image.nbytes >= image.height * image.width * image.depth // 8


# --- Colours of models ---


@given(images())
def test_colours_put_back_unchanged_change_nothing(image):
    rgb = image.to_rgb()
    assert rgb.dtype == np.float32
    assert rgb.shape == (image.height, image.width, 3)
    assert 0 <= rgb.min() <= rgb.max() <= 1
    assert same(image.with_rgb(rgb).pixels, image.pixels)


@given(images())
def test_what_is_not_colour_is_carried_past(image):
    changed = image.with_rgb(np.full((image.height, image.width, 3), 0.5, np.float32))
    assert changed.alpha is image.alpha
    assert (changed.icc, changed.exif, changed.format) == (image.icc, image.exif, image.format)
    assert (changed.depth, changed.grey) == (image.depth, image.grey)


def test_rgb_is_red_first_and_does_not_alias():
    image = Image(np.float32([[[0.1, 0.2, 0.3]]]))
    rgb = image.to_rgb()
    assert rgb[0, 0].tolist() == np.float32([0.3, 0.2, 0.1]).tolist()
    rgb[:] = 0
    assert image.pixels[0, 0, 0] == np.float32(0.1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_values_are_clipped_and_rounded_to_the_nearest(dtype):
    top = TOPS[dtype]
    values = np.array([-0.5, 0, 0.49 / top, 0.51 / top, 0.5, (top - 0.51) / top, 1, 1.5])
    image = Image(np.zeros((1, 8, 3), dtype))
    got = image.with_rgb(np.repeat(values[None, :, None], 3, axis=2)).pixels[0, :, 0]
    assert got.tolist() == [0, 0, 0, 1, (top + 1) // 2, top - 1, top, top]


def test_grey_takes_the_luma():
    image = Image(np.zeros((1, 3), np.float32))
    luma = image.with_rgb(np.eye(3, dtype=np.float32)[None]).pixels[0]
    assert luma == pytest.approx([0.299, 0.587, 0.114])


def test_colours_of_another_size_are_refused():
    with pytest.raises(ImageValueError, match="do not fit 4×5 pixels"):
        Image(np.zeros((4, 5), np.uint8)).with_rgb(np.zeros((5, 4, 3), np.float32))


# --- Files and back ---


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
        (Image(np.zeros((4, 4), np.uint8), exif=bytes(70000)), "jpeg", "--strip exif"),
    ],
)
def test_nothing_is_dropped_without_a_word(image, name, words):
    with pytest.raises(UnsupportedImageError, match=words):
        encode_image(image, name)


def test_bad_options_are_refused():
    image = Image(np.zeros((4, 4), np.uint8))
    with pytest.raises(UsageError, match="no image format 'jxl'"):
        encode_image(image, "jxl")
    with pytest.raises(OptionError, match="quality=101"):
        encode_image(image, "jpeg", quality=101)
    with pytest.raises(OptionError, match="strip='icc'"):
        encode_image(image, "png", strip="icc")  # type: ignore[arg-type]


def test_formats_of_suffixes():
    assert format_of(".jpg") == format_of("JPEG") == format_of("jpg") == "jpeg"
    assert format_of(Path("a.b/c.TIF")) == "tiff"
    assert {format_of(suffix) for suffix in SUFFIXES} == {
        "jpeg", "png", "webp", "tiff", "bmp", "gif", "ppm"
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"'?\.xyz.* no image format.*\.jpg"):
        format_of(".xyz")


# --- Metadata ---


@pytest.mark.parametrize("name", KEEPS_METADATA)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(name, orientation):
    array = picture()
    plain = decode_image(saved(array, PILLOW_NAMES[name]))
    exif = b"Exif\0\0" + exif_block(orientation)
    image = decode_image(saved(array, PILLOW_NAMES[name], exif=exif))
    assert same(image.pixels, np.ascontiguousarray(UPRIGHT[orientation](plain.pixels)))
    again = decode_image(encode_image(image, name, quality=100))
    assert again.pixels.shape == image.pixels.shape
    assert np.abs(again.pixels.astype(int) - image.pixels).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_deep_files_with_alpha(orientation):
    array = noise(np.uint16, 5, 9, 4)
    stored = Image(array[..., :3], array[..., 3], exif=exif_block(orientation))
    image = decode_image(encode_image(stored, "png"))
    assert same(image.to_array(), np.ascontiguousarray(UPRIGHT[orientation](array)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [(), (3,)])
def test_orientation_of_deep_tiff(orientation, channels):
    tifffile = pytest.importorskip("tifffile")
    array = noise(np.uint16, 5, 9, *channels)
    out = io.BytesIO()
    tifffile.imwrite(out, array[..., ::-1] if channels else array, metadata=None,
                     extratags=[(274, 3, 1, orientation, True)],
                     photometric="rgb" if channels else None)  # fmt: skip
    image = decode_image(out.getvalue())
    assert same(image.pixels, np.ascontiguousarray(UPRIGHT[orientation](array)))


@pytest.mark.parametrize("source", KEEPS_METADATA)
@pytest.mark.parametrize("target", KEEPS_METADATA)
def test_metadata_goes_from_format_to_format(source, target):
    options = {"exif": b"Exif\0\0" + exif_block(6), "icc_profile": icc_profile()}
    image = decode_image(saved(picture(), PILLOW_NAMES[source], **options))
    back = decode_image(encode_image(image, target))
    assert back.icc == icc_profile()
    expected, got = exif_values(exif_block()), exif_values(back.exif)
    assert got[0].items() >= expected[0].items()
    assert got[1:] == expected[1:]
    if "tiff" not in (source, target):
        assert back.exif == exif_block(1)  # every byte but the orientation


def test_other_programs_see_our_metadata():
    image = Image(noise(np.uint16, 5, 9, 3), icc=icc_profile(), exif=exif_block())
    for name in ("png", "tiff"):
        picture_file = PillowImage.open(io.BytesIO(encode_image(image, name)))
        picture_file.load()
        exif = picture_file.getexif()
        assert picture_file.info["icc_profile"] == icc_profile()
        assert exif[271] == "Maker of cameras"
        assert exif.get_ifd(0x8825)[1] == "N"
        assert exif.get_ifd(0x8769)[37500] == b"note of the maker"
        assert getattr(picture_file, "n_frames", 1) == 1


@pytest.mark.parametrize("name", KEEPS_METADATA)
def test_strip(name):
    image = Image(picture(), icc=icc_profile(), exif=exif_block())
    kept = {strip: decode_image(encode_image(image, name, strip=strip))
            for strip in ("none", "gps", "exif", "all")}  # fmt: skip
    assert [back.icc is not None for back in kept.values()] == [True, True, True, False]
    assert [back.exif is not None for back in kept.values()] == [True, True, False, False]
    assert exif_values(kept["none"].exif)[2]
    assert exif_values(kept["gps"].exif)[2] == {}
    assert exif_values(kept["gps"].exif)[:2] == exif_values(kept["none"].exif)[:2]


@pytest.mark.parametrize("name", KEEPS_METADATA)
def test_no_trace_of_the_position_is_left(name):
    data = encode_image(Image(picture(), exif=exif_block()), name, strip="gps")
    assert b"2024:05:06\0" not in data  # the date of the position
    assert struct.pack(">LL", 47, 1) not in data  # its degrees
    assert b"Maker of cameras" in data


def test_an_exif_block_that_cannot_be_read_is_not_trusted_to_have_no_position():
    image = Image(picture(), exif=b"MM\0*garbage")
    assert decode_image(encode_image(image, "png", strip="gps")).exif is None
    assert decode_image(encode_image(image, "png")).exif == image.exif
    assert decode_image(encode_image(image, "tiff")).exif is None


def test_exif_behind_the_pixels_of_a_png_counts():
    data = saved(picture(), "PNG")
    late = data[:-12] + png_chunk(b"eXIf", exif_block(6)) + data[-12:]
    assert decode_image(late).pixels.shape == (64, 48, 3)


def test_a_profile_of_several_segments_is_kept():
    profile = icc_profile() + np.random.default_rng(0).bytes(150_000)
    image = Image(picture(), icc=profile)
    assert decode_image(encode_image(image, "jpeg")).icc == profile


# --- Kinds of pixels ---


def test_cmyk_becomes_rgb():
    cmyk = PillowImage.fromarray(picture()).convert("CMYK")
    image = decode_image(saved_image(cmyk, "JPEG", quality=100))
    expected = np.asarray(cmyk.convert("RGB"))[..., ::-1]
    assert np.abs(image.pixels.astype(int) - expected).mean() < 3


def cmyk_profile():
    """A profile in which only black ink shows: L* is 100 to 0 as K goes from 0 to 1."""
    clut = b"".join(bytes([0 if i % 2 else 255, 128, 128]) for i in range(16))
    identity = struct.pack(">9L", *[65536 if i % 4 == 0 else 0 for i in range(9)])
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + clut + ramp * 3
    white = struct.pack(">4s4x3L", b"XYZ ", 63190, 65536, 54061)
    tags = b"".join([struct.pack(">L", 2), b"A2B0", struct.pack(">LL", 156, len(lut)),
                     b"wtpt", struct.pack(">LL", 156 + len(lut), len(white))])  # fmt: skip
    body = tags + lut + white
    header = struct.pack(">L4sL4s4s4s12x4s28x3L48x", 128 + len(body), b"lcms", 0x02400000,
                         b"prtr", b"CMYK", b"Lab ", b"acsp", 63190, 65536, 54061)  # fmt: skip
    return header + body


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(name):
    cyan = PillowImage.new("CMYK", (16, 16), (255, 0, 0, 0))
    plain = decode_image(saved_image(cyan, name))
    image = decode_image(saved_image(cyan, name, icc_profile=cmyk_profile()))
    assert plain.pixels[8, 8, 2] < 20  # no red in cyan
    assert image.pixels.min() > 245  # but here cyan ink does not show
    assert image.icc is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colour_type", [0, 2])
def test_the_transparent_colour_of_a_png_becomes_alpha(dtype, colour_type):
    array = noise(dtype, 5, 9, 3 if colour_type else 1)
    key = array[2, 3].astype(">u2").tobytes()
    image = decode_image(png(array, colour_type, png_chunk(b"tRNS", key)))
    top = TOPS[dtype]
    expected = np.where((array == array[2, 3]).all(axis=2), 0, top).astype(dtype)
    assert same(image.alpha, expected)
    assert image.grey == (colour_type == 0)
    assert same(image.pixels, np.ascontiguousarray(array[..., ::-1].squeeze()))


def test_palettes_and_bits():
    colour = PillowImage.fromarray(picture())
    indexed = colour.quantize(16)
    expected = np.asarray(indexed.convert("RGB"))[..., ::-1]
    for name in ("PNG", "GIF", "TIFF", "BMP"):
        assert same(decode_image(saved_image(indexed, name)).pixels, np.ascontiguousarray(expected))
    bits = colour.convert("1")
    for name in ("PNG", "TIFF", "BMP", "PPM"):
        image = decode_image(saved_image(bits, name))
        assert same(image.pixels, np.asarray(bits.convert("L")))


def test_grey_with_alpha_stays_grey():
    for dtype in (np.uint8, np.uint16):
        array = noise(dtype, 5, 9, 2)
        image = decode_image(png(array, 4))
        assert same(image.pixels, array[..., 0].copy())
        assert same(image.alpha, array[..., 1].copy())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((5, 9), {"photometric": "minisblack"}, lambda a: (a, None)),
        ((5, 9, 3), {"photometric": "rgb"}, lambda a: (a[..., ::-1], None)),
        ((40, 50, 3), {"photometric": "rgb", "tile": (16, 16)}, lambda a: (a[..., ::-1], None)),
        ((40, 50), {"tile": (16, 32), "photometric": "minisblack", "compression": "zlib"},
         lambda a: (a, None)),
        ((40, 50, 3), {"photometric": "rgb", "compression": "zlib", "predictor": True,
                       "rowsperstrip": 7}, lambda a: (a[..., ::-1], None)),
        ((3, 5, 9), {"photometric": "rgb", "planarconfig": "separate"}, None),
        ((5, 9, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"]},
         lambda a: (a[..., 2::-1], a[..., 3])),
        ((5, 9, 4), {"photometric": "rgb", "extrasamples": ["unspecified"]},
         lambda a: (a[..., 2::-1], None)),
        ((5, 9, 4), {"photometric": "rgb", "extrasamples": ["assocalpha"]}, None),
        ((5, 9, 2), {"photometric": "minisblack", "extrasamples": ["unassalpha"]}, None),
        ((5, 9, 4), {"photometric": "separated"}, None),
    ],
)  # fmt: skip
def test_16_bit_tiff(order, shape, options, expected):
    tifffile = pytest.importorskip("tifffile")
    array = noise(np.uint16, *shape)
    out = io.BytesIO()
    tifffile.imwrite(out, array, byteorder=order, metadata=None, **options)
    if expected is None:
        with pytest.raises(UnsupportedImageError):
            decode_image(out.getvalue())
        return
    image = decode_image(out.getvalue())
    pixels, alpha = expected(array)
    assert same(image.pixels, np.ascontiguousarray(pixels))
    assert same(image.alpha, alpha)


def test_8_bit_tiff_with_separate_planes():
    tifffile = pytest.importorskip("tifffile")
    array = noise(np.uint8, 3, 5, 9)
    out = io.BytesIO()
    tifffile.imwrite(out, array, photometric="rgb", planarconfig="separate", metadata=None)
    expected = np.ascontiguousarray(np.moveaxis(array, 0, 2)[..., ::-1])
    assert same(decode_image(out.getvalue()).pixels, expected)


def test_zero_is_white_in_some_tiffs():
    tifffile = pytest.importorskip("tifffile")
    for dtype in (np.uint8, np.uint16):
        array = noise(dtype, 5, 9)
        out = io.BytesIO()
        tifffile.imwrite(out, array, photometric="miniswhite", metadata=None)
        assert same(decode_image(out.getvalue()).pixels, TOPS[dtype] - array)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint32, np.float64])
def test_other_depths_of_tiff_are_refused(dtype):
    tifffile = pytest.importorskip("tifffile")
    for shape in ((5, 9), (5, 9, 3)):
        out = io.BytesIO()
        kind = "rgb" if shape[2:] else "minisblack"
        tifffile.imwrite(out, np.zeros(shape, dtype), photometric=kind, metadata=None)
        with pytest.raises(UnsupportedImageError):
            decode_image(out.getvalue())


def test_odd_maxima_of_pnm():
    with pytest.raises(UnsupportedImageError, match="1023"):
        decode_image(b"P5 2 1 1023\n\0\0\0\0")
    assert decode_image(b"P5 # comment\n2 1 100\n\0\x64").pixels.tolist() == [[0, 255]]


def test_a_phones_jpeg_with_pictures_behind_the_first_is_read():
    frames = [PillowImage.fromarray(picture()), PillowImage.fromarray(picture(20, 20))]
    data = saved_image(frames[0], "MPO", save_all=True, append_images=frames[1:])
    image = decode_image(data)
    assert image.pixels.shape == picture().shape
    assert image.format == "jpeg"


# --- The file itself, and parts of pictures ---


def test_the_source_file_is_kept_on_request(tmp_path):
    data = saved(picture(), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    assert read_image(tmp_path / "a.png").encoded is None
    kept = read_image(tmp_path / "a.png", keep_encoded=True)
    assert kept.encoded == data
    assert kept.nbytes == kept.pixels.nbytes + len(data)


def test_the_source_file_is_that_of_these_pixels_and_no_others(tmp_path):
    (tmp_path / "a.png").write_bytes(saved(picture(), "PNG"))
    kept = read_image(tmp_path / "a.png", keep_encoded=True)
    assert kept.with_rgb(kept.to_rgb()).encoded is None
    assert kept.cropped(slice(0, 5), slice(0, 5)).encoded is None
    for strip in ("gps", "exif", "all"):
        assert strip_metadata(kept, strip).encoded is None
    assert strip_metadata(kept, "none").encoded == kept.encoded


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_part_of_a_picture(channels):
    array = picture(channels=channels)
    whole = Image.from_array(array)
    part = whole.cropped(slice(3, 9), slice(10, 40))
    np.testing.assert_array_equal(part.to_array(), array[3:9, 10:40])
    assert part.pixels.flags.c_contiguous
    assert (part.icc, part.exif, part.format) == (whole.icc, whole.exif, whole.format)


# --- Bad input ---


@pytest.mark.parametrize("name", list(torture_files()))
def test_torture(name, tmp_path):
    content, code = torture_files()[name]
    try:
        (tmp_path / name).write_bytes(content)
    except OSError:
        pytest.skip("no such name on this system")
    if code is None:
        assert read_image(tmp_path / name).pixels.size
        return
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / name)
    assert caught.value.code == code
    assert caught.value.file == str(tmp_path / name)
    assert "\n" not in caught.value.line
    assert "object at 0x" not in caught.value.line


def test_torture_folder(tmp_path):
    expected = write_torture(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(expected)
    assert len({Path(name).stem for name in expected}) == len(expected)


@pytest.mark.parametrize(
    "name",
    ["animated_gif.gif", "animated_png.png", "animated_webp.webp", "pages.tif"],
)
def test_the_first_frame_on_request(name):
    image = decode_image(torture_files()[name][0], first_frame=True)
    assert image.pixels.shape == picture().shape
    assert np.abs(image.pixels[..., ::-1].astype(int) - picture()).mean() < 6


def test_lenient_takes_what_is_there():
    files = torture_files()
    whole = np.ascontiguousarray(picture()[..., ::-1])
    for name in ("half_png.png", "half_tiff.tif", "half_ppm.ppm"):
        image = decode_image(files[name][0], strict=False)
        assert same(image.pixels[:10], whole[:10])
    for name in ("half_jpeg.jpg", "half_progressive.jpg", "one_byte_short.jpg"):
        image = decode_image(files[name][0], strict=False)
        top = picture(240, 320)[:40, :, ::-1]
        assert np.abs(image.pixels[:40].astype(int) - top).mean() < 12
    assert same(decode_image(files["no_end.png"][0], strict=False).pixels, whole)
    nothing = png(picture(), 2, data=b"no zlib stream")
    with pytest.raises(DamagedImageError):
        decode_image(nothing, strict=False)
    for name in ("three_bytes.jpg", "half_webp.webp", "half_lzw.tif"):
        with pytest.raises(DamagedImageError):
            decode_image(files[name][0], strict=False)


def test_every_cut_of_a_file_is_noticed():
    # What pads the last row of a BMP or ends a GIF may be missing, so those are not here.
    for name in ("JPEG", "PNG", "TIFF", "WEBP", "PPM"):
        data = saved(picture(12, 16), name)
        for length in range(len(data)):
            with pytest.raises(InputError):
                decode_image(data[:length])


@settings(max_examples=examples(300))
@given(
    st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM"]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
    st.booleans(),
)
def test_changed_bytes_give_an_image_or_one_of_our_errors(name, changes, strict):
    options = {"exif": b"Exif\0\0" + exif_block(5)} if name in ("JPEG", "PNG", "TIFF") else {}
    data = bytearray(saved(picture(12, 16), name, **options))
    for position, value in changes:
        data[position % len(data)] = value
    try:
        image = decode_image(bytes(data), max_pixels=10**6, strict=strict)
    except InputError:
        return
    assert image.pixels.dtype in (np.uint8, np.uint16)
    for target in ("png", "tiff"):
        encode_image(Image(image.pixels, icc=image.icc, exif=image.exif), target, strip="gps")


@pytest.mark.parametrize("kind", ["directory", "missing", "below a file", "loop", "pipe", "nul"])
def test_what_cannot_be_read_is_said(kind, tmp_path):
    path = tmp_path / "x.png"
    if kind == "directory":
        path.mkdir()
    elif kind == "below a file":
        path.write_bytes(b"")
        path = path / "y.png"
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "nul":
        path = tmp_path / "a\0b.png"
    with pytest.raises(UnreadableError, match="cannot be read") as caught:
        read_image(path)
    assert caught.value.code == "E015"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_permission(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(saved(picture(), "PNG"))
    path.chmod(0)
    with pytest.raises(UnreadableError, match="Permission denied"):
        read_image(path)


def test_the_limit_says_itself_and_can_be_raised():
    with pytest.raises(TooLargeError) as caught:
        decode_image(bomb(), file="photos/big.png")
    line = (
        "E013 photos/big.png: 900 megapixels is over the limit of 268; raise it with --max-pixels"
    )
    assert caught.value.line == line
    data = saved(picture(), "PNG")
    assert decode_image(data, max_pixels=48 * 64).width == 64
    with pytest.raises(TooLargeError, match=r"0\.003072 megapixels is over the limit of 0\.003071"):
        decode_image(data, max_pixels=48 * 64 - 1)


def test_more_bytes_than_the_limit_can_need_are_not_read(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as stream:
        stream.write(saved(picture(), "PNG"))
        stream.truncate(2**40)  # a sparse file
    with pytest.raises(TooLargeError, match=r"1,099,512 MB are more than 2,215 MB"):
        read_image(path)


def test_a_bomb_costs_neither_time_nor_memory(tmp_path):
    resource = pytest.importorskip("resource")
    del resource
    (tmp_path / "bomb.png").write_bytes(bomb())
    (tmp_path / "small.png").write_bytes(saved(picture(), "PNG"))
    script = """
import resource, sys, time
from vaetools.errors import TooLargeError
from vaetools.image import read_image
read_image("small.png")
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    read_image("bomb.png")
except TooLargeError:
    print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    seconds, growth = map(float, output_of(script, tmp_path).split())
    assert seconds < 0.3
    assert growth * (1 if sys.platform == "darwin" else 1024) < 50 * 2**20


def output_of(script, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout


def test_importing_is_light(tmp_path):
    script = "import sys, vaetools.image; print([m for m in ('cv2', 'PIL') if m in sys.modules])"
    assert output_of(script, tmp_path).strip() == "[]"


def test_our_limit_rules_and_pillows_is_left_alone(monkeypatch):
    monkeypatch.setattr(PillowImage, "MAX_IMAGE_PIXELS", 1000)
    for name in ("JPEG", "PNG", "TIFF", "GIF", "BMP", "PPM"):
        assert decode_image(saved(picture(), name)).width == 64
    assert decode_image(saved(picture(), "TIFF", compression="tiff_lzw")).width == 64
    with suppress(TooLargeError):  # the one format where Pillow insists, in newer versions
        decode_image(saved(picture(), "WEBP"))
    assert PillowImage.MAX_IMAGE_PIXELS == 1000


def test_many_threads_decode_at_once_without_shared_state():
    before = list(warnings.filters), ImageFile.LOAD_TRUNCATED_IMAGES
    files = [(name, *entry) for name, entry in torture_files().items() if "bomb" not in name]

    def outcome(data, strict):
        try:
            return decode_image(data, strict=strict).pixels.shape
        except InputError as error:
            return error.code

    jobs = [(data, code, strict) for _, data, code in files * 4 for strict in (True, False)]
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda job: outcome(job[0], job[2]), jobs))
    for (_, code, strict), result in zip(jobs, results, strict=True):
        assert not strict or result == code or (code is None and isinstance(result, tuple))
    assert (list(warnings.filters), ImageFile.LOAD_TRUNCATED_IMAGES) == before


@pytest.mark.parametrize("kind", ["pointer to itself", "many pointers", "huge count"])
def test_hostile_directories_end(kind):
    entries = {
        "pointer to itself": [(0x8769, 4, 1, 8)],
        "many pointers": [(0x8769, 4, 1, 8)] * 3000 + [(270, 2, 90_000, 8)] * 3000,
        "huge count": [(273, 4, 2**30, 8), (270, 2, 2**32 - 1, 8)],
    }[kind]
    table = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + bytes(100_000)
    with pytest.raises(InputError):
        decode_image(data)
    exif = saved(picture(), "JPEG", exif=b"Exif\0\0" + data[:60_000])
    image = decode_image(exif)
    for name in KEEPS_METADATA:
        encode_image(image, name, strip="gps")


# --- What a file says about itself ---


def test_inspect():
    options = {"exif": b"Exif\0\0" + exif_block(6), "icc_profile": icc_profile()}
    info = inspect_image(saved(picture(), "JPEG", **options))
    assert (info.format, info.width, info.height, info.mode) == ("jpeg", 48, 64, "RGB")
    assert (info.frames, info.icc, info.exif) == (1, len(icc_profile()), len(exif_block()))
    files = torture_files()
    assert inspect_image(files["rgb16.png"][0]).mode == "RGB 16 bit"
    assert inspect_image(files["bomb.png"][0]).width == 30_000
    for name in ("animated_gif.gif", "animated_png.png", "animated_webp.webp", "pages.tif"):
        assert inspect_image(files[name][0]).frames == 3
    with pytest.raises(InputError, match="a\\.png: not an image"):
        inspect_image(b"text", file="a.png")


def test_a_large_comment_is_not_inflated():
    text = zlib.compress(bytes(2**24))
    data = png(picture(), 2, png_chunk(b"zTXt", b"Comment\0\0" + text))
    assert decode_image(data).width == 64
