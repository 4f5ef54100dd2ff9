"""The engine without dependencies: a process that takes free shards until there are none.

Start it as often as you like, on as many machines as you like: by hand, as a SLURM array, as a
Kubernetes job.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vaetools.distributed.retries import soon_free
from vaetools.errors import (
    EXIT_DONE,
    EXIT_ENVIRONMENT,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    EXIT_USAGE,
    UsageError,
)
from vaetools.record import format_bytes, format_seconds, plural
from vaetools.runner.result import BROKEN_LIBRARY, BROKEN_MODEL, NO_WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.distributed.job import Job
    from vaetools.distributed.shard_runner import ShardResult, ShardRunner

NUMBERS = ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX")
"""Environment variables with the number of this process among those of a job."""

_GOLDEN = 0.6180339887498949


@dataclass
class Work:
    """What a process did for a job.

    Attributes:
        results: Of the shards that it worked on.
        refused: Errors of shards that could not be processed as a whole.
        retried: Number of attempts that failed and were made again.
        missing: Number of shards that are not done; other processes work on them, or stopped.
        seconds: Wall time.
    """

    results: list[ShardResult] = field(default_factory=list)
    refused: list[UsageError] = field(default_factory=list)
    retried: int = 0
    missing: int = 0
    seconds: float = 0.0

    def add(self, result: ShardResult) -> None:
        """Add what became of a shard; a further attempt takes the place of an earlier one."""
        for earlier in [found for found in self.results if found.shard == result.shard]:
            self.results.remove(earlier)
            self.retried += 1
            result = result.after(earlier)
        self.results.append(result)

    @property
    def is_stopped(self) -> bool:
        """Whether no further shards are to be taken."""
        return bool(self.results) and self.results[-1].state in ("interrupted", "stopped")

    @property
    def exit_code(self) -> int:
        """0 all done here, 1 some inputs failed or a full disk, 2 shards refused, 4, 130."""
        states = {result.state for result in self.results}
        if "interrupted" in states:
            return EXIT_INTERRUPTED
        if "stopped" in states:
            is_broken = self.results[-1].problem in (BROKEN_MODEL, BROKEN_LIBRARY, NO_WORKERS)
            return EXIT_ENVIRONMENT if is_broken else EXIT_SOME_FAILED
        if self.refused:
            return EXIT_USAGE
        failed = any(result.failed for result in self.results) or self.problems
        return EXIT_SOME_FAILED if failed else EXIT_DONE

    @property
    def problems(self) -> list[str]:
        """One line for each shard that was refused, given up or left to another attempt."""
        left = [r.problem for r in self.results if r.state in ("given up", "unfinished")]
        return [*(error.line for error in self.refused), *left]

    @property
    def not_kept(self) -> dict[str, int]:
        """What metadata of inputs no output has, and for how many inputs."""
        found: Counter[str] = Counter()
        for result in self.results:
            found.update(result.not_kept)
        return dict(found.most_common())

    @property
    def summary(self) -> str:
        """One line, such as `12 shards: 23,998 done, 2 failed, 812 MB -> 71 MB in 4:22`."""
        done = [result for result in self.results if result.state == "done"]
        counts = {
            status: sum(result.counts.get(status, 0) for result in self.results)
            for status in ("done", "failed", "skipped")
        }
        parts = [f"{count:,} {what}" for what, count in counts.items() if count or what == "done"]
        if counts["done"]:
            sizes = (sum(r.bytes_in for r in self.results), sum(r.bytes_out for r in self.results))
            parts.append(" -> ".join(map(format_bytes, sizes)))
        text = f"{plural(len(done), 'shard')}: {', '.join(parts)} in {format_seconds(self.seconds)}"
        if self.retried:
            text += f"; {plural(self.retried, 'attempt')} made again"
        if self.is_stopped and self.results[-1].problem:
            text += f"; {self.results[-1].problem}"
        if self.missing:
            text += f"; {plural(self.missing, 'shard')} not done: {self._why_missing}"
        return text

    @property
    def _why_missing(self) -> str:
        given_up = sum(result.state == "given up" for result in self.results)
        counts = {"refused": len(self.refused), "given up": given_up}
        known = [f"{count:,} {what}" for what, count in counts.items() if count]
        if sum(counts.values()) < self.missing:
            known.append("in work elsewhere, or to be done")
        return ", ".join(known)

    def refuse_if_nothing_done(self) -> None:
        """Raise the first error of a shard if no shard could be processed."""
        if self.refused and not self.results:
            raise self.refused[0]


def work(runner: ShardRunner) -> Work:
    """Process free shards until none is left, or until something stops the process.

    A shard whose process gives no sign of life is waited for, since it will be free soon, and so is one
    that is to be tried again. Shards of processes that are alive are left to them.

    Raises:
        UsageError: No shard could be processed, and this one was refused as a whole.
        OutputError: A folder cannot be written to.
        ModelError, LibraryError, DeviceError: Nothing can be processed here.
    """
    started = time.monotonic()
    done = Work()
    left = left_in_order(runner.job)
    while left and not done.is_stopped:
        left = _pass(runner, left, done)
        if left and not done.is_stopped and not soon_free(runner.job, left):
            break
    done.refuse_if_nothing_done()
    done.missing = runner.job.shards - len({*_done(runner.job)})
    done.seconds = time.monotonic() - started
    return done


def _pass(runner: ShardRunner, numbers: list[int], done: Work) -> list[int]:
    """Try each shard once; return those that may become free later."""
    held: list[int] = []
    for position, number in enumerate(numbers):
        try:
            result = runner(number)
        except UsageError as error:
            done.refused.append(error)
            continue
        if result.state in ("held", "taken over", "unfinished"):
            held.append(number)
        if result.state not in ("held", "already done"):
            done.add(result)
        if done.is_stopped:
            return [*held, *numbers[position:]]
    return held


def left_in_order(job: Job) -> list[int]:
    """The shards that are not done, from a place of its own for each process."""
    numbers = [int(text) for name in NUMBERS if (text := os.environ.get(name, "")).isdigit()]
    place = numbers[0] * _GOLDEN % 1 if numbers else random.random()  # noqa: S311 - no secret
    first = int(place * job.shards)
    done = {*_done(job)}
    order = (*range(first, job.shards), *range(first))
    return [number for number in order if number not in done]


def _done(job: Job) -> Iterator[int]:
    """The numbers of the shards that are done."""
    try:
        with os.scandir(job.done_file(0).parent) as entries:
            names = [entry.name for entry in entries]
    except FileNotFoundError:
        return
    for name in names:
        stem, _, suffix = name.partition(".")
        if suffix == "json" and stem.isdigit():
            yield int(stem)
