"""The codec with the shipped model: pictures to bytes and back."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vaetools.codec import Codec
from vaetools.codec.codec import Region
from vaetools.codec.container import Section, SectionKind, unpack
from vaetools.codec.rate import level_of
from vaetools.codec.tables import decode_latents, encode_latents
from vaetools.errors import (
    BitstreamError,
    ChecksumError,
    HeaderLimitError,
    InputError,
    ModelBrokenError,
    OptionError,
    UnknownModelError,
)
from vaetools.image import Image, encode_image
from vaetools.manifest import read_manifest
from vaetools.metrics import psnr
from vaetools.runtime import Runtime
from vaetools.testing import TINY
from vaetools.tiling import scaled
from vaetools.vae import Model

LEVEL = 75
TOP = {np.uint8: 255, np.uint16: 65535, np.float32: 1}


@pytest.fixture(scope="module")
def crop(astronaut):
    """A face, (160, 144, 3) uint8 BGR."""
    return np.ascontiguousarray(astronaut[40:200, 150:294])


@pytest.fixture(scope="module")
def probes(codec, astronaut):
    """Rates of the whole photograph, shared by the tests: each level is coded once."""
    return codec.probes(Image.from_array(astronaut))


def as_type(pixels, dtype):
    """uint8 pixels in another type, with values that uint8 does not have."""
    if dtype == np.uint8:
        return pixels
    rng = np.random.default_rng(0)
    fine = np.clip(pixels / 255 + rng.uniform(-0.001, 0.001, pixels.shape), 0, 1)
    return fine.astype(np.float32) if dtype == np.float32 else np.rint(fine * 65535).astype(dtype)


def restored(codec, image, level=LEVEL):
    return codec.decode(codec.encode(image, level))


def read(codec, written):
    """z and r of a file."""
    container = unpack(written)
    z = codec.hyper(container)
    return z, codec.symbols(container, z)


def decibels(a, b):
    """PSNR of two arrays of one type."""
    top = TOP[a.dtype.type]
    return -10 * np.log10(np.mean((a / top - b / top) ** 2) + 1e-12)


# --- what comes back ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (65, 63), (64, 64), (63, 129)])
def test_any_size_comes_back(codec, astronaut, size):
    pixels = np.ascontiguousarray(astronaut[: size[0], : size[1]])
    found = restored(codec, Image.from_array(pixels))
    assert found.pixels.shape == (*size, 3)
    assert decibels(pixels, found.pixels) > 24


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("grey", [False, True])
def test_any_type_comes_back(codec, crop, dtype, grey):
    pixels = as_type(crop[..., 1] if grey else crop, dtype)
    found = restored(codec, Image.from_array(np.ascontiguousarray(pixels)))
    assert found.pixels.dtype == dtype
    assert found.grey == grey
    assert found.pixels.shape == pixels.shape
    assert decibels(pixels, found.pixels) > 28


def test_deep_pictures_have_more_than_256_values(codec, crop):
    found = restored(codec, Image.from_array(as_type(crop, np.uint16)))
    assert len(np.unique(found.pixels)) > 2000


def test_types_agree_with_each_other(codec, crop):
    """The same picture in 8 bit, 16 bit and float takes different roads to the same colours."""
    eight = restored(codec, Image.from_array(crop)).pixels
    deep = restored(codec, Image.from_array(crop.astype(np.uint16) * 257)).pixels
    floats = restored(codec, Image.from_array(crop.astype(np.float32) / 255)).pixels
    assert np.abs(deep / 257 - eight).max() <= 1
    assert np.abs(floats * 255 - eight).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("grey", [False, True])
def test_alpha_is_lossless(codec, crop, dtype, grey):
    alpha = np.random.default_rng(1).integers(0, 65536, crop.shape[:2])
    alpha = {
        np.uint8: (alpha >> 8).astype(np.uint8),
        np.uint16: alpha.astype(np.uint16),
        np.float32: (alpha / 65535).astype(np.float32),
    }[dtype]
    pixels = as_type(crop[..., 0] if grey else crop, dtype)
    found = restored(codec, Image(np.ascontiguousarray(pixels), alpha), level=10)
    assert found.alpha.dtype == dtype
    np.testing.assert_array_equal(found.alpha, alpha)


def test_float_alpha_has_16_bits(codec, crop):
    alpha = np.random.default_rng(1).random(crop.shape[:2], dtype=np.float32)
    found = restored(codec, Image(as_type(crop, np.float32), alpha))
    assert np.abs(found.alpha - alpha).max() <= 0.5001 / 65535


def test_metadata_is_carried(codec, crop):
    image = Image(crop, icc=b"any profile" * 50, exif=b"II*\0" + bytes(100))
    found = restored(codec, image)
    assert (found.icc, found.exif) == (image.icc, image.exif)
    plain = restored(codec, Image(crop))
    assert (plain.icc, plain.exif, plain.alpha) == (None, None, None)


def test_the_input_is_not_changed(codec, crop):
    before = crop.copy()
    codec.encode(Image(crop), LEVEL)
    np.testing.assert_array_equal(crop, before)


# --- the same on every machine --------------------------------------------------------------------


def test_the_same_picture_gives_the_same_bytes(codec, open_codec, crop):
    once, again = (codec.encode(Image(crop), LEVEL) for _ in range(2))
    assert once == again
    assert open_codec(threads=2).encode(Image(crop), LEVEL) == once


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("optimization", ["all", "basic", "disable"])
def test_any_runtime_decodes_the_same(codec, open_codec, crop, monkeypatch, optimization, threads):
    written = codec.encode(Image(crop), LEVEL)
    z, symbols = read(codec, written)
    pixels = codec.decode(written).pixels.astype(int)
    monkeypatch.setenv("VAETOOLS_ORT_OPTIMIZATION", optimization)
    other = open_codec(threads)
    other_z, other_symbols = read(other, written)
    np.testing.assert_array_equal(other_z, z)
    np.testing.assert_array_equal(other_symbols, symbols)
    assert np.abs(other.decode(written).pixels - pixels).max() <= 1


def test_several_threads_share_a_codec(codec, crop):
    written = codec.encode(Image(crop), LEVEL)
    expected = codec.decode(written).pixels
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(codec.decode, [written] * 8):
            np.testing.assert_array_equal(found.pixels, expected)


def test_tiles_do_not_show(open_codec, astronaut):
    """1100 pixels wide: two tiles of 1024, or a single larger one."""
    pixels = np.ascontiguousarray(np.tile(astronaut[100:228], (1, 3, 1))[:, :1100])
    tiled, whole = open_codec(), open_codec()
    whole.spec = dataclasses.replace(whole.spec, tile=128)
    analysed, expected = tiled.analyse(Image(pixels)), whole.analyse(Image(pixels))
    np.testing.assert_allclose(analysed.latents, expected.latents, atol=1e-3)
    coded = tiled.code(analysed, LEVEL)
    assert len(coded.container.tiles) == 2
    assert len(whole.code(expected, LEVEL).container.tiles) == 1
    one = tiled.reconstruct(coded.container).pixels.astype(int)
    other = whole.reconstruct(coded.container).pixels
    assert np.abs(one - other).max() <= 1
    # Either reads what the other wrote: the tile of the file counts, not that of the model.
    np.testing.assert_array_equal(whole.decode(coded.container.pack()).pixels, other)


def test_the_decoder_has_the_means_of_the_encoder(codec, crop):
    analysed = codec.analyse(Image(crop))
    container = codec.code(analysed, LEVEL).container
    z, symbols = read(codec, container.pack())
    box = (slice(0, z.shape[2]), slice(0, z.shape[3]))
    mean = codec.networks.mean(z, LEVEL, box, lambda _mean, _box: symbols)
    np.testing.assert_array_equal(codec.networks.quantised(analysed.latents, mean, LEVEL), symbols)
    step = codec.tables.inverse_gain[LEVEL][:, None, None]
    latents = codec.latents(container, z, symbols, box)
    np.testing.assert_allclose(latents[0], mean[0] + symbols * step, rtol=1e-5, atol=1e-5)


def test_small_networks_give_the_whole_part_by_part(codec):
    """A grid of 9 x 7 cells, and parts of it at the middle, an edge and a corner."""
    rng = np.random.default_rng(4)
    networks, rows, columns = codec.networks, 9, 7
    channels = codec.tables.gain.shape[1]
    y = 4 * rng.standard_normal((1, channels, 4 * rows, 4 * columns), dtype=np.float32)
    symbols = rng.integers(-3, 4, y.shape[1:])
    whole = (slice(0, rows), slice(0, columns))

    def known(_mean, box):
        return symbols[(..., *scaled(box, 4))]

    z = networks.hyper(y, LEVEL)
    networks.size = 2
    tiled = networks.hyper(y, LEVEL)
    assert (tiled == z).mean() > 0.999 and np.abs(tiled - z).max() <= 1  # a tie may fall either way
    index = networks.index(z, LEVEL, whole)
    mean = networks.mean(z, LEVEL, whole, known)
    for box in [(slice(4, 6), slice(3, 5)), (slice(0, 1), slice(2, 7)), (slice(8, 9), slice(6, 7))]:
        part = (..., *scaled(box, 4))
        np.testing.assert_array_equal(networks.index(z, LEVEL, box), index[part])
        np.testing.assert_allclose(
            networks.mean(z, LEVEL, box, known), mean[part], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("grey", [False, True])
def test_a_region_is_the_part_of_the_whole(codec, astronaut, dtype, grey):
    """1200 pixels wide: two coded tiles, and regions in one, in the other and across."""
    pixels = np.ascontiguousarray(np.tile(astronaut[100:260], (1, 3, 1))[:, :1200])
    pixels = as_type(pixels[..., 1].copy() if grey else pixels, dtype)
    alpha = np.ascontiguousarray(pixels if grey else pixels[..., 0])
    written = codec.encode(Image(pixels, alpha), 40)
    whole = codec.decode(written)
    for region in [
        Region(0, 0, 1, 1),
        Region(900, 20, 200, 100),
        Region(1199, 0, 1, 160),
        Region(0, 0, 1200, 160),
    ]:
        part = codec.decode(written, region=region)
        assert part.pixels.dtype == dtype
        step = 1 if dtype == np.uint8 else 257
        difference = part.pixels.astype(int) - whole.pixels[region.box]
        assert np.abs(difference).max() <= step
        np.testing.assert_array_equal(part.alpha, alpha[region.box])


def test_a_region_decodes_only_what_it_needs(codec, astronaut, monkeypatch):
    pixels = np.ascontiguousarray(np.tile(astronaut[100:164], (1, 5, 1))[:, :2300])  # three tiles
    written = codec.encode(Image(pixels), 10)
    calls = []

    def counted(*arguments):
        calls.append(1)
        return decode_latents(*arguments)

    monkeypatch.setattr("vaetools.codec.codec.decode_latents", counted)
    codec.decode(written, region=Region(2200, 0, 50, 50))
    assert len(calls) == 1
    codec.decode(written)
    assert len(calls) == 4


@pytest.mark.parametrize(
    "region", [(-1, 0, 5, 5), (0, 0, 0, 5), (140, 0, 5, 5), (0, 156, 5, 5), (0, 0, 1000, 1)]
)
def test_a_region_outside_is_refused(codec, crop, region):
    written = codec.encode(Image(crop), 10)
    with pytest.raises(OptionError, match="144 x 160"):
        codec.decode(written, region=Region(*region))


# --- rates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 50, 100])
def test_the_estimate_is_the_size(probes, level):
    coded = probes.coded(level)
    assert coded.payload_bytes == pytest.approx(coded.bits / 8, rel=0.01, abs=24)
    rest = probes.size(level) - coded.payload_bytes
    assert rest < 150, "bytes of a header"


def test_quality_is_monotone(probes):
    levels = [level_of(q, probes.codec.levels) for q in (0, 25, 50, 75, 100)]
    assert levels == [0, 25, 50, 75, 100]
    sizes = [probes.size(level) for level in levels]
    quality = [probes.psnr(level) for level in levels]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 5 * sizes[0]
    assert quality == sorted(quality)


def test_the_probes_see_what_the_decoder_gives(probes, astronaut):
    decoded = probes.codec.decode(probes.coded(50).container.pack())
    assert probes.psnr(50) == pytest.approx(psnr(astronaut, decoded.pixels), abs=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_bits_per_pixel_are_met(probes, share):
    """Targets within what the model can do, from the lowest rate to the highest."""
    low, high = (8 * probes.size(level) / probes.pixels for level in (0, 100))
    target = low * (high / low) ** share
    found = 8 * len(probes.at_bpp(target).container.pack()) / probes.pixels
    assert found == pytest.approx(target, rel=0.02)


def test_targets_out_of_reach(probes):
    """More than the best level needs is no harm; less than the smallest can do is an error."""
    assert probes.at_bpp(60).container.level == 100
    assert probes.at_psnr(1).container.level == 0
    with pytest.raises(InputError, match="bits per pixel at quality 0"):
        probes.at_bpp(0.001)
    with pytest.raises(InputError, match="dB at quality 100"):
        probes.at_psnr(60)


@pytest.mark.parametrize("level", [25, 60, 90])
def test_decibels_are_met_by_the_nearest_level(probes, level):
    low, high = probes.psnr(level), probes.psnr(level + 1)
    assert high - low < 0.2
    assert probes.at_psnr(low + 0.4 * (high - low)).container.level == level
    assert probes.at_psnr(low + 0.6 * (high - low)).container.level == level + 1


def test_decibels_are_met_where_levels_lie_far_apart(codec):
    """A flat picture: next to nothing is coded, and the decibels jump from level to level."""
    flat = codec.probes(Image(np.full((64, 64, 3), 128, np.uint8)))
    for target in (46, 52, 54):
        coded = flat.at_psnr(target)
        assert flat.psnr(coded.container.level) >= target - 0.1


@pytest.mark.parametrize("level", [0, 37, 100])
def test_a_size_is_never_exceeded(probes, level):
    exact = probes.size(level)
    assert probes.at_size(exact).container.level >= level
    for limit in (exact, exact + 1, exact + 1000):
        assert len(probes.at_size(limit).container.pack()) <= limit


def test_the_size_counts_everything(codec, crop):
    """Alpha and metadata are bytes of the file as well."""
    rng = np.random.default_rng(2)
    image = Image(crop, rng.integers(0, 256, crop.shape[:2], np.uint8), icc=rng.bytes(3000))
    probes = codec.probes(image)
    limit = probes.size(40)
    assert len(codec.probes(image).at_size(limit).container.pack()) <= limit
    assert limit > 3000 + image.alpha.size


def test_a_size_that_cannot_be_met_is_an_error(probes):
    smallest = probes.size(0)
    with pytest.raises(InputError, match=f"needs {smallest} bytes at quality 0"):
        probes.at_size(smallest - 1)


# --- files that are not ours ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def container(codec, crop):
    alpha = np.full(crop.shape[:2], 200, np.uint8)
    return codec.code(codec.analyse(Image(crop, alpha)), LEVEL).container


def with_section(container, kind, data):
    """The file with other bytes in a section, and with checksums that are right."""
    sections = [Section(s.kind, data) if s.kind == kind else s for s in container.sections]
    return dataclasses.replace(container, sections=tuple(sections)).pack()


def test_another_model_is_named_and_so_is_ours(codec, container):
    other = dataclasses.replace(container, stream_id="ff" * 8, model_id="holiday-codec")
    with pytest.raises(UnknownModelError) as caught:
        codec.decode(other.pack())
    for name in ("holiday-codec", "ff" * 8, codec.model.id, codec.spec.stream_id):
        assert name in str(caught.value)


@pytest.mark.parametrize("level", [101, 255])
def test_a_level_out_of_range_is_refused(codec, container, level):
    with pytest.raises(HeaderLimitError, match=f"level {level} is not below 101"):
        codec.decode(dataclasses.replace(container, level=level).pack())


def test_the_limit_of_pixels_is_the_callers(codec, container):
    with pytest.raises(HeaderLimitError, match="--max-pixels"):
        codec.decode(container.pack(), max_pixels=1000)


def hostile_alphas(shape):
    height, width = shape
    rng = np.random.default_rng(3)
    grey = rng.integers(0, 256, (height, width), np.uint8)
    png = encode_image(Image(grey), "png")
    return {
        "nothing": b"",
        "garbage": b"garbage",
        "cut": png[: len(png) // 2],
        "small": encode_image(Image(grey[1:]), "png"),
        "large": encode_image(Image(np.zeros((4 * height, 4 * width), np.uint8)), "png"),
        "colour": encode_image(Image(np.dstack([grey] * 3)), "png"),
        "deep": encode_image(Image(grey.astype(np.uint16)), "png"),
        "jpeg": encode_image(Image(grey), "jpeg"),
    }


@pytest.mark.parametrize("case", hostile_alphas((8, 8)))
def test_an_alpha_that_does_not_fit_is_refused(codec, container, case):
    data = hostile_alphas((container.height, container.width))[case]
    with pytest.raises(ChecksumError, match="alpha"):
        codec.decode(with_section(container, SectionKind.ALPHA, data))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", [SectionKind.HYPER, SectionKind.TILE])
def test_payloads_behind_right_checksums_do_no_harm(codec, container, kind, seed):
    """A picture or a BitstreamError, whatever somebody puts into the sections."""
    rng = np.random.default_rng(seed)
    payload = bytearray(container.one(kind))
    if seed % 2:
        payload = bytearray(b"\0" + rng.bytes(4 * seed))
    else:
        payload[rng.integers(len(payload))] ^= 1 << rng.integers(8)
    try:
        found = codec.decode(with_section(container, kind, bytes(payload)))
    except BitstreamError:
        return
    assert found.pixels.shape == (container.height, container.width, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_residuals_without_measure_give_a_picture_all_the_same(codec, crop, dtype):
    """Escapes reach ±(2^31 − 1); no NaN and no warning may come out of that."""
    file = codec.code(codec.analyse(Image(as_type(crop, dtype))), 0).container
    z = codec.hyper(file)
    symbols = codec.symbols(file, z)
    index = codec.tables.indexes(codec.model.graph("hyper_scale_index")(z), 0)
    signs = np.random.default_rng(4).choice([-1, 1], symbols.shape)
    payload = encode_latents(signs * (2**31 - 1), index, codec.tables.latent).finish()
    found = codec.decode(with_section(file, SectionKind.TILE, payload))
    Image.from_array(found.pixels)  # checks floats: no NaN, 0 … 1


def test_a_model_for_something_else_is_refused(tiny_models):
    folder = tiny_models / TINY
    with pytest.raises(ModelBrokenError, match=r"no \[codec\]"):
        Codec(Model(read_manifest(folder), folder, Runtime("cpu", threads=1)))
