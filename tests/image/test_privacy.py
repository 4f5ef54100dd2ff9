"""No picture of what was changed, cut off or turned stays behind; sizes are those of the image."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image as PillowImage

from tests.image.described import (
    IPTC,
    XMP_PREFIX,
    described_file,
    exif_with,
    opened,
    thumbnail,
    with_segments,
    xmp,
)
from tests.image.samples import KEEPS_METADATA
from tests.torture import picture, saved
from vaetools.image import Image, decode_image, encode_image, not_kept
from vaetools.image.metadata.exif import without_thumbnails
from vaetools.image.metadata.iptc import records_of

POSITION = 'exif:GPSLatitude="47,22.5N" exif:GPSMapDatum="WGS-84" xmp:Rating="4"'
DRONE = "<d:GpsLongtitude xmlns:d='http://www.dji.com/drone-dji/1.0/'>8.5</d:GpsLongtitude>"


def has_picture(data: bytes) -> bool:
    """Whether a JPEG lies inside the metadata."""
    return data.find(b"\xff\xd8\xff", 2) >= 0


@pytest.mark.parametrize("target", KEEPS_METADATA)
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("source", ["jpeg", "png", "webp"])
def test_a_thumbnail_does_not_stay(source, orientation, target):
    image = decode_image(described_file(source, orientation=orientation))
    data = encode_image(image, target)
    assert not has_picture(data)
    exif = opened(data).getexif()
    assert exif[271].strip("\0") == "Canon"
    assert exif.get(274, 1) == 1
    assert exif.get_ifd(0x8769)[37500] == b"note of the maker"
    assert dict(exif.get_ifd(1)) == {}


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_block_is_cut_where_the_thumbnail_was(order):
    block = exif_with(order=order)
    bare, taken = without_thumbnails(block)
    assert taken == {}
    assert len(bare) <= len(block) - len(thumbnail())
    assert without_thumbnails(bare) == (bare, {})


def test_a_preview_inside_the_makers_note_is_blanked_and_the_rest_stays():
    note = b"before" + saved(picture(), "JPEG", exif=b"Exif\0\0" + exif_with()) + b"after"
    bare, _ = without_thumbnails(exif_with(note=note))
    exif = PillowImage.Exif()
    exif.load(bare)
    found = exif.get_ifd(0x8769)[37500]
    assert len(found) == len(note)
    assert found.startswith(b"before") and found.endswith(b"after")
    assert not any(found[6:-5])


def test_bytes_that_only_look_like_a_picture_stay():
    note = b"\xff\xd8\xff\xe0" + b"no picture" * 9
    assert note in without_thumbnails(exif_with(note=note))[0]


@pytest.mark.parametrize("target", KEEPS_METADATA)
def test_thumbnails_in_xmp_and_photoshop_resources(target):
    small = "<xmp:Thumbnails><rdf:Alt><rdf:li xmpGImg:image='/9j/4AAQ'/></rdf:Alt></xmp:Thumbnails>"
    resources = b"8BIM\x04\x0c\0\0" + struct.pack(">L", len(thumbnail())) + thumbnail()
    data = with_segments(
        (0xE1, XMP_PREFIX + xmp(small)),
        (0xED, b"Photoshop 3.0\0" + resources),
        (0xE0, b"JFXX\0\x10" + thumbnail()),
    )
    written = encode_image(decode_image(data), target)
    assert not has_picture(written)
    packet = decode_image(written).metadata.xmp
    assert b"Thumbnails" not in packet and b"/9j/" not in packet
    assert b'xmp:Rating="4"' in packet


@pytest.mark.parametrize("extended", [False, True])
def test_a_preview_in_iptc_is_dropped(extended):
    small = thumbnail()
    size = struct.pack(">HL", 0x8004, len(small)) if extended else struct.pack(">H", len(small))
    preview = b"\x1c\x02\xc8\0\x02\0\x0b" + b"\x1c\x02\xca" + size + small
    block = IPTC[:7] + preview + IPTC[7:]
    resources = b"8BIM\x04\x04\0\0" + struct.pack(">L", len(block)) + block
    image = decode_image(with_segments((0xED, b"Photoshop 3.0\0" + resources)))
    assert image.metadata.iptc == IPTC
    assert records_of(preview) is None


@pytest.mark.parametrize("target", KEEPS_METADATA)
def test_sizes_are_those_of_the_image(target):
    sizes = 'tiff:ImageWidth="64" tiff:ImageLength="48" exif:PixelXDimension="64"'
    packet = xmp("<exif:PixelYDimension>48</exif:PixelYDimension>", sizes)
    image = decode_image(described_file("jpeg", orientation=6, packet=packet))
    for part, (width, height) in (
        (image, (48, 64)),
        (image.cropped(slice(0, 9), slice(0, 7)), (7, 9)),
    ):
        data = encode_image(part, target)
        inner = opened(data).getexif().get_ifd(0x8769)
        assert (inner[0xA002], inner[0xA003]) == (width, height)
        found = decode_image(data).metadata.xmp.decode()
        assert f'tiff:ImageWidth="{width}" tiff:ImageLength="{height}"' in found
        assert f'exif:PixelXDimension="{width}"' in found
        assert f"<exif:PixelYDimension>{height}</exif:PixelYDimension>" in found


@pytest.mark.parametrize("target", KEEPS_METADATA)
@pytest.mark.parametrize("strip", ["gps", "exif", "all"])
def test_strip_reaches_xmp_and_iptc(strip, target):
    image = decode_image(described_file("jpeg", packet=xmp(DRONE, POSITION)))
    data = encode_image(image, target, strip=strip)
    for word in (b"47,22.5N", b"WGS-84", b"Longtitude"):
        assert word not in data
    back = decode_image(data).metadata
    if strip == "gps":
        assert b'xmp:Rating="4"' in back.xmp
        assert back.exif is not None
        assert (back.iptc is None) == (target == "webp")
    else:
        assert (back.exif, back.xmp, back.iptc) == (None, None, None)
    assert (back.density is None) == (strip == "all" or (strip == "exif" and target == "webp"))


def test_a_packet_that_cannot_be_read_is_not_trusted_to_have_no_position():
    image = decode_image(with_segments((0xE1, XMP_PREFIX + b"<x:xmpmeta><broken")))
    assert image.metadata.xmp is None
    assert not_kept(image, "png") == ("XMP that is not well formed",)


def multi_picture(*kinds: int) -> bytes:
    """A JPEG with an index of several images, and these behind it."""
    entries = b"".join(struct.pack("<LLLHH", kind, 99, 99, 0, 0) for kind in kinds)
    index = b"MPF\0II*\0\x08\0\0\0" + struct.pack(
        "<HHHL4sHHLLL", 2, 0xB000, 7, 4, b"0100", 0xB002, 7, len(entries), 8 + 2 + 24 + 4, 0
    )
    return with_segments((0xE2, index + entries)) + thumbnail() * (len(kinds) - 1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (multi_picture(0x030000, 0x020002), ("1 more image",)),
        (multi_picture(0x030000, 0x020003, 0x020003), ("2 more images",)),
        (multi_picture(0x030000, 0x010001), ()),
        (multi_picture(0x030000, 0) + b"http://ns.apple.com/HDRGainMap/1.0/", ("gain map",)),
        (with_segments() + b"something", ("data behind the image",)),
        (with_segments() + bytes(99), ()),
        (with_segments((0xE1, XMP_PREFIX + xmp(attributes='hdrgm:Version="1.0"'))), ("gain map",)),
        (with_segments() + b"http://ns.apple.com/HDRGainMap/1.0/", ("gain map",)),
        (with_segments((0xE1, XMP_PREFIX + xmp(attributes='GCamera:MotionPhoto="1"'))),
         ("motion photo's video",)),
    ],
    ids=["stereo", "views", "preview", "Apple", "tail", "zeros", "gain map", "of a phone", "motion"],
)  # fmt: skip
def test_further_images_that_are_lost_are_named(data, expected):
    image = decode_image(data)
    assert not_kept(image, "png") == expected
    packet = image.metadata.xmp or b""
    assert b"hdrgm:Version" not in packet and b"MotionPhoto=" not in packet


def test_a_region_of_a_large_image_keeps_no_whole_one():
    image = decode_image(described_file("png"))
    part = Image(np.ascontiguousarray(image.pixels[:5, :5]), metadata=image.metadata)
    assert not has_picture(encode_image(part, "jpeg"))
    assert PillowImage.open(io.BytesIO(encode_image(part, "jpeg"))).size == (5, 5)
