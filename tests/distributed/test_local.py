"""Processes of this machine that cannot be started."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from vaetools.distributed import local
from vaetools.distributed.dispatch import Outcome
from vaetools.distributed.parts import Part
from vaetools.distributed.recipe import Recipe
from vaetools.distributed.shard_runner import ShardResult
from vaetools.errors import DeviceError, UnexpectedError

RECIPE = Recipe("run", None, (), "out", {}, {})


class Started:
    """A process that does every part at once."""

    has_ended = False

    def ask(self, part: Part | None) -> Outcome | None:
        return None if part is None else ShardResult(part.shard, "done")

    def kill(self) -> None:
        pass


def outcomes(parts: int) -> list[Outcome]:
    """What becomes of some parts, one after the other."""
    executor = local.LocalExecutor(RECIPE, 1)
    found = []
    try:
        for number in range(parts):
            task = executor.submit(Part(number))
            assert executor.wait([task], 60) == [task]
            found.append(executor.outcome(task))
    finally:
        executor.close()
    return found


def refused(*_: object, **__: object) -> Any:
    raise OSError(errno.EAGAIN, "Resource temporarily unavailable")


def test_a_process_that_cannot_be_started_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", refused)
    for outcome in outcomes(2):
        assert isinstance(outcome, DeviceError)
        assert outcome.line == (
            "E060 a process cannot be started: Resource temporarily unavailable; "
            "use fewer --workers"
        )


def test_the_next_task_tries_to_start_a_process_again(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[Callable[..., Any]] = [refused, lambda _: Started()]

    def start(message: object) -> Any:
        return starts.pop(0)(message)

    monkeypatch.setattr(local, "_Process", start)
    first, second, third = outcomes(3)
    assert isinstance(first, DeviceError)
    assert [second, third] == [ShardResult(1, "done"), ShardResult(2, "done")]


def test_any_other_error_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> Any:
        raise ValueError("no pickle")

    monkeypatch.setattr(local, "_Process", broken)
    (outcome,) = outcomes(1)
    assert isinstance(outcome, UnexpectedError)
    assert outcome.problem == "shard 0 failed: ValueError: no pickle"
