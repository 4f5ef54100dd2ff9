"""Seeded generators: the numbers depend on the parts and on nothing else."""

from __future__ import annotations

import os

import pytest

from vaetools.seeding import seeded_generator


def numbers(*parts: object) -> list[int]:
    return seeded_generator(*parts).integers(0, 1000, 4).tolist()


def test_the_numbers_never_change() -> None:
    """Manifests of augment and seeded runs rest on them."""
    assert numbers(0, "a.png", 1) == [2, 386, 923, 565]
    assert numbers(0, "a.png") == [120, 865, 871, 891]


@pytest.mark.parametrize("other", [(1, "a.png", 1), (0, "b.png", 1), (0, "a.png", 2), (0, "a.png")])
def test_each_part_counts(other: tuple[object, ...]) -> None:
    assert numbers(*other) != numbers(0, "a.png", 1)


def test_paths_that_are_not_text_count_too() -> None:
    assert numbers(os.fsdecode(b"\xff.png")) != numbers(os.fsdecode(b"\xfe.png"))
