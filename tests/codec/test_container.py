"""The container: what is written comes back; whatever is not that is refused, at once and by name."""

from __future__ import annotations

import contextlib
import dataclasses
import struct
import time
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaetools.codec.container import (
    MAX_METADATA,
    Container,
    Section,
    SectionKind,
    deflate,
    inflate,
    read_header,
    tile_grid,
    unpack,
)
from vaetools.errors import (
    BitstreamError,
    ChecksumError,
    HeaderLimitError,
    InputError,
    NotAVaeFileError,
    VersionError,
)
from vaetools.image import MAX_PIXELS

from .synthetic import random_file

NAME = 27
"""Where the model id stands."""


def container(**changes):
    """A small picture of one tile."""
    sections = (Section(SectionKind.HYPER, b"hyper"), Section(SectionKind.TILE, b"tile"))
    plain = Container(100, 70, 8, False, 75, 64, "0123456789abcdef", "toy", sections)
    return dataclasses.replace(plain, **changes)


def forged(*changes, base=None):
    """A file with bytes replaced, [(offset, format, value), …], and its header's checksum made right."""
    data = bytearray((base or container()).pack())
    end = len(data) - sum(len(s.data) for s in (base or container()).sections) - 4
    for offset, kind, value in changes:
        struct.pack_into(f"<{kind}", data, offset, value)
    struct.pack_into("<I", data, end, zlib.crc32(data[:end]))
    return bytes(data)


def refusal(data, **options):
    """The error that refuses `data`, which costs next to no time and memory."""
    began = time.perf_counter()
    with pytest.raises(BitstreamError):
        unpack(data, **options)
    assert time.perf_counter() - began < 0.05
    tracemalloc.start()
    with pytest.raises(BitstreamError) as caught:
        unpack(data, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20 + 2 * len(data)
    return caught.value


# --- what is written comes back -------------------------------------------------------------------


@st.composite
def containers(draw):
    width, height = draw(st.integers(1, 3000)), draw(st.integers(1, 3000))
    tile = 4 * draw(st.integers(1, 16383))
    rows, columns = tile_grid(width, height, tile)
    if rows * columns > 50:
        tile, (rows, columns) = 65532, (1, 1)
    payloads = st.binary(max_size=20)
    kinds = [SectionKind.HYPER] + [SectionKind.TILE] * (rows * columns)
    kinds += draw(st.sets(st.sampled_from([SectionKind.ALPHA, SectionKind.ICC, SectionKind.EXIF])))
    return Container(
        width,
        height,
        draw(st.sampled_from([8, 16, 32])),
        draw(st.booleans()),
        draw(st.integers(0, 255)),
        tile,
        draw(st.binary(min_size=8, max_size=8)).hex(),
        draw(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)),
        tuple(Section(kind, draw(payloads)) for kind in kinds),
    )


@settings(deadline=None, max_examples=150)
@given(containers())
def test_a_container_comes_back(original):
    data = original.pack()
    assert unpack(data) == original
    header = read_header(data)
    assert header.empty == dataclasses.replace(original, sections=())
    assert header.size + sum(length for _, length, _ in header.entries) == len(data)


def test_the_header_can_be_read_without_the_sections():
    data = container().pack()
    header = read_header(data)
    assert read_header(data[: header.size]) == header


# --- damage ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_file():
    """A real little file: real payloads, metadata, 2 tiles."""
    extra = (Section(SectionKind.ICC, deflate(b"profile")), Section(SectionKind.ALPHA, b"png"))
    return random_file(width=100, height=20, tile=4 * 4, extra=extra)[0].pack()


def test_every_flipped_bit_is_refused(small_file):
    for bit in range(8 * len(small_file)):
        damaged = bytearray(small_file)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            unpack(bytes(damaged))


def test_every_truncation_is_refused(small_file):
    for length in range(len(small_file)):
        with pytest.raises(BitstreamError):
            unpack(small_file[:length])


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=40))
def test_appended_bytes_are_refused(tail):
    with pytest.raises(ChecksumError, match="bytes where"):
        unpack(container().pack() + tail)


def test_the_damaged_section_is_named():
    data = bytearray(container().pack())
    data[-1] ^= 1
    with pytest.raises(ChecksumError, match="section tile at byte"):
        unpack(bytes(data))


def test_swapped_sections_are_refused():
    """Two tiles of equal length change places, and the table does not."""
    sections = [
        Section(SectionKind.HYPER, b""),
        *(Section(SectionKind.TILE, t) for t in (b"a", b"b")),
    ]
    data = container(width=2000, sections=tuple(sections)).pack()
    with pytest.raises(ChecksumError, match="section tile"):
        unpack(data[:-2] + b"ba")


@pytest.mark.parametrize(
    "data", [b"", b"\x89VA", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\0" * 99]
)
def test_other_files_are_told_apart(data):
    with pytest.raises(NotAVaeFileError, match=r"not a \.vae file"):
        unpack(data)


# --- headers that lie -----------------------------------------------------------------------------

LARGE = 2**32 - 1


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ([(4, "B", 0)], VersionError, "version 0"),
        ([(4, "B", 2)], VersionError, "version 2"),
        ([(5, "B", 0)], HeaderLimitError, "depth 0"),
        ([(5, "B", 24)], HeaderLimitError, "depth 24"),
        ([(6, "B", 2)], HeaderLimitError, "flags 0x02"),
        ([(6, "B", 0x81)], HeaderLimitError, "flags 0x81"),
        ([(8, "I", 0)], HeaderLimitError, "size 0 x 70"),
        ([(12, "I", 0)], HeaderLimitError, "size 100 x 0"),
        ([(8, "I", 65535), (12, "I", 65535)], HeaderLimitError, "4295 megapixels"),
        ([(8, "I", LARGE), (12, "I", LARGE)], HeaderLimitError, "megapixels"),
        ([(8, "I", LARGE), (12, "I", 1)], HeaderLimitError, "megapixels"),
        ([(8, "I", 2**28), (12, "I", 1)], HeaderLimitError, "size 268435456 x 1 is too thin"),
        ([(8, "I", 1), (12, "I", 2**28)], HeaderLimitError, "size 1 x 268435456 is too thin"),
        ([(16, "H", 0)], HeaderLimitError, "tile 0"),
        ([(16, "H", 2)], HeaderLimitError, "tile 2"),
        ([(16, "H", 63)], HeaderLimitError, "tile 63"),
        ([(16, "H", 4)], HeaderLimitError, "1 tiles where the size asks for 4"),
        ([(8, "I", 16384), (12, "I", 16384)], HeaderLimitError, "1 tiles .* asks for 256"),
        ([(16, "H", 4), (8, "I", 16384), (12, "I", 16384)], HeaderLimitError, "asks for 65536"),
        ([(NAME, "B", 0x1B)], HeaderLimitError, r"model id '\\x1boy'"),
        ([(NAME, "B", 0xFF)], HeaderLimitError, "model id"),
        ([(NAME, "B", ord("."))], HeaderLimitError, r"model id '\.oy'"),
        ([(32, "B", 0)], VersionError, "section kind 0"),
        ([(32, "B", 6)], VersionError, "section kind 6"),
        ([(32, "B", 255)], VersionError, "section kind 255"),
        ([(32, "B", 2)], HeaderLimitError, "2 tiles where the size asks for 1"),
        ([(41, "B", 1)], HeaderLimitError, "0 tiles where the size asks for 1"),
        ([(32, "B", 4)], HeaderLimitError, "hyper"),
        ([(33, "I", LARGE)], ChecksumError, "bytes where"),
        ([(30, "H", 65535)], ChecksumError, "cut short"),
        ([(26, "B", 255)], ChecksumError, "cut short"),
    ],
)
def test_a_header_that_lies_is_refused_and_the_field_named(changes, error, field):
    found = refusal(forged(*changes))
    assert type(found) is error
    assert pytest.RaisesExc(error, match=field).matches(found), found.line


def test_the_limit_of_pixels_is_the_readers():
    data = container().pack()
    assert unpack(data, max_pixels=7000).width == 100
    assert "--max-pixels" in refusal(data, max_pixels=6999).line


def test_the_largest_pictures_are_accepted():
    """The limit on padded size is for thin pictures only, and not for those that one meets."""
    for width, height in [(16384, 16384), (16383, 16385), (65500, 4096), (4_000_000, 65)]:
        read_header(forged((8, "I", width), (12, "I", height), (16, "H", 65532), base=grid(width)))
    read_header(forged((8, "I", 1), (12, "I", 200)), max_pixels=200)


def grid(width):
    """A container with the tiles of 65532 that a picture of that width has."""
    tiles = tile_grid(width, 64, 65532)[1]
    sections = [Section(SectionKind.HYPER, b""), *[Section(SectionKind.TILE, b"")] * tiles]
    return container(sections=tuple(sections))


@pytest.mark.parametrize("kind", [SectionKind.ALPHA, SectionKind.ICC, SectionKind.EXIF])
def test_a_section_that_comes_twice_is_refused(kind):
    twice = (Section(kind, b"a"),) * 2
    found = refusal(container(sections=container().sections + twice).pack())
    assert isinstance(found, HeaderLimitError)
    assert kind.name.lower() in found.line


def test_a_table_of_65535_sections_is_refused():
    many = (Section(SectionKind.TILE, b""),) * 65534
    data = container(sections=container().sections[:1] + many).pack()
    assert "65534 tiles where the size asks for 1" in refusal(data).line


def test_the_default_limit_is_that_of_pictures():
    assert MAX_PIXELS == 2**28


# --- metadata -------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.binary(max_size=5000))
def test_metadata_comes_back(data):
    assert inflate(deflate(data)) == data


def test_metadata_may_be_as_large_as_the_limit_and_no_larger():
    largest = bytes(MAX_METADATA)
    assert inflate(deflate(largest)) == largest
    with pytest.raises(HeaderLimitError, match=str(MAX_METADATA)):
        inflate(zlib.compress(largest + b"\0"))
    with pytest.raises(InputError, match="over the limit"):  # not written, as nobody would read it
        deflate(largest + b"\0")


def test_a_bomb_is_defused():
    """A few hundred kilobytes that would become 64 MiB."""
    packer = zlib.compressobj(1)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    tracemalloc.start()
    with pytest.raises(HeaderLimitError, match="unpacks to more than"):
        inflate(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * MAX_METADATA


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d + b"!", lambda d: b"!" + d])
def test_metadata_that_is_not_one_whole_stream_is_refused(damage):
    with pytest.raises(ChecksumError, match="zlib"):
        inflate(damage(deflate(b"a profile " * 20)))


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_metadata_unpacks_or_is_refused(data):
    with contextlib.suppress(BitstreamError):
        assert len(inflate(data)) <= MAX_METADATA
