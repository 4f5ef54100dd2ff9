"""Metadata is found in every place that containers have for it, and written to each one's own."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from tests.image.described import (
    IPTC,
    RESOURCE,
    XMP_PREFIX,
    chunks_of,
    described_file,
    exif_with,
    opened,
    raw_profile,
    with_chunks,
    with_segments,
    xmp,
)
from tests.image.samples import KEEPS_METADATA, UPRIGHT, icc_profile, same
from tests.torture import picture, saved
from vaetools.image import Density, Image, Metadata, decode_image, encode_image, not_kept
from vaetools.image.metadata.iptc import records_of
from vaetools.image.metadata.tiff_directory import (
    byte_order,
    first_directory,
    read_directory,
    write_directory,
)

CONTENTS = {
    "exif": b"Exif\0\0" + exif_with(6),
    "APP1": b"Exif\0\0" + exif_with(6),
    "EXIF": exif_with(6),
}


@pytest.mark.parametrize("kind", [b"zTXt", b"tEXt", b"iTXt"])
@pytest.mark.parametrize("name", CONTENTS)
def test_exif_in_text_chunks_of_png_counts(name, kind):
    image = decode_image(with_chunks(raw_profile(name, CONTENTS[name], kind)))
    assert same(image.pixels, np.ascontiguousarray(UPRIGHT[6](picture()[..., ::-1])))
    assert b"Canon" in image.exif
    assert b"Canon" in chunks_of(encode_image(image, "png"))[b"eXIf"]


@pytest.mark.parametrize(
    "chunk",
    [
        raw_profile("xmp", xmp()),
        raw_profile("APP1", XMP_PREFIX + xmp()),
        (b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp()),
    ],
    ids=["xmp", "app1", "itxt"],
)
def test_xmp_in_every_chunk_of_png(chunk):
    assert decode_image(with_chunks(chunk)).metadata.xmp == xmp()


def test_exif_chunks_count_before_text():
    text = raw_profile("exif", b"Exif\0\0" + exif_with(3))
    image = decode_image(with_chunks(text, (b"eXIf", exif_with(6))))
    assert image.pixels.shape == (64, 48, 3)


def test_exif_of_several_segments_is_one():
    block = exif_with(6, note=bytes(100_000))
    parts = [block[at : at + 65000] for at in range(0, len(block), 65000)]
    image = decode_image(with_segments(*[(0xE1, b"Exif\0\0" + part) for part in parts]))
    assert image.pixels.shape == (64, 48, 3)
    assert len(image.exif) > 100_000
    assert not_kept(image, "png") == ()
    (lost,) = not_kept(image, "jpeg")
    assert "EXIF of 1" in lost and "jpeg" in lost
    assert decode_image(encode_image(image, "jpeg")).exif is None


@pytest.mark.parametrize("target", KEEPS_METADATA)
@pytest.mark.parametrize("source", KEEPS_METADATA)
def test_xmp_and_iptc_go_from_format_to_format(source, target):
    image = decode_image(described_file(source))
    back = decode_image(encode_image(image, target)).metadata
    assert back.xmp == xmp()
    if "webp" in (source, target):
        assert back.iptc is None
    else:
        assert back.iptc == IPTC
    lost = () if target != "webp" or source == "webp" else ("IPTC (webp has no place for it)",)
    assert not_kept(image, target) == lost


def test_other_programs_see_xmp_and_iptc():
    image = decode_image(described_file("jpeg"))
    for name in KEEPS_METADATA:
        found = opened(encode_image(image, name))
        found.load()
        packet = found.tag_v2[700] if name == "tiff" else found.info.get("xmp")
        assert packet == xmp() or name == "png", name
        assert name != "png" or found.text["XML:com.adobe.xmp"].encode() == xmp()
    found = opened(encode_image(image, "jpeg"))
    assert found.info["photoshop"][0x0404] == IPTC
    tags = opened(encode_image(image, "tiff")).tag_v2
    assert bytes(tags[33723]) == IPTC


def test_iptc_in_tiff_as_swapped_words():
    """Some writers call IPTC 32-bit numbers and swap them as such."""
    padded = IPTC + bytes(-len(IPTC) % 4)
    swapped = b"".join(padded[at : at + 4][::-1] for at in range(0, len(padded), 4))
    data = encode_image(Image(picture(), metadata=Metadata(iptc=padded)), "tiff")
    data = data.replace(padded, swapped)
    as_bytes = struct.pack("<HHL", 33723, 7, len(padded))
    as_words = struct.pack("<HHL", 33723, 4, len(padded) // 4)
    assert decode_image(data.replace(as_bytes, as_words)).metadata.iptc == padded


def test_photoshop_resources_in_tiff():
    data = saved(picture(), "TIFF", tiffinfo={34377: RESOURCE})
    assert decode_image(data).metadata.iptc == IPTC


def test_xmp_longer_than_a_segment():
    packet = xmp(f"<xmp:Label>{'long ' * 40_000}</xmp:Label>")
    data = encode_image(Image(picture(), metadata=Metadata(xmp=packet)), "jpeg")
    back = decode_image(data).metadata
    assert b"long long" in back.xmp and b'xmp:Rating="4"' in back.xmp
    assert b"HasExtendedXMP" not in back.xmp
    assert back.notes == ()
    assert decode_image(encode_image(Image(picture(), metadata=back), "png")).metadata == back


def extended(packet: bytes, extension: bytes) -> bytes:
    digest = hashlib.md5(extension).hexdigest().upper()
    head = digest.encode() + struct.pack(">LL", len(extension), 0)
    return with_segments(
        (0xE1, XMP_PREFIX + packet.replace(b"@", digest.encode())),
        (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + head + extension),
    )


def test_an_extended_packet_is_put_back():
    note = 'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="@" xmp:Rating="4"'
    extension = xmp("<foo:Thing>far</foo:Thing>", 'xmlns:foo="http://example.com/foo/"')
    found = decode_image(extended(xmp(attributes=note), extension)).metadata
    assert b"<foo:Thing>far" in found.xmp and b'xmp:Rating="4"' in found.xmp
    assert b"HasExtended" not in found.xmp
    broken = decode_image(extended(xmp(attributes=note), b"<not well")).metadata
    assert b'xmp:Rating="4"' in broken.xmp
    assert broken.notes == ("extended XMP that is not well formed",)


def dpi_of(data: bytes) -> tuple[int, ...]:
    """Pixels per inch as Pillow finds them."""
    found = opened(data)
    exif = found.getexif()
    dpi = found.info.get("dpi") or (exif.get(282), exif.get(283))
    return tuple(round(value) for value in dpi)


@pytest.mark.parametrize("target", [*KEEPS_METADATA, "bmp"])
@pytest.mark.parametrize("source", ["jpeg", "png", "tiff", "bmp"])
def test_the_resolution_goes_from_format_to_format(source, target):
    image = decode_image(saved(picture(), source.upper(), dpi=(600, 300)))
    data = encode_image(image, target)
    assert dpi_of(data) == (600, 300)
    assert decode_image(data).metadata.density == pytest.approx((600, 300, True), abs=0.01)


def test_the_resolution_of_exif_counts_where_the_container_has_none():
    image = decode_image(with_segments((0xE1, b"Exif\0\0" + exif_with())))
    assert image.metadata.density == Density(300, 300)
    assert opened(encode_image(image, "jpeg")).info["jfif_density"] == (300, 300)
    assert dpi_of(encode_image(image, "png")) == (300, 300)


def test_exif_agrees_with_the_resolution_of_the_container():
    image = decode_image(described_file("png", dpi=600))
    for name in KEEPS_METADATA:
        data = encode_image(image, name)
        exif = opened(data).getexif()
        assert (round(exif[282]), round(exif[283]), exif[296]) == (600, 600, 2), name


def test_a_turned_image_has_its_resolutions_turned():
    data = with_chunks((b"pHYs", struct.pack(">LLB", 7874, 3937, 1)), (b"eXIf", exif_with(6)))
    density = decode_image(data).metadata.density
    assert (round(density.x), round(density.y)) == (100, 200)


def test_square_pixels_are_no_resolution():
    assert decode_image(saved(picture(), "JPEG")).metadata.density is None
    odd = Image(picture(), metadata=Metadata(density=Density(2, 1, absolute=False)))
    for name in ("jpeg", "png", "tiff"):
        found = decode_image(encode_image(odd, name)).metadata.density
        assert found == (2, 1, False), name


@pytest.mark.parametrize(
    ("content", "expected"),
    [(RESOURCE, IPTC), (IPTC, IPTC), (b"8BIM\4\5\0\0\0\0\0\0" + RESOURCE, IPTC), (b"8BIM", None),
     (b"8BIM\4\4\xff", None), (b"nothing", None), (b"", None)],
)  # fmt: skip
def test_records_of_resources(content, expected):
    assert records_of(content) == expected


def test_orientation_in_xmp_alone():
    """As Pillow: XMP counts where EXIF says nothing."""
    lying = xmp(attributes='tiff:Orientation="6"')
    image = decode_image(with_segments((0xE1, XMP_PREFIX + lying)))
    assert image.pixels.shape == (64, 48, 3)
    assert b'tiff:Orientation="1"' in image.metadata.xmp
    both = with_segments((0xE1, b"Exif\0\0" + exif_with(1)), (0xE1, XMP_PREFIX + lying))
    assert decode_image(both).pixels.shape == (48, 64, 3)
    silent = exif_with(1).replace(struct.pack("<HH", 274, 3), struct.pack("<HH", 273, 3))
    for exif in (silent, exif_with(0)):
        both = with_segments((0xE1, b"Exif\0\0" + exif), (0xE1, XMP_PREFIX + lying))
        assert decode_image(both).pixels.shape == (64, 48, 3)


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("ppm", {"EXIF", "XMP", "IPTC", "resolution"}),
        ("bmp", {"EXIF", "XMP", "IPTC"}),
        ("webp", {"IPTC"}),
        ("png", set()),
        ("jpeg", set()),
        ("tiff", set()),
    ],
)
def test_what_a_format_has_no_place_for_is_named(name, lost):
    image = decode_image(described_file("jpeg"))
    assert set(not_kept(image, name)) == {f"{what} ({name} has no place for it)" for what in lost}
    assert not_kept(image, name, "all") == ()


def test_comments_and_text_are_named():
    image = decode_image(with_segments((0xFE, b"made by hand")))
    assert not_kept(image, "jpeg") == ("comment",)
    image = decode_image(with_chunks((b"tEXt", b"Author\0me"), (b"mDCV", bytes(24))))
    assert not_kept(image, "png") == ("mDCV", "text (Author)")


def test_what_is_not_recognised_is_named():
    """GeoTIFF, thermal images of FLIR, C2PA, private fields and chunks."""
    plain = saved(picture(), "TIFF")
    fields, _ = read_directory(plain, first_directory(plain))
    items = [(f.tag, f.kind, f.count, f.raw(plain)) for f in fields]
    items += [(tag, 2, 2, b"x\0") for tag in (34735, 33550, 42113, 50000)]
    table = write_directory(byte_order(plain), len(plain), items)
    at = struct.pack(f"{byte_order(plain)}L", len(plain))
    image = decode_image(plain[:4] + at + plain[8:] + table)
    assert not_kept(image, "tiff") == ("GeoTIFF", "metadata of GDAL", "TIFF tags (50000)")
    flir, c2pa = (0xE1, b"FLIR\0\1\0\1"), (0xEB, b"JP\0\1\0\0\0\1")
    image = decode_image(with_segments(flir, flir, c2pa, (0xE3, b"\0")))
    assert not_kept(image, "jpeg") == ("segments (APP1 FLIR, APP11 JP, APP3)",)
    image = decode_image(with_chunks((b"caBX", b"x"), (b"vpAg", b"x"), (b"tIME", bytes(7))))
    assert not_kept(image, "png") == ("chunks (caBX, vpAg)",)
    webp = saved(picture(), "WEBP")
    webp = webp[:4] + struct.pack("<L", len(webp) + 4) + webp[8:] + b"C2PA\4\0\0\0abcd"
    assert not_kept(decode_image(webp), "png") == ("chunks (C2PA)",)
    gif = saved(picture(), "GIF", comment=b"by hand")
    gif = gif[:-1] + b"!\xff\x0bXMP DataXMP\1x\0;"
    assert not_kept(decode_image(gif), "png") == ("comment", "extensions (XMP Data)")
    for kind in ("JPEG", "PNG", "TIFF", "WEBP", "GIF"):
        assert not_kept(decode_image(saved(picture(), kind)), "png") == ()


def test_a_profile_of_more_segments_than_jpeg_counts():
    profile = icc_profile().ljust(255 * 65519 + 1, b"\0")
    image = Image(picture(), icc=profile)
    (lost,) = not_kept(image, "jpeg")
    assert lost.startswith(f"ICC profile of {len(profile):,} bytes (jpeg")
    assert decode_image(encode_image(image, "jpeg")).icc is None
    largest = Image(picture(), icc=profile[:-1])
    assert decode_image(encode_image(largest, "jpeg")).icc == profile[:-1]
