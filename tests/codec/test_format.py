"""docs/format.md is true: a decoder written from it alone gives the integers that ours gives.

`independent.py` is that decoder. The page's own example is parsed out of the page and decoded.
"""

from __future__ import annotations

import ast
import dataclasses
import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageOps
from skimage import data

from tests.paths import DOCS
from tests.profiles import examples
from vaetools.codec import Codec, roi_level_drop
from vaetools.codec.container import Section, SectionKind, deflate, unpack
from vaetools.codec.entropy import Encoder, Table
from vaetools.codec.tables import CodecTables, decode_hyper, decode_latents
from vaetools.errors import BitstreamError
from vaetools.image import Image

from . import independent
from .integer_graph import evaluate
from .miniature import MODEL, STREAMS, integers
from .synthetic import LEVELS, base_index, latent_boxes, parts, random_file, random_table

PAGE = DOCS / "format.md"


def block(name):
    """The lines of the page's code block of that name."""
    (text,) = re.findall(rf"```{name}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return text.splitlines()


def dumped(name):
    """The bytes of a hex dump; what follows two spaces is a comment."""
    return bytes.fromhex(" ".join(line.split("  ")[0] for line in block(name)))


def numbers(name):
    return [int(word) for word in " ".join(block(name)).split()]


def test_the_other_decoder_is_independent():
    tree = ast.parse(Path(independent.__file__).read_text(encoding="utf-8"))
    imports = {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    imports |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert imports <= {
        "__future__",
        "bisect",
        "dataclasses",
        "itertools",
        "numpy",
        "struct",
        "zlib",
    }


# --- the page's example ---------------------------------------------------------------------------


def test_the_example_stream_is_what_the_page_says():
    frequencies, values = numbers("frequencies"), numbers("values")
    encoder = Encoder()
    encoder.put(np.array(values), Table(np.array(frequencies), 2))
    assert encoder.finish() == dumped("payload")
    assert independent.encode_payload([(values, frequencies, 2)]) == dumped("payload")


def test_the_example_decodes_step_by_step():
    frequencies = numbers("frequencies")
    payload = independent.Payload(dumped("payload"))
    starts = [0, *np.cumsum(frequencies).tolist()]
    rows = [line.split() for line in block("trace")[1:]]
    for state, quantile, symbol, value in rows:
        assert payload.state == int(state, 16)
        assert payload.state % 2**24 == int(quantile, 16)
        found = payload.symbol(starts)
        assert found == int(symbol)
        assert int(value) == (found - 2 if found < 5 else payload.escaped_value(2))
    payload.finish()
    assert [int(row[3]) for row in rows] == numbers("values")


def test_the_example_file_is_what_the_page_says():
    found = unpack(dumped("file"))
    assert (found.width, found.height, found.depth, found.grey) == (100, 70, 8, False)
    assert (found.level, found.tile, found.model_id) == (75, 64, "toy")
    assert found.stream_id == "0123456789abcdef"
    assert found.one(SectionKind.HYPER) == found.one(SectionKind.FINE) == b"\0"
    assert found.all(SectionKind.COARSE) == [dumped("payload")]
    assert found.pack() == dumped("file")
    other = independent.parse(dumped("file"))
    assert (other.width, other.height, other.depth, other.level) == (100, 70, 8, 75)
    assert other.sections == [(s.kind, s.data) for s in found.sections]


def test_the_page_names_the_checksum():
    assert zlib.crc32(b"123456789") == 0xCBF43926
    assert "0xCBF43926" in PAGE.read_text(encoding="utf-8")


# --- any file -------------------------------------------------------------------------------------


@st.composite
def groups(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    escape = draw(st.booleans())
    spread = draw(st.sampled_from([0.0, 1.0, 30.0]))
    table = random_table(rng, draw(st.integers(1 - escape, 30)), escape=escape, spread=spread)
    largest = 2**31 - 1 if escape else table.reach
    within = st.integers(-table.reach, table.reach)
    return draw(st.lists(within | st.integers(-largest, largest), max_size=30)), table


@settings(max_examples=examples(150))
@given(st.lists(groups(), max_size=5))
def test_both_coders_write_and_read_the_same(parts):
    encoder = Encoder()
    for values, table in parts:
        encoder.put(np.array(values, np.int64), table)
    payload = encoder.finish()
    plain = [(values, table.frequencies, table.reach) for values, table in parts]
    assert independent.encode_payload(plain) == payload
    reader = independent.Payload(payload)
    for values, frequencies, reach in plain:
        assert reader.values(len(values), frequencies, reach) == values
    reader.finish()


SIZES = [(1, 1, 4), (100, 70, 8), (64, 64, 64), (65, 129, 4), (300, 10, 12), (257, 200, 16)]


@pytest.mark.parametrize(("width", "height", "tile"), SIZES)
@pytest.mark.parametrize(
    ("level", "mixed"), [*((level, False) for level in range(LEVELS)), (1, True)]
)
def test_both_decoders_find_the_same_integers(width, height, tile, level, mixed):
    extra = (Section(SectionKind.ICC, deflate(b"profile")),)
    found = random_file(
        level, width=width, height=height, tile=tile, level=level, mixed=mixed, extra=extra
    )
    assert_same_integers(*found)


@settings(max_examples=examples(60))
@given(
    st.integers(0, 2**32),
    st.integers(1, 400),
    st.integers(1, 400),
    st.integers(1, 8),
    st.booleans(),
)
def test_both_decoders_find_the_same_integers_in_any_file(seed, width, height, cells, mixed):
    found = random_file(seed, width=width, height=height, tile=4 * cells, mixed=mixed)
    assert_same_integers(*found)


def assert_same_integers(container, arrays, levels, z, r):
    """Both decoders find z and r of a file of `random_file`, and a preview the coarse part of r."""
    file = independent.parse(container.pack())
    found_levels = independent.level_map(file, arrays)
    np.testing.assert_array_equal(found_levels, levels)
    found_z = independent.hyper_latents(file, arrays)
    index = independent.table_index(base_index(found_z), arrays, found_levels)
    np.testing.assert_array_equal(found_z, z)
    np.testing.assert_array_equal(independent.residuals(file, arrays, index), r)
    coarse = np.where(arrays["coarse"][:, None, None], r, 0)
    np.testing.assert_array_equal(independent.residuals(file, arrays, index, preview=True), coarse)

    tables = CodecTables.of(arrays)
    hyper = container.one(SectionKind.HYPER)
    np.testing.assert_array_equal(decode_hyper(hyper, levels, tables), z)
    np.testing.assert_array_equal(tables.indexes(base_index(z)[None], levels), index)
    index = index.astype(np.uint8)
    for kind, chosen in parts(tables).items():
        boxes = latent_boxes(*r.shape[1:], container.tile)
        for box, payload in zip(boxes, container.all(kind), strict=True):
            symbols = decode_latents(payload, index[box][chosen], tables.latent)
            np.testing.assert_array_equal(symbols, r[box][chosen])


def test_both_see_the_same_steps_and_rates():
    """What floats are made of: the level of a latent and of 8 x 8 pixels is that of its cell."""
    _, arrays, levels, *_ = random_file(2, width=200, height=140, mixed=True)
    tables = CodecTables.of(arrays)
    assert len(np.unique(levels)) == LEVELS
    np.testing.assert_array_equal(
        independent.of_latents(levels, arrays["inverse_gain"]),
        tables.per_latent(tables.inverse_gain, levels),
    )
    by_hand = np.kron(arrays["rate"][levels], np.ones((8, 8), np.float32))
    np.testing.assert_array_equal(tables.rates(levels), by_hand[None, None])
    assert tables.rates(np.full_like(levels, 2)).shape == (1, 1, 1, 1)


FIELDS = {4: "B", 5: "B", 6: "B", 7: "B", 8: "I", 12: "I", 16: "H", 26: "B", 27: "B", 30: "H"}
"""Offset and type of the fields of a file whose model id has three letters."""
SECTIONS = {32: "B", 33: "I", 37: "I", 41: "B", 42: "I", 50: "B", 51: "I"}


@settings(max_examples=examples(300))
@given(st.data(), st.booleans())
def test_both_readers_refuse_the_same_headers(draw, preview):
    """Any field at any value, with the header's checksum made right again, and any end missing."""
    file = random_file(width=64, height=64, tile=16)[0]
    data = bytearray(file.pack())
    end = len(data) - sum(len(s.data) for s in file.sections) - 4
    for _ in range(draw.draw(st.integers(0, 3))):
        at, kind = draw.draw(st.sampled_from(sorted({**FIELDS, **SECTIONS}.items())))
        largest = 2 ** (8 * struct.calcsize(kind)) - 1
        extremes = [v for v in (0, 1, 2, 3, 7, 8, 16, 32, 64, 65535) if v < largest]
        value = draw.draw(st.sampled_from([*extremes, largest]) | st.integers(0, largest))
        struct.pack_into(f"<{kind}", data, at, value)
    struct.pack_into("<I", data, end, zlib.crc32(data[:end]))
    data = data[: len(data) - draw.draw(st.integers(0, 60))]
    ours = accepted(lambda d: unpack(d, preview=preview), data)
    assert ours == accepted(lambda d: independent.parse(d, preview=preview), data)


def test_both_readers_take_the_same_stored_files():
    source = Section(SectionKind.SOURCE, b"any picture")
    stored = dataclasses.replace(random_file()[0], sections=(source,), stored=True)
    file = independent.parse(stored.pack())
    assert file.stored
    assert file.of_kind(independent.SOURCE) == [b"any picture"]
    for sections in ((), (source, source), (source, *random_file()[0].sections)):
        wrong = dataclasses.replace(stored, sections=sections).pack()
        assert accepted(unpack, wrong) is accepted(independent.parse, wrong) is None


@pytest.mark.parametrize(
    "section",
    [
        b"",
        deflate(bytes(5)),  # one too few
        deflate(bytes(7)),
        deflate(bytes(5) + b"\x03"),  # level 3 of 3
        deflate(bytes(6))[:-1],
        deflate(bytes(6)) + b"!",
        b"garbage",
    ],
)
def test_a_map_of_levels_that_does_not_fit_is_refused_by_both(codec_of, section):
    """Two rows and three columns of cells."""
    container, arrays, *_ = random_file(width=150, height=70)
    sections = (*container.sections, Section(SectionKind.LEVELS, section))
    data = dataclasses.replace(container, sections=sections).pack()
    with pytest.raises(independent.Refused):
        independent.level_map(independent.parse(data), arrays)
    with pytest.raises(BitstreamError):
        codec_of(LEVELS).levels_of(unpack(data))


@pytest.fixture
def codec_of(mini):
    """The miniature codec, with another number of levels."""

    def changed(levels):
        spec = dataclasses.replace(mini.spec, levels=levels)
        codec = Codec(mini.model)
        codec.spec = spec
        return codec

    return changed


def accepted(reader, data):
    """The header's fields, or None if the file is refused."""
    try:
        found = reader(bytes(data))
    except (BitstreamError, independent.Refused):
        return None
    return {**vars(found), "sections": len(found.sections)}


# --- real models ----------------------------------------------------------------------------------


class FolderAlone:
    """What a stranger has: the graphs and the arrays of a model folder, opened without vaetools."""

    def __init__(self, folder):
        self.hyper_mean, self.context_mean, self.synthesis = (
            self.session(folder / f"{role}.onnx")
            for role in ("hyper_mean", "context_mean", "synthesis")
        )
        self.network = onnx.load(folder / "hyper_scale_index.onnx")
        with np.load(folder / "tables.npz") as archive:
            self.arrays = dict(archive)

    @staticmethod
    def session(path):
        opened = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [i.name for i in opened.get_inputs()]
        return lambda *values: opened.run(None, dict(zip(names, values, strict=True)))[0]

    def integers(self, file, preview=False):
        """Levels, z, table indexes and r."""
        levels = independent.level_map(file, self.arrays)
        z = independent.hyper_latents(file, self.arrays)
        base = evaluate(self.network, z[None])[0]
        index = independent.table_index(base, self.arrays, levels)
        return levels, z, index, independent.residuals(file, self.arrays, index, preview)

    def samples(self, file, preview=False):
        """The image's pixels, RGB."""
        levels, z, _, r = self.integers(file, preview)
        latents = independent.restored_latents(
            z, r, self.arrays, levels, self.hyper_mean, self.context_mean
        )
        rgb = independent.picture(latents, file, self.arrays, levels, self.synthesis)
        return independent.samples(rgb, file)


@pytest.fixture(scope="module")
def folder_alone(codec_folder):
    return FolderAlone(codec_folder)


@pytest.fixture(scope="module")
def small_folder():
    return FolderAlone(MODEL)


def assert_same_pixels(ours, theirs):
    """At most one step of 8 bits between pixels of one type; ours are BGR."""
    theirs = theirs if theirs.ndim == 2 else theirs[..., ::-1]
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    step = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[ours.dtype.type]
    assert np.abs(ours.astype(float) - theirs).max() <= step


PHOTOS = {
    "colour": lambda: data.astronaut()[100:228, 150:342, ::-1],
    "grey": lambda: data.camera()[100:165, 200:263],
    "deep": lambda: data.chelsea()[80:170, 100:200, ::-1].astype(np.uint16) * 257,
}


def written(codec, photo, level, *, mixed=False):
    """The file of a photograph, at one level or with fewer bits outside its middle."""
    image = Image.from_array(np.ascontiguousarray(PHOTOS[photo]()))
    mask = np.zeros((image.height, image.width), np.float32)
    mask[20:40, 70:90] = 1
    lower = roi_level_drop(mask, 50) if mixed else None
    return codec.code(codec.analyse(image, lower), level).container.pack()


@pytest.mark.parametrize(
    ("photo", "level", "mixed"),
    [("colour", 0, False), ("grey", 60, False), ("deep", 100, False), ("colour", 80, True)],
)
def test_real_files_decode_to_the_same(codec, folder_alone, photo, level, mixed):
    encoded = written(codec, photo, level, mixed=mixed)
    file = independent.parse(encoded)
    levels, *theirs = folder_alone.integers(file)
    assert (len(np.unique(levels)) > 1) == mixed
    for found, expected in zip(theirs, integers(codec, encoded).values(), strict=True):
        np.testing.assert_array_equal(found, expected)
    for preview in (False, True):
        pixels = codec.decode(encoded, preview=preview).pixels
        assert_same_pixels(pixels, folder_alone.samples(file, preview))


@pytest.mark.parametrize("path", sorted(STREAMS.glob("*.vae")), ids=lambda path: path.stem)
@pytest.mark.parametrize("preview", [False, True])
def test_golden_files_decode_to_the_same(mini, small_folder, path, preview):
    encoded = path.read_bytes()
    file = independent.parse(encoded, preview=preview)
    ours = mini.decode(encoded, preview=preview).pixels
    if file.stored:
        (source,) = file.of_kind(independent.SOURCE)
        with PillowImage.open(io.BytesIO(source)) as theirs:
            upright = ImageOps.exif_transpose(theirs)
        rgb = np.asarray(upright.convert("RGB"))
        np.testing.assert_array_equal(ours if ours.ndim == 2 else ours[..., ::-1], rgb)
        return
    assert_same_pixels(ours, small_folder.samples(file, preview))
    if not preview:
        _, *theirs = small_folder.integers(file)
        for found, expected in zip(theirs, integers(mini, encoded).values(), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("optimization", ["all", "disable"])
def test_the_integer_network_is_exact(open_codec, codec_folder, monkeypatch, optimization):
    """ONNX Runtime's float32 equals 64-bit integers, from the smallest to the largest z."""
    monkeypatch.setenv("VAETOOLS_ORT_OPTIMIZATION", optimization)
    network = onnx.load(codec_folder / "hyper_scale_index.onnx")
    codec = open_codec(threads=2)
    limit, channels = codec.tables.hyper_limit, codec.tables.hyper_frequencies.shape[1]
    rng = np.random.default_rng(0)
    for reach, size in [(1, (2, 3)), (8, (5, 4)), (limit, (4, 5)), (limit, (1, 1))]:
        z = rng.integers(-reach, reach + 1, (1, channels, *size))
        (found,) = codec.model.graph("hyper_scale_index")(z.astype(np.float32))
        np.testing.assert_array_equal(found, evaluate(network, z))
    extreme = np.where(rng.integers(0, 2, (1, channels, 6, 6)), limit, -limit)
    (found,) = codec.model.graph("hyper_scale_index")(extreme.astype(np.float32))
    np.testing.assert_array_equal(found, evaluate(network, extreme))


def test_ours_reads_what_is_in_the_wrong_order(mini, small_folder):
    """The page leaves the order of the kinds free; only tiles have an order among themselves."""
    encoded = (STREAMS / "levels.vae").read_bytes()
    container = unpack(encoded)
    turned = sorted(container.sections, key=lambda section: -section.kind)
    other = dataclasses.replace(container, sections=tuple(turned)).pack()
    assert other != encoded
    for found, expected in zip(
        integers(mini, other).values(), integers(mini, encoded).values(), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert_same_pixels(mini.decode(other).pixels, small_folder.samples(independent.parse(other)))
