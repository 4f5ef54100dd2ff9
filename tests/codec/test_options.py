"""Options of `compress` and `decompress`, as arrays meet them; files: see `test_folders`."""

from __future__ import annotations

import numpy as np
import pytest

import vaetools
from vaetools.codec.container import SectionKind, unpack
from vaetools.image import Image, encode_image


@pytest.fixture(scope="module")
def crop(astronaut):
    return np.ascontiguousarray(astronaut[40:200, 150:294])


@pytest.fixture
def mask(tmp_path):
    """A mask for `crop` that is white in the first cell only, and its file."""
    white = np.zeros((160, 144), np.uint8)
    white[10:20, 10:20] = 255
    path = tmp_path / "mask.png"
    path.write_bytes(encode_image(Image(white), "png"))
    return path


def levels_of(mini, data):
    return mini.levels_of(unpack(data))


def test_the_usual_quality_is_75(mini_hub, crop):
    assert mini_hub.compress(crop) == mini_hub.compress(crop, quality=75)


@pytest.mark.parametrize(
    "options", [{"quality": 75, "bpp": 1.0}, {"psnr": 30, "target_size": "9k"}]
)
def test_two_aims_exclude_each_other(mini_hub, crop, options):
    with pytest.raises(vaetools.OptionError, match="exclude"):
        mini_hub.compress(crop, **options)


def test_a_region_comes_back_in_its_own_size(mini_hub, crop):
    data = mini_hub.compress(crop)
    part = mini_hub.decompress(data, region="20,10,50,30")
    whole = mini_hub.decompress(data)
    assert part.shape == (30, 50, 3)
    assert np.abs(part.astype(int) - whole[10:40, 20:70]).max() <= 1
    with pytest.raises(vaetools.OptionError, match="not inside"):
        mini_hub.decompress(data, region="120,10,50,30")


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "1,2,3,-4", "1.5,2,3,4", ""])
def test_a_region_must_be_four_numbers(mini_hub, crop, text):
    with pytest.raises(vaetools.OptionError, match="WIDTH,HEIGHT"):
        mini_hub.decompress(mini_hub.compress(crop), region=text)


def test_a_preview_of_a_part_of_a_file(mini_hub, crop):
    data = mini_hub.compress(crop)
    whole = mini_hub.decompress(data, preview=True)
    assert whole.shape == crop.shape
    assert not np.array_equal(whole, mini_hub.decompress(data))
    np.testing.assert_array_equal(mini_hub.decompress(data[:-1], preview=True), whole)
    with pytest.raises(vaetools.BitstreamError):
        mini_hub.decompress(data[:-1])
    part = mini_hub.decompress(data, preview=True, region="20,10,50,30")
    assert np.abs(part.astype(int) - whole[10:40, 20:70]).max() <= 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [75, 35, 35]),
        ({"quality": 60, "roi_drop": 20}, [60, 40, 40]),
        ({"quality": 60, "roi_drop": 100}, [60, 0, 0]),
    ],
)
def test_black_parts_lose_quality(mini, mini_hub, crop, mask, options, expected):
    found = levels_of(mini, mini_hub.compress(crop, roi=mask, **options))
    np.testing.assert_array_equal(found[0], expected)
    assert (found[1:] == expected[1]).all()


def test_a_white_mask_changes_nothing(mini_hub, crop, tmp_path):
    path = tmp_path / "white.png"
    path.write_bytes(encode_image(Image(np.full((160, 144), 255, np.uint8)), "png"))
    assert mini_hub.compress(crop, roi=path) == mini_hub.compress(crop)


def test_a_size_is_kept_with_a_region_of_interest(mini, mini_hub, crop, mask):
    limit = len(mini_hub.compress(crop, quality=40))
    data = mini_hub.compress(crop, roi=mask, target_size=str(limit))
    assert len(data) <= limit
    assert levels_of(mini, data)[0, 0] > 40


def test_a_mask_that_is_not_there_is_a_wrong_option(mini_hub, tmp_path):
    with pytest.raises(vaetools.OptionError, match=r"there is no mask .*nowhere\.png"):
        mini_hub.op("compress", roi=tmp_path / "nowhere.png")


@pytest.mark.parametrize("drop", [0, 101, float("nan")])
def test_a_drop_has_bounds(mini_hub, mask, drop):
    with pytest.raises(vaetools.OptionError, match="roi_drop"):
        mini_hub.op("compress", roi=mask, roi_drop=drop)


def test_one_pixel_is_stored_exactly(mini_hub):
    data = mini_hub.compress(np.full((1, 1, 3), 77, np.uint8))
    assert unpack(data).one(SectionKind.SOURCE) is not None and len(data) < 120
    assert (mini_hub.decompress(data) == 77).all()
