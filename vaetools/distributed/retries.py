"""Shards that are tried again: inputs failed because of a machine, not because of their content.

A disk, a network or a memory may be better later, or on another machine. So an attempt with failures
of that kind does not end its shard: the result is kept in `journals/NNNNNN.A.json`, and there is a
further attempt. Other machines may take the shard at once, this one only after a pause. The failures of
the last attempt stay.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from vaetools.distributed.claims import BEATS, attempts, now, owner_of, silence
from vaetools.distributed.files import stands
from vaetools.errors import printable
from vaetools.record import plural
from vaetools.runner.machine import machine_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.distributed.job import Job
    from vaetools.record import Record

MOST_TRIES = 3
"""Attempts with failures because of machines; those of the last one stay."""


def tries(job: Job, number: int, attempt: int) -> int:
    """How many of the attempts at a shard up to this one left it to a further attempt."""
    return sum(stands(job.unfinished_file(number, a)) for a in range(1, attempt + 1))


def problem_of(failures: Sequence[Record]) -> str:
    """What went wrong in an attempt; `failures` are those because of the machine."""
    first = f"{failures[0].code} {failures[0].message}"
    return printable(f"{plural(len(failures), 'input')} failed because of the machine ({first})")


def pause(job: Job, number: int) -> float:
    """Seconds for which this machine leaves a shard to others; 0 if it may take it."""
    attempt = attempts(job, number)
    try:
        failed = job.unfinished_file(number, attempt).stat().st_mtime
    except OSError:
        return 0.0
    owner = owner_of(job, number, attempt)
    if owner is None or owner.machine != machine_id():
        return 0.0
    return min(max(0.0, failed + job.lease / BEATS - now(job.claims)), job.lease / BEATS)


def soon_free(job: Job, numbers: Sequence[int]) -> bool:
    """Wait for a shard that this process may take soon; whether there is one.

    One whose process gives no sign of life is free when the lease is over. One that has failed on this
    machine is free after a pause; if other machines work on the job, it is left to them.

    Args:
        job: The job.
        numbers: Of shards that are not done.
    """
    interval = job.lease / BEATS
    waits: list[float] = []
    elsewhere = False
    for number in numbers:
        age = silence(job, number, attempts(job, number))
        if math.isinf(age):  # it was given back: free, or done, unless it has failed here
            waits.append(pause(job, number))
        elif age > 2 * interval:
            waits.append(interval)
        else:
            elsewhere |= _is_elsewhere(job, number)
    if not waits or (elsewhere and 0 not in waits):
        return False
    time.sleep(min(waits))
    return True


def _is_elsewhere(job: Job, number: int) -> bool:
    """Whether another machine works on a shard."""
    owner = owner_of(job, number, attempts(job, number))
    return owner is not None and owner.machine != machine_id()
