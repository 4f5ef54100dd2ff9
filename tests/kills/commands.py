"""Kills commands with `kill -9` at random moments, in forks of one process: many in a short time."""

from __future__ import annotations

import random
import shutil
import signal
import time
from typing import TYPE_CHECKING

from tests.faults.harness import Server, digests, state
from tests.kills.harness import KILLS_PER_TREE, Tally

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.harness import Scenario


EARLY = 0.3
"""Part of the kills that are at any moment of a run; the others are while it writes."""

AT_WORK = 0.2
"""Part of its time for which a run writes, about."""


class Killed:
    """A scenario in a folder of its own, which is run, killed and resumed.

    Args:
        server: Runs the commands.
        scenario: What is run.
        folder: Empty.
    """

    def __init__(self, server: Server, scenario: Scenario, folder: Path, seed: int = 0) -> None:
        self._server = server
        self._scenario = scenario
        self._folder = folder
        self._root = folder / "root"
        self._random = random.Random(f"{scenario.name} {seed}")
        scenario.plant(self._root / "in")
        self._inputs = state(self._root / "in")
        self._complete()  # the first run of all is slower than the others
        self._clear()
        started = time.monotonic()
        self._complete()
        self._seconds = time.monotonic() - started
        self._wanted = digests(self._root / "out")

    def kill(self, kills: int, tally: Tally) -> None:
        """Kill runs until `kills` were killed; trees are completed and compared in between."""
        most = tally.kills + kills
        while tally.kills < most:
            self._clear()
            for _ in range(min(KILLS_PER_TREE, most - tally.kills)):
                early = self._random.random() < EARLY
                pause = self._random.uniform(0, self._seconds * (1 if early else AT_WORK))
                if self._run(pause, early=early) != -signal.SIGKILL:
                    break
                tally.kills += 1
                found = digests(self._root / "out")
                tally.at_work += bool(found)
                tally.half_written += sum(self._wanted.get(n) != sha for n, sha in found.items())
                tally.inputs_changed += state(self._root / "in") != self._inputs
            self._complete()
            tally.trees += 1
            tally.trees_wrong += digests(self._root / "out") != self._wanted
            tally.inputs_changed += state(self._root / "in") != self._inputs
            tally.stale_parts += sum(
                ".part" in path.name or ".resume" in path.name
                for top in ("out", "more")
                for path in (self._root / top).rglob("*")
            )

    def _complete(self) -> None:
        code = self._run(None)
        if code != 0:
            printed = (self._folder / "stderr").read_text()
            raise RuntimeError(f"exit {code} of {self._scenario.name}: {printed}")

    def _run(self, kill_after: float | None, *, early: bool = True) -> int | None:
        """The code of the first command that fails or is killed; the pause is that of one of them."""
        env = {"XDG_CACHE_HOME": str(self._root / "cache")}
        watch = None if early else self._root / "out"
        for words in self._scenario.words(self._root):
            started = time.monotonic()
            streams = self._folder / "stdout", self._folder / "stderr"
            code = self._server.run(words, env, *streams, kill_after, watch)
            if code != 0:
                return code
            if kill_after is not None:
                kill_after = max(0.0, kill_after - (time.monotonic() - started))
        return 0

    def _clear(self) -> None:
        for name in ("out", "more", "cache"):
            shutil.rmtree(self._root / name, ignore_errors=True)
