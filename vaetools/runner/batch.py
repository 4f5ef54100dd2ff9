"""Runs over files: each input is read, processed and written on its own, in parallel."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from vaetools.runner.pipeline import Pipeline
from vaetools.runner.record import not_processed
from vaetools.runner.result import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vaetools.operation import Operation
    from vaetools.runner.folder import OutputFolder
    from vaetools.runner.journal import Journal
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.progress import Listeners
    from vaetools.runner.record import Record
    from vaetools.runner.settings import RunSettings


class Batch:
    """Processes files (and generated items) with a pipeline of threads."""

    def __init__(self, operation: Operation, settings: RunSettings) -> None:
        self._operation = operation
        self._settings = settings

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
        pipeline = Pipeline(self._operation, pending, self._settings, journal, folder)
        folder.enter()
        try:
            _collect(pipeline, listeners.finish)
        except BaseException:
            pipeline.stop("stopped by an error")
            pipeline.join()
            raise
        return pipeline.stopped


def _collect(pipeline: Pipeline, emit: Callable[[Record], None]) -> None:
    """Start a pipeline and emit its records until it ends, or until the second Ctrl-C."""
    # In a thread, since Ctrl-C must not leave the pipeline with half of its threads.
    starter = threading.Thread(target=pipeline.start, name="vaetools start", daemon=True)
    while True:
        try:
            if starter.ident is None:
                starter.start()
            record = pipeline.next_record()
            if record is None:
                pipeline.join()
                return
            emit(record)
        except KeyboardInterrupt:
            if pipeline.stopped == INTERRUPTED:
                return  # inputs in work are abandoned; their outputs never get their final names
            pipeline.stop(INTERRUPTED)
