"""The stages of a run, as `Pipeline` calls them, in the threads of this process."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from vaetools.errors import OutputError
from vaetools.model.session import usable_cores
from vaetools.runner.atomic import publish_files, write_files
from vaetools.runner.job import Work, record_of_done
from vaetools.runner.record import facts_of
from vaetools.runner.settings import time_of_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from vaetools.operation import Operation
    from vaetools.runner.folder import OutputFolder
    from vaetools.runner.job import Fetch, Job
    from vaetools.runner.journal import Journal
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.settings import RunSettings, Times

_MIN_WRITERS = 4
"""Writers mostly wait for the disk."""


class AbandonedError(Exception):
    """The run has been stopped, and an input in work was given up: there is no record of it."""


class SkippedError(Exception):
    """An input need not be processed any more; the text says why."""


class Stages(Protocol):
    """What is done to each input; each method is called by several threads.

    Attributes:
        threads: Number of readers, of workers and of writers.
        memory: Bytes of inputs that were read, and bytes of results that are not written yet.
    """

    threads: tuple[int, int, int]
    memory: tuple[int, int]

    def expected_size(self, item: PlannedItem) -> int:
        """Estimate the bytes that `read` will take."""

    def read(self, job: Job) -> int:
        """The first stage; returns the bytes in memory."""

    def work(self, job: Job, resize: Callable[[int], None]) -> int:
        """The second stage; calls `resize` if the bytes in memory change; returns those of results."""

    def write(self, job: Job) -> None:
        """The last stage."""

    def stop(self) -> None:
        """No further inputs are taken."""

    def close(self, *, abandon: bool = False) -> None:
        """End what was started; with `abandon`, also what is in work."""


class Publisher:
    """Gives outputs their final names, and keeps the journal.

    Args:
        op: Name of the operation.
        journal: The journal of the run.
        folder: The output folder.
        times: See `RunSettings.times`.
    """

    def __init__(
        self, op: str, journal: Journal, folder: OutputFolder, times: Times = "now"
    ) -> None:
        self._op = op
        self._journal = journal
        self._folder = folder
        self._times = times

    def write(self, job: Job, contents: Sequence[bytes]) -> None:
        """Write the outputs of an input. Raises `OutputError` or `ExistsError`."""
        planned = job.planned

        def write(before: Callable[[], None]) -> None:
            write_files(
                list(zip(planned.outputs, contents, strict=True)),
                before=before,
                check=self._journal.check,
                prepare=self._folder.prepare,
                standing=planned.standing,
                mode=planned.source.mode,
                mtime_ns=time_of_outputs(planned.source, self._times),
            )

        self._recorded(job, write)

    def publish(self, job: Job) -> None:
        """Give the temporary files of an input their names. Raises `OutputError` or `ExistsError`."""
        planned = job.planned

        def publish(before: Callable[[], None]) -> None:
            def checked() -> None:
                self._folder.check()
                before()

            check = self._journal.check
            publish_files(job.temporaries, planned.outputs, planned.standing, checked, check)

        self._recorded(job, publish)

    def _recorded(self, job: Job, write: Callable[[Callable[[], None]], None]) -> None:
        planned, written = job.planned, dict(job.facts.written)
        entry = self._journal.entry(
            planned.source, self._op, written, planned.files, job.facts.device
        )
        with output_errors(planned.outputs[0]):
            write(lambda: self._journal.writing(entry))
            self._journal.done(entry, facts_of(record_of_done(job, self._op)))


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` into an `OutputError` about `path`."""
    try:
        yield
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        raise OutputError(problem, file=path) from error


class Threads:
    """The stages in threads of this process.

    Args:
        operation: What is done.
        settings: Of the run.
        publisher: Writes the outputs.
        fetch: See `Work`.
    """

    def __init__(
        self,
        operation: Operation,
        settings: RunSettings,
        publisher: Publisher,
        fetch: Fetch | None = None,
    ) -> None:
        cores = usable_cores()
        readers = min(cores, 8)
        self.threads: tuple[int, int, int] = (
            readers,
            settings.jobs or cores,
            max(readers, _MIN_WRITERS),
        )
        self.memory: tuple[int, int] = (max(settings.memory // 2, 1), max(settings.memory // 2, 1))
        self._work = Work(operation, settings, fetch)
        self._publisher = publisher
        self.expected_size = self._work.expected_size
        self.read = self._work.read

    def work(self, job: Job, resize: Callable[[int], None]) -> int:  # noqa: ARG002
        """Apply the operation."""
        return self._work.process(job)

    def write(self, job: Job) -> None:
        """Encode and write the results."""
        self._publisher.write(job, self._work.encode(job))

    def stop(self) -> None:
        """Nothing to do."""

    def close(self, *, abandon: bool = False) -> None:
        """Nothing to do: threads that are abandoned find the journal closed."""
