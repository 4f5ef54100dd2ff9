"""Metadata from outside never ends in another exception than ours, nor costs much memory or time."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.image.described import (
    RESOURCE,
    XMP_PREFIX,
    described_file,
    exif_with,
    raw_profile,
    with_chunks,
    with_segments,
    xmp,
)
from tests.image.samples import KEEPS_METADATA
from tests.profiles import examples
from tests.torture import _packed_zeros
from vaetools.errors import InputError
from vaetools.image import Image, decode_image, encode_image, not_kept
from vaetools.image.metadata import xmp as packets
from vaetools.image.metadata.exif import fitted_exif, split_exif, without_thumbnails
from vaetools.image.metadata.fields import Density
from vaetools.image.metadata.icc import as_grey, as_rgb, colour_space
from vaetools.image.metadata.iptc import records_of
from vaetools.image.metadata.raw_profile import decoded, encoded
from vaetools.image.metadata.tiff_directory import with_orientation

SMALL = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8)


def changed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    found = bytearray(data)
    for position, value in changes:
        found[position % len(found)] = value
    return bytes(found)


@settings(max_examples=examples(150), deadline=None)
@given(SMALL, st.sampled_from("<>"))
def test_blocks_of_exif(changes, order):
    block = changed(exif_with(6, order=order), changes)
    upright, orientation = split_exif(block)
    named = with_orientation(block, 1)[1]
    assert upright is None or orientation == (named if 1 <= named <= 8 else 0)
    bare, _ = without_thumbnails(block)
    assert len(bare) <= len(block) + 2 * 12 * 20
    assert isinstance(fitted_exif(bare, 70000, 3, Density(300, 200)), bytes)


@settings(max_examples=examples(150), deadline=None)
@given(SMALL)
def test_packets_of_xmp(changes):
    inside = (
        "<xmp:Thumbnails><rdf:li>x</rdf:li></xmp:Thumbnails><tiff:Orientation>6</tiff:Orientation>"
    )
    try:
        packet = packets.packet_of(changed(xmp(inside, 'tiff:ImageWidth="9"'), changes))
        edited = packets.without(packet, packets.is_thumbnail)
        packets.fitted_xmp(edited, 3, 4, (300.0, 300.0))
        packets.merged(packet, packet)
    except packets.XmpError:
        pass


@settings(max_examples=examples(60), deadline=None)
@given(st.sampled_from(KEEPS_METADATA), SMALL, st.booleans())
def test_files_with_metadata(name, changes, strict):
    try:
        image = decode_image(
            changed(described_file(name), changes), max_pixels=10**6, strict=strict
        )
    except InputError:
        return
    for target in KEEPS_METADATA:
        encode_image(Image(image.pixels, metadata=image.metadata), target, strip="gps")
        assert all(isinstance(what, str) for what in not_kept(image, target))


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=200))
def test_other_blocks(data):
    records_of(data)
    records_of(b"8BIM" + data)
    decoded(data)
    decoded(b"\niptc\n" + data)
    assert decoded(encoded("iptc", data)) == data
    profile = bytes(36) + b"acsp" + data
    assert colour_space(data) is None or len(data) >= 132
    as_rgb(profile)
    as_grey(profile.ljust(132, b"\0"))


HOSTILE = {
    "raw profile": with_chunks((b"zTXt", b"Raw profile type exif\0\0" + _packed_zeros(2**26))),
    "profile": with_chunks((b"iCCP", b"x\0\0" + _packed_zeros(2**26))),
    "packet": with_chunks(
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + _packed_zeros(2**26)),
    ),
    "entities": with_segments(
        (0xE1, XMP_PREFIX + b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;">]><a>&c;</a>')
    ),
    "extended": with_segments(
        (0xE1, XMP_PREFIX + xmp(attributes='xmp:Label="' + "A" * 32 + '"')),
        (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">LL", 2**31, 0)),
    ),
    "nested": with_segments((0xE1, XMP_PREFIX + b"<a>" * 8000)),
    "pointers": with_segments(
        (0xE1, b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 500)
         + struct.pack("<HHLL", 0x8769, 4, 1, 8) * 500),
        (0xED, b"Photoshop 3.0\0" + RESOURCE[:8] + b"\xff\xff\xff\xff"),
    ),
    "pictures": with_segments((0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0" + b"\xff\xd8\xff\xe0" * 15000)),
    "positions": with_segments(
        (0xE1, XMP_PREFIX + xmp(attributes=" ".join(f'exif:GPS{i}="1"' for i in range(800))))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_metadata_costs_little(name):
    tracemalloc.start()
    started = time.process_time()
    try:
        image = decode_image(HOSTILE[name])
        data = encode_image(image, "jpeg", strip="gps")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150 * 2**20
    assert time.process_time() - started < 10
    assert b"exif:GPS" not in data
    assert decode_image(data).pixels.shape == (48, 64, 3)


def test_a_raw_profile_comes_back_and_a_short_one_does_not():
    kind, content = raw_profile("exif", exif_with())
    assert decoded(zlib.decompress(content.split(b"\0", 1)[1][1:])) == exif_with()
    assert decoded(b"\nexif\n 100\n00ff\n") == b""
    assert decoded(b"\nexif\n-1\n00ff\n") == b""
    assert kind == b"zTXt"
