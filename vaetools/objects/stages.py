"""The stages of a run whose outputs are objects: GET or read, process in memory, PUT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaetools.model.session import usable_cores
from vaetools.runner.job import Work
from vaetools.runner.stages import SkippedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.objects.outputs import Outputs
    from vaetools.operation import Operation
    from vaetools.runner.job import Fetch, Job
    from vaetools.runner.settings import RunSettings

_IO_THREADS = 16
"""Readers and writers, each: they mostly wait for the store."""

BY_ANOTHER = "was done by another run meanwhile"


class ObjectStages:
    """`vaetools.runner.stages.Stages`, in threads of this process.

    Args:
        operation: What is done.
        settings: Of the run.
        outputs: Where results go.
        fetch: The bytes of an input that is an object.
    """

    def __init__(
        self,
        operation: Operation,
        settings: RunSettings,
        outputs: Outputs,
        fetch: Fetch | None,
    ) -> None:
        half = max(settings.memory // 2, 1)
        self.threads: tuple[int, int, int] = (
            _IO_THREADS,
            settings.jobs or usable_cores(),
            _IO_THREADS,
        )
        self.memory: tuple[int, int] = (half, half)
        self._outputs = outputs
        self._may_skip = settings.resume and not settings.force
        self._work = Work(operation, settings, fetch)
        self.expected_size = self._work.expected_size

    def read(self, job: Job) -> int:
        """Read the input, unless another run has done it since this one began."""
        if self._may_skip and self._outputs.was_done(job.planned):
            raise SkippedError(BY_ANOTHER)
        return self._work.read(job)

    def work(self, job: Job, resize: Callable[[int], None]) -> int:  # noqa: ARG002
        """Apply the operation."""
        return self._work.process(job)

    def write(self, job: Job) -> None:
        """Encode the results and write them."""
        contents = zip(job.planned.names, self._work.encode(job), strict=True)
        own = [self._outputs.put(job.planned, name, data) for name, data in contents]
        if not any(own):
            raise SkippedError(BY_ANOTHER)

    def stop(self) -> None:
        """Nothing to do."""

    def close(self, *, abandon: bool = False) -> None:
        """Nothing to do: a request that is given up leaves no object."""
