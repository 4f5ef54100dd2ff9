"""Images to bytes and back, with the shipped model where quality matters, else with the miniature."""

from __future__ import annotations

import dataclasses
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import vaetools
from vaetools.codec import Codec, Region, roi_level_drop
from vaetools.codec.container import Section, SectionKind, deflate, read_header, unpack
from vaetools.codec.entropy import Encoder
from vaetools.codec.rate import level_of
from vaetools.codec.tables import decode_latents, encode_latents
from vaetools.device_memory import watched
from vaetools.errors import (
    BitstreamError,
    ChecksumError,
    HeaderLimitError,
    InputError,
    ManifestError,
    ModelBrokenError,
    OptionError,
    UnknownModelError,
)
from vaetools.image import Image, decode_image, encode_image
from vaetools.metrics import psnr
from vaetools.model.folder import Model
from vaetools.model.manifest import read_manifest
from vaetools.model.runtime import Runtime
from vaetools.testing import TINY
from vaetools.tiling import grown, scaled, within

from . import miniature
from .miniature import MODEL, integers
from .synthetic import enough_for_preview

LEVEL = 75
TOP = {np.uint8: 255, np.uint16: 65535, np.float32: 1}


@pytest.fixture(scope="module")
def crop(astronaut):
    """A face, (160, 144, 3) uint8 BGR."""
    return np.ascontiguousarray(astronaut[40:200, 150:294])


@pytest.fixture(params=["codec", "mini"])
def either(request):
    """The shipped codec and the miniature, one after the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def wide(astronaut):
    """Three tiles of the miniature, two wide and two high in the last one, (250, 330, 3) uint8 BGR."""
    return np.ascontiguousarray(astronaut[100:350, 20:350])


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


def test_deep_images_have_more_than_256_values(codec, crop):
    found = restored(codec, Image.from_array(as_type(crop, np.uint16)))
    assert len(np.unique(found.pixels)) > 2000


def test_types_agree_with_each_other(codec, crop):
    """The same image in 8 bit, 16 bit and float takes different paths to the same colours."""
    eight = restored(codec, Image.from_array(crop)).pixels
    deep = restored(codec, Image.from_array(crop.astype(np.uint16) * 257)).pixels
    floats = restored(codec, Image.from_array(crop.astype(np.float32) / 255)).pixels
    assert np.abs(deep / 257 - eight).max() <= 1
    assert np.abs(floats * 255 - eight).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("grey", [False, True])
def test_alpha_is_lossless(mini, crop, dtype, grey):
    alpha = np.random.default_rng(1).integers(0, 65536, crop.shape[:2])
    alpha = {
        np.uint8: (alpha >> 8).astype(np.uint8),
        np.uint16: alpha.astype(np.uint16),
        np.float32: (alpha / 65535).astype(np.float32),
    }[dtype]
    pixels = as_type(crop[..., 0] if grey else crop, dtype)
    found = restored(mini, Image(np.ascontiguousarray(pixels), alpha), level=10)
    assert found.alpha.dtype == dtype
    np.testing.assert_array_equal(found.alpha, alpha)


def test_float_alpha_has_16_bits(mini, crop):
    alpha = np.random.default_rng(1).random(crop.shape[:2], dtype=np.float32)
    found = restored(mini, Image(as_type(crop, np.float32), alpha))
    assert np.abs(found.alpha - alpha).max() <= 0.5001 / 65535


def test_metadata_is_carried(mini, crop):
    image = Image(crop, icc=b"any profile" * 50, exif=b"II*\0" + bytes(100))
    found = restored(mini, image)
    assert (found.icc, found.exif) == (image.icc, image.exif)
    plain = restored(mini, Image(crop))
    assert (plain.icc, plain.exif, plain.alpha) == (None, None, None)


def test_the_input_is_not_changed(mini, crop):
    before = crop.copy()
    mini.encode(Image(crop), LEVEL)
    np.testing.assert_array_equal(crop, before)


# --- the same on every machine --------------------------------------------------------------------


def test_the_same_image_gives_the_same_bytes(codec, open_codec, crop):
    once, again = (codec.encode(Image(crop), LEVEL) for _ in range(2))
    assert once == again
    assert open_codec(threads=2).encode(Image(crop), LEVEL) == once


@pytest.mark.parametrize(("optimization", "threads"), [("all", 2), ("basic", 1), ("disable", 2)])
def test_any_runtime_decodes_the_same(codec, open_codec, crop, monkeypatch, optimization, threads):
    """The whole matrix is gone through with the golden files."""
    written = codec.encode(Image(crop), LEVEL)
    pixels = codec.decode(written).pixels.astype(int)
    monkeypatch.setenv("VAETOOLS_ORT_OPTIMIZATION", optimization)
    other = open_codec(threads)
    for name, array in integers(other, written).items():
        np.testing.assert_array_equal(array, integers(codec, written)[name])
    assert np.abs(other.decode(written).pixels - pixels).max() <= 1


def test_several_threads_share_a_codec(mini, crop):
    written = mini.encode(Image(crop), LEVEL)
    expected = mini.decode(written).pixels
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(mini.decode, [written] * 20):
            np.testing.assert_array_equal(found.pixels, expected)


def tiles_of(codec, cells):
    """The same codec, writing and computing with tiles of this many cells."""
    other = Codec(codec.model)
    other.spec = dataclasses.replace(codec.spec, tile=4 * cells)
    return other


def assert_tiles_do_not_show(tiled, whole, image, lower=None):
    analysis, expected = (c.analyse(image, lower) for c in (tiled, whole))
    np.testing.assert_allclose(analysis.latents, expected.latents, atol=1e-3)
    coded = tiled.code(analysis, LEVEL).container
    assert len(coded.all(SectionKind.COARSE)) == len(coded.all(SectionKind.FINE)) > 1
    assert len(whole.code(expected, LEVEL).container.all(SectionKind.FINE)) == 1
    one = tiled.reconstruct(coded).pixels.astype(int)
    other = whole.reconstruct(coded).pixels
    assert np.abs(one - other).max() <= 1
    # Either reads what the other wrote: the tile of the file counts, not that of the model.
    np.testing.assert_array_equal(whole.decode(coded.pack()).pixels, other)


def test_tiles_do_not_show(codec, astronaut):
    """1100 pixels wide: two tiles of 1024, or a single larger one."""
    pixels = np.ascontiguousarray(np.tile(astronaut[100:228], (1, 3, 1))[:, :1100])
    assert_tiles_do_not_show(codec, tiles_of(codec, 32), Image(pixels))


@pytest.mark.parametrize("cells", [1, 2, 3])
@pytest.mark.parametrize("mixed", [False, True])
def test_tiles_of_any_size_do_not_show(mini, wide, cells, mixed):
    lower = np.random.default_rng(1).integers(0, 100, (4, 6)) if mixed else None
    assert_tiles_do_not_show(tiles_of(mini, cells), tiles_of(mini, 8), Image(wide), lower)


@pytest.mark.parametrize("cells", [1, 2])
def test_windows_of_one_shape_do_not_show(mini, wide, cells, monkeypatch, windows):
    """On devices that want fixed shapes, the networks see one shape of a large image."""
    tiled, whole = tiles_of(mini, cells), tiles_of(mini, 8)
    region = Region(70, 3, 200, 130)
    with monkeypatch.context() as patch:
        patch.setattr("vaetools.model.devices.Device.fixed_shapes", False)
        written = tiles_of(mini, cells).encode(Image(wide), LEVEL)
        expected = tiles_of(mini, cells).decode(written, region=region).pixels
    windows.clear()
    assert_tiles_do_not_show(tiled, whole, Image(wide))
    windows.clear()
    assert tiled.encode(Image(wide), LEVEL) == written
    tiled.decode(written)
    assert {role: len(shapes) for role, shapes in windows.items() if len(shapes) > 2} == {}
    assert len(windows["analysis"]) == len(windows["synthesis"]) == 1
    parts = tiled.decode(written, region=region).pixels
    assert np.abs(parts.astype(int) - expected).max() <= 1
    assert len(windows["synthesis"]) == 1


def test_smaller_tiles_for_lack_of_memory_do_not_show(mini, wide, lacking):
    tiled, whole = tiles_of(mini, 3), tiles_of(mini, 8)
    with watched() as shortages:
        assert_tiles_do_not_show(tiled, whole, Image(wide))
    assert len(lacking) >= 3  # analysis, hyper-analysis and synthesis
    assert shortages.remarks == ["cuda:0 had too little memory: smaller tiles were computed"]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_threads_do_not_show(mini, wide, depth):
    """One, or several parts at a time: the same file and the same image."""
    one, three = (tiles_of(mini, 1) for _ in range(2))
    assert one.threads == 1
    three.threads = 3
    image = Image(as_type(wide, depth))
    written = one.encode(image, LEVEL)
    assert three.encode(image, LEVEL) == written
    np.testing.assert_array_equal(three.decode(written).pixels, one.decode(written).pixels)
    region = Region(70, 3, 200, 130)
    expected = one.decode(written, region=region).pixels
    np.testing.assert_array_equal(three.decode(written, region=region).pixels, expected)


def test_a_damaged_part_is_found_whatever_the_threads(mini, wide):
    codec = tiles_of(mini, 1)
    codec.threads = 3
    container = unpack(codec.encode(Image(wide), LEVEL))
    fine = [s for s in container.sections if s.kind is SectionKind.FINE]
    cut = dataclasses.replace(fine[7], data=fine[7].data[:-4])
    sections = tuple(cut if s is fine[7] else s for s in container.sections)
    with pytest.raises(ChecksumError):
        codec.decode(dataclasses.replace(container, sections=sections).pack())


@pytest.mark.parametrize("mixed", [False, True])
def test_the_decoder_has_the_means_of_the_encoder(mini, crop, mixed):
    lower = np.array([[0, 9, 60], [3, 0, 75], [0, 0, 1]]) if mixed else None
    analysis = mini.analyse(Image(crop), lower)
    written = mini.code(analysis, LEVEL).container.pack()
    levels, found = mini.levels_of(unpack(written)), integers(mini, written)
    z, symbols = found["z"][None], found["r"]
    networks, box = mini.networks(levels), (slice(0, z.shape[2]), slice(0, z.shape[3]))
    r, restored = networks.restored(analysis.latents, z, box)
    np.testing.assert_array_equal(r, symbols)
    (expected,) = mini.model.graph("synthesis")(restored.latents[None], mini.tables.rates(levels))
    pixels = networks.pixels(symbols, z, box, as_bytes=False)
    np.testing.assert_allclose(pixels, expected[0].transpose(1, 2, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mixed", [False, True])
def test_small_networks_give_the_whole_part_by_part(either, mixed):
    """A grid of 9 x 7 cells, and parts of it at the middle, an edge and a corner."""
    rng = np.random.default_rng(4)
    rows, columns = 9, 7
    levels = rng.integers(0, 101, (rows, columns)) if mixed else np.full((rows, columns), LEVEL)
    networks = either.networks(levels.astype(np.uint8))
    channels = either.tables.gain.shape[1]
    y = 4 * rng.standard_normal((1, channels, 4 * rows, 4 * columns), dtype=np.float32)
    whole = (slice(0, rows), slice(0, columns))
    networks.size = 16
    z = networks.hyper(y)
    networks.size = 2
    tiled = networks.hyper(y)
    assert (tiled == z).mean() > 0.999 and np.abs(tiled - z).max() <= 1  # a tie may fall either way
    index = networks.index(z, whole)
    r, restored = networks.restored(y, z, whole)
    pixels = networks.pixels(r, z, whole, as_bytes=False)
    for box in [(slice(4, 6), slice(3, 5)), (slice(0, 1), slice(2, 7)), (slice(8, 9), slice(6, 7))]:
        part = (..., *scaled(box, 4))
        np.testing.assert_array_equal(networks.index(z, box), index[part])
        again, found = networks.restored(y, z, box)
        assert (again == r[part]).mean() > 0.999
        step = np.broadcast_to(restored.step, r.shape)[part]
        difference = np.abs(found.latents - restored.latents[part]) / step
        assert (difference < 1e-3).mean() > 0.999
        outer = grown(box, either.halo, rows, columns)
        piece = networks.pixels(r, z, outer, as_bytes=False)[scaled(within(box, outer), 64)]
        np.testing.assert_allclose(piece, pixels[scaled(box, 64)], atol=1e-3)


# --- regions --------------------------------------------------------------------------------------


def assert_regions_are_parts(codec, written, alpha, regions, **options):
    whole = codec.decode(written, **options)
    step = {np.uint8: 1, np.uint16: 257}[whole.pixels.dtype.type]
    for region in regions:
        part = codec.decode(written, region=region, **options)
        assert part.pixels.dtype == whole.pixels.dtype
        difference = part.pixels.astype(int) - whole.pixels[region.box]
        assert np.abs(difference).max() <= step
        np.testing.assert_array_equal(part.alpha, alpha[region.box])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("preview", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_region_is_the_part_of_the_whole(mini, wide, dtype, grey, preview, mixed):
    """Several coded tiles, and regions in one of them and across."""
    pixels = as_type(wide[..., 1].copy() if grey else wide, dtype)
    alpha = np.ascontiguousarray(pixels if grey else pixels[..., 0])
    lower = np.arange(24).reshape(4, 6) if mixed else None
    written = mini.code(mini.analyse(Image(pixels, alpha), lower), 40).container.pack()
    regions = [(0, 0, 1, 1), (150, 20, 100, 200), (329, 0, 1, 250), (0, 0, 330, 250)]
    assert_regions_are_parts(mini, written, alpha, [Region(*r) for r in regions], preview=preview)


def test_a_region_of_a_photograph(codec, astronaut):
    """1200 pixels wide: two coded tiles, and regions in one, in the other and across."""
    pixels = np.ascontiguousarray(np.tile(astronaut[100:260], (1, 3, 1))[:, :1200])
    alpha = np.ascontiguousarray(pixels[..., 0])
    written = codec.encode(Image(pixels, alpha), 40)
    regions = [(900, 20, 200, 100), (1199, 0, 1, 160)]
    assert_regions_are_parts(codec, written, alpha, [Region(*r) for r in regions])


def test_a_region_decodes_only_what_it_needs(mini, astronaut, monkeypatch):
    pixels = np.ascontiguousarray(np.tile(astronaut[100:164], (1, 2, 1))[:, :900])  # five tiles
    written = mini.encode(Image(pixels), 10)
    calls = []

    def counted(*arguments):
        calls.append(1)
        return decode_latents(*arguments)

    monkeypatch.setattr("vaetools.codec.decoding.decode_latents", counted)
    for options, wanted in [  # the networks see two cells further, and so into the fourth tile
        ({"region": Region(890, 0, 5, 5)}, 4),
        ({"region": Region(890, 0, 5, 5), "preview": True}, 2),
        ({"preview": True}, 5),
        ({}, 10),
    ]:
        calls.clear()
        mini.decode(written, **options)
        assert len(calls) == wanted


@pytest.mark.parametrize(
    "region", [(-1, 0, 5, 5), (0, 0, 0, 5), (140, 0, 5, 5), (0, 156, 5, 5), (0, 0, 1000, 1)]
)
def test_a_region_outside_is_refused(mini, crop, region):
    for written in (mini.encode(Image(crop), 10), stored(mini, Image(crop))):
        with pytest.raises(OptionError, match="144 x 160"):
            mini.decode(written, region=Region(*region))


# --- previews -------------------------------------------------------------------------------------


def shortest_prefix(written):
    """As much of a file as a preview needs."""
    return written[: enough_for_preview(written)]


@pytest.mark.parametrize("mixed", [False, True])
def test_the_beginning_of_a_file_is_enough_for_a_preview(mini, wide, mixed):
    lower = np.arange(24).reshape(4, 6) if mixed else None
    image = Image(wide, alpha=wide[..., 0].copy(), icc=b"profile" * 9)
    written = mini.code(mini.analyse(image, lower), 60).container.pack()
    prefix = shortest_prefix(written)
    assert len(prefix) < 0.5 * len(written)
    whole, begun = (mini.decode(part, preview=True) for part in (written, prefix))
    np.testing.assert_array_equal(begun.pixels, whole.pixels)
    assert (whole.icc, begun.icc) == (image.icc, None)
    np.testing.assert_array_equal(whole.alpha, image.alpha)
    assert begun.alpha is None
    with pytest.raises(ChecksumError, match="before the end of the preview data"):
        mini.decode(prefix[:-1], preview=True)
    with pytest.raises(ChecksumError, match="bytes were written"):
        mini.decode(written[:-1])


def test_every_longer_beginning_gives_the_same_preview(mini, crop):
    written = mini.encode(Image(crop, alpha=crop[..., 0].copy(), icc=b"profile"), 60)
    expected = mini.decode(written, preview=True)
    for length in range(len(shortest_prefix(written)), len(written), 499):
        found = mini.decode(written[:length], preview=True)
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        assert found.alpha is None or np.array_equal(found.alpha, expected.alpha)


@pytest.mark.parametrize("level", [30, 75, 100])
def test_a_preview_is_a_image_and_not_the_best_one(probes, astronaut, level):
    written = probes.encoded(level).container.pack()
    preview = probes.codec.decode(shortest_prefix(written), preview=True)
    assert 20 < psnr(astronaut, preview.pixels) < probes.psnr(level) - 0.3


def test_a_preview_needs_a_part_of_a_file(probes):
    written = probes.encoded(LEVEL).container.pack()
    assert len(shortest_prefix(written)) < 0.75 * len(written)


# --- levels and regions of interest ---------------------------------------------------------------


def test_a_map_of_equal_levels_is_no_map(mini, crop):
    """The same payloads and the same image, whether the level stands in the header or in a map."""
    image = Image(crop)
    plain = mini.code(mini.analyse(image), 50).container
    lower = np.full((3, 3), 25)
    mapped = mini.code(mini.analyse(image, lower), 75).container
    assert mapped.level == 75
    assert mapped.one(SectionKind.LEVELS) == deflate(bytes([50] * 9))
    for kind in (SectionKind.HYPER, SectionKind.COARSE, SectionKind.FINE):
        assert mapped.all(kind) == plain.all(kind)
    np.testing.assert_array_equal(
        mini.decode(mapped.pack()).pixels, mini.decode(plain.pack()).pixels
    )


def test_no_map_is_written_for_a_image_of_one_rate(mini, crop):
    image = Image(crop)
    for lower in (None, np.zeros((3, 3), int)):
        found = mini.code(mini.analyse(image, lower), 75).container
        assert found.one(SectionKind.LEVELS) is None


def test_levels_end_at_0(mini, crop):
    lower = np.arange(0, 90, 10).reshape(3, 3)
    found = mini.code(mini.analyse(Image(crop), lower), 45).container
    np.testing.assert_array_equal(mini.levels_of(found), [[45, 35, 25], [15, 5, 0], [0, 0, 0]])
    assert mini.decode(found.pack()).pixels.shape == crop.shape


def test_cells_of_a_mask_count_as_their_whitest_pixel():
    mask = np.zeros((130, 70), np.float32)
    mask[63, 63] = 1
    mask[64, 64] = 0.5
    mask[129, 0] = 0.26
    np.testing.assert_array_equal(roi_level_drop(mask, 40), [[0, 40], [40, 20], [30, 40]])
    assert not roi_level_drop(np.ones((1, 1), np.float32), 100).any()


def test_the_old_name_of_the_level_drop_still_works():
    mask = np.eye(100, dtype=np.float32)
    with pytest.warns(DeprecationWarning, match="roi_level_drop"):
        found = vaetools.lower_outside(mask, by=40)
    np.testing.assert_array_equal(found, vaetools.roi_level_drop(mask, 40))


@pytest.fixture(scope="module")
def face(codec, astronaut):
    """The photograph with fewer bits around a face, and the box of pixels that matters."""
    mask = np.zeros(astronaut.shape[:2], np.float32)
    mask[70:190, 170:280] = 1
    lower = roi_level_drop(mask, 40)
    assert (lower == 0).sum() == 2 * 3
    return codec.probes(Image(astronaut), lower), (slice(64, 192), slice(128, 320))


@pytest.mark.parametrize("level", [50, 90])
def test_a_region_of_interest_keeps_its_quality_in_a_smaller_file(probes, face, astronaut, level):
    coded, box = face
    assert coded.size(level) < 0.6 * probes.size(level)
    found = probes.codec.decode(coded.encoded(level).container.pack()).pixels
    plain = probes.codec.decode(probes.encoded(level).container.pack()).pixels
    inside = [decibels(astronaut[box], pixels[box]) for pixels in (found, plain)]
    assert inside[0] > inside[1] - 0.2
    assert coded.psnr(level) < probes.psnr(level) - 1
    # The rest is what the lower level gives, and not less.
    lower = probes.codec.decode(probes.encoded(level - 40).container.pack()).pixels
    below = slice(256, 512), slice(0, 512)
    outside = [decibels(astronaut[below], pixels[below]) for pixels in (found, lower)]
    assert outside[0] == pytest.approx(outside[1], abs=0.2)


def test_a_region_of_interest_meets_a_size(probes, face):
    """The bits that the rest gives up go to what matters."""
    coded, _ = face
    limit = probes.size(50)
    found = coded.at_size(limit).container
    assert len(found.pack()) <= limit
    assert found.level > 60


# --- stored files ---------------------------------------------------------------------------------


def stored(codec, image, data=None):
    return codec.store(image, encode_image(image, "png") if data is None else data)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("grey", [False, True])
def test_a_stored_image_comes_back_exactly(mini, crop, dtype, grey):
    pixels = as_type(np.ascontiguousarray(crop[..., 1]) if grey else crop, dtype)
    image = Image(pixels, alpha=as_type(crop[..., 0], dtype).copy(), exif=b"II*\0" + bytes(30))
    found = mini.decode(stored(mini, image))
    np.testing.assert_array_equal(found.pixels, image.pixels)
    np.testing.assert_array_equal(found.alpha, image.alpha)
    assert found.exif == decode_image(encode_image(image, "png")).exif is not None
    part = mini.decode(stored(mini, image), region=Region(3, 5, 40, 20))
    np.testing.assert_array_equal(part.pixels, image.pixels[5:25, 3:43])
    np.testing.assert_array_equal(part.alpha, image.alpha[5:25, 3:43])


def test_a_stored_file_needs_no_model_of_its_own(mini, crop):
    data = stored(mini, Image(crop))
    header = dataclasses.replace(unpack(data), stream_id="ff" * 8, model_id="holiday-codec")
    assert Codec.for_file(header.pack(), [mini.model]).decode(header.pack()).pixels.shape == (
        crop.shape
    )


def sources(crop):
    """Files that are not an image of the size of `crop`, and the error message."""
    png = encode_image(Image(crop), "png")
    return {
        "empty": (b"", "embedded image: the file is empty"),
        "garbage": (b"garbage", "embedded image: not an image"),
        "cut": (png[: len(png) // 2], "embedded image: truncated"),
        "damaged": (png[:1000] + b"!" + png[1001:], "checksum of chunk"),
        "small": (encode_image(Image(crop[1:].copy()), "png"), "size of the embedded image"),
        "grey": (encode_image(Image(crop[..., 0].copy()), "png"), "bit depth or colour of the"),
        "deep": (
            encode_image(Image(crop.astype(np.uint16)), "png"),
            "bit depth or colour of the embedded image",
        ),
        "turned": (
            encode_image(Image(crop.transpose(1, 0, 2).copy()), "png"),
            "size of the embedded image",
        ),
        "large": (encode_image(Image(np.zeros((4000, 4000), np.uint8)), "png"), "over the limit"),
        "nested": (stored(miniature.open_codec(), Image(crop)), "embedded image: not an image"),
    }


@pytest.mark.parametrize("case", sources(np.zeros((8, 8, 3), np.uint8)))
def test_sources_of_another_kind_or_size_are_refused(mini, crop, case):
    data, said = sources(crop)[case]
    tracemalloc.start()
    with pytest.raises(ChecksumError, match=said):
        mini.decode(stored(mini, Image(crop), data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22, "a larger image is refused before it is decoded"


# --- rates ----------------------------------------------------------------------------------------


def test_the_ideal_length_is_computed_only_on_request(mini, crop, monkeypatch):
    asked = []
    monkeypatch.setattr(Encoder, "bits", property(lambda _: asked.append(1) or 8.0))
    coded = mini.code(mini.analyse(Image(crop)), 50)
    assert not asked
    assert coded.bits == 8.0 * len(asked) > 0


@pytest.mark.parametrize("level", [0, 50, 100])
def test_the_estimate_is_the_size(probes, level):
    coded = probes.encoded(level)
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
    decoded = probes.codec.decode(probes.encoded(50).container.pack())
    assert probes.psnr(50) == pytest.approx(psnr(astronaut, decoded.pixels), abs=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_bits_per_pixel_are_met(probes, share):
    """Targets within what the model can do, from the lowest rate to the highest."""
    low, high = (8 * probes.size(level) / probes.pixels for level in (0, 100))
    target = low * (high / low) ** share
    found = 8 * len(probes.at_bpp(target).container.pack()) / probes.pixels
    assert found == pytest.approx(target, rel=0.02)


def test_targets_out_of_reach(probes):
    """A target above the highest rate is allowed; one below the lowest rate is an error."""
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
    """A flat image: next to nothing is coded, and the decibels jump from level to level."""
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


# --- foreign files --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def container(mini, crop):
    alpha = np.full(crop.shape[:2], 200, np.uint8)
    return mini.code(mini.analyse(Image(crop, alpha)), LEVEL).container


def with_section(container, kind, data):
    """The file with other bytes in a section, and with checksums that are right."""
    sections = [Section(s.kind, data) if s.kind == kind else s for s in container.sections]
    return dataclasses.replace(container, sections=tuple(sections)).pack()


def test_another_model_is_named_and_so_is_ours(mini, container):
    other = dataclasses.replace(container, stream_id="ff" * 8, model_id="holiday-codec")
    with pytest.raises(UnknownModelError) as caught:
        mini.decode(other.pack())
    for name in ("holiday-codec", "ff" * 8, mini.model.id, mini.spec.stream_id):
        assert name in str(caught.value)


@pytest.mark.parametrize("level", [101, 255])
def test_a_level_out_of_range_is_refused(mini, container, level):
    with pytest.raises(HeaderLimitError, match=f"rate index {level} is not below 101"):
        mini.decode(dataclasses.replace(container, level=level).pack())


def test_the_limit_of_pixels_is_the_callers(mini, container):
    with pytest.raises(HeaderLimitError, match="--max-pixels"):
        mini.decode(container.pack(), max_pixels=1000)


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
def test_an_alpha_that_does_not_fit_is_refused(mini, container, case):
    data = hostile_alphas((container.height, container.width))[case]
    with pytest.raises(ChecksumError, match="alpha"):
        mini.decode(with_section(container, SectionKind.ALPHA, data))


def mapped(container, data):
    """The file with these bytes as its map of levels."""
    section = Section(SectionKind.LEVELS, data)
    return dataclasses.replace(container, sections=(section, *container.sections)).pack()


@pytest.mark.parametrize(
    ("section", "error", "said"),
    [
        (b"", ChecksumError, "zlib"),
        (b"garbage", ChecksumError, "zlib"),
        (deflate(bytes(8)), ChecksumError, "rate map has 8 cells, the image 9"),
        (deflate(b""), ChecksumError, "rate map has 0 cells, the image 9"),
        (deflate(bytes(10)), HeaderLimitError, "more than 9 bytes"),
        (
            deflate(bytes(8) + b"\x65"),
            HeaderLimitError,
            "rate index 101 of a cell is not below 101",
        ),
        (deflate(b"\xff" * 9), HeaderLimitError, "rate index 255"),
        (deflate(bytes(9))[:-1], ChecksumError, "zlib"),
        (deflate(bytes(9)) + b"!", ChecksumError, "zlib"),
        (deflate(bytes(9)) * 2, ChecksumError, "zlib"),
    ],
)
def test_a_map_of_levels_that_does_not_fit_is_refused(mini, container, section, error, said):
    for preview in (False, True):
        with pytest.raises(error, match=said):
            mini.decode(mapped(container, section), preview=preview)


def test_a_map_of_levels_is_no_bomb(mini, container):
    bomb = zlib.compress(bytes(2**26))
    tracemalloc.start()
    with pytest.raises(HeaderLimitError, match="more than 9 bytes"):
        mini.decode(mapped(container, bomb))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_the_level_of_the_header_is_checked_even_with_a_map(mini, container):
    wrong = dataclasses.replace(container, level=101)
    with pytest.raises(HeaderLimitError, match="rate index 101 is not below 101"):
        mini.decode(mapped(wrong, deflate(bytes(9))))


def test_a_map_of_other_levels_is_noticed(mini, container):
    """All checksums are right, and the payloads were written at other levels."""
    refused = 0
    for level in range(0, 70, 5):
        try:
            mini.decode(mapped(container, deflate(bytes([level] * 9))))
        except ChecksumError:
            refused += 1
    assert refused == 14


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", [SectionKind.HYPER, SectionKind.COARSE, SectionKind.FINE])
def test_payloads_behind_right_checksums_do_no_harm(mini, container, kind, seed):
    """An image or a BitstreamError, whatever the sections contain."""
    rng = np.random.default_rng(seed)
    payload = bytearray(container.one(kind))
    if seed % 2:
        payload = bytearray(b"\0" + rng.bytes(4 * seed))
    else:
        payload[rng.integers(len(payload))] ^= 1 << rng.integers(8)
    try:
        found = mini.decode(with_section(container, kind, bytes(payload)))
    except BitstreamError:
        return
    assert found.pixels.shape == (container.height, container.width, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("kind", [SectionKind.COARSE, SectionKind.FINE])
def test_residuals_without_measure_give_a_image_all_the_same(codec, crop, dtype, kind):
    """Escapes reach ±(2^31 − 1); no NaN and no warning may come out of that."""
    file = codec.code(codec.analyse(Image(as_type(crop, dtype))), 0).container
    index = integers(codec, file.pack())["index"]
    chosen = codec.tables.coarse == (kind == SectionKind.COARSE)
    signs = np.random.default_rng(4).choice([-1, 1], index[chosen].shape)
    payload = encode_latents(signs * (2**31 - 1), index[chosen], codec.tables.latent).finish()
    found = codec.decode(with_section(file, kind, payload))
    Image.from_array(found.pixels)  # checks floats: no NaN, 0 … 1


def test_a_file_is_decoded_by_its_model_and_its_header_is_parsed_once(
    codec, mini, crop, monkeypatch
):
    written = mini.encode(Image(crop), LEVEL)
    calls = []

    def counted(*arguments, **options):
        calls.append(1)
        return read_header(*arguments, **options)

    monkeypatch.setattr("vaetools.codec.codec.read_header", counted)
    monkeypatch.setattr("vaetools.codec.container.read_header", counted)
    options = {"region": Region(10, 20, 30, 40), "preview": True}
    found = Codec.decode_file(written, [codec.model, mini.model], **options)
    assert len(calls) == 1
    np.testing.assert_array_equal(found.pixels, mini.decode(written, **options).pixels)
    with pytest.raises(UnknownModelError, match=codec.model.id):
        Codec.decode_file(written, [codec.model])
    with pytest.raises(HeaderLimitError, match="--max-pixels"):
        Codec.decode_file(written, [mini.model], max_pixels=1000)


# --- foreign models -------------------------------------------------------------------------------


def test_a_codec_prints_what_it_is(mini):
    assert repr(mini) == f"<Codec {mini.model.id} ({mini.spec.stream_id}) on cpu>"


def test_a_model_for_something_else_is_refused(tiny_models):
    folder = tiny_models / TINY
    with pytest.raises(ModelBrokenError, match=r"no \[codec\]"):
        Codec(Model(read_manifest(folder), folder, Runtime("cpu", threads=1)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda arrays: arrays.pop("coarse"), "missing or unknown arrays: coarse"),
        (lambda arrays: arrays.update(more=arrays["rate"]), "missing or unknown arrays: more"),
        (lambda arrays: arrays.update(coarse=arrays["coarse"][1:]), "inconsistent shapes"),
    ],
)
def test_tables_of_another_kind_are_refused(crop, monkeypatch, change, said):
    model = Model(read_manifest(MODEL), MODEL, Runtime("cpu", threads=1))
    arrays = model.arrays("tables")
    change(arrays)
    monkeypatch.setattr(model, "arrays", lambda *_: arrays)
    with pytest.raises(ModelBrokenError, match=said):
        Codec(model).encode(Image(crop), 10)


def test_levels_that_the_tables_do_not_have_are_refused(crop):
    manifest = read_manifest(MODEL)
    more = dataclasses.replace(manifest, codec=dataclasses.replace(manifest.codec, levels=102))
    with pytest.raises(ModelBrokenError, match=r"tables\.npz has 101 levels, model\.toml 102"):
        Codec(Model(more, MODEL, Runtime("cpu", threads=1))).encode(Image(crop), 10)


@pytest.mark.parametrize(
    ("tile", "said"),
    [(0, "4 … 128"), (6, "a multiple of 4"), (132, "4 … 128"), (65532, "4 … 128")],
)
def test_a_model_whose_tiles_no_reader_takes_is_refused(tmp_path, tile, said):
    text = (MODEL / "model.toml").read_text(encoding="utf-8")
    assert "tile = 12\n" in text
    (tmp_path / "model.toml").write_text(text.replace("tile = 12\n", f"tile = {tile}\n"))
    with pytest.raises(ManifestError, match=rf"codec\.tile = {tile} is not {said}"):
        read_manifest(tmp_path)
