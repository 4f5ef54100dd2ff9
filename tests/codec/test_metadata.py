"""Metadata through `.vae` files."""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ImageCms

from tests.image.described import (
    IPTC,
    XMP_PREFIX,
    described_file,
    exif_with,
    thumbnail,
    with_segments,
)
from tests.image.described import xmp as packet
from tests.image.samples import grey_profile, icc_profile
from vaetools.codec import Region, pixels
from vaetools.codec.container import (
    CRC,
    ENTRY,
    Section,
    SectionKind,
    deflate,
    read_header,
    unpack,
)
from vaetools.codec.info import read_info
from vaetools.errors import ChecksumError
from vaetools.image import Cicp, Density, Image, Metadata, decode_image, encode_image
from vaetools.image.metadata.fields import Calibration
from vaetools.image.metadata.icc import colour_space

from . import independent


def test_what_has_no_section_is_named(mini, mini_hub, crop, tmp_path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image = Image(crop, metadata=Metadata(icc=lab))
    (what,) = mini.analyse(image).not_kept
    assert "profile" in what
    (tmp_path / "a.tiff").write_bytes(encode_image(Image(crop), "tiff"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "for_vae", lambda *_, **__: (Metadata(), ("ICC profile",)))
        (record,) = mini_hub.map("compress", tmp_path / "a.tiff", out=tmp_path / "a.vae").records
    assert record.not_kept == ("ICC profile",)


def test_a_length_is_compared_with_that_of_the_file_before_a_section_is_read(mini, crop):
    file = mini.store(Image(crop), encode_image(Image(crop), "png"))
    assert read_info(io.BytesIO(file)).stored
    header = read_header(file)
    (entry,) = header.entries
    forged = bytearray(file)
    at = header.size - CRC.size - ENTRY.size
    ENTRY.pack_into(forged, at, int(entry[0]), 2**32 - 1, entry[2])
    CRC.pack_into(forged, header.size - CRC.size, zlib.crc32(forged[: header.size - CRC.size]))
    stream = Reading(bytes(forged))
    with pytest.raises(ChecksumError, match=r"section source at byte .* is damaged"):
        read_info(stream)
    assert stream.most < 2 * len(file)


class Reading(io.BytesIO):
    """Remembers the largest number of bytes that was asked for."""

    most = 0

    def read(self, size: int | None = -1) -> bytes:
        self.most = max(self.most, size or 0)
        return super().read(size)


@pytest.mark.parametrize(
    "kind", [SectionKind.ICC, SectionKind.EXIF, SectionKind.XMP, SectionKind.IPTC]
)
def test_a_section_without_a_byte_is_no_zlib_stream(mini, crop, kind):
    container = unpack(written(mini, Image(crop)))
    wrong = dataclasses.replace(container, sections=(*container.sections, Section(kind, b"")))
    with pytest.raises(ChecksumError, match="zlib"):
        mini.decode(wrong.pack())
    with pytest.raises(independent.Refused):
        independent.unpacked(b"", 100)


def test_exif_that_is_no_tiff_structure_is_left_out(mini, crop):
    container = unpack(written(mini, Image(crop)))
    section = Section(SectionKind.EXIF, deflate(b"hello"))
    found = mini.decode(
        dataclasses.replace(container, sections=(*container.sections, section)).pack()
    )
    assert found.exif is None
    assert "EXIF that cannot be read" in found.metadata.notes
    encode_image(found, "avif")


@pytest.fixture
def crop(astronaut):
    """uint8 BGR, two cells."""
    return np.ascontiguousarray(astronaut[40:90, 150:250])


def written(mini, image):
    return mini.code(mini.analyse(image), 0).container.pack()


EVERYTHING = Metadata(
    icc=icc_profile(), xmp=packet(), iptc=IPTC, cicp=Cicp(9, 16), density=Density(600, 300.5)
)


def test_everything_comes_back(mini, crop):
    data = written(mini, Image(crop, metadata=EVERYTHING))
    assert data[4] == 3
    assert mini.decode(data).metadata == EVERYTHING
    file = independent.parse(data)
    assert independent.code_points(file) == (9, 16, 0, True)
    assert independent.density(file) == (600, 300.5, True)
    assert independent.unpacked(file.of_kind(independent.XMP)[0], 2**24) == packet()
    assert independent.unpacked(file.of_kind(independent.IPTC)[0], 2**24) == IPTC


def test_a_gamma_becomes_a_profile(mini, crop):
    found = mini.decode(
        written(mini, Image(crop, metadata=Metadata(calibration=Calibration(100000))))
    )
    assert found.metadata.calibration is None
    assert colour_space(found.icc) == "RGB"


def test_a_profile_has_the_channels_of_the_image(mini, crop):
    for image, space in (
        (Image(crop, icc=grey_profile()), "RGB"),
        (Image(np.ascontiguousarray(crop[..., 1]), icc=icc_profile()), "GRAY"),
    ):
        data = written(mini, image)
        assert colour_space(mini.decode(data).icc) == space
        webp = decode_image(encode_image(mini.decode(data), "webp"))
        assert colour_space(webp.icc) == "RGB"


@pytest.mark.parametrize("orientation", [1, 6])
def test_no_thumbnail_stays_and_a_region_has_its_size(mini, orientation):
    data = written(mini, decode_image(described_file("jpeg", orientation=orientation)))
    part = mini.decode(data, region=Region(0, 0, 20, 10))
    exif = encode_image(part, "jpeg")
    assert exif.count(b"\xff\xd8\xff") == 1
    assert struct.pack("<HHLL", 0xA002, 4, 1, 20) in exif
    assert thumbnail()[20:200] not in data


def test_files_of_others_with_thumbnails(mini, crop):
    """A writer that does not know better: the thumbnail is dropped in reading."""
    image = Image(crop, metadata=Metadata(exif=exif_with(), xmp=packet("<xmp:Thumbnails/>")))
    found = mini.decode(written(mini, image))
    assert b"\xff\xd8\xff" not in found.exif
    assert b"Thumbnails" not in found.metadata.xmp


@pytest.mark.parametrize("strip", ["gps", "exif", "all"])
def test_strip_before_compression(mini, strip):
    from vaetools.image import strip_metadata

    position = packet(attributes='exif:GPSLatitude="47,22.5N" xmp:Rating="4"')
    image = decode_image(with_segments((0xE1, XMP_PREFIX + position)))
    found = mini.decode(written(mini, strip_metadata(image, strip))).metadata
    assert (found.xmp is None) == (strip != "gps")
    assert b"GPSLatitude" not in (found.xmp or b"")


@pytest.mark.parametrize("kind", [SectionKind.CICP, SectionKind.DENSITY])
def test_sections_of_a_wrong_length_are_refused(mini, crop, kind):
    container = unpack(written(mini, Image(crop)))
    wrong = dataclasses.replace(container, sections=(*container.sections, Section(kind, b"abc")))
    with pytest.raises(ChecksumError, match=f"section {kind.name.lower()} has 3 bytes"):
        mini.decode(wrong.pack())
    file = independent.parse(wrong.pack())
    with pytest.raises(independent.Refused):
        {SectionKind.CICP: independent.code_points, SectionKind.DENSITY: independent.density}[kind](
            file
        )
