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

from tests.profiles import examples
from vaetools.codec.container import (
    ENTRY,
    MAX_METADATA,
    PREVIEW,
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

from .miniature import STREAMS
from .synthetic import enough_for_preview, random_file

NAME = 27
"""Where the model id stands."""


HYPER = Section(SectionKind.HYPER, b"hyper")
COARSE = Section(SectionKind.COARSE, b"coarse")
FINE = Section(SectionKind.FINE, b"fine")
SOURCE = Section(SectionKind.SOURCE, b"a picture's file")


def container(**changes):
    """A small image of one tile."""
    sections = (HYPER, COARSE, FINE)
    plain = Container(100, 70, 8, False, 75, 64, "0123456789abcdef", "toy", sections)
    return dataclasses.replace(plain, **changes)


def stored(*sections):
    return container(stored=True, sections=sections or (SOURCE,))


def forged(*changes, base=None):
    """A file with bytes replaced, [(offset, format, value), …], and its header's checksum made right."""
    data = bytearray((base or container()).pack())
    end = len(data) - sum(len(s.data) for s in (base or container()).sections) - 4
    for offset, kind, value in changes:
        struct.pack_into(f"<{kind}", data, offset, value)
    struct.pack_into("<I", data, end, zlib.crc32(data[:end]))
    return bytes(data)


def is_cheap(read):
    """Whether calling `read` takes less than 50 ms of this thread's time and next to no memory."""
    began = time.thread_time()
    read()
    seconds = time.thread_time() - began
    tracemalloc.start()
    read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds < 0.05 and peak < 2**20


def refusal(data, **options):
    """The error that refuses `data`, which costs next to no time and memory."""
    found = []

    def read():
        with pytest.raises(BitstreamError) as caught:
            unpack(data, **options)
        found.append(caught.value)

    assert is_cheap(read)
    return found[-1]


# --- what is written comes back -------------------------------------------------------------------


ANCILLARY = [kind for kind in SectionKind if kind >= 128]
ONCE = [SectionKind.ALPHA, SectionKind.ICC, SectionKind.EXIF, SectionKind.LEVELS, *ANCILLARY]


@st.composite
def kinds_of(draw, tiles):
    """Kinds of the sections of a file with this many tiles, in any order."""
    per_tile = [SectionKind.COARSE, SectionKind.FINE] * tiles
    kinds = [SectionKind.HYPER, *per_tile, *draw(st.sets(st.sampled_from(ONCE)))]
    return draw(st.permutations(kinds))


@st.composite
def containers(draw):
    width, height = draw(st.integers(1, 3000)), draw(st.integers(1, 3000))
    tile = 4 * draw(st.integers(1, 32))
    rows, columns = tile_grid(width, height, tile)
    if rows * columns > 50:
        tile, (rows, columns) = 128, tile_grid(width, height, 128)
    is_stored = draw(st.booleans())
    kinds = [SectionKind.SOURCE] if is_stored else draw(kinds_of(rows * columns))
    payloads = st.binary(max_size=20)
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
        is_stored,
    )


@settings(max_examples=examples(150))
@given(containers())
def test_a_container_comes_back(original):
    data = original.pack()
    assert unpack(data) == original
    header = read_header(data)
    assert header.fields == dataclasses.replace(original, sections=())
    assert header.size + sum(length for _, length, _ in header.entries) == len(data)


def test_the_header_can_be_read_without_the_sections():
    data = container().pack()
    header = read_header(data)
    assert read_header(data[: header.size]) == header


# --- damage ---------------------------------------------------------------------------------------


def small_files():
    """Twenty real little files: real payloads, metadata, tiles, maps of levels, a stored one."""
    alpha, icc = Section(SectionKind.ALPHA, b"png"), Section(SectionKind.ICC, deflate(b"profile"))
    described = [Section(kind, deflate(b"anything")) for kind in ANCILLARY]
    coded = [
        random_file(
            n,
            width=20 + 9 * n,
            height=90 - 4 * n,
            tile=4 * (1 + n % 4),
            mixed=n % 2 == 1,
            extra=[(), (icc,), (alpha, icc, *described)][n % 3],
        )[0]
        for n in range(19)
    ]
    return [*coded, stored()]


@pytest.fixture(scope="module")
def small_file():
    """One of several tiles, with a map of levels and metadata."""
    found = small_files()[5]
    assert {s.kind for s in found.sections} == set(SectionKind) - {
        SectionKind.EXIF,
        SectionKind.SOURCE,
    }
    return found.pack()


def assert_flips_are_refused(data, **options):
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            unpack(bytes(damaged), **options)


@pytest.mark.parametrize("number", range(20))
def test_every_flipped_bit_is_refused(number):
    data = small_files()[number].pack()
    assert_flips_are_refused(data)


@pytest.mark.parametrize("mixed", [False, True])
def test_every_flipped_bit_is_refused_when_a_preview_is_asked_for(mixed):
    """The whole file is there: what a preview does not need is checked all the same."""
    assert_flips_are_refused(random_file(mixed=mixed)[0].pack(), preview=True)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(STREAMS.glob("*.vae")), ids=lambda path: path.stem)
def test_every_flipped_bit_of_the_golden_files_is_refused(path):
    assert_flips_are_refused(path.read_bytes())


def test_every_truncation_is_refused(small_file):
    for length in range(len(small_file)):
        with pytest.raises(BitstreamError):
            unpack(small_file[:length])


def test_a_refusal_costs_nothing(small_file):
    """Flips and cuts in a real file; time and memory are measured for a sample of them."""
    step = 8 * len(small_file) // 40
    for bit in range(3, 8 * len(small_file), step):
        damaged = bytearray(small_file)
        damaged[bit // 8] ^= 1 << bit % 8
        refusal(bytes(damaged))
        refusal(small_file[: bit // 8])


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=40))
def test_appended_bytes_are_refused(tail):
    for options in ({}, {"preview": True}):
        with pytest.raises(ChecksumError, match="bytes were written"):
            unpack(container().pack() + tail, **options)


def test_the_damaged_section_is_named():
    data = bytearray(container().pack())
    data[-1] ^= 1
    with pytest.raises(ChecksumError, match="section fine at byte"):
        unpack(bytes(data))


@pytest.mark.parametrize("kind", [SectionKind.COARSE, SectionKind.FINE])
def test_swapped_sections_are_refused(kind):
    """Two tiles of equal length change places, and the table does not."""
    other = {SectionKind.COARSE: FINE, SectionKind.FINE: COARSE}[kind]
    sections = (HYPER, other, other, Section(kind, b"a"), Section(kind, b"b"))
    data = container(width=2000, sections=sections).pack()
    with pytest.raises(ChecksumError, match=f"section {kind.name.lower()}"):
        unpack(data[:-2] + b"ba")


# --- previews -------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", small_files()[:8])
def test_every_prefix_is_enough_for_a_preview_or_refused(file):
    data = file.pack()
    shortest = enough_for_preview(data)
    assert shortest < len(data)
    for length in range(len(data) + 1):
        cut = data[:length]
        if length < shortest:
            with pytest.raises((ChecksumError, NotAVaeFileError)):
                unpack(cut, preview=True)
            continue
        found = unpack(cut, preview=True)
        assert [found.all(kind) for kind in PREVIEW] == [file.all(kind) for kind in PREVIEW]
        assert set(found.sections) <= set(file.sections)


def test_a_missing_end_is_refused_without_a_preview():
    data = container().pack()
    assert unpack(data[:-1], preview=True).sections == (HYPER, COARSE)
    assert "bytes were written" in refusal(data[:-1]).line
    assert "before the end of the preview data" in refusal(data[:-5], preview=True).line


def test_a_preview_of_a_stored_file_needs_all_of_it():
    data = stored().pack()
    assert unpack(data, preview=True) == unpack(data)
    assert "before the end of the preview data" in refusal(data[:-1], preview=True).line


def test_what_a_preview_needs_may_stand_anywhere():
    data = container(sections=(FINE, COARSE, HYPER)).pack()
    assert unpack(data, preview=True).all(SectionKind.FINE) == [FINE.data]
    with pytest.raises(ChecksumError, match="preview"):
        unpack(data[:-1], preview=True)


# --- other files ----------------------------------------------------------------------------------


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
        ([(4, "B", 1)], VersionError, "version 1 is not 2"),
        ([(4, "B", 3)], HeaderLimitError, "no ancillary section"),
        ([(4, "B", 4)], VersionError, "version 4 is not 2 or 3"),
        ([(5, "B", 0)], HeaderLimitError, "depth 0"),
        ([(5, "B", 24)], HeaderLimitError, "depth 24"),
        ([(6, "B", 2)], HeaderLimitError, "1 hyper sections, not 0"),
        ([(6, "B", 4)], HeaderLimitError, "flags 0x04"),
        ([(6, "B", 0x81)], HeaderLimitError, "flags 0x81"),
        ([(8, "I", 0)], HeaderLimitError, "size 0 x 70"),
        ([(12, "I", 0)], HeaderLimitError, "size 100 x 0"),
        ([(8, "I", 65535), (12, "I", 65535)], HeaderLimitError, "4295 megapixels"),
        ([(8, "I", 2**31), (12, "I", 1)], HeaderLimitError, "2147 megapixels"),
        ([(8, "I", LARGE), (12, "I", LARGE)], HeaderLimitError, "megapixels"),
        ([(8, "I", LARGE), (12, "I", 1)], HeaderLimitError, "megapixels"),
        ([(8, "I", 2**28), (12, "I", 1)], HeaderLimitError, "size 268435456 x 1 is too narrow"),
        ([(8, "I", 1), (12, "I", 2**28)], HeaderLimitError, "size 1 x 268435456 is too narrow"),
        ([(16, "H", 0)], HeaderLimitError, "tile 0"),
        ([(16, "H", 2)], HeaderLimitError, "tile 2"),
        ([(16, "H", 63)], HeaderLimitError, "tile 63"),
        ([(16, "H", 132)], HeaderLimitError, "tile 132 is not a multiple of 4 up to 128"),
        ([(16, "H", 4)], HeaderLimitError, "1 coarse sections, not 4"),
        ([(8, "I", 16384), (12, "I", 16384)], HeaderLimitError, "1 coarse sections, not 256"),
        ([(16, "H", 4), (8, "I", 16384), (12, "I", 16384)], HeaderLimitError, "not 65536"),
        ([(NAME, "B", 0x1B)], HeaderLimitError, r"model id '\\x1boy'"),
        ([(NAME, "B", 0xFF)], HeaderLimitError, "model id"),
        ([(NAME, "B", ord("."))], HeaderLimitError, r"model id '\.oy'"),
        ([(32, "B", 0)], VersionError, "section kind 0"),
        ([(32, "B", 9)], VersionError, "section kind 9"),
        ([(32, "B", 255)], VersionError, "section kind 255"),
        ([(32, "B", 2)], HeaderLimitError, "0 hyper sections, not 1"),
        ([(41, "B", 1)], HeaderLimitError, "2 hyper sections, not 1"),
        ([(41, "B", 3)], HeaderLimitError, "0 coarse sections, not 1"),
        ([(50, "B", 5)], HeaderLimitError, "0 fine sections, not 1"),
        ([(32, "B", 8)], HeaderLimitError, "0 hyper sections"),
        ([(33, "I", LARGE)], ChecksumError, "bytes were written"),
        ([(30, "H", 65535)], ChecksumError, "truncated"),
        ([(26, "B", 255)], ChecksumError, "truncated"),
    ],
)
def test_a_header_that_lies_is_refused_and_the_field_named(changes, error, field):
    found = refusal(forged(*changes))
    assert type(found) is error
    assert pytest.RaisesExc(error, match=field).matches(found), found.line


FIELDS = {
    "version": (4, "B"),
    "depth": (5, "B"),
    "flags": (6, "B"),
    "level": (7, "B"),
    "width": (8, "I"),
    "height": (12, "I"),
    "tile": (16, "H"),
    "stream id": (18, "Q"),
    "length of the model id": (26, "B"),
    "model id": (NAME, "B"),
    "number of sections": (30, "H"),
    "kind": (32, "B"),
    "length": (33, "I"),
    "CRC": (37, "I"),
}
SOUND = {
    "depth": lambda depth: depth in (8, 16, 32),
    "flags": lambda flags: flags == 1,
    "level": lambda _: True,
    "width": lambda width: 1 <= width <= 1024,  # of one tile
    "height": lambda height: 1 <= height <= 1024,
    "tile": lambda tile: 8 <= tile <= 128 and tile % 4 == 0,
    "stream id": lambda _: True,
}
"""Other valid values of the fields of the small image."""

SOUND_STORED = {
    **SOUND,
    "flags": lambda flags: flags == 3,
    "width": lambda width: 1 <= width * 70 <= 2**28,  # no tiles belong to it
    "height": lambda height: 1 <= height * 100 <= 2**28,
    "tile": lambda tile: 4 <= tile <= 128 and tile % 4 == 0,
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize(
    ("file", "sound"), [(container(), SOUND), (stored(), SOUND_STORED)], ids=["coded", "stored"]
)
def test_every_field_at_its_extremes(name, file, sound):
    """Refused at once, or a value that is sound."""
    offset, kind = FIELDS[name]
    bits = 8 * struct.calcsize(kind)
    powers = {2**power for power in range(bits)}
    for value in sorted({0, 2**bits - 1, 132} | powers | {p - 1 for p in powers}):
        data = forged((offset, kind, value), base=file)
        if data == file.pack():
            continue
        if name in sound and sound[name](value):
            assert is_cheap(lambda data=data: unpack(data))
            assert unpack(data).pack() == data
        else:
            refusal(data)


def test_the_limit_of_pixels_is_the_readers():
    data = container().pack()
    assert unpack(data, max_pixels=7000).width == 100
    assert "--max-pixels" in refusal(data, max_pixels=6999).line


def test_the_largest_images_are_accepted():
    """The limit on padded size is for narrow images only, and not for common ones."""
    for width, height in [(16384, 16384), (16383, 16385), (65500, 4096), (4_000_000, 65)]:
        base = grid(width, height)
        read_header(forged((8, "I", width), (12, "I", height), (16, "H", 128), base=base))
    read_header(forged((8, "I", 1), (12, "I", 200)), max_pixels=200)


def grid(width, height):
    """A container with the tiles of 128 that an image of that size has."""
    rows, columns = tile_grid(width, height, 128)
    tiles = rows * columns
    return container(sections=(HYPER, *[COARSE] * tiles, *[FINE] * tiles))


@pytest.mark.parametrize("kind", ONCE)
def test_a_section_that_comes_twice_is_refused(kind):
    twice = (Section(kind, b"a"),) * 2
    found = refusal(container(sections=container().sections + twice).pack())
    assert isinstance(found, HeaderLimitError)
    assert kind.name.lower() in found.line


def test_a_table_of_65535_sections_is_refused():
    data = container(sections=(HYPER, *[Section(SectionKind.COARSE, b"")] * 65534)).pack()
    assert "65534 coarse sections, not 1" in refusal(data).line


@pytest.mark.parametrize("kind", [k for k in SectionKind if k != SectionKind.SOURCE])
def test_a_stored_file_has_nothing_but_its_source(kind):
    found = refusal(stored(SOURCE, Section(kind, b"")).pack())
    assert isinstance(found, HeaderLimitError)
    assert f"1 {kind.name.lower()} sections, not 0" in found.line


def test_a_stored_file_has_one_source():
    assert "2 source sections, not 1" in refusal(stored(SOURCE, SOURCE).pack()).line
    empty = container(stored=True, sections=())
    assert "0 source sections, not 1" in refusal(empty.pack()).line


def test_a_source_is_only_in_stored_files():
    found = refusal(container(sections=(HYPER, COARSE, FINE, SOURCE)).pack())
    assert "1 source sections, not 0" in found.line


def test_the_default_limit_is_that_of_images():
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
    with pytest.raises(HeaderLimitError, match="decompresses to more than"):
        inflate(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * MAX_METADATA


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d + b"!", lambda d: b"!" + d])
def test_metadata_that_is_not_one_whole_stream_is_refused(damage):
    with pytest.raises(ChecksumError, match="zlib"):
        inflate(damage(deflate(b"a profile " * 20)))


def test_the_limit_may_be_smaller():
    """As for maps of levels, whose size is known."""
    assert inflate(deflate(bytes(70)), max_bytes=70) == bytes(70)
    with pytest.raises(HeaderLimitError, match="more than 69 bytes"):
        inflate(deflate(bytes(70)), max_bytes=69)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_metadata_unpacks_or_is_refused(data):
    with contextlib.suppress(BitstreamError):
        assert len(inflate(data)) <= MAX_METADATA


# --- ancillary sections ---------------------------------------------------------------------------


def with_kinds(*kinds, version):
    """A file of that version with sections of these kinds behind the others."""
    extra = b"".join(ENTRY.pack(kind, 3, zlib.crc32(b"new")) for kind in kinds)
    plain = container()
    data = bytearray(plain.pack())
    count_at = 27 + len(plain.model_id)
    end = count_at + 2 + 9 * len(plain.sections)
    data[4] = version
    struct.pack_into("<H", data, count_at, len(plain.sections) + len(kinds))
    head = bytes(data[:end]) + extra
    return head + struct.pack("<I", zlib.crc32(head)) + bytes(data[end + 4 :]) + b"new" * len(kinds)


def test_a_file_without_ancillary_sections_is_still_version_2():
    assert container().pack()[4] == 2
    described = (*container().sections, Section(SectionKind.XMP, deflate(b"<x/>")))
    assert container(sections=described).pack()[4] == 3


@pytest.mark.parametrize("kind", [132, 200, 255])
def test_an_unknown_ancillary_section_is_skipped(kind):
    data = with_kinds(kind, kind, version=3)
    assert unpack(data) == unpack(container().pack())
    damaged = data[:-1] + b"!"
    with pytest.raises(ChecksumError, match=f"section {kind} at byte"):
        unpack(damaged)


@pytest.mark.parametrize(("kind", "version"), [(9, 2), (9, 3), (127, 3), (128, 2), (132, 2)])
def test_other_unknown_sections_are_refused(kind, version):
    with pytest.raises(BitstreamError):
        unpack(with_kinds(kind, version=version))
