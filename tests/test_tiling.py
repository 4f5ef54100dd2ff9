"""Tiling: tiled must equal whole, exactly, for every size.

The networks here work on integers, so "equal" means equal: a seam of any size fails.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.profiles import examples
from vaetools.errors import ImageValueError, ModelBrokenError, OptionError
from vaetools.tiling import ceil_div, map_ordered, map_tiles, pad_to_multiple, tiles, window

sides = st.integers(1, 13)
sizes = st.integers(1, 9)


def picture(height, width, channels=2, batch=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(-9, 10, (batch, channels, height, width))


def convolve(x, seed=1):
    """A 3×3 convolution with zero padding that mixes the channels; sees one element far."""
    channels, height, width = x.shape[1:]
    kernel = np.random.default_rng(seed).integers(-3, 4, (channels, channels, 3, 3))
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    return sum(
        np.einsum("oc,nchw->nohw", kernel[:, :, i, j], padded[:, :, i : i + height, j : j + width])
        for i in range(3)
        for j in range(3)
    )


def network(x):
    """Two convolutions with a non-linearity between; sees two elements far."""
    return convolve(np.maximum(convolve(x, seed=1), 0), seed=2)


def down(x, step):
    """A stem with kernel = stride: `step`×`step` elements to one with as many more channels."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // step, step, w // step, step)
    return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * step * step, h // step, w // step)


def up(x, step):
    """Nearest-neighbour enlargement with a phase of its own in each of the `step`×`step` places."""
    phases = np.arange(step * step).reshape(step, step)
    return np.kron(x, np.ones((step, step), int)) + np.tile(phases, x.shape[2:])


@given(st.integers(0, 2**80), st.integers(1, 2**64))
def test_ceil_div_is_the_smallest_count_of_cells_that_cover(length, cell):
    count = ceil_div(length, cell)
    assert count * cell >= length > (count - 1) * cell


@settings(max_examples=examples(50))
@given(sides, sides, sizes, st.integers(0, 5))
def test_cores_cover_the_grid_once_and_halos_stay_inside(height, width, size, halo):
    covered = np.zeros((height, width), int)
    cells = np.arange(height * width).reshape(height, width)
    for tile in tiles(height, width, size=size, halo=halo):
        covered[tile.core] += 1
        outer = cells[tile.outer]
        assert np.array_equal(outer[tile.inner], cells[tile.core])
        for core, span, length in zip(tile.core, tile.outer, (height, width), strict=True):
            assert span.start == max(0, core.start - halo)
            assert span.stop == min(length, core.stop + halo)
            assert core.stop - core.start <= size
    assert (covered == 1).all()


def test_tiles_of_a_row():
    spans = [
        (t.core[1], t.outer[1], t.inner[1])
        for t in tiles(1, 5, size=2, halo=1)
        if t.core[0].start == 0
    ]
    assert spans == [
        (slice(0, 2), slice(0, 3), slice(0, 2)),
        (slice(2, 4), slice(1, 5), slice(1, 3)),
        (slice(4, 5), slice(3, 5), slice(1, 2)),
    ]


@settings(max_examples=examples(50))
@given(sides, sides, sizes, st.integers(2, 4), st.integers(1, 3))
def test_tiled_equals_whole(height, width, size, halo, batch):
    x = picture(height, width, batch=batch)
    tiled = map_tiles(network, [x], scale_in=[1], scale_out=1, size=size, halo=halo)
    assert np.array_equal(tiled, network(x))


@settings(max_examples=examples(50))
@given(st.integers(1, 30), st.integers(1, 30), sizes, st.integers(2, 4))
def test_windows_of_one_shape_equal_the_whole(height, width, size, halo):
    shapes = set()

    def seen(x):
        shapes.add(x.shape[2:])
        return network(x)

    x = picture(height, width)
    tiled = map_tiles(seen, [x], scale_in=[1], scale_out=1, size=size, halo=halo, windows=True)
    assert np.array_equal(tiled, network(x))
    side = size + 2 * halo
    assert shapes == {(min(height, side), min(width, side))}


@settings(max_examples=examples(50))
@given(st.integers(1, 40), st.integers(1, 40), sizes, st.integers(0, 5))
def test_cores_of_windows_cover_the_grid_once(height, width, size, halo):
    covered = np.zeros((height, width), int)
    cells = np.arange(height * width).reshape(height, width)
    for tile in tiles(height, width, size=size, halo=halo, windows=True):
        covered[tile.core] += 1
        assert np.array_equal(cells[tile.outer][tile.inner], cells[tile.core])
        for core, outer, length in zip(tile.core, tile.outer, (height, width), strict=True):
            assert outer.start <= max(0, core.start - halo)
            assert outer.stop >= min(length, core.stop + halo)
    assert (covered == 1).all()


def test_windows_of_a_row():
    """Slid inwards at the end; the outer cores need a halo on one side only."""
    spans = [(t.core[1], t.outer[1]) for t in tiles(1, 11, size=3, halo=1, windows=True)]
    assert spans == [
        (slice(0, 4), slice(0, 5)),
        (slice(4, 7), slice(3, 8)),
        (slice(7, 11), slice(6, 11)),
    ]
    assert [t.core[1] for t in tiles(1, 5, size=3, halo=1, windows=True)] == [slice(0, 5)]


@settings(max_examples=examples(50))
@given(st.data(), st.integers(1, 20), st.integers(1, 20), st.integers(0, 5), st.integers(1, 9))
def test_a_window_holds_a_box_and_its_surroundings(data, height, width, by, side):
    box = []
    for length in (height, width):
        start = data.draw(st.integers(0, length - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, length))))
    found = window(tuple(box), by, (side, side), height, width)
    for inner, outer, length in zip(box, found, (height, width), strict=True):
        assert 0 <= outer.start <= max(0, inner.start - by)
        assert min(length, inner.stop + by) <= outer.stop <= length
        assert outer.stop - outer.start >= min(side, length)
        needed = inner.stop - inner.start + 2 * by
        assert outer.stop - outer.start <= max(side, needed)


def test_a_halo_below_the_receptive_radius_shows():
    x = picture(12, 12)
    tiled = map_tiles(network, [x], scale_in=[1], scale_out=1, size=4, halo=1)
    assert not np.array_equal(tiled, network(x))


@settings(max_examples=examples(50))
@given(sides, sides, sizes, st.sampled_from([2, 3, 4]))
def test_downscaling(height, width, size, step):
    x = picture(height * step, width * step, channels=1)

    def analysis(image):
        return network(down(image, step))

    tiled = map_tiles(analysis, [x], scale_in=[step], scale_out=1, size=size, halo=2)
    assert np.array_equal(tiled, analysis(x))


@settings(max_examples=examples(50))
@given(sides, sides, sizes, st.sampled_from([2, 3, 4]))
def test_upscaling(height, width, size, step):
    x = picture(height, width)

    def synthesis(
        latents,
    ):  # sees one latent far, and one of the finer elements: within two latents
        return convolve(up(convolve(latents), step))

    tiled = map_tiles(synthesis, [x], scale_in=[1], scale_out=step, size=size, halo=2)
    assert np.array_equal(tiled, synthesis(x))


@settings(max_examples=examples(50))
@given(sides, sides, sizes)
def test_several_inputs_at_several_resolutions(height, width, size):
    image = picture(height * 8, width * 8, channels=1)
    latents = picture(height * 2, width * 2, seed=1)
    hyper = picture(height, width, seed=2)

    def predict(image, latents, hyper):
        seen = down(image, 4)[:, :2] + latents  # at the latents' resolution: two to a grid cell
        return np.concatenate([convolve(seen), up(network(hyper), 2)], axis=1)

    tiled = map_tiles(
        predict, [image, latents, hyper], scale_in=[8, 2, 1], scale_out=2, size=size, halo=2
    )
    assert np.array_equal(tiled, predict(image, latents, hyper))


def test_the_function_sees_contiguous_tiles_and_gives_the_dtype():
    shapes = []

    def square(x):
        assert x.flags.c_contiguous
        shapes.append(x.shape)
        return (x * x).astype(np.int16)

    x = picture(5, 5)
    result = map_tiles(square, [x], scale_in=[1], scale_out=1, size=3, halo=1)
    assert result.dtype == np.int16
    assert shapes == [(1, 2, 4, 4), (1, 2, 4, 3), (1, 2, 3, 4), (1, 2, 3, 3)]


def test_one_tile_is_one_call_on_the_whole():
    calls = []
    x = picture(4, 6)
    map_tiles(lambda a: calls.append(a.shape) or a, [x], scale_in=[1], scale_out=1, size=6, halo=9)
    assert calls == [x.shape]


def test_float_results_stay_close():
    x = picture(17, 13).astype(np.float32) / 9
    tiled = map_tiles(network, [x], scale_in=[1], scale_out=1, size=5, halo=2)
    np.testing.assert_allclose(tiled, network(x), rtol=1e-5, atol=1e-5)


def test_inputs_off_the_grid_are_refused():
    def nothing(*_):
        raise AssertionError

    with pytest.raises(ImageValueError, match="7×8 at 2"):
        map_tiles(nothing, [picture(7, 8)], scale_in=[2], scale_out=1, size=4, halo=0)
    pair = [picture(8, 8), picture(5, 4)]
    with pytest.raises(ImageValueError, match="8×8 at 2, 5×4 at 1"):
        map_tiles(nothing, pair, scale_in=[2, 1], scale_out=1, size=4, halo=0)
    with pytest.raises(ImageValueError, match="nothing to divide"):
        map_tiles(nothing, [picture(0, 4)], scale_in=[1], scale_out=1, size=4, halo=0)


def test_a_function_of_another_scale_is_refused():
    with pytest.raises(ModelBrokenError, match=r"2×3 elements, not shape \(1, 2, 4, 6\)"):
        map_tiles(lambda x: up(x, 2), [picture(2, 3)], scale_in=[1], scale_out=1, size=4, halo=0)


@pytest.mark.parametrize(("size", "halo"), [(0, 0), (1, -1)])
def test_impossible_tiles_are_refused(size, halo):
    with pytest.raises(OptionError, match="halo"):
        next(tiles(4, 4, size=size, halo=halo))


# --- padding --------------------------------------------------------------------------------------


def test_padding_repeats_the_last_row_and_column():
    padded, size = pad_to_multiple(np.array([[1, 2, 3]]), 2)
    assert padded.tolist() == [[1, 2, 3, 3], [1, 2, 3, 3]]
    assert size == (1, 3)


@settings(max_examples=examples(50))
@given(sides, sides, st.integers(1, 8), st.integers(1, 20), st.booleans())
def test_padding_fits_the_multiple_and_crops_back(height, width, multiple, minimum, colour):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image = image if colour else image[..., 0]
    padded, (rows, columns) = pad_to_multiple(image, multiple, minimum)
    assert np.array_equal(padded[:rows, :columns], image)
    assert padded.shape[2:] == image.shape[2:]
    for side, original in zip(padded.shape[:2], image.shape[:2], strict=True):
        assert side % multiple == 0
        assert max(original, minimum) <= side < max(original, minimum) + multiple


def test_an_image_that_fits_is_not_copied():
    image = np.zeros((4, 8), np.uint8)
    assert pad_to_multiple(image, 4)[0] is image


def test_nothing_cannot_be_padded():
    with pytest.raises(ImageValueError, match="0×4"):
        pad_to_multiple(np.zeros((4, 0)), 8)


# --- several pieces at a time ---------------------------------------------------------------------


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 5))
@settings(max_examples=examples(40))
def test_results_come_in_order_however_long_they_take(pieces, threads):
    def work(piece):
        time.sleep(piece / 2000)
        return 10 * piece

    assert list(map_ordered(work, pieces, threads)) == [10 * piece for piece in pieces]


def test_pieces_are_worked_on_at_the_same_time():
    together = threading.Barrier(3, timeout=20)  # passes only if three are there at once
    assert list(map_ordered(lambda piece: together.wait() >= 0 and piece, range(6), 3)) == [
        *range(6)
    ]


@pytest.mark.parametrize(("threads", "most"), [(1, 1), (2, 3), (4, 5)])
def test_no_more_is_done_than_there_is_room_for(threads, most):
    begun = []
    results = map_ordered(begun.append, range(20), threads)
    for taken in range(1, 6):
        next(results)
        assert len(begun) <= taken - 1 + most
    results.close()
    assert len(begun) <= 4 + most


@pytest.mark.parametrize("threads", [1, 3])
def test_an_exception_comes_in_its_turn_and_ends_it(threads):
    done = []

    def work(piece):
        if piece == 2:
            raise ValueError("two")
        done.append(piece)
        return piece

    results = map_ordered(work, range(50), threads)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert len(done) <= 2 + threads


@pytest.mark.parametrize("threads", [1, 3])
def test_nothing_goes_on_behind_a_consumer_that_fails(threads):
    done = []
    results = map_ordered(lambda piece: done.append(piece) or piece, range(50), threads)
    next(results)
    results.close()  # as when what was done with a result has failed
    count = len(done)
    assert count <= 2 + threads
    time.sleep(0.05)
    assert len(done) == count


@given(sides, sides, st.integers(1, 8))
def test_a_mirrored_picture_goes_on_with_its_mirror_image(height, width, multiple):
    image = picture(height, width)[0].transpose(1, 2, 0)
    padded, (rows, columns) = pad_to_multiple(image, multiple, mirrored=True)
    assert (rows, columns) == (height, width)
    assert padded.shape[0] % multiple == padded.shape[1] % multiple == 0
    np.testing.assert_array_equal(padded[:height, :width], image)
    there_and_back = np.concatenate([image, image[::-1]])
    for row in range(height, padded.shape[0]):
        expected = there_and_back[row % len(there_and_back)]
        np.testing.assert_array_equal(padded[row, :width], expected)
