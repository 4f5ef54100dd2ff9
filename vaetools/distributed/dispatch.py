"""Hands out the shards of a job to processes that may end, hang or vanish."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from vaetools.distributed.claims import BEATS, attempts, silence
from vaetools.distributed.files import stands
from vaetools.distributed.lists import files_of
from vaetools.distributed.loop import Work, left_in_order
from vaetools.distributed.merged import shard_records
from vaetools.distributed.parts import Attempts
from vaetools.distributed.retries import soon_free
from vaetools.distributed.shard_runner import ShardResult
from vaetools.errors import UsageError, VaetoolsError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from vaetools.distributed.job import Job
    from vaetools.distributed.parts import Part
    from vaetools.record import Record

IN_FLIGHT = 2
"""Tasks per slot that are handed out: the next one is there when one ends."""


@dataclass(frozen=True)
class Crash:
    """The process of a task ended, or its machine.

    Attributes:
        reason: How, in a few words.
    """

    reason: str


@dataclass(frozen=True)
class Unusable:
    """A machine cannot work on the job at all, which says nothing about the shard of the task.

    Attributes:
        error: Why.
    """

    error: UsageError


Outcome: TypeAlias = ShardResult | VaetoolsError | Crash | Unusable
"""What became of a task; an error is one that the shard runner raised."""


class Listener(Protocol):
    """Receives the progress events of a job."""

    def record(self, record: Record) -> None:
        """An input of a shard that is done."""

    def trouble(self, line: str) -> None:
        """An attempt failed; the line says what follows."""


class Executor(Protocol):
    """Runs tasks in other processes."""

    def slots(self) -> int:
        """Number of tasks that can run at the same time; at least 1.

        Raises:
            DeviceError: No task can run.
        """

    def submit(self, part: Part) -> Hashable:
        """Start a task; return its handle."""

    def wait(self, tasks: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Wait until at least one task has ended, but not longer than `seconds`; return those."""

    def outcome(self, task: Any) -> Outcome:
        """What became of a task that has ended."""

    def interrupt(self, tasks: Sequence[Any]) -> None:
        """End tasks as Ctrl-C ends a run: inputs in work are finished."""

    def abandon(self, task: Any) -> None:
        """End a task that hangs, as far as that is possible; it is not asked for any more."""


@dataclass
class _Task:
    """A task that was handed out.

    Attributes:
        tried: The attempts at its shard.
        known: Number of the last claim of the shard at that time.
    """

    tried: Attempts
    known: int


class Dispatcher:
    """Has a job done by an executor.

    A task whose process ended is tried again, and its shard is split if that does not help; see
    `Attempts`. A task whose process gives no sign of life for the lease is abandoned: the process finds
    that out before its next output takes its name.

    Args:
        job: The job.
        executor: Runs the tasks. Their claims can be taken over by other tasks of this dispatcher.
        retries: Further attempts after one that failed.
        listener: Receives progress events.
    """

    def __init__(
        self,
        job: Job,
        executor: Executor,
        retries: int,
        listener: Listener,
    ) -> None:
        self._job = job
        self._executor = executor
        self._retries = retries
        self._listener = listener
        self._queue: deque[Attempts] = deque()
        self._running: dict[Any, _Task] = {}
        self._held: list[Attempts] = []
        self._given_up: list[Attempts] = []
        self._unfinished: dict[int, ShardResult] = {}
        self._work = Work()
        self._end: VaetoolsError | ShardResult | None = None
        self._checked = time.monotonic()

    def run(self) -> Work:
        """Process all shards that are not done; return what was done.

        Raises:
            UsageError: No shard could be processed, and this one was refused as a whole.
            DeviceError, ModelError, LibraryError, OutputError: Nothing can be processed.
            KeyboardInterrupt: Ctrl-C was pressed twice.
        """
        started = time.monotonic()
        for number in left_in_order(self._job):
            self._queue.append(Attempts(number, self._retries, partial(self._size, number)))
        while self._running or self._has_more():
            try:
                self._step()
            except KeyboardInterrupt:
                if self._end is not None:
                    raise
                self._stop(ShardResult(0, "interrupted"))
        if isinstance(self._end, VaetoolsError):
            raise self._end
        if self._end is None:
            self._work.refuse_if_nothing_done()
        done = self._job.done_file
        self._work.results += [r for n, r in self._unfinished.items() if not stands(done(n))]
        if self._end is not None:
            self._work.results.append(self._end)
        left = [tried.part.shard for tried in (*self._queue, *self._held, *self._given_up)]
        self._work.missing = sum(not stands(self._job.done_file(number)) for number in left)
        self._work.seconds = time.monotonic() - started
        return self._work

    def _size(self, number: int) -> int:
        return len(files_of(self._job, number))

    def _has_more(self) -> bool:
        """Whether there is a task to hand out; waits for shards of processes that are silent."""
        if self._end is not None:
            return False
        held = [tried.part.shard for tried in self._held]
        if not self._queue and held and soon_free(self._job, held):
            self._queue.extend(self._held)
            self._held.clear()
        return bool(self._queue)

    def _step(self) -> None:
        """Hand out tasks, and deal with those that have ended."""
        limit = IN_FLIGHT * self._executor.slots()
        while self._queue and self._end is None and len(self._running) < limit:
            tried = self._queue.popleft()
            known = attempts(self._job, tried.part.shard)
            self._running[self._executor.submit(tried.part)] = _Task(tried, known)
        interval = self._job.lease / BEATS
        for task in self._executor.wait([*self._running], interval):
            self._settle(self._running.pop(task).tried, self._executor.outcome(task))
        if time.monotonic() - self._checked > interval:
            self._check_leases()
            self._checked = time.monotonic()

    def _check_leases(self) -> None:
        """Abandon the tasks whose process gives no sign of life."""
        for handle, task in [*self._running.items()]:
            shard = task.tried.part.shard
            last = attempts(self._job, shard)
            if last > task.known and self._job.lease < silence(self._job, shard, last) < math.inf:
                del self._running[handle]
                self._executor.abandon(handle)
                self._crashed(task.tried, f"no sign of life for {self._job.lease:g} s")

    def _settle(self, tried: Attempts, outcome: Outcome) -> None:
        """A task has ended."""
        if isinstance(outcome, Crash):
            self._crashed(tried, outcome.reason)
        elif isinstance(outcome, ShardResult):
            self._returned(tried, outcome)
        elif isinstance(outcome, UsageError):
            self._refused(tried, outcome)
        elif isinstance(outcome, Unusable):
            self._stopped(tried, outcome.error.line, outcome.error)
        else:
            self._stopped(tried, outcome.line, outcome)

    def _returned(self, tried: Attempts, result: ShardResult) -> None:
        """A task has a result."""
        if result.state in ("held", "taken over"):
            self._held.append(tried)
        elif result.state == "unfinished":
            self._trouble(f"{result.problem}; tried again")
            self._unfinished[result.shard] = result
            self._held.append(tried)
        elif result.state == "interrupted":  # by us, or its machine is shutting down
            self._crashed(tried, "interrupted")
        elif result.state == "stopped":
            self._stopped(tried, f"{result.problem} on {result.host}", result)
        elif result.state == "given up":
            self._work.results.append(result)
            self._given_up.append(tried)
        elif not tried.ended():
            self._queue.appendleft(tried)
        elif result.state == "done":
            records = [*shard_records(self._job, result.shard, result.attempt)]
            self._work.results.append(_counted(result, records))
            for record in records:
                self._listener.record(record)

    def _refused(self, tried: Attempts, error: UsageError) -> None:
        """A shard cannot be processed as a whole; the others can."""
        self._work.refused.append(error)
        self._given_up.append(tried)

    def _crashed(self, tried: Attempts, reason: str) -> None:
        part = tried.part
        if self._end is not None:
            self._given_up.append(tried)
            return
        try:
            goes_on = tried.crashed(reason)
        except UsageError as error:  # it is to be split, and its list is damaged
            self._refused(tried, error)
            return
        if goes_on:
            self._trouble(f"{part}: {reason}; {_what_next(part, tried.part)}")
            self._queue.appendleft(tried)
        else:
            problem = f"{part}: {reason}; given up after {tried.crashes} attempts"
            self._work.results.append(ShardResult(part.shard, "given up", problem=problem))
            self._given_up.append(tried)

    def _stopped(self, tried: Attempts, reason: str, end: VaetoolsError | ShardResult) -> None:
        """Something stopped a task, such as a full disk; another machine may be able to do it."""
        if self._end is None and tried.stopped():
            self._trouble(f"{tried.part}: {reason}; tried again")
            self._queue.append(tried)
            return
        self._given_up.append(tried)
        self._stop(end)

    def _stop(self, end: VaetoolsError | ShardResult) -> None:
        """Hand out no further tasks, and end those that are running."""
        if self._end is None:
            self._end = end
            self._executor.interrupt([*self._running])

    def _trouble(self, line: str) -> None:
        self._work.retried += 1
        self._listener.trouble(line)


def _counted(result: ShardResult, records: Sequence[Record]) -> ShardResult:
    """The result of a shard with the totals of all its attempts, also of those that were killed."""
    done = [record for record in records if record.status == "done"]
    return replace(
        result,
        counts=Counter(record.status for record in records),
        bytes_in=sum(record.bytes_in for record in done),
        bytes_out=sum(record.bytes_out for record in done),
    )


def _what_next(part: Part, following: Part) -> str:
    if following == part:
        return "tried again"
    if part.is_single:
        return "recorded as failed"
    return "split to find the input"
