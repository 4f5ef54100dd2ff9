"""ICC, EXIF and orientation from file to file."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image as PillowImage

from tests.image.samples import (
    KEEPS_METADATA,
    PILLOW_NAMES,
    UPRIGHT,
    exif_values,
    icc_profile,
    noise,
    same,
)
from tests.torture import (
    exif_block,
    picture,
    saved,
)
from vaetools.image import (
    Image,
    decode_image,
    encode_image,
)
from vaetools.image.containers import png_chunk


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
