"""Arrays to images and back, and what operations see of an image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.image.samples import (
    TOPS,
    arrays,
    images,
    noise,
    same,
)
from vaetools.errors import (
    ImageValueError,
    OptionError,
)
from vaetools.image import (
    Image,
)


@given(arrays(), st.sampled_from(["bgr", "rgb"]))
def test_an_array_comes_back_as_it_was(array, order):
    before = array.copy()
    image = Image.from_array(array, channel_order=order)
    back = image.to_array(channel_order=order)
    expected = array.reshape(array.shape[:2]) if array.shape[2:] == (1,) else array
    assert same(back, expected)
    assert back.flags.c_contiguous
    back[:] = 0
    assert same(array, before)
    assert same(image.to_array(channel_order=order), expected)


@given(arrays())
def test_other_memory_layouts_are_the_same_image(array):
    turned = np.swapaxes(np.ascontiguousarray(np.swapaxes(array, 0, 1)), 0, 1)
    assert same(Image.from_array(turned).to_array(), Image.from_array(array).to_array())


@given(arrays())
def test_changing_the_array_later_changes_nothing(array):
    image = Image.from_array(array)
    before = image.to_array()
    array[:] = 0
    assert same(image.to_array(), before)


def test_channel_orders_are_each_other_reversed():
    array = noise(np.uint8, 5, 7, 4)
    rgb = Image.from_array(array).to_array(channel_order="rgb")
    assert same(rgb, array[..., [2, 1, 0, 3]])
    assert same(Image.from_array(rgb, channel_order="rgb").pixels, array[..., :3])


def test_grey_with_alpha_is_replicated():
    image = Image(noise(np.uint8, 5, 7), noise(np.uint8, 5, 7, seed=1))
    array = image.to_array()
    assert same(array, np.dstack([image.pixels] * 3 + [image.alpha]))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4), np.float64), "dtype float64"),
        (np.zeros((4, 4), bool), "dtype bool"),
        (np.zeros((4, 4), ">u2"), "dtype >u2"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (np.full((4, 4), np.nan, np.float32), "NaN"),
        (np.full((4, 4), np.inf, np.float32), "outside 0 … 1"),
        (np.full((4, 4), 255, np.float32), "from 255 to 255, outside 0 … 1"),
        (np.full((4, 4), -1e-3, np.float32), "outside 0 … 1"),
        ([[0, 1]], "not list"),
    ],
)
def test_what_is_no_image_is_refused(array, words):
    with pytest.raises(ImageValueError, match=words) as caught:
        Image.from_array(array)
    assert caught.value.code == "E016"


def test_an_unknown_channel_order_is_refused():
    array = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(OptionError, match="'xyz' is not one of bgr, rgb"):
        Image.from_array(array, channel_order="xyz")  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        Image.from_array(array).to_array(channel_order="xyz")  # type: ignore[arg-type]


@given(images())
def test_properties(image):
    assert (image.height, image.width) == image.pixels.shape[:2]
    assert image.grey == (image.pixels.ndim == 2)
    assert image.depth == image.pixels.itemsize * 8
    assert image.nbytes >= image.height * image.width * image.depth // 8


@given(images())
def test_colours_put_back_unchanged_change_nothing(image):
    rgb = image.to_rgb()
    assert rgb.dtype == np.float32
    assert rgb.shape == (image.height, image.width, 3)
    assert 0 <= rgb.min() <= rgb.max() <= 1
    assert same(image.with_rgb(rgb).pixels, image.pixels)


@given(images())
def test_what_is_not_colour_is_carried_past(image):
    changed = image.with_rgb(np.full((image.height, image.width, 3), 0.5, np.float32))
    assert changed.alpha is image.alpha
    assert (changed.icc, changed.exif, changed.format) == (image.icc, image.exif, image.format)
    assert (changed.depth, changed.grey) == (image.depth, image.grey)


def test_rgb_is_red_first_and_does_not_alias():
    image = Image(np.float32([[[0.1, 0.2, 0.3]]]))
    rgb = image.to_rgb()
    assert rgb[0, 0].tolist() == np.float32([0.3, 0.2, 0.1]).tolist()
    rgb[:] = 0
    assert image.pixels[0, 0, 0] == np.float32(0.1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_values_are_clipped_and_rounded_to_the_nearest(dtype):
    top = TOPS[dtype]
    values = np.array([-0.5, 0, 0.49 / top, 0.51 / top, 0.5, (top - 0.51) / top, 1, 1.5])
    image = Image(np.zeros((1, 8, 3), dtype))
    got = image.with_rgb(np.repeat(values[None, :, None], 3, axis=2)).pixels[0, :, 0]
    assert got.tolist() == [0, 0, 0, 1, (top + 1) // 2, top - 1, top, top]


def test_grey_takes_the_luma():
    image = Image(np.zeros((1, 3), np.float32))
    luma = image.with_rgb(np.eye(3, dtype=np.float32)[None]).pixels[0]
    assert luma == pytest.approx([0.299, 0.587, 0.114])


def test_colours_of_another_size_are_refused():
    with pytest.raises(ImageValueError, match="do not fit 4×5 pixels"):
        Image(np.zeros((4, 5), np.uint8)).with_rgb(np.zeros((5, 4, 3), np.float32))
