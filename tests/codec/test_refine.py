"""Refinement: smaller files of the same quality, which every decoder reads like any other."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from vaetools.codec import Codec, roi_level_drop
from vaetools.codec.container import unpack
from vaetools.codec.rate import Probes
from vaetools.codec.refine import MAX_PASSES
from vaetools.errors import InputError, ModelBrokenError, OptionError
from vaetools.image import Image
from vaetools.metrics import psnr

from .miniature import integers


@pytest.fixture(scope="module")
def crop(astronaut):
    """A face and what is around it, (192, 250, 3) uint8 BGR: no multiple of 64 wide."""
    return np.ascontiguousarray(astronaut[20:212, 110:360])


@pytest.fixture
def tiled(codec):
    """The shipped codec, with tiles of 128 pixels."""
    small = Codec(codec.model)
    small.spec = replace(codec.spec, tile=8)
    return small


def cost(codec, coded, image):
    """Bits of a file, and of its error at the exchange rate of the training, cell by cell."""
    spec, levels = codec.spec.refine, codec.levels_of(coded.container)
    exchange = spec.lambda_min * (spec.lambda_max / spec.lambda_min) ** codec.tables.rate[levels]
    exchange = exchange.repeat(64, 0).repeat(64, 1)[: image.height, : image.width, None]
    found = codec.reconstruct(coded.container).pixels.astype(float)
    return coded.bits + (exchange * np.square(found - image.pixels)).sum() / 3


@pytest.mark.parametrize("level", [5, 50, 100])
@pytest.mark.parametrize("kind", ["photograph", "noise", "flat"])
def test_passes_never_lose(codec, crop, level, kind):
    """By the measure of the training, with few passes as with many; one gains already."""
    noise = np.random.default_rng(3).integers(0, 256, (128, 128, 3), np.uint8)
    flat = np.full((128, 128, 3), 90, np.uint8)
    pixels = {"photograph": crop, "noise": noise, "flat": flat}[kind]
    image = Image(np.ascontiguousarray(pixels[:128, :128]))
    analysis = codec.analyse(image)
    plain, one, two, eight = (
        cost(codec, codec.code(analysis, level, refine=n), image) for n in (0, 1, 2, 8)
    )
    rounding = 1.01  # of pixels to steps of 255, which passes do not see
    assert max(one, two, eight) <= rounding * plain
    if kind != "flat":
        assert eight < one < 0.997 * plain


def test_a_pass_saves_bits_at_the_same_quality(codec, crop):
    """A file of the PSNR that one pass leaves takes more bits without it."""
    image = Image(np.ascontiguousarray(crop[:192, :192]))
    plain, refined = (
        [codec.code(codec.analyse(image), level, refine=n) for level in (30, 45, 60, 75, 90)]
        for n in (0, 1)
    )

    def curve(files):
        decoded = [psnr(image.pixels, codec.reconstruct(f.container).pixels) for f in files]
        return np.array(decoded), np.log([f.bits for f in files])

    decibels, bits = curve(plain)
    found, fewer = curve(refined)
    inside = (found > decibels[0]) & (found < decibels[-1])
    saved = np.interp(found, decibels, bits) - fewer
    assert inside.sum() >= 3 and saved[inside].mean() > 0.02


def test_only_the_symbols_of_latents_differ(codec, crop):
    plain, refined = (codec.encode(Image(crop), 70, refine=n) for n in (0, 4))
    before, after = integers(codec, plain), integers(codec, refined)
    np.testing.assert_array_equal(before["z"], after["z"])
    moved = (before["r"] != after["r"]).mean()
    assert 0 < moved < 0.1
    assert unpack(refined).level == unpack(plain).level


def test_the_same_file_twice(codec, crop):
    twice = [codec.encode(Image(crop), 50, refine=2) for _ in range(2)]
    assert twice[0] == twice[1]


@pytest.mark.parametrize("mixed", [False, True])
def test_tiles_do_not_show(codec, tiled, crop, mixed):
    lower = np.array([[0, 10, 30, 60], [5, 0, 0, 20], [60, 0, 40, 0]]) if mixed else None
    image = Image(crop)
    found = [one.code(one.analyse(image, lower), 80, refine=4) for one in (codec, tiled)]
    symbols = [
        integers(one, c.container.pack())["r"] for one, c in zip((codec, tiled), found, strict=True)
    ]
    assert (symbols[0] == symbols[1]).mean() > 0.999
    costs = [cost(codec, c, image) for c in found]
    assert costs[1] == pytest.approx(costs[0], rel=1e-3)


def test_a_region_of_interest_is_refined_by_its_levels(codec, crop):
    mask = np.zeros(crop.shape[:2], np.float32)
    mask[:64, 64:128] = 1
    image = Image(crop)
    analysis = codec.analyse(image, roi_level_drop(mask, 60))
    costs = [cost(codec, codec.code(analysis, 80, refine=n), image) for n in (0, 8)]
    assert costs[1] < 0.985 * costs[0]


def test_an_analysis_may_be_used_again(tiled, crop):
    """Latents that belong to one rate alone are changed in place, and only these."""
    analysis = tiled.analyse(Image(crop))
    first = tiled.code(analysis, 40, refine=2).container.pack()
    assert analysis.is_new  # nothing is kept that was changed
    again = tiled.code(analysis, 40, refine=2).container.pack()
    analysis.share_latents()
    latents = analysis.latents.copy()
    shared = tiled.code(analysis, 40, refine=2).container.pack()
    assert first == again == shared
    np.testing.assert_array_equal(analysis.latents, latents)


def test_threads_do_not_show(tiled, crop):
    image = Image(crop)
    written = tiled.encode(image, 80, refine=3)
    tiled.threads = 3
    assert tiled.encode(image, 80, refine=3) == written


@pytest.mark.parametrize("grey", [False, True])
def test_types_are_refined_alike(codec, crop, grey):
    """The same image in 8 bit, 16 bit and float."""
    pixels = np.ascontiguousarray(crop[:64, :100, 1] if grey else crop[:64, :100])
    same = [pixels, pixels.astype(np.uint16) * 257, pixels.astype(np.float32) / 255]
    plain, *refined = [
        integers(codec, codec.encode(Image(p), 75, refine=n))["r"]
        for p, n in [(pixels, 0), *((p, 4) for p in same)]
    ]
    moved = (plain != refined[0]).mean()
    assert moved > 0.002
    for other in refined[1:]:
        assert (other != refined[0]).mean() < 0.2 * moved


def test_padding_does_not_count(codec):
    """One column of noise takes a whole cell; 63 of its 64 columns are padding."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    saved = []
    for width in (64, 1):
        analysis = codec.analyse(Image(np.ascontiguousarray(noise[:, :width])))
        plain, refined = (codec.code(analysis, 60, refine=n) for n in (0, 8))
        saved.append(1 - refined.bits / plain.bits)
    assert saved[1] > saved[0] + 0.05


def test_one_pixel(codec):
    pixel = np.full((1, 1, 3), 200, np.uint8)
    found = codec.decode(codec.encode(Image(pixel), 75, refine=2)).pixels
    assert np.abs(found.astype(int) - pixel).max() < 10


def test_variances_are_those_of_the_tables(codec):
    tables = codec.tables
    for variance, table in zip(tables.variances, tables.latent, strict=True):
        values = np.arange(-table.reach, table.reach + 1)
        assert variance == pytest.approx(
            np.average(values**2, weights=table.frequencies[:-1]), 0.01
        )


# --- rates ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_aims_are_met_with_refined_files(codec, crop):
    image = Image(crop)
    probes = codec.probes(image, refine=4)
    pixels = crop.shape[0] * crop.shape[1]
    assert 8 * len(probes.at_bpp(1.0).container.pack()) / pixels == pytest.approx(1.0, rel=0.04)
    decoded = codec.reconstruct(probes.at_psnr(33).container)
    assert 32.9 <= psnr(crop, decoded.pixels) < 33.4
    sized = probes.at_size(5000).container
    assert len(sized.pack()) <= 5000 < probes.size(sized.level + 1)
    plain = codec.reconstruct(probes.unrefined.at_size(5000).container)
    assert psnr(crop, codec.reconstruct(sized).pixels) > psnr(crop, plain.pixels)


def test_what_only_a_plain_file_reaches_is_a_plain_file(codec, crop, monkeypatch):
    probes = codec.probes(Image(crop), refine=1)
    limit = probes.unrefined.size(0)
    monkeypatch.setattr(probes, "size", lambda _level: 2 * limit)  # refined files may be larger
    assert len(probes.at_size(limit).container.pack()) == limit
    bpp = 8 * limit / (crop.shape[0] * crop.shape[1])
    assert len(probes.at_bpp(bpp).container.pack()) == limit
    with pytest.raises(InputError, match=f"needs {limit} bytes"):
        probes.at_size(limit - 1)


@pytest.mark.parametrize("levels", [1, 2, 5, 16])
def test_the_search_near_a_guess_finds_what_bisection_finds(levels):
    codec = SimpleNamespace(levels=levels)
    for guess in range(levels + 1):
        for answer in range(levels + 1):
            probes, asked_for = Probes(codec, None, refine=1), set()

            def holds(asked, level, probes=probes, guess=guess, answer=answer, asked_for=asked_for):
                assert 0 <= level < levels
                if asked is not probes:
                    return level >= guess
                asked_for.add(level)
                return level >= answer

            assert probes.first(holds) == answer
            if abs(guess - answer) <= 2:
                assert len(asked_for) <= 5  # each of them is refined


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("passes", [-1, MAX_PASSES + 1])
def test_impossible_numbers_of_passes(codec, crop, passes):
    with pytest.raises(OptionError, match=rf"refine={passes} is not 0 … {MAX_PASSES}"):
        codec.encode(Image(crop), 50, refine=passes)


def test_a_model_that_cannot_refine_says_so(mini, mini_hub, crop):
    with pytest.raises(ModelBrokenError, match=r"has no \[codec\.refine\]"):
        mini.encode(Image(crop), 50, refine=1)
    with pytest.raises(ModelBrokenError, match=r"has no \[codec\.refine\]"):
        mini_hub.compress(crop, refine=1)
