"""AVIF, HEIF, JPEG XL and camera RAW: read as the other formats are, or refused with what to install."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageCms

from tests.image.samples import UPRIGHT, icc_profile, same
from tests.torture import exif_block, picture, saved, saved_image
from vaetools.errors import DamagedImageError, InputError, TooLargeError, UnsupportedImageError
from vaetools.image import (
    Image,
    Origin,
    decode_image,
    encode_image,
    inspect_image,
    not_kept,
)
from vaetools.image.containers import CONTAINERS, sniff
from vaetools.image.containers.jxl import read_header
from vaetools.image.metadata.fields import Cicp
from vaetools.image.metadata.icc import is_srgb, profile_of_cicp

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/>'
    b"</rdf:RDF></x:xmpmeta>"
)
LOSSLESS = {"quality": 100, "subsampling": "4:4:4"}


def avif(array: Any = None, **options: Any) -> bytes:
    return saved(picture() if array is None else array, "AVIF", **{**LOSSLESS, **options})


def heif(array: Any = None, depth: int = 8, **options: Any) -> bytes:
    library = pytest.importorskip("pillow_heif")
    array = picture() if array is None else array
    mode = {3: "RGB", 4: "RGBA"}[array.shape[2]] + (f";{depth}" if depth > 8 else "")
    file = library.from_bytes(mode, array.shape[1::-1], array.tobytes())
    out = io.BytesIO()
    file.save(out, quality=-1, chroma=444, matrix_coefficients=0, **options)
    return out.getvalue()


def jxl(array: Any = None, **boxes: bytes) -> bytes:
    library = pytest.importorskip("pillow_jxl")
    array = picture() if array is None else array
    channels = array.shape[2] if array.ndim == 3 else 1
    mode = "I;16" if array.itemsize == 2 else {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    encoder = library.Encoder(
        mode=mode,
        lossless=True,
        quality=100,
        decoding_speed=0,
        effort=3,
        use_container=bool(boxes),
        use_original_profile=True,
        num_threads=1,
    )
    boxes = {"exif": None, "jumb": None, "xmp": None, **boxes}
    return bytes(
        encoder(array.tobytes(), *array.shape[1::-1], jpeg_encode=False, compress=False, **boxes)
    )


def dng(orientation: int = 1, side: int = 48) -> bytes:
    """A directory with a small preview, and the pixels of the sensor below it."""
    pytest.importorskip("rawpy")
    ramp = np.linspace(1000, 30_000, side * side * 2).reshape(side, 2 * side).astype("<u2")
    preview, sensor = bytes(8 * 8 * 3), ramp.tobytes()
    codes = {1: "B", 2: "s", 3: "H", 4: "L", 5: "LL", 10: "ll"}

    def directory(entries: list[Any], at: int) -> bytes:
        table, values = struct.pack("<H", len(entries)), b""
        for tag, kind, numbers in sorted(entries):
            if kind == 2:
                packed = numbers
            else:
                packed = b"".join(
                    struct.pack(f"<{codes[kind]}", *(n if isinstance(n, tuple) else (n,)))
                    for n in numbers
                )
            place = packed.ljust(4, b"\0")
            if len(packed) > 4:
                place = struct.pack("<L", at + 2 + 12 * len(entries) + 4 + len(values))
                values += packed + b"\0" * (len(packed) % 2)
            table += struct.pack("<HHL", tag, kind, len(numbers)) + place
        return table + bytes(4) + values

    def build(below: int, preview_at: int, sensor_at: int) -> tuple[bytes, bytes]:
        unit = [(1, 1), (0, 1), (0, 1), (0, 1), (1, 1), (0, 1), (0, 1), (0, 1), (1, 1)]
        main = [
            (254, 4, [1]), (256, 4, [8]), (257, 4, [8]), (258, 3, [8, 8, 8]), (259, 3, [1]),
            (262, 3, [2]), (271, 2, b"Test\0"), (272, 2, b"Test\0"), (273, 4, [preview_at]),
            (274, 3, [orientation]), (277, 3, [3]), (278, 4, [8]), (279, 4, [192]),
            (330, 4, [below]), (50706, 1, [1, 4, 0, 0]), (50707, 1, [1, 1, 0, 0]),
            (50708, 2, b"Test\0"), (50721, 10, unit), (50728, 5, [(1, 1)] * 3), (50778, 3, [21]),
        ]  # fmt: skip
        first = directory(main, 8)
        mosaic = [
            (254, 4, [0]), (256, 4, [2 * side]), (257, 4, [side]), (258, 3, [16]), (259, 3, [1]),
            (262, 3, [32803]), (273, 4, [sensor_at]), (277, 3, [1]), (278, 4, [side]),
            (279, 4, [len(sensor)]), (33421, 3, [2, 2]), (33422, 1, [0, 1, 1, 2]),
            (50717, 4, [40_000]),
        ]  # fmt: skip
        return first, directory(mosaic, 8 + len(first))

    first, second = build(0, 0, 0)
    below = 8 + len(first)
    at = below + len(second)
    first, second = build(below, at, at + len(preview))
    return b"II*\0\x08\0\0\0" + first + second + preview + sensor


MAKERS = {"avif": avif, "heif": heif, "jxl": jxl, "raw": dng}


@pytest.mark.parametrize("name", ["avif", "heif", "jxl"])
def test_pixels(name):
    image = decode_image(MAKERS[name]())
    assert image.format == name
    error = np.abs(image.pixels[..., ::-1].astype(int) - picture()).mean()
    assert error < (0.7 if name == "avif" else 0.01)
    info = inspect_image(MAKERS[name]())
    assert (info.format, info.width, info.height, info.frames) == (name, 64, 48, 1)


@pytest.mark.parametrize("name", ["avif", "heif", "jxl"])
def test_alpha(name):
    array = picture(48, 64, 4)
    image = decode_image(MAKERS[name](array))
    assert image.alpha is not None
    assert np.abs(image.alpha.astype(int) - array[..., 3]).mean() < 0.7
    assert np.abs(image.pixels[..., ::-1].astype(int) - array[..., :3]).mean() < 0.7


@pytest.mark.parametrize("name", MAKERS)
def test_every_cut_is_noticed(name):
    data = MAKERS[name]()
    lengths = {*range(60), *range(60, len(data), max(1, len(data) // 40)), len(data) - 1}
    for length in sorted(lengths):
        with pytest.raises(InputError):
            decode_image(data[:length])


@pytest.mark.parametrize("name", MAKERS)
def test_the_limit_is_checked_before_decoding(name, monkeypatch):
    data = MAKERS[name]()
    image = decode_image(data)
    pixels = image.width * image.height
    with pytest.raises(TooLargeError, match="is over the limit"):
        decode_image(data, max_pixels=pixels - 1)
    assert decode_image(data, max_pixels=pixels).width == image.width


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["avif", "heif"])
def test_the_orientation_is_applied_once(name, orientation):
    """The container says it again, and that counts."""
    block = b"Exif\0\0" + exif_block(orientation)
    if name == "avif":
        data = avif(exif=block)
    else:
        library = pytest.importorskip("pillow_heif")
        out = io.BytesIO()
        library.from_pillow(PillowImage.fromarray(picture())).save(out, quality=95, exif=block)
        data = out.getvalue()
    upright = UPRIGHT[orientation](picture())
    image = decode_image(data)
    assert image.pixels.shape == upright.shape
    assert np.abs(image.pixels[..., ::-1].astype(int) - upright).mean() < 6
    assert image.exif is not None
    again = decode_image(encode_image(image, "avif"))
    assert again.pixels.shape == upright.shape


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_raw_is_developed_by_the_defaults_of_libraw(orientation):
    """And never read as the small preview in its first directory."""
    rawpy = pytest.importorskip("rawpy")
    data = dng(orientation)
    image = decode_image(data)
    with rawpy.imread(io.BytesIO(data)) as file:
        assert same(image.pixels, np.ascontiguousarray(file.postprocess()[..., ::-1]))
    assert image.pixels.shape == ((96, 48, 3) if orientation == 6 else (48, 96, 3))
    assert image.metadata.notes == ("developed from camera RAW with LibRaw's defaults, 8 bit",)
    assert sniff(data[:64]) == "tiff"
    assert image.format == "raw"


def test_ten_and_twelve_bit_stay_more_than_eight():
    rng = np.random.default_rng(0)
    for depth in (10, 12):
        array = rng.integers(0, 2**depth, (32, 48, 3)).astype(np.uint16)
        options = [cv2.IMWRITE_AVIF_QUALITY, 100, cv2.IMWRITE_AVIF_DEPTH, depth]
        done, data = cv2.imencode(".avif", array, options)
        if not done:
            pytest.skip("OpenCV without AVIF")
        image = decode_image(data.tobytes())
        assert same(image.pixels, np.rint(array * (65535 / (2**depth - 1))).astype(np.uint16))


def test_ten_bit_heif_stays_more_than_eight():
    array = np.random.default_rng(0).integers(0, 1024, (32, 48, 3)).astype(np.uint16)
    library = pytest.importorskip("pillow_heif")
    file = library.from_bytes("RGB;16", (48, 32), (array << 6).tobytes())
    out = io.BytesIO()
    file.save(out, quality=-1, chroma=444, matrix_coefficients=0)
    image = decode_image(out.getvalue())
    assert image.pixels.dtype == np.uint16
    assert image.pixels.max() > 65_000


def test_sixteen_bit_jxl_and_grey():
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(np.uint16)
    assert same(decode_image(jxl(deep)).pixels, deep)
    image = decode_image(jxl(picture(20, 30, 1)))
    assert image.grey


@pytest.mark.parametrize("name", ["avif", "heif", "jxl"])
def test_metadata(name):
    exif = exif_block(1)
    if name == "jxl":
        data = jxl(exif=bytes(4) + exif, xmp=XMP)
    else:
        data = MAKERS[name](exif=b"Exif\0\0" + exif, xmp=XMP, icc_profile=icc_profile())
    image = decode_image(data)
    assert image.exif is not None
    assert b"Rating" in (image.metadata.xmp or b"")
    assert name == "jxl" or image.icc == icc_profile()


def test_frames():
    frames = [PillowImage.fromarray(picture()), PillowImage.fromarray(picture()[::-1])]
    data = saved_image(frames[0], "AVIF", save_all=True, append_images=frames[1:], **LOSSLESS)
    assert inspect_image(data).frames == 2
    with pytest.raises(UnsupportedImageError, match="several frames"):
        decode_image(data)
    image = decode_image(data, first_frame=True)
    assert np.abs(image.pixels[..., ::-1].astype(int) - picture()).mean() < 1


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (8, 256), (9, 300), (300, 400), (20, 9000)])
def test_the_header_of_jxl(size):
    header = read_header(jxl(np.zeros((*size, 3), np.uint8)))
    assert (header.height, header.width, header.animated) == (*size, False)


def test_written_avif():
    image = Image(picture()[..., ::-1].copy(), icc=icc_profile(), exif=exif_block())
    back = decode_image(encode_image(image, "avif", quality=100))
    assert np.abs(back.pixels.astype(int) - image.pixels).mean() < 0.7
    assert back.icc == image.icc
    assert back.exif is not None
    assert len(encode_image(image, "avif", quality=20)) < len(encode_image(image, "avif"))
    with pytest.raises(UnsupportedImageError, match="avif cannot hold 16-bit pixels"):
        encode_image(Image(image.pixels.astype(np.uint16)), "avif")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_written_jxl_is_lossless_at_100(channels, alpha):
    pytest.importorskip("pillow_jxl")
    plane = picture(20, 30, 1) if alpha else None
    image = Image(picture(20, 30, channels), plane, exif=exif_block())
    back = decode_image(encode_image(image, "jxl", quality=100))
    assert same(back.pixels, image.pixels)
    assert same(back.alpha, image.alpha)
    assert back.exif is not None
    assert len(encode_image(image, "jxl", quality=20)) < len(encode_image(image, "jxl"))


def test_written_jxl_of_16_bit():
    pytest.importorskip("pillow_jxl")
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(np.uint16)
    assert same(decode_image(encode_image(Image(deep), "jxl", quality=100)).pixels, deep)
    with pytest.raises(UnsupportedImageError, match="with 16 bit of grey"):
        encode_image(Image(np.dstack([deep] * 3)), "jxl")


@pytest.mark.parametrize("quality", [100, 95])
@pytest.mark.parametrize("exif", [None, exif_block()])
def test_written_jxl_of_16_bit_is_srgb(quality, exif):
    pytest.importorskip("pillow_jxl")
    deep = np.linspace(0, 65535, 24 * 32).reshape(24, 32).astype(np.uint16)
    data = encode_image(Image(deep, exif=exif), "jxl", quality=quality)
    back = decode_image(data)
    assert is_srgb(back.icc or b"")
    assert np.abs(back.pixels.astype(int) - deep).max() < (1 if quality == 100 else 400)


def test_jxl_with_more_bits_than_the_decoder_gives_is_refused(monkeypatch):
    library = pytest.importorskip("pillow_jxl")
    head = bytes.fromhex("ff0ad801b6e007120802010042c3002b59899191")  # 16-bit RGB by libjxl
    header = read_header(head)
    assert (header.width, header.height, header.depth, header.exact) == (92, 60, 16, True)
    found = library.Decoder(num_threads=1)(jxl(picture(60, 92)))  # what it gives for such a file
    monkeypatch.setattr(library, "Decoder", lambda **_: lambda _: found)
    with pytest.raises(UnsupportedImageError, match="JPEG XL with 16-bit colours"):
        decode_image(head)


def test_the_header_of_jxl_with_extra_channels():
    header = read_header(jxl(picture(20, 30, 4)))
    assert (header.depth, header.exact) == (8, True)


def test_a_lossless_jxl_stays_lossless():
    pytest.importorskip("pillow_jxl")
    image = decode_image(jxl(exif=bytes(4) + exif_block()))
    image.pixels[5, 5] ^= 1
    changed = np.zeros(image.pixels.shape[:2], bool)
    changed[5, 5] = True
    for quality, expected in ((100, []), (95, ["exact pixels (jxl is coded anew as a whole)"])):
        lost: list[str] = []
        source = encode_image(image, "jxl", quality=quality)
        origin = Origin(source, np.packbits(changed, axis=1))
        back = decode_image(encode_image(image, "jxl", origin=origin, lost=lost))
        assert same(back.pixels, image.pixels) == (quality == 100)
        assert lost == expected


@pytest.mark.parametrize("boxes", [{}, {"exif": bytes(4) + exif_block(), "xmp": XMP}])
def test_metadata_are_removed_around_the_codestream_of_a_jxl(boxes):
    library = pytest.importorskip("pillow_jxl")
    encoder = library.Encoder(
        mode="RGB", lossless=False, quality=60, use_container=bool(boxes), num_threads=1
    )
    boxes = {"exif": None, "jumb": None, "xmp": None, **boxes}
    shape = picture().shape
    source = bytes(
        encoder(picture().tobytes(), *shape[1::-1], jpeg_encode=False, compress=False, **boxes)
    )
    image = decode_image(source)
    origin = Origin(source, np.packbits(np.zeros(shape[:2], bool), axis=1))
    described = replace(image, metadata=replace(image.metadata, exif=exif_block(), xmp=XMP))
    back = decode_image(encode_image(described, "jxl", origin=origin))
    assert same(back.pixels, image.pixels)
    assert back.exif is not None and b"Rating" in (back.metadata.xmp or b"")
    back = decode_image(encode_image(described, "jxl", origin=origin, strip="exif"))
    assert same(back.pixels, image.pixels)
    assert (back.exif, back.metadata.xmp) == (None, None)
    lost: list[str] = []
    encode_image(described, "jxl", origin=origin, strip="all", lost=lost)
    assert lost == ["exact pixels (jxl is coded anew as a whole)"]


def test_a_profile_of_srgb_is_not_missed():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wide = profile_of_cicp(Cicp(12, 13, 0, True), grey=False)
    for name in ("jxl", "bmp", "ppm"):
        assert not_kept(Image(picture(), icc=profile), name) == ()
        assert not_kept(Image(picture(), icc=wide), name) == (
            f"ICC profile ({name} has no place for it)",
        )
        assert not_kept(Image(picture(), icc=b"no profile"), name) != ()


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_avif(mode):
    source = PillowImage.fromarray(picture()).convert(mode)
    if mode == "LA":
        source.putalpha(100)
    image = decode_image(saved_image(source, "AVIF", quality=100))
    grey = np.asarray(source.convert("L")).astype(int)
    pixels = image.pixels if image.grey else image.pixels[..., 1]
    assert pixels.shape == grey.shape
    assert np.abs(pixels - grey).mean() < 1.5
    assert (image.alpha is None) == (mode == "L")


@pytest.mark.parametrize("name", ["heif", "raw", "gif"])
def test_formats_that_are_not_written(name):
    with pytest.raises(UnsupportedImageError, match="is not written"):
        encode_image(Image(picture()), name)


@pytest.mark.parametrize(
    ("name", "module"), [("heif", "pillow_heif"), ("jxl", "pillow_jxl"), ("raw", "rawpy")]
)
def test_a_missing_library_is_named_with_its_extra(name, module, monkeypatch):
    data = MAKERS[name]()
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(UnsupportedImageError, match=f"needs the library {module}") as caught:
        decode_image(data, file="a")
    assert caught.value.line.endswith(f"; pip install 'vaetools[{name}]'")


def test_brands():
    for brand in (b"avif", b"avis", b"mif1\0\0\0\0heicavif", b"msf1\0\0\0\0avis"):
        assert sniff(b"\0\0\0\x20ftyp" + brand + bytes(40)) == "avif"
    for brand in (b"heic", b"heix", b"hevc", b"mif1\0\0\0\0mif1heic", b"msf1"):
        assert sniff(b"\0\0\0\x20ftyp" + brand + bytes(40)) == "heif"
    assert sniff(b"\0\0\0\x18ftypcrx " + bytes(40)) == "raw"
    for head in (b"FUJIFILMCCD-RAW ", b"IIRO\x08\0\0\0", b"IIU\0\x08\0\0\0"):
        assert sniff(head + bytes(40)) == "raw"
    assert set(CONTAINERS) >= set(MAKERS)


@pytest.mark.parametrize("name", ["avif", "heif", "jxl"])
def test_damage_gives_an_image_or_one_of_our_errors(name):
    data = MAKERS[name]()
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            broken[at] = rng.integers(256)
        try:
            decode_image(bytes(broken), max_pixels=10**6, strict=bool(rng.integers(2)))
        except InputError:
            continue


def test_damaged_boxes():
    data = avif()
    with pytest.raises(DamagedImageError):
        decode_image(data.replace(b"meta", b"free", 1))
