"""Tests of a file share a process: what its fixtures made is not made again in another one."""

from __future__ import annotations

import pytest

DONE: list[int] = []


@pytest.mark.parametrize("number", range(6))
def test_a_file_is_tested_in_one_process(number: int) -> None:
    """It fails if pytest-xdist ignores groups, as version 3.8 silently does with pytest 9.2."""
    assert [*range(number)] == DONE
    DONE.append(number)
