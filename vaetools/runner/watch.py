"""A run that does not end: files of folders are processed as they arrive.

The folders are listed again and again, which works on every file system, network folders among them.
The journal, the rules for names and outputs, and the records are those of any run.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from vaetools.errors import (
    EXIT_DONE,
    EXIT_SOME_FAILED,
    OptionError,
    OutputError,
    UsageError,
    VaetoolsError,
)
from vaetools.model.limits import LONGEST_SLEEP
from vaetools.record import format_bytes, format_seconds
from vaetools.runner.archive import is_tar
from vaetools.runner.arrivals import Arrivals, is_unfinished_name, leases_allowed
from vaetools.runner.claimed import Claimed
from vaetools.runner.described import described
from vaetools.runner.folder import OutputFolder
from vaetools.runner.inputs import discover, in_shard
from vaetools.runner.plan import PlannedItem, clash_error, resolve_existing, target_of
from vaetools.runner.progress import Listeners
from vaetools.runner.record import failure
from vaetools.runner.result import INTERRUPTED, RunResult
from vaetools.runner.runner import (
    Files,
    check_libraries,
    locked,
    read_journal,
    remove_left_behind,
    write_failures,
)
from vaetools.runner.settings import work_key
from vaetools.runner.sources import wanted_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from vaetools.operation import Operation
    from vaetools.record import Record
    from vaetools.runner.inputs import Source
    from vaetools.runner.settings import RunSettings

INTERVAL = 2.0
"""Seconds between two looks at the folders."""

MOST_LOOKING = 0.2
"""Share of the time that is spent on looking: large folders are looked at less often."""


@dataclasses.dataclass
class WatchResult:
    """The outcome of watching: totals, since the records may be too many to keep.

    Attributes:
        counts: Number of records by status. An input that changed has several.
        bytes_in: Total size of the inputs that are done, in bytes.
        bytes_out: Total size of their outputs, in bytes.
        unchanged: Number of inputs with nothing to change; their outputs are copies.
        not_kept: What metadata of inputs no output has, and for how many inputs.
        failures: The records of the inputs that failed and have not succeeded since.
        waiting: Number of inputs that were not complete at the last look.
        seconds: Wall time in seconds.
        stopped: Why it ended, such as `interrupted`; empty if the caller ended it.
        problems: One line for each thing beside the inputs that failed.
    """

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    bytes_in: int = 0
    bytes_out: int = 0
    unchanged: int = 0
    not_kept: Counter[str] = dataclasses.field(default_factory=Counter)
    failed: dict[str, Record] = dataclasses.field(default_factory=dict)
    waiting: int = 0
    seconds: float = 0.0
    stopped: str = ""
    problems: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[Record, ...]:
        """The records of the inputs that failed and have not succeeded since."""
        return tuple(self.failed.values())

    @property
    def exit_code(self) -> int:
        """Exit code, as that of a run: see `RunResult.exit_code`."""
        if self.stopped:
            return RunResult((), stopped=self.stopped).exit_code or EXIT_SOME_FAILED
        return EXIT_SOME_FAILED if self.failed or self.problems else EXIT_DONE

    @property
    def summary(self) -> str:
        """One line, such as `12 done, 1 failed, 8.1 MB -> 710 kB, watched for 4:22`."""
        counts = {"done": self.counts["done"], "failed": len(self.failed)}
        counts |= {"skipped": self.counts["skipped"], "not complete": self.waiting}
        parts = [f"{n:,} {what}" for what, n in counts.items() if n or what == "done"]
        if self.unchanged:
            parts.append(f"{self.unchanged:,} of {counts['done']:,} unchanged, copied")
        if self.counts["done"]:
            parts.append(f"{format_bytes(self.bytes_in)} -> {format_bytes(self.bytes_out)}")
        parts.append(f"watched for {format_seconds(self.seconds)}")
        stopped = [self.stopped, "run the same command again to go on"] if self.stopped else []
        return "; ".join([", ".join(parts), *stopped])

    def add(self, record: Record) -> None:
        """Count a record."""
        self.counts[record.status] += 1
        if record.status == "failed":
            self.failed[record.file] = record
            return
        self.failed.pop(record.file, None)
        if record.status == "done" and is_tar(record.file):
            members = [file for file in self.failed if file.startswith(f"{record.file}/")]
            for file in members:
                self.failed.pop(file)
        if record.status == "done":
            self.bytes_in += record.bytes_in
            self.bytes_out += record.bytes_out
            self.unchanged += record.unchanged
            self.not_kept.update(record.not_kept)


def watch(
    operation: Operation,
    inputs: Sequence[str | Path],
    settings: RunSettings,
    *,
    fingerprint: str = "",
    interval: float = INTERVAL,
    on_record: Callable[[Record], None] | None = None,
    on_problem: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> WatchResult:
    """Apply an operation to the files of folders, and to those that arrive, until it is stopped.

    An input that fails is tried again when it changes. What would stop a run also ends this: a full
    disk, an output folder that was moved, a model that does not work.

    Args:
        operation: The operation, with its model and options.
        inputs: Folders; files and glob patterns are looked for again and again, too.
        settings: Options of the run; `out` is a folder.
        fingerprint: As for `run`.
        interval: Seconds between two looks at the folders. A file is complete if it did not change
            between two looks.
        on_record: Called with each record, in the calling thread.
        on_problem: Called with one line if a folder cannot be found any more.
        stop: Ends the watching when it is set; inputs in work are finished. So does Ctrl-C.

    Raises:
        OptionError: The interval is no positive number.
        UsageError: An input that does not exist, an operation without inputs, a setting that has no
            effect here, or another run that is writing to the output folder.
        OutputError: The output folder cannot be written to.
        LibraryError: A library that the operation needs cannot be imported.
    """
    _check(operation, inputs, settings, interval)
    started, stop = time.monotonic(), stop or threading.Event()
    result = WatchResult()
    watcher = _Watcher(operation, inputs, settings, fingerprint, result, on_record)
    watcher.find()  # an input that does not exist is an error now
    check_libraries(operation, ())
    try:
        with locked(watcher.journal, settings), leases_allowed():
            watcher.loop(interval, stop, on_problem or (lambda _: None))
    except KeyboardInterrupt:
        result.stopped = INTERRUPTED
    result.waiting = watcher.arrivals.waiting
    result.seconds = time.monotonic() - started
    return result


def _check(
    operation: Operation, inputs: Sequence[str | Path], settings: RunSettings, interval: float
) -> None:
    if operation.takes == "nothing" or not inputs:
        raise UsageError(f"{operation.name} has no folder to watch")
    if not 0 < interval <= LONGEST_SLEEP:
        raise OptionError(f"interval={interval!r} is not above 0 and at most {LONGEST_SLEEP:,.0f}")
    for name in ("dry_run", "prune", "files_from"):
        if getattr(settings, name):
            raise UsageError(f"{name} has no effect on a watched folder", remedy="leave it out")
    if settings.report is not None:
        remedy = "vaetools report OUT writes it at any time"
        raise UsageError("there is no report of a watched folder", remedy=remedy)


class _Watcher:
    """The state of a watched folder."""

    def __init__(
        self,
        operation: Operation,
        inputs: Sequence[str | Path],
        settings: RunSettings,
        fingerprint: str,
        result: WatchResult,
        on_record: Callable[[Record], None] | None,
    ) -> None:
        self._operation = operation
        self._inputs = inputs
        self._settings = settings
        self._result = result
        self._on_record = on_record
        self._target = target_of(settings.out, one_file=False)
        self._folder = OutputFolder(self._target.folder)
        self._cleaned: set[Path] = set()
        self.journal = read_journal(settings, work_key(fingerprint, settings))
        self.arrivals = Arrivals(operation)
        self._claimed = Claimed()
        self._present: list[Source] = []

    def find(self) -> list[Source]:
        """All inputs that there are now. Raises `UsageError` if a folder does not exist."""
        wanted = wanted_files(self._operation, self._settings, self.journal)
        sources = discover(self._inputs, wanted).sources
        shard = self._settings.shard
        return [
            source
            for source in sources
            if not is_unfinished_name(source.relative)
            and (shard is None or in_shard(source.relative, shard))
        ]

    def loop(
        self, interval: float, stop: threading.Event, on_problem: Callable[[str], None]
    ) -> None:
        """Look, process, wait."""
        self._folder.check()
        self.journal.describe(described(self._operation, self._settings))
        problem = ""
        while not self._result.stopped and not stop.is_set():
            started, ready = time.monotonic(), []
            try:
                self._present = self.find()
                self._claimed.keep(self._present)
                ready = self.arrivals.complete(self._present)
                problem = ""
            except UsageError as error:  # an input is gone: a drive that was unmounted, for example
                if problem != error.line:
                    on_problem(error.line)
                problem = error.line
            looked = time.monotonic() - started
            if ready:
                self._process(ready)
            if ready and not self._folder.is_lost:
                self._write_failures()
            if not self._result.stopped:
                stop.wait(max(interval, looked / MOST_LOOKING))

    def _process(self, sources: Sequence[Source]) -> None:
        """Process inputs; one that cannot be planned, such as a clash of names, fails alone."""
        try:
            files = Files(self._operation, self._settings, self._target, sources)
            planned = self._without_clashes(files.plan())
            sources = [item.source for item in planned]
            items = resolve_existing(planned, self.journal, self._settings)
        except VaetoolsError as error:
            if len(sources) == 1:
                self._add(failure(PlannedItem(sources[0]), self._operation.name, error))
                return
            for part in (sources[: len(sources) // 2], sources[len(sources) // 2 :]):
                if not self._result.stopped:
                    self._process(part)
            return
        if not items:
            return
        self._clean(items)
        try:
            self._folder.check()
        except OutputError as error:
            self._result.stopped = f"stopped because {error.problem}"
            return
        with Listeners(self._add, None) as listeners:
            self._result.stopped = files.process(items, self._folder, self.journal, listeners)
        self.journal.read()

    def _without_clashes(self, items: Sequence[PlannedItem]) -> list[PlannedItem]:
        """The items without those whose output belongs to another input, which fail."""
        free: list[PlannedItem] = []
        for item in items:
            clash = self._claimed.clash(item) or self._recorded_clash(item)
            if clash is None:
                self._claimed.add(item)
                free.append(item)
            else:
                first, path = clash
                error = clash_error(first, path, item, more=0, operation=self._operation)
                self._add(failure(item, self._operation.name, error))
        return free

    def _recorded_clash(self, item: PlannedItem) -> tuple[PlannedItem, Path] | None:
        """As `Claimed.clash`, for an output that an earlier run made from an input still present."""
        for name, path in zip(item.names, item.outputs, strict=True):
            maker = self.journal.source_of(name)
            real = "" if maker is None else os.path.realpath(maker)
            if real in ("", item.source.real):
                continue
            others = [source for source in self._present if source.real == real]
            for other in Files(self._operation, self._settings, self._target, others).plan():
                if name in other.names:
                    return other, path
        return None

    def _clean(self, items: Sequence[PlannedItem]) -> None:
        """Remove what killed runs left, once in each folder."""
        new = [i for i in items if not {path.parent for path in i.outputs} <= self._cleaned]
        if new:
            remove_left_behind(new, self._settings, self.journal.place)
            self._cleaned |= {path.parent for item in new for path in item.outputs}

    def _add(self, record: Record) -> None:
        self._result.add(record)
        if self._on_record is not None:
            self._on_record(record)

    def _write_failures(self) -> None:
        place = self.journal.place
        if place is not None:
            problems = write_failures(
                place, self._result.failures, self._settings.shard, self._folder
            )
            self._result.problems = tuple(dict.fromkeys([*self._result.problems, *problems]))
