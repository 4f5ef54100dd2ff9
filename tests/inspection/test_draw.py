"""Sheets: tiles are where they belong, unchanged, with room for the words."""

from __future__ import annotations

import numpy as np
import pytest

from vaetools.inspection.draw import (
    LARGEST,
    SMALLEST,
    Bar,
    Sheet,
    ascii_only,
    diverging,
    heat,
    render,
    scaled,
    sequential,
    thumbnail,
)

INK_LIMIT = 128


def tile(value: int, size: tuple[int, int] = (40, 30)) -> np.ndarray:
    """In a colour that no letter has."""
    return np.broadcast_to(np.array([value, 0, 255], np.uint8), (*size, 3))


def test_small_images_grow_by_whole_numbers_and_large_ones_shrink() -> None:
    image = np.random.default_rng(0).random((28, 20, 1))
    grown = thumbnail(image)
    assert grown.shape == (28 * 4, 20 * 4, 3)
    assert np.array_equal(grown[::4, ::4, 0], np.round(255 * image[..., 0]))
    assert np.array_equal(grown[:4, :4], np.broadcast_to(grown[0, 0], (4, 4, 3)))
    large = scaled(tile(9, (600, 300)))
    assert large.shape == (LARGEST, LARGEST // 2, 3)
    assert SMALLEST <= max(scaled(tile(9, (97, 1))).shape) <= LARGEST
    assert thumbnail(np.array([[[-1.0], [2.0]]])).min() == 0  # clipped, not wrapped


def test_tiles_lie_in_their_rows_and_columns() -> None:
    tiles = [[tile(10), tile(20)], [tile(30), None], [tile(50), tile(60)]]
    sheet = Sheet("title", tiles, labels=["a", "b", "c"], headings=["x", "y"])
    canvas = render(sheet)
    places = {}
    for value in (10, 20, 30, 50, 60):
        rows, columns = np.nonzero((canvas == (value, 0, 255)).all(axis=2))
        assert len(rows) == 40 * 30, value
        places[value] = rows.min(), columns.min()
    assert places[10][0] == places[20][0] < places[30][0] < places[50][0]
    assert places[10][1] == places[30][1] == places[50][1] < places[20][1] == places[60][1]


def test_words_are_drawn_and_cover_no_tile() -> None:
    tiles = [[tile(200, (60, 60)) for _ in range(3)] for _ in range(2)]
    plain = render(Sheet("", tiles))
    words = render(
        Sheet(
            "a title that is wider than all the tiles are together, by a good deal",
            tiles,
            labels=["label\nof two lines", "other"],
            headings=["-1", "0", "+1"],
            captions=[["one\ntwo"] * 3] * 2,
            bar=Bar(sequential(), 0, 1, "meaning of the colours"),
        )
    )
    assert (words == (200, 0, 255)).all(axis=2).sum() == 6 * 60 * 60
    assert (words < INK_LIMIT).all(axis=2).sum() > (plain < INK_LIMIT).all(axis=2).sum()
    # Nothing is cut off: a white frame goes all around.
    for edge in (words[:8], words[-8:], words[:, :8], words[:, -8:]):
        assert (edge == 255).all()


def test_heat_spans_its_bar() -> None:
    bar = Bar(sequential(), 1, 3, "")
    found = heat(np.array([[1.0, 2.0, 3.0, 99.0, np.nan]]), bar)[0]
    assert found[0].sum() < 20 and found[2].sum() > 600
    assert np.array_equal(found[2], found[3])
    assert found[4].tolist() == [200, 200, 200]
    assert found[0].sum() < found[1].sum() < found[2].sum()
    flat = heat(np.zeros((1, 1)), Bar(sequential(), 0, 0, ""))
    assert flat.sum() < 20  # nothing anywhere is black, and no division by zero


def test_diverging_is_blue_white_red() -> None:
    low, middle, high = diverging()[[0, 128, 255]].astype(int)
    assert low[2] > low[0] + 100 and high[0] > high[2] + 100
    assert middle.min() > 240


@pytest.mark.parametrize(("text", "shown"), [("é−µ", "???"), ("z12 +0.5", "z12 +0.5")])
def test_letters_that_the_font_lacks(text: str, shown: str) -> None:
    assert ascii_only(text) == shown
