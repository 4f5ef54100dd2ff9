"""Colour spaces: kept as chunks, or said by an ICC profile; LittleCMS (Pillow) is the judge."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageCms

from tests.image.described import chunks_of, opened, with_chunks
from tests.image.samples import grey_profile, icc_profile
from tests.torture import picture, saved
from vaetools.image import Cicp, Image, Metadata, decode_image, encode_image, not_kept
from vaetools.image.metadata.fields import Calibration
from vaetools.image.metadata.icc import (
    as_grey,
    as_rgb,
    colour_space,
    profile_of_calibration,
    profile_of_cicp,
)

P3, PQ, HLG = Cicp(12, 13), Cicp(9, 16), Cicp(9, 18)
ADOBE = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


def lab(profile: bytes, *colour: int) -> tuple[int, ...]:
    """A colour through a profile to 8-bit L*a*b*."""
    mode = "L" if len(colour) == 1 else "RGB"
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("LAB"), mode, "LAB"
    )
    image = PillowImage.new(mode, (1, 1), colour if len(colour) > 1 else colour[0])
    return ImageCms.applyTransform(image, transform).getpixel((0, 0))


def curve_at(profile: bytes, value: float) -> float:
    """The sampled curve of a profile at a signal."""
    at = profile.index(b"curv")
    (count,) = struct.unpack_from(">L", profile, at + 8)
    samples = np.frombuffer(profile, ">u2", count, at + 12)
    return float(np.interp(value, np.linspace(0, 1, count), samples / 65535))


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (10, 90, 200), (77, 77, 77)])
def test_code_points_of_srgb_are_srgb(colour):
    assert lab(profile_of_cicp(Cicp(1, 13), grey=False), *colour) == lab(icc_profile(), *colour)


@pytest.mark.parametrize("cicp", [P3, PQ, HLG, Cicp(1, 1), Cicp(9, 14), Cicp(11, 8), Cicp(5, 4)])
def test_white_is_white_and_the_code_points_are_in_the_profile(cicp):
    profile = profile_of_cicp(cicp, grey=False)
    assert lab(profile, 255, 255, 255) == (255, 128, 128)
    assert b"cicp\0\0\0\0" + bytes([*cicp[:3], 1]) in profile
    assert len(profile) == struct.unpack(">L", profile[:4])[0]
    grey = profile_of_cicp(cicp, grey=True)
    assert colour_space(grey) == "GRAY"
    assert lab(grey, 128)[0] == lab(profile, 128, 128, 128)[0]


def test_display_p3_is_that_of_apple():
    """The columns of the matrix are those of Apple's Display P3 profile."""
    profile = profile_of_cicp(P3, grey=False)
    published = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for tag, column in published.items():
        (offset,) = struct.unpack_from(">L", profile, profile.index(tag) + 4)
        found = np.array(struct.unpack_from(">3l", profile, offset + 8)) / 65536
        assert found == pytest.approx(column, abs=2e-4)


def test_pq_and_hlg_have_their_curves():
    """ST 2084: 100 cd/m² has the signal 0.508; BT.2100 HLG: half of the signal is 1/12."""
    assert curve_at(profile_of_cicp(PQ, grey=False), 0.5081) == pytest.approx(0.01, abs=1e-4)
    assert curve_at(profile_of_cicp(HLG, grey=False), 0.5) == pytest.approx(1 / 12, abs=1e-4)


@pytest.mark.parametrize("cicp", [Cicp(1, 13, 1), Cicp(1, 13, 0, full_range=False), Cicp(99, 13),
                                  Cicp(1, 99), Cicp(2, 2)])  # fmt: skip
def test_what_no_profile_can_say(cicp):
    assert profile_of_cicp(cicp, grey=False) is None


CICP_CHUNKS = [(bytes(c), c) for c in ((9, 16, 0, 1), (12, 13, 0, 1), (9, 18, 0, 1), (1, 13, 0, 0))]


@pytest.mark.parametrize(("content", "values"), CICP_CHUNKS, ids=[str(v) for _, v in CICP_CHUNKS])
def test_code_points_stay_in_png_and_become_a_profile_elsewhere(content, values):
    image = decode_image(with_chunks((b"cICP", content)))
    assert chunks_of(encode_image(image, "png"))[b"cICP"] == content
    for name in ("jpeg", "webp", "tiff"):
        icc = decode_image(encode_image(image, name)).icc
        if values[3]:
            assert b"cicp\0\0\0\0" + content in icc, name
            assert not_kept(image, name) == ()
        else:
            assert icc is None
            assert not_kept(image, name) == (f"CICP 1/13/0/0 ({name} has no place for it)",)


def test_gamma_and_chromaticities_stay_in_png_and_become_a_profile_elsewhere():
    chunks = [(b"gAMA", struct.pack(">L", 45470)), (b"cHRM", struct.pack(">8L", *ADOBE))]
    image = decode_image(with_chunks(*chunks))
    written = chunks_of(encode_image(image, "png"))
    assert [written[kind] for kind, _ in chunks] == [content for _, content in chunks]
    for name in ("jpeg", "webp", "tiff"):
        icc = decode_image(encode_image(image, name)).icc
        # Green of Adobe RGB (1998) in L*a*b*.
        assert lab(icc, 0, 255, 0) == pytest.approx((212, 128 - 128, 215), abs=2), name


@pytest.mark.parametrize("chunks", [
    [(b"sRGB", b"\0"), (b"gAMA", struct.pack(">L", 45455))],
    [(b"gAMA", struct.pack(">L", 45455))],
    [(b"gAMA", struct.pack(">L", 45455)), (b"cHRM", struct.pack(">8L", *SRGB))],
    [(b"cICP", bytes([1, 13, 0, 1]))],
], ids=["chunk", "gamma", "both", "cicp"])  # fmt: skip
def test_what_says_srgb_needs_no_profile(chunks):
    image = decode_image(with_chunks(*chunks))
    written = chunks_of(encode_image(image, "png"))
    assert [written[kind] for kind, _ in chunks] == [content for _, content in chunks]
    assert decode_image(encode_image(image, "webp")).icc is None
    assert not_kept(image, "webp") == ()


def test_linear_light_becomes_a_profile():
    image = decode_image(with_chunks((b"gAMA", struct.pack(">L", 100000))))
    icc = decode_image(encode_image(image, "jpeg")).icc
    # Half of the light is L* = 76.
    assert lab(icc, 128, 128, 128)[0] / 2.55 == pytest.approx(76.2, abs=0.5)


@pytest.mark.parametrize("calibration", [
    Calibration(1), Calibration(2**31), Calibration(50000, (0,) * 8), Calibration(50000, (31270,) * 8),
    Calibration(50000, (2**31,) * 8),
], ids=str)  # fmt: skip
def test_nonsense_gives_no_profile(calibration):
    assert profile_of_calibration(calibration, grey=False) is None


@pytest.mark.parametrize("target", ["webp", "png", "jpeg", "tiff"])
def test_a_grey_profile_never_stands_beside_rgb(target):
    grey = Image(picture(channels=1), icc=grey_profile())
    colour = Image(picture(), icc=grey_profile())
    for image in (grey, colour):
        data = encode_image(image, target)
        found = decode_image(data)
        assert colour_space(found.icc) == ("GRAY" if found.grey else "RGB")
        shown = opened(data)
        to = ImageCms.createProfile("sRGB")
        profile = ImageCms.ImageCmsProfile(io.BytesIO(found.icc))
        mode = "L" if found.grey else "RGB"
        seen = ImageCms.profileToProfile(shown.convert(mode), profile, to, outputMode="RGB")
        expected = shown.convert("RGB")
        assert np.abs(np.asarray(seen, int) - np.asarray(expected, int)).max() <= 1
        assert not_kept(image, target) == ()


@pytest.mark.parametrize("target", ["png", "jpeg", "tiff"])
def test_an_rgb_profile_beside_grey_becomes_a_grey_one(target):
    image = Image(picture(channels=1), icc=icc_profile())
    found = decode_image(encode_image(image, target))
    assert found.grey and colour_space(found.icc) == "GRAY"
    assert lab(found.icc, 100)[0] == lab(icc_profile(), 100, 100, 100)[0]


def test_profiles_that_cannot_be_converted_are_named():
    no_curve = bytearray(grey_profile())
    at = no_curve.index(b"kTRC")
    no_curve[at : at + 4] = b"none"
    image = Image(picture(), icc=bytes(no_curve))
    assert decode_image(encode_image(image, "png")).icc is None
    assert not_kept(image, "png") == ("GRAY profile of RGB pixels (png has no place for it)",)


def test_there_and_back():
    assert as_rgb(icc_profile()) is None
    assert as_grey(grey_profile()) is None
    round_trip = as_rgb(as_grey(icc_profile()))
    for value in (0, 1, 50, 128, 200, 255):
        assert lab(round_trip, value, value, value) == lab(icc_profile(), value, value, value)


def test_metadata_of_a_profile_and_code_points_are_both_in_png():
    image = Image(picture(), metadata=Metadata(icc=icc_profile(), cicp=P3))
    found = decode_image(encode_image(image, "png")).metadata
    assert (found.icc, found.cicp) == (icc_profile(), P3)
    assert b"cicp" in decode_image(encode_image(image, "webp")).icc


def test_a_tiff_says_its_primaries():
    from PIL.TiffImagePlugin import IFDRational

    tags = {
        318: tuple(IFDRational(value, 100000) for value in ADOBE[:2]),
        319: tuple(IFDRational(value, 100000) for value in ADOBE[2:]),
    }
    image = decode_image(saved(picture(), "TIFF", tiffinfo=tags))
    assert chunks_of(encode_image(image, "png"))[b"cHRM"] == struct.pack(">8L", *ADOBE)
    icc = decode_image(encode_image(image, "tiff")).icc
    assert lab(icc, 0, 255, 0)[1] < lab(icc_profile(), 0, 255, 0)[1]


def test_adobe_rgb_of_cameras_becomes_a_profile():
    """No profile, but EXIF says: not sRGB, interoperability index R03 (DCF 2.0)."""
    exif = PillowImage.Exif()
    exif[0x8769] = {0xA001: 0xFFFF, 0xA005: {1: "R03"}}
    data = saved(picture(), "JPEG", exif=exif)
    image = decode_image(data)
    for name in ("jpeg", "webp", "tiff"):
        icc = decode_image(encode_image(image, name)).icc
        assert lab(icc, 0, 255, 0) == pytest.approx((212, 0, 215), abs=2), name
    exif[0x8769] = {0xA001: 1, 0xA005: {1: "R98"}}
    plain = decode_image(saved(picture(), "JPEG", exif=exif))
    assert decode_image(encode_image(plain, "webp")).icc is None


def test_a_profile_in_bmp():
    data = saved(picture(), "BMP")
    pixels = data[54:]
    icc = icc_profile()
    header = struct.pack("<L", 124) + data[18:54] + bytes(16) + b"DBEM" + bytes(48)
    header += struct.pack("<LLLL", 4, 124 + len(pixels), len(icc), 0)
    assert len(header) == 124
    start = struct.pack("<2sLHHL", b"BM", 138 + len(pixels) + len(icc), 0, 0, 138)
    image = decode_image(start + header + pixels + icc)
    assert image.icc == icc
    assert (image.pixels == decode_image(data).pixels).all()
