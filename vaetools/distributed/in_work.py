"""Videos and tars in work: they are processed by the process itself, which one of them may end.

Other inputs can be given to worker processes after a crash. For these, an attempt notes which one is in
work, in `journals/NNNNNN.A.work`. The note stays if the process ends, and tells the next attempts
which input it ended at.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from typing import TYPE_CHECKING

from vaetools.distributed.files import read_own
from vaetools.runner.place import open_own
from vaetools.text import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path, PurePosixPath

    from vaetools.distributed.job import Job

MOST_ENDS = 3
"""Processes that may end at a video or tar; then it has failed."""


@contextlib.contextmanager
def noted(path: Path, name: PurePosixPath) -> Iterator[None]:
    """Note an input, until it is done or has failed.

    Args:
        path: The note of an attempt.
        name: Of the input, relative to the root of the job.
    """
    with contextlib.suppress(OSError):  # the input can be processed without
        handle = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(handle, "wb") as file:
            file.write(json.dumps(str(name)).encode("ascii"))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def killers(job: Job, number: int, attempt: int) -> Counter[str]:
    """The inputs of a shard that have ended too many processes, and how many.

    Args:
        job: The job.
        number: Of the shard.
        attempt: The number of this attempt; earlier ones count.
    """
    notes = (_noted_in(job.in_work(number, earlier)) for earlier in range(1, attempt))
    ends = Counter(name for name in notes if name)
    return Counter({name: count for name, count in ends.items() if count >= MOST_ENDS})


def _noted_in(path: Path) -> str:
    """The name in a note; empty if there is none."""
    try:
        name = parse_json(read_own(path))
    except (OSError, ValueError):
        return ""
    return name if isinstance(name, str) else ""
