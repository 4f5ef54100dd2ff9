"""One shard of a job at a time: what every engine calls."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import platform
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from vaetools.distributed.claims import Claim, take
from vaetools.distributed.files import read_own, stands
from vaetools.distributed.in_work import killers, noted
from vaetools.distributed.job import begin, is_mounted
from vaetools.distributed.lists import files_of
from vaetools.distributed.others import clashes
from vaetools.distributed.parts import Part
from vaetools.distributed.retries import MOST_TRIES, pause, problem_of, tries
from vaetools.errors import NothingMatchedError, UnexpectedError, UsageError, printable
from vaetools.paths import refuse_url
from vaetools.record import Record
from vaetools.runner import run
from vaetools.runner.atomic import remove_stale, temporary_stem, write_files
from vaetools.runner.fault import TAKEN_OVER
from vaetools.runner.filelist import FileList, relative_names
from vaetools.runner.place import open_own
from vaetools.runner.processes import pickled
from vaetools.runner.result import INTERRUPTED, RunResult
from vaetools.runner.share import Share, TakenOverError
from vaetools.runner.stages import output_errors
from vaetools.text import parse_json
from vaetools.tomlfile import from_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vaetools.distributed.job import Job
    from vaetools.distributed.lists import ListedFile
    from vaetools.operation import Operation
    from vaetools.runner import Progress, RunSettings

State: TypeAlias = Literal[
    "done", "already done", "held", "taken over", "given up", "unfinished", "interrupted", "stopped"
]

MOST_DEATHS = 10
"""Processes that may end while they work on a shard, besides those that a known video or tar ended;
then no other one tries."""

MOST_USELESS = 3
"""Attempts in which each input failed because of the machine, one after the other; then it stops."""

BROKEN_MACHINE = "stopped because all inputs of several shards failed because of the machine"
ROOT_LOST = "stopped because the folder of the inputs is gone"

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard.

    Attributes:
        shard: Its number.
        state: `done`: by this call; `already done`; `held`: another process works on it, or is to work
            on it; `taken over`: by another process, while this one worked on it; `given up`: too many
            processes ended while they worked on it; `unfinished`: inputs failed because of this
            machine, and there will be another attempt; `interrupted`: by Ctrl-C or a signal;
            `stopped`: for another reason, see `problem`.
        attempt: Number of the attempt, from 1; 0 without one.
        counts: Number of inputs by status, those of earlier attempts that are done with `skipped`.
        left_alone: Number of files in the list that are no inputs of the operation.
        other_kinds: See `RunResult`.
        bytes_in, bytes_out: Of the inputs that this attempt did, and of their outputs.
        seconds: Wall time.
        cpu_seconds: CPU time of this process.
        device: That the models ran on; None without a model.
        host: Name of the machine.
        problem: Why it stopped, or was given up or left unfinished; otherwise empty.
        not_kept: See `RunResult`.
    """

    shard: int
    state: State
    attempt: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    left_alone: int = 0
    other_kinds: dict[str, int] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    device: str | None = None
    host: str = ""
    problem: str = ""
    not_kept: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> ShardResult | None:
        """The result in a file; None if there is none, or none of this version.

        Raises:
            UsageError: There is one, and the disk does not give it: the shard may be done.
        """
        try:
            values = parse_json(read_own(path))
            if values.pop("v") != SCHEMA_VERSION:
                return None
            return from_table(cls, values, UsageError, file=path)
        except OSError as error:
            if error.errno in (0, None, errno.ENOENT, errno.ENOTDIR):
                return None
            raise UsageError(f"cannot be read: {error.strerror}", file=path) from error
        except (ValueError, TypeError, KeyError, AttributeError, UsageError):
            return None

    @property
    def failed(self) -> int:
        """Number of inputs that failed."""
        return self.counts.get("failed", 0)

    def after(self, earlier: ShardResult) -> ShardResult:
        """The result of two attempts of one process: what the first one did is not skipped."""
        done = earlier.counts.get("done", 0)
        counts = {**self.counts, "done": done + self.counts.get("done", 0)}
        counts["skipped"] = max(0, self.counts.get("skipped", 0) - done)
        return dataclasses.replace(
            self,
            counts=counts,
            bytes_in=earlier.bytes_in + self.bytes_in,
            bytes_out=earlier.bytes_out + self.bytes_out,
            seconds=round(earlier.seconds + self.seconds, 3),
            cpu_seconds=round(earlier.cpu_seconds + self.cpu_seconds, 3),
            not_kept=dict(Counter(earlier.not_kept) + Counter(self.not_kept)),
        )

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON values, with the schema version as `v`."""
        return {"v": SCHEMA_VERSION, **dataclasses.asdict(self)}


class ShardRunner:
    """Processes shards of a job; can be pickled, as its operation can.

        runner = ShardRunner(job, operation, RunSettings("packed/"), fingerprint(operation))
        result = runner(17)

    Args:
        job: The job.
        operation: What to do, with its model and options.
        settings: Of the runs. `jobs`, `workers` and `memory` hold for one shard.
        fingerprint: Of the operation; see `vaetools.hub.fingerprint`.
        on_record: Called with the record of each input when it is finished.
        progress: A progress display.

    Raises:
        UsageError: As `vaetools.distributed.job.begin`.
        OutputError: A folder cannot be written to.
    """

    def __init__(
        self,
        job: Job,
        operation: Operation,
        settings: RunSettings,
        fingerprint: str,
        *,
        on_record: Callable[[Record], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        refuse_url(settings.out, "OUT of a job")
        self.job: Job = begin(job, operation, settings, fingerprint)
        self.operation = operation
        self.settings = settings
        self.fingerprint = fingerprint
        self.on_record = on_record
        self.progress = progress
        self._useless = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "on_record": None, "progress": None}

    def __call__(self, number: int, *, part: Part | None = None, engine: str = "") -> ShardResult:
        """Process a shard, unless it is done or another process works on it.

        Args:
            number: Of the shard.
            part: Which of its inputs to process; the shard is done only with all of them.
            engine: See `vaetools.distributed.claims.take`.

        Raises:
            UsageError: The shard cannot be processed as a whole: its list is damaged, outputs clash
                or exist. Nothing was done for it.
            OutputError: A folder cannot be written to.
            ModelError, LibraryError, DeviceError: Nothing can be processed here.
        """
        job = self.job
        if stands(job.done_file(number)):
            return ShardResult(number, "already done")
        claim = None if pause(job, number) else take(job, number, engine)
        if claim is None:
            return ShardResult(number, "held")
        with claim:
            if stands(job.done_file(number)):
                return ShardResult(number, "already done", claim.attempt)
            if part is None and self._is_hopeless(claim):
                problem = f"shard {number} ended {claim.deaths} processes and is given up"
                return ShardResult(number, "given up", claim.attempt, problem=problem)
            return self._processed(claim, part or Part(number))

    def _is_hopeless(self, claim: Claim) -> bool:
        if claim.deaths < MOST_DEATHS:
            return False
        known = killers(self.job, claim.number, claim.attempt).total()
        return claim.deaths - known >= MOST_DEATHS

    def _processed(self, claim: Claim, part: Part) -> ShardResult:
        started, cpu = time.monotonic(), time.process_time()
        result = self._run(claim, part)
        found = ShardResult(
            claim.number,
            _state(result),
            claim.attempt,
            {name: count for name, count in result.counts.items() if name != "left alone"},
            result.left_alone,
            dict(result.other_kinds),
            result.bytes_in,
            result.bytes_out,
            round(time.monotonic() - started, 3),
            round(time.process_time() - cpu, 3),
            result.device,
            platform.node(),
            "" if result.stopped == INTERRUPTED else result.stopped,
            result.not_kept,
        )
        if found.state != "done" or not part.is_whole:
            return found
        if result.failures and not is_mounted(self.job.root):
            return dataclasses.replace(found, state="stopped", problem=ROOT_LOST)
        transient = [record for record in result.failures if record.transient]
        self._useless = 0 if found.counts.get("done") or not transient else self._useless + 1
        if not transient or tries(self.job, claim.number, claim.attempt) >= MOST_TRIES - 1:
            return self._written(claim, found, self.job.done_file(claim.number))
        problem = f"shard {claim.number}: {problem_of(transient)}"
        found = dataclasses.replace(found, state="unfinished", problem=problem)
        found = self._written(claim, found, self.job.unfinished_file(claim.number, claim.attempt))
        if self._useless >= MOST_USELESS:
            return dataclasses.replace(found, state="stopped", problem=BROKEN_MACHINE)
        return found

    def _written(self, claim: Claim, result: ShardResult, path: Path) -> ShardResult:
        """Write the result, unless another process has taken over."""
        try:
            claim.check()
        except TakenOverError:
            return dataclasses.replace(result, state="taken over")
        with output_errors(path):
            path.parent.mkdir(exist_ok=True)
            self._remove_left_behind(claim, path.parent)
            write_files([(path, json.dumps(result.as_dict()).encode("ascii"))])
        return result

    def _remove_left_behind(self, claim: Claim, folder: Path) -> None:
        """Remove temporary files of attempts at the shard that were killed here."""
        number, attempts = claim.number, range(1, claim.attempt + 1)
        paths = [
            self.job.done_file(number),
            *(self.job.unfinished_file(number, a) for a in attempts),
        ]
        stems = {temporary_stem(path.name) for path in paths}
        remove_stale([folder], lambda found: found.stem in stems and found.is_abandoned)

    def _run(self, claim: Claim, part: Part) -> RunResult:
        job, number = self.job, claim.number
        listed = files_of(job, number)
        part = self._without_killers(claim, part, listed)
        wanted = [*range(len(listed))[part.begin : part.end]]
        files = [listed[position].name for position in wanted if position not in part.killers]
        names = tuple(relative_names(files, job.root, job.list_of(number)))
        seen = {file.name for file in listed if file.was_there}
        journal = job.journal(number, claim.attempt)
        with output_errors(journal):
            journal.parent.mkdir(exist_ok=True)
        earlier = tuple(job.journal(number, attempt) for attempt in range(1, claim.attempt))
        share = Share(
            journal,
            earlier,
            claim.check,
            partial(clashes, job, number, Path(self.settings.out)),
            partial(noted, job.in_work(number, claim.attempt)),
        )
        with _Records(job.records(number, claim.attempt), job.root, self.on_record) as records:
            try:
                result = run(
                    self.operation,
                    FileList(job.root, names, by_suffix=not job.explicit, seen=seen),
                    self._settings(claim),
                    fingerprint=self.fingerprint,
                    share=share,
                    on_record=records.add,
                    progress=self.progress,
                )
            except NothingMatchedError:
                result = RunResult((), left_alone=len(names))
            if result.stopped or not part.is_whole:
                return result
            killers = [self._killer(listed[n], how) for n, how in part.killers.items()]
            for record in killers:
                records.add(record)
            return dataclasses.replace(result, records=(*result.records, *killers))

    def _without_killers(self, claim: Claim, part: Part, listed: Sequence[ListedFile]) -> Part:
        """The part without the videos and tars that have ended too many processes."""
        found = killers(self.job, claim.number, claim.attempt) if claim.deaths else Counter()
        known = {
            position: f"{found[file.name]} of them"
            for position, file in enumerate(listed)
            if file.name in found
        }
        return dataclasses.replace(part, killers={**known, **part.killers})

    def _killer(self, file: ListedFile, how: str) -> Record:
        """The record of an input that ends the processes that work on it."""
        path = self.job.root / file.name
        remedy = "a library crashed or memory ran out: leave it out, or use fewer --jobs"
        error = UnexpectedError(f"ended each of its processes: {how}", file=path, remedy=remedy)
        return Record(
            str(path),
            (),
            self.operation.name,
            "failed",
            code=error.code,
            message=printable(str(error)),
            bytes_in=file.size,
        )

    def _settings(self, claim: Claim) -> RunSettings:
        """The settings of a run: after a crash with a worker process, which the next crash ends.

        The input that causes it then fails on its own; see `vaetools.runner.processes`.
        """
        if claim.deaths and self.settings.workers in ("auto", 0) and self._can_be_sent:
            return dataclasses.replace(self.settings, workers=1)
        return self.settings

    @cached_property
    def _can_be_sent(self) -> bool:
        try:
            pickled(self.operation)
        except UsageError:
            return False
        return True


def _state(result: RunResult) -> State:
    if result.stopped == TAKEN_OVER:
        return "taken over"
    if result.stopped == INTERRUPTED:
        return "interrupted"
    return "stopped" if result.stopped else "done"


class _Records:
    """Writes the records that the journal does not have, each when it comes: the process may be killed.

    Args:
        path: The file, which is created with the first record.
        root: The folder of the inputs; names are written relative to it, as it may lie elsewhere on
            another machine.
        also: Called with every record.
    """

    def __init__(self, path: Path, root: Path, also: Callable[[Record], None] | None) -> None:
        self._path = path
        self._root = root
        self._also = also
        self._file: int | None = None

    def add(self, record: Record) -> None:
        if record.status != "done":
            with output_errors(self._path):
                name = os.path.relpath(record.file, self._root)
                values = {**record.as_dict(), "name": name}
                self._write(json.dumps(values).encode("ascii") + b"\n")
        if self._also is not None:
            self._also(record)

    def _write(self, line: bytes) -> None:
        if self._file is None:
            self._file = open_own(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(self._file, line)

    def __enter__(self) -> _Records:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)
