"""Requests to the worker process of `vaetools serve`, and when they are cancelled."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from threading import Event
from types import SimpleNamespace
from typing import Any, TextIO, cast

import pytest

from vaetools.runner.result import RunResult
from vaetools.web.worker import Requests, Worker


def line(do: str, number: int) -> str:
    return json.dumps({"do": do, "number": number})


class Script:
    """A stdin: lines, and events to wait for or to set between them. It never ends."""

    def __init__(self, *parts: str | Event) -> None:
        self.parts = parts
        self.is_read = Event()

    def __iter__(self) -> Iterator[str]:
        for part in self.parts:
            if isinstance(part, str):
                yield part
            else:
                part.wait()
        self.is_read.set()
        Event().wait()


def requests_of(script: Script) -> Requests:
    return Requests(cast("TextIO", script))


def interrupted(work: Any) -> bool:
    """Whether work that would take long is interrupted."""
    try:
        work()
        for _ in range(3000):
            time.sleep(0.01)
    except KeyboardInterrupt:
        return True
    return False


def test_a_request_is_cancelled_before_it_is_begun() -> None:
    script = Script(line("run", 1), line("cancel", 1), line("run", 2))
    requests = requests_of(script)
    script.is_read.wait()
    with pytest.raises(KeyboardInterrupt):
        requests.next()
    assert requests.number == 1
    requests.done()
    assert requests.next()["number"] == 2


def test_a_request_in_work_is_interrupted_once() -> None:
    begun = Event()
    script = Script(line("run", 1), begun, line("cancel", 1), line("cancel", 1))
    requests = requests_of(script)
    assert requests.next()["number"] == 1
    assert interrupted(begun.set)
    script.is_read.wait()
    requests.done()
    time.sleep(0)  # a second interrupt would be raised here


def test_a_request_that_has_ended_is_not_cancelled_nor_is_the_next_one() -> None:
    ended = Event()
    script = Script(line("run", 1), ended, line("cancel", 1), line("run", 2))
    requests = requests_of(script)
    requests.next()
    requests.done()
    ended.set()
    script.is_read.wait()
    assert requests.next()["number"] == 2


def test_the_last_event_tells_what_a_run_that_stopped_did_not_reach() -> None:
    hub = SimpleNamespace(map=lambda *_, **__: RunResult((), unreached=3, stopped="no room"))
    sent: list[dict[str, Any]] = []
    names = ("operation", "inputs", "out")
    request = {"do": "run", "number": 1, "options": {}, "settings": {}, **dict.fromkeys(names, "")}
    Worker(cast("Any", hub), 1, sent.append).answer(request)
    (last,) = sent
    assert (last["event"], last["stopped"], last["unreached"]) == ("end", "no room", 3)
