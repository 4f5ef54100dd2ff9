"""A run: find the inputs, plan the outputs, resolve existing ones, process, report."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.errors import OutputError, UsageError, VaetoolsError
from vaetools.libraries import check_library
from vaetools.runner.archive import is_tar
from vaetools.runner.atomic import Temporary, remove_stale, temporary_stem, write_files
from vaetools.runner.batch import Batch
from vaetools.runner.described import described
from vaetools.runner.dry import DryRun
from vaetools.runner.filesystem import is_shared
from vaetools.runner.folder import OutputFolder
from vaetools.runner.inputs import in_shard, same_file
from vaetools.runner.journal import Journal
from vaetools.runner.lock import folder_lock
from vaetools.runner.plan import plan, refuse_report, resolve_existing, target_of
from vaetools.runner.progress import Listeners
from vaetools.runner.prune import Prune, check_prune
from vaetools.runner.report import reserved
from vaetools.runner.result import PRUNING, Estimate, RunResult
from vaetools.runner.settings import work_key
from vaetools.runner.single import FileJournal
from vaetools.runner.sources import find_inputs, refuse_local_only
from vaetools.runner.tar import Tars, is_member_operation, tar_output
from vaetools.runner.video import Video, video_output
from vaetools.video import is_video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import PurePath, PurePosixPath

    from vaetools.operation import Operation
    from vaetools.record import Record
    from vaetools.report.previews import Decode
    from vaetools.runner.filelist import FileList
    from vaetools.runner.inputs import Elsewhere, Source
    from vaetools.runner.job import Fetch
    from vaetools.runner.place import Place, Shard
    from vaetools.runner.plan import PlannedItem, Target
    from vaetools.runner.progress import Progress
    from vaetools.runner.settings import RunSettings
    from vaetools.runner.share import Share


FOREIGN_AGE = 3600.0
"""Seconds without a write after which a temporary file of another machine is stale for certain."""


class Files:
    """The inputs of a run: images, and other files, in parallel; then videos and tars, one by one.

    Raises:
        UsageError: There are videos, and the operation does not return one image for an image. There
            are tars, and an option names a file for each image. There are to be worker processes, and
            the operation cannot be sent to them.
        OptionError: There are videos, and OUT or the codec is of no known kind.

    Attributes:
        videos: Paths of the inputs that are videos, relative to the input folder.
        tars: The same of tars.
    """

    def __init__(
        self,
        operation: Operation,
        settings: RunSettings,
        target: Target,
        sources: Sequence[Source],
        fetch: Fetch | None = None,
    ) -> None:
        self._operation = operation
        self._settings = settings
        self._target = target
        self._sources = sources
        is_taken = operation.takes == "image"
        self.videos: set[PurePosixPath] = {
            s.relative for s in sources if is_taken and is_video(s.relative)
        }
        has_members = is_member_operation(operation)
        self.tars: set[PurePosixPath] = {
            s.relative for s in sources if has_members and is_tar(s.relative)
        }
        self._video = Video(operation, settings, target) if self.videos else None
        self._tars = Tars(operation, settings) if self.tars else None
        self._batch = Batch(operation, settings, fetch)

    def plan(self) -> list[PlannedItem]:
        """Name the outputs of all inputs, and refuse what cannot be done; see `plan`."""
        items = plan(
            self._operation,
            self._sources,
            self._target,
            outputs=self._outputs,
            to=self._settings.to,
            quality_out=self._settings.quality_out,
        )
        if self._tars is None:
            return items
        tars = self._tars
        return [tars.with_choice(i) if i.source.relative in self.tars else i for i in items]

    @property
    def extra(self) -> int:
        """Number of records that are about members of tars."""
        return 0 if self._tars is None else self._tars.extra

    def _outputs(self, source: PurePosixPath) -> Sequence[PurePath]:
        if source in self.videos:
            return (video_output(source, self._target),)
        if source in self.tars:
            return (tar_output(source),)
        return self._operation.outputs(source)

    def preview(
        self, items: Sequence[PlannedItem], listeners: Listeners
    ) -> tuple[Estimate | None, list[str]]:
        """Say what a run would do with the items; see `DryRun.run`."""
        if self._tars is not None:
            tars = self._tars
            items = [tars.checked(i) if i.source.relative in self.tars else i for i in items]
        unread = self.videos | self.tars
        return DryRun(self._operation, self._settings, unread).run(items, listeners)

    def process(
        self,
        items: Sequence[PlannedItem],
        folder: OutputFolder,
        journal: Journal,
        listeners: Listeners,
    ) -> str:
        """Process all pending items; return why the run stopped early, or an empty string."""
        videos = [item for item in items if item.source.relative in self.videos]
        tars = [item for item in items if item.source.relative in self.tars]
        apart = self.videos | self.tars
        others = [item for item in items if item.source.relative not in apart]
        stopped = ""
        if others:
            stopped = self._batch.process(others, folder, journal, listeners)
        if self._video is not None and not stopped:
            stopped = self._video.process(videos, folder, journal, listeners)
        if self._tars is not None and not stopped:
            stopped = self._tars.process(tars, folder, journal, listeners)
        return stopped


def run(
    operation: Operation,
    inputs: Sequence[str | Path] | FileList,
    settings: RunSettings,
    *,
    fingerprint: str = "",
    elsewhere: Elsewhere | None = None,
    share: Share | None = None,
    on_record: Callable[[Record], None] | None = None,
    progress: Progress | None = None,
    decode: Decode | None = None,
) -> RunResult:
    """Apply an operation to files, folders and globs; output folders mirror input folders.

    Inputs are never written to. An output appears under its name only when it is complete and on
    disk. The journal in the output folder lists what is completed: after a crash the same run
    continues where it stopped. Videos are processed frame by frame, and tars member by member, after
    the images.

    Args:
        operation: The operation, with its model and options.
        inputs: Files, folders and glob patterns, or a list of files; empty for an operation without
            inputs, whose generated items take their place, and if `settings.files_from` is set.
        settings: Options of the run.
        fingerprint: Identifies the operation, its options and its model. Inputs that were completed
            with another fingerprint are processed again.
        elsewhere: Where all inputs are, if they are not files of this machine.
        share: The share of a job that this run is.
        on_record: Called with each record when an input is finished, in the calling thread.
        progress: A progress display.
        decode: For previews in the report; see `RunResult.write_report`.

    Returns:
        All records. An input that fails is one of them; it does not raise an exception.

    Raises:
        UsageError: An input that does not exist, outputs that clash or exist, inputs for an
            operation without inputs. Nothing was done.
        NothingMatchedError: No input was found.
        OutputError: The output folder cannot be written to. A report that fails after the work is
            in `RunResult.problems` instead.
        LibraryError: A library that the operation needs cannot be imported.
    """
    started = time.monotonic()
    work = work_key(fingerprint, settings)
    journal = read_journal(settings, work, share)
    found = find_inputs(operation, inputs, settings, journal, elsewhere)
    target = target_of(settings.out, one_file=found.one_file)
    if elsewhere is not None:
        refuse_local_only(operation, found.sources)
    fetch = None if elsewhere is None else elsewhere.fetch
    files = Files(operation, settings, target, found.sources, fetch)
    if target.file is not None:
        if settings.journal is not None:
            raise UsageError("a single output file has no journal", file=settings.out)
        # An output file is all that is written to the folder then.
        is_long = files.videos or files.tars
        journal = FileJournal(target.folder / target.file, work) if is_long else Journal(None)
    check_prune(settings, found, journal)
    items = files.plan()
    refuse_report(items, settings.report)
    prune = Prune(operation.name, settings, found, items, journal) if settings.prune else None
    if settings.shard is not None:
        items = [item for item in items if in_shard(item.source.relative, settings.shard)]
    folder = OutputFolder(target.folder)
    with reserved(settings.report), Listeners(on_record, progress) as listeners:
        outcome = _process(
            files, operation, items, settings, folder, journal, listeners, share, prune
        )
    records, problems = tuple(listeners.records), outcome.problems
    if journal.place is not None and share is None and not settings.dry_run:
        problems += write_failures(journal.place, records, settings.shard, folder)
    reached = sum(record.status not in PRUNING for record in records) - files.extra
    unreached = len(items) - reached
    seconds = time.monotonic() - started
    result = RunResult(
        records,
        found.left_alone,
        unreached,
        seconds,
        outcome.stopped,
        tuple(problems),
        found.other_kinds,
        described(operation, settings),
        outcome.estimate,
    )
    return result if settings.report is None else with_report(result, settings.report, decode)


@dataclass(frozen=True)
class _Outcome:
    """How the work of a run ended.

    Attributes:
        stopped: Why it stopped early; otherwise empty.
        problems: What went wrong besides inputs.
        estimate: Of a dry run.
    """

    stopped: str = ""
    problems: list[str] = field(default_factory=list)
    estimate: Estimate | None = None


def with_report(result: RunResult, path: str | Path, decode: Decode | None) -> RunResult:
    """Write the report; the result says so if that fails, for its records must not be lost."""
    try:
        result.write_report(path, decode=decode)
    except VaetoolsError as error:
        return dataclasses.replace(result, problems=(*result.problems, error.line))
    return result


def read_journal(settings: RunSettings, work: str, share: Share | None = None) -> Journal:
    """The journal of a run. Raises `OutputError` and `UsageError`."""
    folder = Path(settings.out)
    kept_in = None if settings.journal is None else Path(settings.journal)
    if kept_in is not None and same_file(kept_in, folder):
        kept_in = None
    try:
        return Journal(folder, work, kept_in, share)
    except OSError as error:
        raise OutputError(f"its journal cannot be read: {error.strerror}", file=folder) from error


def _process(
    files: Files,
    operation: Operation,
    items: Sequence[PlannedItem],
    settings: RunSettings,
    folder: OutputFolder,
    journal: Journal,
    listeners: Listeners,
    share: Share | None,
    prune: Prune | None,
) -> _Outcome:
    """Resolve existing outputs, process the rest, and prune."""
    if settings.dry_run:
        estimate, problems = files.preview(resolve_existing(items, journal, settings), listeners)
        if prune is not None:
            problems += _pruned(prune.preview(), listeners)
        return _Outcome(estimate=estimate, problems=problems)
    if journal.place is not None and not os.path.lexists(journal.place.lock(None)):
        # Once before locking creates files, so that a refused run leaves nothing behind.
        check_libraries(operation, resolve_existing(items, journal, settings))
    with locked(journal, settings):
        resolved = resolve_existing(items, journal, settings)
        check_libraries(operation, resolved)
        if share is None or share.earlier:  # listing a large OUT for each share takes time
            remove_left_behind(resolved, settings, journal.place, share)
        journal.describe(described(operation, settings))
        stopped = files.process(resolved, folder, journal, listeners)
        if prune is None or stopped:
            return _Outcome(stopped)
        return _Outcome(problems=_pruned(prune.remove(folder), listeners))


def _pruned(records: Iterator[Record], listeners: Listeners) -> list[str]:
    """Pass on the records of a pruning; return why it ended early, if it did."""
    try:
        for record in records:
            listeners.add(record)
    except OutputError as error:
        return [error.line]
    return []


def check_libraries(operation: Operation, items: Sequence[PlannedItem]) -> None:
    """Raise `LibraryError` now, not for every input, if there is work that a library is missing for."""
    if any(item.is_pending for item in items):
        for name in ("cv2", "PIL", *(("onnxruntime",) if operation.opened else ())):
            check_library(name)


@contextmanager
def locked(journal: Journal, settings: RunSettings) -> Iterator[None]:
    """Lock the output folder, and open its journal for writing."""
    if journal.place is None:
        yield
        return
    with folder_lock(journal.place, settings.shard), closing(journal):
        try:
            journal.read()
            journal.open(settings.shard)
        except OSError as error:
            problem = f"its journal cannot be written: {error.strerror}"
            raise OutputError(problem, file=journal.place.folder) from error
        yield


def remove_left_behind(
    items: Sequence[PlannedItem],
    settings: RunSettings,
    place: Place | None,
    share: Share | None = None,
) -> None:
    """Remove temporary files of killed runs from the folders that this run writes to.

    A process of this machine that is alive may be writing to them: another shard, or a run whose OUT
    lies in this one. So only what this run alone may write, under its lock, is removed in any case.
    """
    paths = [path for item in items for path in item.outputs]
    if place is not None:
        paths += [place.journal(settings.shard), place.failures(settings.shard)]
    own = {(path.parent, temporary_stem(path.name)) for path in paths}
    is_alone = place is not None and settings.shard is None and share is None
    newest = -math.inf if place is None else _newest_stale(place)

    def is_stale(temporary: Temporary) -> bool:
        is_own = (temporary.folder, temporary.stem) in own
        if temporary.is_local:
            is_unused = temporary.is_abandoned or (is_own and is_alone)
        else:
            is_unused = temporary.modified <= newest
        return is_unused and (is_own or is_alone)

    remove_stale({path.parent for path in paths}, is_stale)


def _newest_stale(place: Place) -> float:
    """Temporary files of other machines that are newer than this may still be in use."""
    if not is_shared(place.out):
        return math.inf  # the lock says that they are not
    with contextlib.suppress(OSError):
        os.utime(place.lock(None))
        return place.lock(None).stat().st_mtime - FOREIGN_AGE
    return -math.inf


def write_failures(
    place: Place, records: Sequence[Record], shard: Shard | None, out: OutputFolder
) -> list[str]:
    """Write the records of failed inputs to their list; return what went wrong."""
    path = place.failures(shard)
    lines = [json.dumps(r.as_dict()) + "\n" for r in records if r.status == "failed"]
    try:
        if place.kept_in is None:
            out.check()
        if lines:
            write_files([(path, "".join(lines).encode("ascii"))], prepare=lambda _: None)
        else:
            path.unlink(missing_ok=True)
        if shard is None:  # all inputs were looked at: lists of earlier shards say nothing new
            for other in path.parent.glob(".vaetools.failed.*.ndjson"):
                other.unlink(missing_ok=True)
    except (OSError, OutputError) as error:
        reason = error.problem if isinstance(error, OutputError) else error.strerror
        problem = f"the list of failures cannot be written: {reason}"
        return [OutputError(problem, file=path).line]
    return []
