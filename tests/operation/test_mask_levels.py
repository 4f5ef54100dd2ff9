"""The same hole in every representation: colours, transparency, labels, depths, formats."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from tests.profiles import examples
from vaetools.errors import InputError
from vaetools.image import Image, decode_image, encode_image
from vaetools.operation.mask_levels import MaskLevels, levels_of, levels_of_array, pillow_mask
from vaetools.testing import gradient

if TYPE_CHECKING:
    from collections.abc import Callable

    Shown = Callable[[np.ndarray], MaskLevels]

BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (255, 0, 0)


def file(pixels: np.ndarray | PIL.Image.Image, suffix: str = "png", **saved: Any) -> MaskLevels:
    """The levels of a file that Pillow writes."""
    image = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, suffix, **saved)
    return levels_of(decode_image(buffer.getvalue()))


def of(value: Any, other: Any = 0, dtype: Any = np.uint8) -> Callable[[np.ndarray], np.ndarray]:
    """Pixels with one value in the hole and another one elsewhere."""
    return lambda hole: np.where(
        hole[..., None] if np.ndim(value) else hole, np.array(value, dtype), np.array(other, dtype)
    )


def painted(colour: tuple[int, ...], around: tuple[int, ...], opaque: int = 255) -> Shown:
    """RGBA: paint of one colour on a transparent layer of another one."""
    return lambda hole: file(of((*colour, opaque), (*around, 0))(hole))


def palette(colours: list[int], **saved: Any) -> Shown:
    """A palette of colours for the indices 0 and 1."""

    def shown(hole: np.ndarray) -> MaskLevels:
        image = PIL.Image.fromarray(hole.astype(np.uint8), "P")
        image.putpalette(colours)
        return file(image, **saved)

    return shown


def deep(value: int, other: int = 0, channels: int = 1) -> Shown:
    def shown(hole: np.ndarray) -> MaskLevels:
        plane = of(value, other, np.uint16)(hole)
        pixels = plane if channels == 1 else np.dstack([plane] * channels)
        return levels_of(decode_image(encode_image(Image(pixels), "png")))

    return shown


def array(*values: Any, dtype: Any) -> Shown:
    return lambda hole: levels_of_array(of(*values, dtype=dtype)(hole), "mask")


def pillow(mode: str) -> Shown:
    def shown(hole: np.ndarray) -> MaskLevels:
        found = pillow_mask(PIL.Image.fromarray(of(255)(hole)).convert(mode), "mask")
        assert found is not None
        return levels_of_array(found, "mask")

    return shown


SAME: dict[str, Shown] = {
    "bool": array(True, False, dtype=bool),
    "uint8": array(255, 0, dtype=np.uint8),
    "uint8 labels": array(1, 0, dtype=np.uint8),
    "uint16": array(65535, 0, dtype=np.uint16),
    "int64 labels": array(1, 0, dtype=np.int64),
    "float": array(0.7, 0.3, dtype=np.float64),
    "L": lambda hole: file(of(255)(hole)),
    "1": lambda hole: file(PIL.Image.fromarray(of(255)(hole)).convert("1")),
    "1 tiff": lambda hole: file(PIL.Image.fromarray(of(255)(hole)).convert("1"), "tiff"),
    "pbm": lambda hole: file(PIL.Image.fromarray(of(255)(hole)).convert("1"), "ppm"),
    "2 bits": lambda hole: file(of(1)(hole), bits=2),
    "RGB": lambda hole: file(of(WHITE, BLACK)(hole)),
    "RGB red on black": lambda hole: file(of(RED, BLACK)(hole)),
    "RGB labels": lambda hole: file(of((1, 1, 1), BLACK)(hole)),
    "labels": lambda hole: file(of(1)(hole)),
    "labels 16 bit": deep(1),
    "labels bmp": lambda hole: file(of(1)(hole), "bmp"),
    "labels gif": lambda hole: file(of(1)(hole), "gif"),
    "labels webp": lambda hole: file(of((1, 1, 1), BLACK)(hole), "webp", lossless=True),
    "0 and 128": lambda hole: file(of(128)(hole)),
    "0 and 100": lambda hole: file(of(100)(hole)),
    "0 and 2": lambda hole: file(of(2)(hole)),
    "0 and 255 in 16 bit": deep(255),
    "16 bit": deep(65535),
    "16 bit RGB": deep(65535, channels=3),
    "nearly": lambda hole: file(of(250, 3)(hole)),
    "P grey": palette([0, 0, 0, 255, 255, 255]),
    "P labels": palette([0, 0, 0, 1, 1, 1]),
    "P of Pascal VOC": palette([0, 0, 0, 128, 0, 0]),
    "P transparent": palette([0, 0, 0, 0, 0, 0], transparency=0),
    "P red, transparent white": palette([255, 255, 255, 255, 0, 0], transparency=0),
    "LA black": lambda hole: file(of((0, 255), (0, 0))(hole)),
    "LA white": lambda hole: file(of((255, 255), (255, 0))(hole)),
    "LA white on black": lambda hole: file(of((255, 255), (0, 255))(hole)),
    "RGBA opaque": lambda hole: file(of((*WHITE, 255), (*BLACK, 255))(hole)),
    "RGBA all transparent": lambda hole: file(of((*WHITE, 0), (*BLACK, 0))(hole)),
    "RGBA black": painted(BLACK, BLACK),
    "RGBA black on transparent white": painted(BLACK, WHITE),
    "RGBA white": painted(WHITE, WHITE),
    "RGBA white on transparent black": painted(WHITE, BLACK),
    "RGBA red": painted(RED, BLACK),
    "RGBA red on transparent white": painted(RED, WHITE),
    "RGBA faint": painted(RED, RED, opaque=180),
    "Pillow 1": pillow("1"),
    "Pillow L": pillow("L"),
    "Pillow RGB": pillow("RGB"),
    "Pillow LA": pillow("LA"),
    "Pillow RGBA": pillow("RGBA"),
}

HOLES = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(2, 9))).filter(
    lambda hole: hole.any() and not hole.all()
)


@settings(max_examples=examples(30))
@given(hole=HOLES)
def test_the_same_hole_in_every_representation(hole: np.ndarray) -> None:
    for kind, shown in SAME.items():
        found = shown(hole).hole("mask")
        assert found.dtype == np.bool_
        assert np.array_equal(found, hole), kind


@pytest.mark.parametrize("kind", ["L", "labels", "bool", "RGBA white", "LA white", "16 bit"])
def test_black_holes_are_the_rest(kind: str) -> None:
    hole = np.eye(5, dtype=bool)
    assert np.array_equal(SAME[kind](hole).hole("mask", "black"), ~hole)


def test_black_paint_is_a_black_hole() -> None:
    hole = np.eye(5, dtype=bool)
    for kind in ("RGBA black", "RGBA red on transparent white"):
        assert np.array_equal(SAME[kind](hole).hole("mask", "black"), hole)
    grey = file(of(100, 255)(hole)), file(of(200, 255)(hole))
    for levels in grey:
        assert np.array_equal(levels.hole("mask", "black"), hole)


def test_two_colours_of_paint_are_one_hole() -> None:
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[0] = (*RED, 255)
    pixels[1] = (0, 0, 200, 255)
    assert np.array_equal(file(pixels).hole("mask"), pixels[..., 3] > 0)


def test_transparent_parts_of_black_and_white_are_black() -> None:
    pixels = np.zeros((3, 6, 4), np.uint8)
    pixels[0] = (*WHITE, 255)
    pixels[1] = (*BLACK, 255)
    pixels[2] = (*WHITE, 0)
    assert file(pixels).hole("mask").tolist() == [[True] * 6, [False] * 6, [False] * 6]


def test_a_photograph_with_an_erased_part_is_no_mask() -> None:
    pixels = np.dstack([gradient(), np.full((48, 64), 255, np.uint8)])
    pixels[10:20, 10:30, 3] = 0
    with pytest.raises(InputError, match="the mask is transparent in parts, and neither black nor"):
        file(pixels)
    pixels[..., 3] = 255  # luma counts, as ever
    assert file(pixels).hole("mask").any()


def test_soft_masks_are_soft_and_holes_begin_in_their_middle() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_allclose(file(ramp).soft("mask"), ramp / 255, atol=1e-6)
    assert np.array_equal(file(ramp).hole("mask"), ramp >= 128)
    assert np.array_equal(file(ramp).hole("mask", "black"), ramp < 128)
    brush = np.dstack([ramp * 0, ramp])
    np.testing.assert_allclose(file(brush).soft("mask"), ramp / 255, atol=1e-6)
    assert np.array_equal(file(brush).hole("mask"), ramp >= 128)


def test_soft_labels_are_black_and_white() -> None:
    hole = np.eye(5, dtype=bool)
    for kind in ("labels", "bool", "labels 16 bit", "RGBA black", "L", "P labels"):
        assert np.array_equal(SAME[kind](hole).soft("mask"), hole)


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_ringing_of_jpeg_is_neither_labels_nor_a_hole(quality: int) -> None:
    hole = np.zeros((40, 56), bool)
    hole[9:26, 13:40] = True
    found = file(of(255)(hole), "jpeg", quality=quality)
    assert np.array_equal(found.hole("mask"), hole)
    assert len(np.unique(found.levels)) > 2
    black = np.random.default_rng(0).integers(0, 3, (40, 56), np.uint8)
    assert not file(black, "jpeg", quality=quality).hole("mask").any()
    assert file(black, "jpeg", quality=quality).soft("mask").max() < 0.05


@pytest.mark.parametrize(
    ("values", "white", "listed"),
    [
        ([0, 1, 2], 255, "0, 1, 2 of 255"),
        ([1, 2, 3], 255, "1, 2, 3 of 255"),
        ([0, 1, 255], 255, "0, 1, 255 of 255"),
        ([0, 5, 20], 255, "0, 5, 20 of 255"),
        ([0, 1, 2], 65535, "0, 1, 2 of 65535"),
        ([0, 100, 255], 65535, "0, 100, 255 of 65535"),
    ],
)
def test_other_labels_are_refused_by_name(values: list[int], white: int, listed: str) -> None:
    pixels = np.resize(np.array(values, np.uint8 if white == 255 else np.uint16), (6, 9))
    for levels in (
        levels_of(decode_image(encode_image(Image(pixels), "png"))),
        levels_of_array(pixels, "mask"),
    ):
        for read in (levels.hole, levels.soft):
            with pytest.raises(InputError, match=f"the mask m.png has the levels {listed}: labels"):
                read("the mask m.png")


def test_masks_without_anything_white_are_refused_by_name() -> None:
    pixels = np.resize(np.array([0, 50, 100], np.uint8), (4, 6))
    with pytest.raises(InputError, match="m has levels from 0 to 100 of 255: none is nearer to wh"):
        file(pixels).hole("m")
    with pytest.raises(
        InputError, match="m has levels from 155 to 255 of 255: none is nearer to bl"
    ):
        file(255 - pixels).hole("m", "black")
    assert file(pixels).soft("m").max() == pytest.approx(100 / 255)
    assert not levels_of_array(pixels / np.float32(255), "m").hole("m").any()  # nothing detected


@pytest.mark.parametrize("value", [0, 5, 100])
def test_masks_of_one_dark_level_have_no_hole(value: int) -> None:
    assert not file(np.full((4, 5), value, np.uint8)).hole("mask").any()
