"""Inputs that end their process are found by splitting their shard."""

from __future__ import annotations

import pytest

from vaetools.distributed.parts import Attempts, Part


def run(
    killers: set[int], size: int, retries: int = 2, *, losses: tuple[int, ...] = ()
) -> tuple[list[Part], set[int], bool]:
    """Process a shard whose `killers` end their process.

    Args:
        losses: Numbers of the attempts that end for no fault of an input.

    Returns:
        All parts in order, the inputs that are done, and whether the shard is.
    """
    attempts = Attempts(0, retries, lambda: size)
    tried: list[Part] = []
    done: set[int] = set()
    while True:
        part = attempts.part
        tried.append(part)
        wanted = {*range(part.begin, size if part.end is None else part.end)} - {*part.killers}
        if (wanted - done) & killers or len(tried) in losses:
            if not attempts.crashed("SIGKILL"):
                return tried, done, False
            continue
        done |= wanted
        if attempts.ended():
            return tried, done, True


def test_a_shard_without_trouble_is_one_task() -> None:
    assert run(set(), 10) == ([Part(0)], {*range(10)}, True)


@pytest.mark.parametrize("loss", [1, 2])
def test_a_lost_machine_costs_one_more_attempt(loss: int) -> None:
    tried, done, finished = run(set(), 10, losses=tuple(range(1, loss + 1)))
    assert (tried, done, finished) == ([Part(0)] * (loss + 1), {*range(10)}, True)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_every_killer_is_found_and_everything_else_is_done(size: int) -> None:
    for killer in range(size):
        tried, done, finished = run({killer}, size)
        assert finished
        assert done == {*range(size)} - {killer}
        assert tried[-1] == Part(0, killers={killer: "SIGKILL"})


@pytest.mark.parametrize("killers", [{0, 1}, {0, 15}, {3, 4, 11}, {*range(16)}], ids=str)
def test_several_killers_are_found(killers: set[int]) -> None:
    tried, done, finished = run(killers, 16)
    assert finished
    assert done == {*range(16)} - killers
    assert {*tried[-1].killers} == killers


def test_a_large_shard_needs_few_attempts() -> None:
    tried, _, _ = run({1_234}, 2_000)
    assert len(tried) < 40


def test_a_single_input_is_not_blamed_for_a_lost_machine() -> None:
    """The fourth attempt and later ones lose their machine: each time another input is at work."""
    tried, done, finished = run(set(), 2, losses=(1, 2, 3, 4))
    assert finished
    assert done == {0, 1}
    assert not tried[-1].killers


def test_a_shard_that_fails_as_a_whole_is_given_up() -> None:
    attempts = Attempts(0, 1, lambda: 4)
    count = 0
    while attempts.crashed("SIGKILL") if attempts.part.is_whole else not attempts.ended():
        count += 1
        assert count < 100
    assert attempts.crashes == 6


def test_without_retries_the_first_crash_splits() -> None:
    tried, done, finished = run({1}, 2, retries=0)
    assert finished
    assert [(part.begin, part.end) for part in tried] == [(0, None), (0, 1), (1, 2), (0, None)]
    assert done == {0}


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (Part(3), "shard 3"),
        (Part(3, 5, 6), "input 6 of shard 3"),
        (Part(3, 0, 1_000), "inputs 1 to 1,000 of shard 3"),
    ],
)
def test_parts_have_names_for_people(part: Part, text: str) -> None:
    assert str(part) == text
