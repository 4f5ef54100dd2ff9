"""Pixels of all kinds: CMYK, palettes, bits, depths; parts of images, and their source files."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as PillowImage

from tests.image.samples import (
    TOPS,
    noise,
    same,
)
from tests.torture import (
    picture,
    png,
    saved,
    saved_image,
)
from vaetools.errors import (
    DamagedImageError,
    UnsupportedImageError,
)
from vaetools.image import (
    Image,
    decode_image,
    inspect_image,
    read_image,
    strip_metadata,
)
from vaetools.image.containers import png_chunk
from vaetools.image.containers.png import PNG_SIGNATURE


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


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_transparent_level_of_a_png_with_few_bits_becomes_alpha(depth):
    top, levels = (1 << depth) - 1, np.arange(8) % (1 << depth)
    number = sum(int(v) << depth * (7 - i) for i, v in enumerate(levels))
    rows = zlib.compress((b"\0" + number.to_bytes(depth, "big")) * 3)
    head = struct.pack(">LLBBBBB", 8, 3, depth, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"tRNS", b"\0\1"), (b"IDAT", rows), (b"IEND", b"")]
    image = decode_image(PNG_SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks))
    assert same(image.pixels[1], (levels * (255 // top)).astype(np.uint8))
    assert same(image.alpha[1], np.where(levels == 1, 0, 255).astype(np.uint8))


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


@pytest.mark.parametrize(
    ("data", "pixels", "dtype"),
    [
        (b"P1 3 2 0 1 0 1 1 0", [[255, 0, 255], [0, 0, 255]], np.uint8),
        (b"P1\n# packed\n3 2\n010\n110\n", [[255, 0, 255], [0, 0, 255]], np.uint8),
        (b"P2 2 1 255 7\n#c\n255", [[7, 255]], np.uint8),
        (b"P2 2 1 15 0 15 ", [[0, 255]], np.uint8),
        (b"P2 3 1 1023 0 1023 512", [[0, 65535, 32800]], np.uint16),
        (b"P3 1 2 255 1 2 3 4 5 6\n", [[[3, 2, 1]], [[6, 5, 4]]], np.uint8),
        (b"P4 3 2\n\x40\xc0", [[255, 0, 255], [0, 0, 255]], np.uint8),
        (b"P5 # comment\n2 1 100\n\0\x64", [[0, 255]], np.uint8),
        (b"P5 2 1 65535\n\1\2\3\4", [[258, 772]], np.uint16),
        (b"P5\t2\r\n1 1023\n\0\0\2\0", [[0, 32800]], np.uint16),
        (b"P6 1 1 255\n###", [[[35, 35, 35]]], np.uint8),
    ],
)
def test_pnm_of_every_kind(data, pixels, dtype):
    image = decode_image(data)
    assert image.pixels.tolist() == pixels
    assert image.pixels.dtype == dtype


@pytest.mark.parametrize(
    "data",
    [
        b"P2 2 1 255 1",
        b"P2 2 1 255 1 x",
        b"P2 2 1 255 1 256",
        b"P2 2 1 100 1 101",
        b"P2 2 1 255 -1 0",
        b"P3 1 1 255 1 2",
        b"P1 2 1 0",
        b"P1 2 1 0 2",
        b"P4 9 1\n\0",
        b"P5 2 1 255\n\0",
        b"P5 2 1 100\n\0\x65",
        b"P6 1 1 65535\n\0\0\0\0\0",
        b"P5 0 1 255\n",
        b"P5 2 1 65536\n" + bytes(8),
        b"P5 1",
    ],
)
def test_broken_pnm(data):
    with pytest.raises(DamagedImageError):
        decode_image(data)


def test_pnm_with_several_images():
    two = b"P5 2 1 255\n12P5 2 1 255\n34"
    with pytest.raises(UnsupportedImageError, match="several frames"):
        decode_image(two)
    assert decode_image(two, first_frame=True).pixels.tolist() == [[0x31, 0x32]]
    assert inspect_image(two).frames == 2


def test_a_phones_jpeg_with_pictures_behind_the_first_is_read():
    frames = [PillowImage.fromarray(picture()), PillowImage.fromarray(picture(20, 20))]
    data = saved_image(frames[0], "MPO", save_all=True, append_images=frames[1:])
    image = decode_image(data)
    assert image.pixels.shape == picture().shape
    assert image.format == "jpeg"


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
