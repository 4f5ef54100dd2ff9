"""Options of `compress` and `decompress`."""

from __future__ import annotations

import numpy as np
import pytest

import vaetools


@pytest.fixture(scope="module")
def hub():
    return vaetools.open("cpu", threads=1)


@pytest.fixture(scope="module")
def crop(astronaut):
    return np.ascontiguousarray(astronaut[40:200, 150:294])


def test_the_usual_quality_is_75(hub, crop):
    assert hub.compress(crop) == hub.compress(crop, quality=75)


@pytest.mark.parametrize(
    "options", [{"quality": 75, "bpp": 1.0}, {"psnr": 30, "target_size": "9k"}]
)
def test_two_aims_exclude_each_other(hub, crop, options):
    with pytest.raises(vaetools.OptionError, match="exclude"):
        hub.compress(crop, **options)


def test_a_region_comes_back_in_its_own_size(hub, crop):
    data = hub.compress(crop)
    part = hub.decompress(data, region="20,10,50,30")
    whole = hub.decompress(data)
    assert part.shape == (30, 50, 3)
    assert np.abs(part.astype(int) - whole[10:40, 20:70]).max() <= 1
    with pytest.raises(vaetools.OptionError, match="not inside"):
        hub.decompress(data, region="120,10,50,30")


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "1,2,3,-4", "1.5,2,3,4", ""])
def test_a_region_must_be_four_numbers(hub, crop, text):
    with pytest.raises(vaetools.OptionError, match="WIDTH,HEIGHT"):
        hub.decompress(hub.compress(crop), region=text)
