"""Dry runs: what a run would do, which inputs are broken, and about how long it would take.

Every input is read, but not decoded. A sample of them is processed in memory, for the estimate.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vaetools.model.session import usable_cores
from vaetools.runner.fault import fault_of
from vaetools.runner.job import Job, Work
from vaetools.runner.output import check_input
from vaetools.runner.record import failed, failure, not_processed
from vaetools.runner.result import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import PurePosixPath

    from vaetools.operation import Operation
    from vaetools.record import Record
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.progress import Listeners
    from vaetools.runner.settings import RunSettings

SAMPLES = 8
"""Inputs that are processed for the estimate; twice as many as there are jobs if that is more."""

MOST_SAMPLES = 32

SECONDS = 10.0
"""No further sample is begun if it would probably end after this time."""


@dataclass
class _Trial:
    """An input that would be processed; size is in pixels, or in bytes if it is not an image."""

    item: PlannedItem
    record: Record
    size: int
    seconds: float = 0.0
    bytes_out: int = 0
    is_done: bool = False


class DryRun:
    """Looks at the inputs of a run and processes a sample of them; writes nothing.

    Args:
        operation: What would be done.
        settings: Of the run.
        unread: Relative paths of inputs that are not looked into: videos.
    """

    def __init__(
        self, operation: Operation, settings: RunSettings, unread: AbstractSet[PurePosixPath]
    ) -> None:
        self._operation = operation
        self._settings = settings
        self._unread = unread
        self._work = Work(operation, settings)
        self._jobs = settings.jobs or usable_cores()
        self._stopped = ""

    def run(
        self, items: Sequence[PlannedItem], listeners: Listeners
    ) -> tuple[Estimate | None, list[str]]:
        """Pass on a record of each item.

        Returns:
            The estimate, if a sample could be processed; and what would stop the run at its start.
        """
        trials = [_Trial(item, *self._preview(item)) for item in items]
        possible = [trial for trial in trials if trial.size > 0]
        self._try(possible)
        for trial in trials:
            listeners.add(trial.record)
        return self._estimate(possible), [self._stopped] if self._stopped else []

    def _preview(self, item: PlannedItem) -> tuple[Record, int]:
        """The record of an item, and its size; 0 if it is not to be tried."""
        source, size = item.source, 0
        if item.is_pending and source.relative not in self._unread:
            try:
                size = (
                    check_input(self._operation, source.path, self._settings) if source.real else 1
                )
            except Exception as error:  # noqa: BLE001 - as in the pipeline
                return failure(item, self._operation.name, error), 0
        return not_processed(item, self._operation.name), size

    def _try(self, trials: Sequence[_Trial]) -> None:
        """Process a sample: inputs of all sizes, always the same ones."""
        ordered = sorted(trials, key=lambda trial: (trial.size, str(trial.item.source.relative)))
        count = min(len(ordered), max(SAMPLES, 2 * self._jobs), MOST_SAMPLES)
        if not count:
            return
        deadline = time.monotonic() + SECONDS
        chosen = [ordered[int((i + 0.5) * len(ordered) / count)] for i in range(count)]
        first = chosen[0]
        self._process(first)  # opens the model
        if first.is_done and len(chosen) > 1 and time.monotonic() + first.seconds < deadline:
            self._process(first)
        rate = first.seconds / first.size

        def attempt(trial: _Trial) -> None:
            if time.monotonic() + rate * trial.size < deadline and not self._stopped:
                self._process(trial)

        with ThreadPoolExecutor(min(self._jobs, count)) as pool:
            list(pool.map(attempt, chosen[1:]))

    def _process(self, trial: _Trial) -> None:
        job, started = Job(trial.item), time.perf_counter()
        try:
            self._work.read(job)
            self._work.process(job)
            trial.bytes_out = sum(map(len, self._work.encode(job)))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, even SystemExit
            self._fail(trial, error)
            return
        trial.seconds, trial.is_done = time.perf_counter() - started, True
        facts: dict[str, Any] = {"ms": round(trial.seconds * 1000, 3), "device": job.facts.device}
        trial.record = replace(trial.record, bytes_out=trial.bytes_out, **facts)

    def _fail(self, trial: _Trial, error: BaseException) -> None:
        fault = fault_of(error, trial.item.source.path)
        if fault.stops:
            self._stopped = f"{fault.code} {fault.message}"
        op, transient = self._operation.name, fault.transient
        trial.record = failed(trial.item, op, fault.code, fault.message, 0.0, transient=transient)

    def _estimate(self, trials: Sequence[_Trial]) -> Estimate | None:
        done = [trial for trial in trials if trial.is_done]
        if not done or self._stopped:
            return None
        planned = [trial for trial in trials if trial.record.status == "planned"]
        factor = sum(trial.size for trial in planned) / sum(trial.size for trial in done)
        at_once = min(self._jobs, len(planned))
        seconds = factor * sum(trial.seconds for trial in done) / at_once
        bytes_out = round(factor * sum(trial.bytes_out for trial in done))
        return Estimate(seconds, bytes_out, len(done), len(planned))
