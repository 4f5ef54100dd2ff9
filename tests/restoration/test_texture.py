"""Deep holes filled with patches of the same image."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vaetools import Image
from vaetools.restoration import texture
from vaetools.restoration.holes import depth_of
from vaetools.restoration.patch_match import SIDE, Patches
from vaetools.restoration.seams import without_seams
from vaetools.restoration.texture import SHALLOW, textured, with_texture


def waves(height: int, width: int) -> np.ndarray:
    """A pattern that repeats every 16 pixels across and every 8 down, (H, W, 3) in [0, 1]."""
    down, across = np.mgrid[:height, :width]
    grey = (
        0.5 + 0.25 * np.sin(across * np.pi / 8) + 0.25 * np.sign(np.sin((down + 0.5) * np.pi / 4))
    )
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float32)


def square(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    hole = np.zeros((height, width), np.bool_)
    hole[rows, columns] = True
    return hole


def covered(rgb: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The image with its mean in the hole."""
    return np.where(hole[..., None], rgb[~hole].mean(axis=0), rgb).astype(np.float32)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (slice(40, 80), slice(50, 90)),  # in the middle
        (slice(0, 40), slice(100, 140)),  # in a corner
        (slice(60, 75), slice(0, 140)),  # from side to side
    ],
)
def test_a_pattern_goes_on_in_the_hole(rows: slice, columns: slice) -> None:
    clean = waves(130, 140)
    hole = square(130, 140, rows, columns)
    given_fill = covered(clean, hole)
    found = textured(given_fill, hole)
    before, after = (np.abs(rgb - clean)[hole].mean() for rgb in (given_fill, found))
    assert after < before / 10
    assert np.array_equal(found[~hole], clean[~hole])


def test_what_is_not_usable_is_never_copied() -> None:
    clean = waves(96, 96)
    hole = square(96, 96, slice(20, 50), slice(20, 50))
    other = square(96, 96, slice(50, 70), slice(20, 70))
    clean[other] = (1, 0, 1)  # beside the hole, and of its own colour
    found = textured(covered(clean, hole), hole, other)[hole]
    assert np.abs(found - found.mean(axis=1, keepdims=True)).max() < 0.02  # still grey


def test_two_deep_parts_are_both_filled() -> None:
    clean = waves(100, 120)
    hole = square(100, 120, slice(20, 45), slice(20, 45))
    hole |= square(100, 120, slice(50, 75), slice(60, 90))
    image = Image.from_array(covered(clean, hole), channel_order="rgb")
    found = with_texture(image, depth_of(hole)).to_array(channel_order="rgb")
    assert np.abs(found - clean)[hole].mean() < 0.03


def test_shallow_parts_keep_their_fill() -> None:
    hole = square(80, 80, slice(10, 70), slice(20, 20 + int(2 * SHALLOW) - 1))
    deep = square(80, 80, slice(30, 60), slice(40, 70))
    image = Image.from_array(np.full((80, 80), 99, np.uint8))
    image.pixels[:, ::2] = 20
    image.pixels[hole | deep] = 200
    found = with_texture(image, depth_of(hole | deep)).pixels
    assert (found[hole] == 200).all()
    assert set(np.unique(found[deep])) <= {20, 99}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_every_kind_of_image_keeps_what_is_known(dtype: type, channels: tuple[int, ...]) -> None:
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}[dtype]
    values = np.array([0.2, 0.7]) * top
    array = np.random.default_rng(0).choice(values, (40, 50, *channels)).astype(dtype)
    hole = square(40, 50, slice(12, 26), slice(12, 26))
    image = Image.from_array(array)
    found = with_texture(image, depth_of(hole)).to_array()
    assert found.dtype == dtype
    assert found.shape == array.shape
    assert np.array_equal(found[~hole], array[~hole])
    assert not np.array_equal(found[hole], array[hole])
    assert found[hole].min() >= array.min() * 0.9 and found[hole].max() <= array.max() * 1.1
    if channels == (4,):
        assert np.array_equal(found[..., 3], array[..., 3])


def test_the_same_image_is_filled_in_the_same_way() -> None:
    rgb = np.random.default_rng(1).random((200, 210, 3), dtype=np.float32)
    hole = square(200, 210, slice(60, 100), slice(60, 100))
    assert np.array_equal(textured(rgb, hole), textured(rgb, hole))


@st.composite
def holes(draw: st.DrawFn) -> np.ndarray:
    """Pixels, or blocks and a lattice, with a corner that is free."""
    height, width = draw(st.integers(1, 64)), draw(st.integers(1, 64))
    if draw(st.booleans()):
        return draw(arrays.arrays(np.bool_, (height, width)))
    hole = np.zeros((height, width), np.bool_)
    for _ in range(draw(st.integers(0, 3))):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        hole[y : y + draw(st.integers(1, 40)), x : x + draw(st.integers(1, 40))] = True
    every = draw(st.integers(4, 40))
    hole[every - 2 :: every] = hole[:, every - 2 :: every] = True
    hole[: draw(st.integers(0, 12)), : draw(st.integers(0, 12))] = False
    return hole


@settings(max_examples=60, deadline=None)
@given(holes(), st.integers(0, 2**32), st.sampled_from([4, 8, 24]), st.sampled_from([0, 50, 10**6]))
def test_any_hole_of_any_size(hole: np.ndarray, seed: int, smallest: int, largest: int) -> None:
    rgb = np.random.default_rng(seed).random((*hole.shape, 3), dtype=np.float32)
    with (
        mock.patch.object(texture, "SMALLEST", smallest),
        mock.patch.object(texture, "LARGEST", largest),
    ):
        found = textured(rgb, hole)
    assert np.array_equal(found[~hole], rgb[~hole])
    assert found.shape == rgb.shape
    assert rgb.min() - 1e-5 <= found.min() <= found.max() <= rgb.max() + 1e-5


def lattice() -> np.ndarray:
    """A block and lines that leave no source at half of the size, but some at a quarter and in full."""
    hole = np.zeros((64, 64), np.bool_)
    for first in (0, 1):
        hole[first::4] = hole[:, first::4] = True
    hole[:24, :36] = True
    hole[-7:, -7:] = False
    return hole


def test_a_level_without_sources_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texture, "SMALLEST", 16)
    hole, rgb = lattice(), np.random.default_rng(5).random((64, 64, 3), dtype=np.float32)
    levels = texture._pyramid(rgb, hole, np.zeros_like(hole))
    sources = [
        Patches(level.colours, level.colours[..., :0], level.hole, level.unusable).sources.any()
        for level in levels
    ]
    assert sources == [True, False, True]
    found = textured(rgb, hole)
    assert np.array_equal(found[~hole], rgb[~hole])
    assert not np.array_equal(found[hole], rgb[hole])


def test_without_a_source_where_it_is_small_a_large_hole_keeps_its_fill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(texture, "LARGEST", 700)
    clean = np.random.default_rng(4).random((64, 64, 3), dtype=np.float32)
    hole = square(64, 64, slice(9, 55), slice(9, 55))
    assert np.array_equal(textured(clean, hole), clean)


def test_the_last_row_has_no_gradient_to_the_first() -> None:
    ramp = np.repeat(np.linspace(0, 1, 40, dtype=np.float32)[:, None, None], 40, axis=1)
    strength = texture._texture(np.repeat(ramp, 3, axis=2), np.zeros((40, 40), np.bool_), 5)
    assert np.allclose(strength[..., 1], 1 / 39, atol=1e-5)
    assert np.allclose(strength[..., 0], 0)


def test_transparent_pixels_are_not_copied() -> None:
    rgba = np.dstack([0.5 + 0.5 * waves(80, 90), np.ones((80, 90), np.float32)])
    rgba[:, :40] = 0
    hole = square(80, 90, slice(20, 50), slice(36, 60))
    found = with_texture(Image.from_array(rgba, channel_order="rgb"), depth_of(hole))
    assert found.pixels[hole].min() > 0.4  # no black from where nothing is seen
    assert np.array_equal(found.alpha, rgba[..., 3])


def test_a_deep_hole_is_filled_without_a_search_at_its_full_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(texture, "LARGEST", 3000)
    searched = []
    for name in ("improve", "complete"):
        real = getattr(Patches, name)

        def recorded(self: Patches, *args: Any, _real: Any = real, **kwargs: Any) -> Any:
            searched.append(int(self.hole.sum()))
            return _real(self, *args, **kwargs)

        monkeypatch.setattr(Patches, name, recorded)
    clean = waves(480, 400)
    hole = square(480, 400, slice(20, 260), slice(60, 300))  # up to 120 pixels deep
    found = textured(covered(clean, hole), hole)
    before, after = (np.abs(rgb - clean)[hole].mean() for rgb in (covered(clean, hole), found))
    assert after < before / 3
    assert searched and max(searched) <= 3000


def test_without_a_whole_patch_the_fill_stays() -> None:
    rgb = np.random.default_rng(2).random((20, 20, 3), dtype=np.float32)
    hole = square(20, 20, slice(SIDE - 1, 20 - SIDE + 1), slice(SIDE - 1, 20 - SIDE + 1))
    assert np.array_equal(textured(rgb, hole), rgb)


def test_a_search_finds_nearly_what_a_complete_one_does() -> None:
    rng = np.random.default_rng(3)
    values = waves(120, 120) + rng.normal(0, 0.02, (120, 120, 3)).astype(np.float32)
    hole = square(120, 120, slice(50, 62), slice(50, 62))
    patches = Patches(values, np.zeros((120, 120, 0), np.float32), hole, np.zeros_like(hole))
    _, best = patches.complete()
    start = patches.snapped(patches.targets)
    _, found = patches.improve(start, rng, rounds=4)
    assert (found >= best - 1e-3).all()
    assert found.sum() < 1.3 * best.sum()
    assert patches.distances(start).sum() > 3 * best.sum()


def copied(height: float) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """(values, hole, steps): grey, and in the hole a part from elsewhere that is brighter."""
    values = np.full((60, 200, 3), 0.5, np.float32)
    hole = square(60, 200, slice(20, 40), slice(20, 180))
    values[20:40, 100:180] += height
    count = int(hole.sum())
    return values, hole, (np.zeros((count, 3), np.float32),) * 4


def test_a_low_seam_becomes_a_slope() -> None:
    values, hole, steps = copied(0.05)
    found = without_seams(values, hole, steps)
    assert np.abs(np.diff(found[30], axis=0)).max() < 0.005
    assert np.array_equal(found[~hole], values[~hole])


def test_an_edge_stays() -> None:
    values, hole, steps = copied(0.4)
    found = without_seams(values, hole, steps)
    assert np.abs(found - values).max() < 0.02


def test_what_fits_is_not_touched() -> None:
    clean = waves(60, 90)
    hole = square(60, 90, slice(0, 30), slice(30, 90))  # at the border as well
    flat = np.pad(clean, ((1, 1), (1, 1), (0, 0)), mode="edge")
    moves = ((1, 2), (1, 0), (2, 1), (0, 1))
    steps = tuple((flat[y : y + 60, x : x + 90] - clean)[hole] for y, x in moves)
    assert np.allclose(without_seams(clean, hole, steps), clean, atol=1e-5)
