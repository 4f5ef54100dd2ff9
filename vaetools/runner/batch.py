"""Runs over files: each input is read, processed and written on its own, in parallel."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from vaetools.errors import UsageError
from vaetools.model.session import usable_cores
from vaetools.runner.job import device_of
from vaetools.runner.pipeline import Pipeline
from vaetools.runner.processes import Processes, pickled
from vaetools.runner.record import not_processed
from vaetools.runner.result import INTERRUPTED
from vaetools.runner.stages import Publisher, Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vaetools.operation import Operation
    from vaetools.record import Record
    from vaetools.runner.folder import OutputFolder
    from vaetools.runner.job import Fetch
    from vaetools.runner.journal import Journal
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.progress import Listeners
    from vaetools.runner.settings import RunSettings
    from vaetools.runner.stages import Stages


MANY = 100
"""Inputs from which `workers="auto"` starts processes on a GPU: it takes seconds to open models."""


class Batch:
    """Processes files with a pipeline of threads, of this process or of worker processes.

    Args:
        operation: What is done.
        settings: Of the run.
        fetch: See `vaetools.runner.job.Work`.

    Raises:
        UsageError: There are to be worker processes, and the operation cannot be sent to them.
    """

    def __init__(
        self, operation: Operation, settings: RunSettings, fetch: Fetch | None = None
    ) -> None:
        self._operation = operation
        self._settings = settings
        self._fetch = fetch
        if settings.workers not in ("auto", 0):
            pickled(operation)  # an error now, before anything is done

    def process(
        self,
        items: Sequence[PlannedItem],
        folder: OutputFolder,
        journal: Journal,
        listeners: Listeners,
    ) -> str:
        """Process all pending items; return why the run stopped early, or an empty string."""
        op = self._operation.name
        listeners.start(op, len(items))
        for item in items:
            if not item.is_pending:
                listeners.finish(not_processed(item, op))
        pending = [item for item in items if item.is_pending]
        folder.enter()
        stages = self._stages(
            len(pending), folder, Publisher(op, journal, folder, self._settings.times)
        )
        return run_pipeline(Pipeline(op, pending, stages, folder), listeners.finish)

    def _stages(self, count: int, folder: OutputFolder, publisher: Publisher) -> Stages:
        operation, settings = self._operation, self._settings
        data = None
        if self._fetch is None and (processes := self._processes(count)):
            with contextlib.suppress(UsageError):  # then threads will do
                data = pickled(operation)
        if data is None:
            return Threads(operation, settings, publisher, self._fetch)
        # While one input waits for the GPU, another one uses the core.
        jobs = 2 if self._on_gpu() else -(-usable_cores() // processes)
        return Processes(data, operation.takes, settings, folder, publisher, processes, jobs)

    def _processes(self, count: int) -> int:
        """Number of worker processes for `count` inputs."""
        wanted = self._settings.workers
        if wanted == "auto":
            wanted = usable_cores() if count >= MANY and self._on_gpu() else 0
        return min(wanted, self._settings.jobs or wanted, count)

    def _on_gpu(self) -> bool:
        try:
            return device_of(self._operation) not in (None, "cpu")
        except Exception:  # noqa: BLE001 - each input will say what is wrong
            return False


def run_pipeline(pipeline: Pipeline, emit: Callable[[Record], None]) -> str:
    """Emit the records of a pipeline until it ends; return why it stopped early, or nothing."""
    is_complete = False
    try:
        is_complete = _collect(pipeline, emit)
    except BaseException:
        pipeline.stop("stopped by an error")
        pipeline.join()
        is_complete = True
        raise
    finally:
        pipeline.stages.close(abandon=not is_complete)
    return pipeline.stopped


def _collect(pipeline: Pipeline, emit: Callable[[Record], None]) -> bool:
    """Start a pipeline and emit its records until it ends, or until the second Ctrl-C.

    Returns:
        Whether it has ended. If not, inputs in work are abandoned; their outputs never get their
        final names.
    """
    # In a thread, since Ctrl-C must not leave the pipeline with half of its threads.
    starter = threading.Thread(target=pipeline.start, name="vaetools start", daemon=True)
    while True:
        try:
            if starter.ident is None:
                starter.start()
            record = pipeline.next_record()
            if record is None:
                pipeline.join()
                return True
            emit(record)
        except KeyboardInterrupt:
            if pipeline.stopped == INTERRUPTED:
                return False
            pipeline.stop(INTERRUPTED)
