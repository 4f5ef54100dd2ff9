"""Noise that tiles agree on."""

from __future__ import annotations

import numpy as np
import pytest

from vaetools.restoration.noise_field import BLOCK, NoiseField


def box(top: int, left: int, height: int, width: int) -> tuple[slice, slice]:
    return slice(top, top + height), slice(left, left + width)


def test_a_part_is_cut_out_of_the_whole() -> None:
    field = NoiseField(7, 3)
    whole = field.part(box(0, 0, 80, 100))
    assert whole.shape == (1, 3, 80, 100)
    assert whole.dtype == np.float32
    for part in (box(0, 0, 1, 1), box(31, 30, 3, 5), box(10, 64, 70, 36), box(32, 32, 32, 32)):
        assert np.array_equal(NoiseField(7, 3).part(part), whole[(..., *part)])


def test_blocks_and_seeds_are_independent_and_normal() -> None:
    drawn = NoiseField(1, 4).part(box(0, 0, 2 * BLOCK, 2 * BLOCK))
    other = NoiseField(2, 4).part(box(0, 0, 2 * BLOCK, 2 * BLOCK))
    assert drawn.mean() == pytest.approx(0, abs=0.03)
    assert drawn.std() == pytest.approx(1, abs=0.03)
    corners = [drawn[..., :BLOCK, :BLOCK], drawn[..., BLOCK:, :BLOCK], drawn[..., :BLOCK, BLOCK:]]
    for a, b in ((corners[0], corners[1]), (corners[0], corners[2]), (drawn, other)):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.06


def test_any_seed_will_do() -> None:
    for seed in (0, 2**63 - 1, 2**64 - 1):
        assert np.isfinite(NoiseField(seed, 1).part(box(0, 0, 2, 2))).all()
