"""One operation over many inputs: find, plan, settle, work, report."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from vaetools.errors import NothingMatchedError, OutputError, UsageError
from vaetools.image import SUFFIXES
from vaetools.runner.atomic import is_running, part_stem, sweep
from vaetools.runner.report import reserved
from vaetools.runner.inputs import Choice, Found, discover, in_shard, name_items
from vaetools.runner.journal import FOLDER, Journal
from vaetools.runner.lock import folder_lock
from vaetools.runner.pipeline import Pipeline, unworked
from vaetools.runner.plan import Step, plan, refuse_report, settle, target_of
from vaetools.runner.result import INTERRUPTED, Progress, Record, RunResult
from vaetools.runner.video import run_video
from vaetools.video import video_among

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vaetools.operation import Operation
    from vaetools.runner.settings import RunSettings


def run(
    operation: Operation,
    inputs: Sequence[str | Path],
    settings: RunSettings,
    *,
    on_record: Callable[[Record], None] | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Apply `operation` to files, folders and globs; the tree is mirrored in the output folder.

    An operation that takes nothing has no inputs; the items that it makes stand in their place. A
    video, which must be the only input, is done frame by frame: see `run_video`.

    Inputs are never written to. An output has its name only when it is whole and on the disk; what
    a killed run did is known from the journal, so that the same command goes on where it stopped.

    Args:
        on_record: called with each record as it comes, in this thread.

    Returns:
        All records. A failed input is one of them and not an exception.

    Raises:
        UsageError: an input that is not there, a clash, outputs that are there, inputs for an
            operation that takes nothing: nothing was done.
        NothingMatchedError: no input.
        OutputError: the output folder cannot be written to, or the report.
    """
    video = video_among(inputs) if operation.takes == "image" else None
    if video is not None:
        return run_video(operation, video, settings, on_record=on_record, progress=progress)
    started = time.monotonic()
    journal = _journal(Path(settings.out))
    found = _find(operation, inputs, settings, journal)
    target = target_of(settings.out, one_file=found.one_file)
    if target.file is not None:
        journal = Journal(None)  # nothing is left beside a file that the user named
    steps = plan(operation, found.sources, target)
    refuse_report(steps, settings.report)
    if settings.shard is not None:
        steps = [s for s in steps if in_shard(s.source.relative, settings.shard)]
    with reserved(settings.report), _Listeners(on_record, progress) as tell:
        stopped = _carry_out(operation, steps, settings, journal, tell)
    if not settings.dry_run and target.file is None:
        _keep_failures(target.folder, tell.records, settings.shard)
    unreached = len(steps) - len(tell.records)
    seconds = time.monotonic() - started
    result = RunResult(tuple(tell.records), found.left_alone, unreached, seconds, stopped)
    if settings.report is not None:
        result.page(settings.report)
    return result


def _keep_failures(folder: Path, records: Sequence[Record], shard: tuple[int, int] | None) -> None:
    """What failed in this run, in `.vaetools/failed.ndjson`: it can still be read tomorrow."""
    name = "failed" if shard is None else f"failed-{shard[0]}-of-{shard[1]}"
    path = folder / FOLDER / f"{name}.ndjson"
    lines = [json.dumps(r.as_dict()) + "\n" for r in records if r.status == "failed"]
    try:
        if lines:
            path.write_text("".join(lines), encoding="ascii")
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        problem = f"the list of failures cannot be written: {error.strerror}"
        raise OutputError(problem, file=path) from error


class _Listeners:
    """Called with each record: keeps it and tells it on."""

    def __init__(
        self, on_record: Callable[[Record], None] | None, progress: Progress | None
    ) -> None:
        self.records: list[Record] = []
        self.progress = progress
        self._on_record = on_record

    def __call__(self, record: Record) -> None:
        self.records.append(record)
        if self.progress is not None:
            self.progress.advance(record)
        if self._on_record is not None:
            self._on_record(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress is not None:
            self.progress.close()


def _journal(folder: Path) -> Journal:
    try:
        return Journal(folder)
    except OSError as error:
        raise OutputError(f"its journal cannot be read: {error.strerror}", file=folder) from error


def _find(
    operation: Operation, inputs: Sequence[str | Path], settings: RunSettings, journal: Journal
) -> Found:
    suffixes = tuple(sorted(SUFFIXES if operation.takes == "image" else operation.suffixes))
    made = journal.made_by(operation.name)
    if settings.report is not None:
        made.add(os.path.realpath(settings.report))
    exclude = (*settings.exclude, *operation.never)
    choice = Choice(suffixes, settings.include, exclude, Path(settings.out), made)
    if operation.takes != "nothing":
        found = discover(inputs, choice)
    elif inputs:
        raise UsageError(f"{operation.name} takes no inputs", file=inputs[0])
    else:
        found = name_items(operation.name, operation.items(), choice)
    if not found.sources:
        remedy = f"{found.left_alone:,} other files were left alone" if found.left_alone else None
        kinds = f", of {' '.join(suffixes)}" if suffixes else ""
        raise NothingMatchedError(f"no input matched{kinds}", remedy=remedy)
    return found


def _carry_out(
    operation: Operation,
    steps: Sequence[Step],
    settings: RunSettings,
    journal: Journal,
    tell: _Listeners,
) -> str:
    """Settle the steps and do them; returns why it stopped early, else nothing."""
    if settings.dry_run:
        for step in settle(steps, journal, settings):
            tell(unworked(operation, step))
        return ""
    if journal.folder is not None and not (journal.folder / FOLDER).is_dir():
        # Once without the lock, so that a refusal leaves nothing behind, not even the folder.
        settle(steps, journal, settings)
    with _opened(journal, settings):
        settled = settle(steps, journal, settings)
        _sweep(settled, settings, is_locked=journal.folder is not None)
        if tell.progress is not None:
            tell.progress.start(operation.name, len(settled))
        for step in settled:
            if not step.is_work:
                tell(unworked(operation, step))
        work = [step for step in settled if step.is_work]
        return _drive(Pipeline(operation, work, settings, journal), tell)


@contextmanager
def _opened(journal: Journal, settings: RunSettings) -> Iterator[None]:
    """The output folder locked, and its journal up to date and ready to be written to."""
    if journal.folder is None:
        yield
        return
    with folder_lock(journal.folder / FOLDER, settings.shard), closing(journal):
        try:
            journal.read()
            journal.open(settings.shard)
        except OSError as error:
            problem = f"its journal cannot be written: {error.strerror}"
            raise OutputError(problem, file=journal.folder) from error
        yield


def _sweep(steps: Sequence[Step], settings: RunSettings, *, is_locked: bool) -> None:
    """Remove what dead runs left half-written, in the folders that this run writes to."""
    outputs = [path for step in steps for path in step.outputs]
    mine = {part_stem(path.name) for path in outputs}

    def is_stale(stem: str, pid: int) -> bool:
        if not is_locked:  # someone may be writing just now
            return stem in mine and not is_running(pid)
        return settings.shard is None or stem in mine

    sweep({path.parent for path in outputs}, is_stale)


def _drive(pipeline: Pipeline, tell: Callable[[Record], None]) -> str:
    """Run the pipeline to its end, or to the second Ctrl-C; returns why it stopped early."""
    pipeline.start()
    try:
        _collect(pipeline, tell)
    except BaseException:
        pipeline.stop("stopped by an error")
        pipeline.join()
        raise
    return pipeline.stopped


def _collect(pipeline: Pipeline, tell: Callable[[Record], None]) -> None:
    while True:
        try:
            record = pipeline.next_record()
            if record is None:
                pipeline.join()
                return
            tell(record)
        except KeyboardInterrupt:
            if pipeline.stopped == INTERRUPTED:
                return  # asked twice: what is in flight is left behind, and its names never taken
            pipeline.stop(INTERRUPTED)
