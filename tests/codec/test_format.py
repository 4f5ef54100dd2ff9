"""docs/format.md is true: a decoder written from it alone gives the integers that ours gives.

`independent.py` is that decoder. The page's own example is parsed out of the page and decoded.
"""

from __future__ import annotations

import ast
import dataclasses
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
from skimage import data

from vaetools.codec.container import Section, SectionKind, deflate, unpack
from vaetools.codec.entropy import Encoder, Table
from vaetools.codec.tables import CodecTables, decode_hyper, decode_latents
from vaetools.errors import BitstreamError
from vaetools.image import Image

from . import independent
from .integer_graph import evaluate
from .synthetic import LEVELS, base_index, latent_boxes, random_file, random_table

PAGE = Path(__file__).parents[2] / "docs" / "format.md"


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
    assert found.tiles == [dumped("payload")]
    assert found.one(SectionKind.HYPER) == b"\0"
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


@settings(deadline=None, max_examples=150)
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


@pytest.mark.parametrize(
    ("width", "height", "tile"),
    [(1, 1, 4), (100, 70, 8), (64, 64, 64), (65, 129, 4), (300, 10, 12), (257, 200, 16)],
)
@pytest.mark.parametrize("level", range(LEVELS))
def test_both_decoders_find_the_same_integers(width, height, tile, level):
    extra = (Section(SectionKind.ICC, deflate(b"profile")),)
    container, arrays, z, r = random_file(
        level, width=width, height=height, tile=tile, level=level, extra=extra
    )
    file = independent.parse(container.pack())
    found_z = independent.hyper_latents(file, arrays)
    index = independent.table_index(base_index(found_z), arrays, level)
    found_r = independent.residuals(file, arrays, index)
    np.testing.assert_array_equal(found_z, z)
    np.testing.assert_array_equal(found_r, r)

    tables = CodecTables(**arrays)
    shape = (-(-height // 64), -(-width // 64))
    hyper = container.one(SectionKind.HYPER)
    np.testing.assert_array_equal(decode_hyper(hyper, shape, tables.hyper(level)), z)
    np.testing.assert_array_equal(tables.indexes(base_index(z)[None], level), index)
    boxes = latent_boxes(*r.shape[1:], tile)
    for box, payload in zip(boxes, container.tiles, strict=True):
        symbols = decode_latents(payload, index[box].astype(np.uint8), tables.latent)
        np.testing.assert_array_equal(symbols, r[box])


FIELDS = {4: "B", 5: "B", 6: "B", 7: "B", 8: "I", 12: "I", 16: "H", 26: "B", 27: "B", 30: "H"}
"""Offset and type of the fields of a file whose model id has three letters."""
SECTIONS = {32: "B", 33: "I", 37: "I", 41: "B", 42: "I"}


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_both_readers_refuse_the_same_headers(draw):
    """Any field at any value, with the header's checksum made right again."""
    data = bytearray(random_file(width=64, height=64, tile=16)[0].pack())
    end = len(data) - sum(struct.unpack_from("<I", data, at)[0] for at in (33, 42)) - 4
    for _ in range(draw.draw(st.integers(1, 3))):
        at, kind = draw.draw(st.sampled_from(sorted({**FIELDS, **SECTIONS}.items())))
        largest = 2 ** (8 * struct.calcsize(kind)) - 1
        extremes = [v for v in (0, 1, 2, 8, 16, 32, 64, 65535) if v < largest]
        value = draw.draw(st.sampled_from([*extremes, largest]) | st.integers(0, largest))
        struct.pack_into(f"<{kind}", data, at, value)
    struct.pack_into("<I", data, end, zlib.crc32(data[:end]))
    assert accepted(unpack, data) == accepted(independent.parse, data)


def accepted(reader, data):
    """The header's fields, or None if the file is refused."""
    try:
        found = reader(bytes(data))
    except (BitstreamError, independent.Refused):
        return None
    return {**vars(found), "sections": len(found.sections)}


# --- the shipped model ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder_alone(codec_folder):
    """What a stranger has: the graphs and the arrays, opened without vaetools."""

    def session(role):
        opened = onnxruntime.InferenceSession(
            codec_folder / f"{role}.onnx", providers=["CPUExecutionProvider"]
        )
        names = [i.name for i in opened.get_inputs()]
        return lambda *values: opened.run(None, dict(zip(names, values, strict=True)))[0]

    graphs = {r: session(r) for r in ("hyper_mean", "context_mean", "synthesis")}
    network = onnx.load(codec_folder / "hyper_scale_index.onnx")
    with np.load(codec_folder / "tables.npz") as archive:
        return graphs, network, dict(archive)


PHOTOS = {
    "colour": lambda: data.astronaut()[100:228, 150:342, ::-1],
    "grey": lambda: data.camera()[100:165, 200:263],
    "deep": lambda: data.chelsea()[80:170, 100:200, ::-1].astype(np.uint16) * 257,
}


@pytest.mark.parametrize("level", [0, 60, 100])
@pytest.mark.parametrize("photo", PHOTOS)
def test_real_files_decode_to_the_same_integers(codec, folder_alone, photo, level):
    _, network, arrays = folder_alone
    written = codec.encode(Image.from_array(np.ascontiguousarray(PHOTOS[photo]())), level)
    file = independent.parse(written)
    z = independent.hyper_latents(file, arrays)
    index = independent.table_index(evaluate(network, z[None])[0], arrays, level)
    r = independent.residuals(file, arrays, index)
    container = unpack(written)
    our_z = codec.hyper(container)
    our_r = codec.symbols(container, our_z)
    np.testing.assert_array_equal(z[None], our_z)
    np.testing.assert_array_equal(r, our_r)


def test_real_files_decode_to_the_same_picture(codec, folder_alone):
    graphs, network, arrays = folder_alone
    written = codec.encode(Image.from_array(np.ascontiguousarray(PHOTOS["colour"]())), 70)
    file = independent.parse(written)
    z = independent.hyper_latents(file, arrays)
    index = independent.table_index(evaluate(network, z[None])[0], arrays, file.level)
    r = independent.residuals(file, arrays, index)
    latents = independent.restored_latents(
        z, r, arrays, file.level, graphs["hyper_mean"], graphs["context_mean"]
    )
    rgb = np.rint(255 * independent.picture(latents, file, arrays, graphs["synthesis"]))
    ours = codec.decode(written).pixels[..., ::-1].astype(int)
    assert np.abs(rgb - ours).max() <= 1


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
        found = codec.model.graph("hyper_scale_index")(z.astype(np.float32))
        np.testing.assert_array_equal(found, evaluate(network, z))
    extreme = np.where(rng.integers(0, 2, (1, channels, 6, 6)), limit, -limit)
    found = codec.model.graph("hyper_scale_index")(extreme.astype(np.float32))
    np.testing.assert_array_equal(found, evaluate(network, extreme))


def test_ours_reads_what_is_in_the_wrong_order():
    """The page leaves the order of the kinds free; only tiles have an order among themselves."""
    container, *_ = random_file(extra=(Section(SectionKind.EXIF, deflate(b"II*")),))
    turned = dataclasses.replace(container, sections=container.sections[::-1])
    assert unpack(turned.pack()).tiles == container.tiles[::-1]
    assert independent.parse(turned.pack()).of_kind(independent.TILE) == container.tiles[::-1]
