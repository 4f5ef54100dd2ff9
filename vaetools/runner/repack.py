"""One tar through an operation: its members are processed in parallel, and written in order."""

from __future__ import annotations

import dataclasses
import hashlib
import tarfile
import time
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from vaetools.errors import NothingMatchedError, TooLargeError, UsageError
from vaetools.image import most_bytes
from vaetools.model.limits import MOST_PARALLEL
from vaetools.model.session import usable_cores
from vaetools.runner.budget import Channel
from vaetools.runner.fault import Fault, FaultError, fault_of
from vaetools.runner.inputs import Source
from vaetools.runner.job import Job, Work
from vaetools.runner.plan import Target, planned_item
from vaetools.runner.record import failed
from vaetools.runner.samples import Entry, Sample, samples_of
from vaetools.runner.stages import output_errors
from vaetools.video import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vaetools.operation import Operation
    from vaetools.record import Record
    from vaetools.runner.archive import Archive, Member
    from vaetools.runner.inputs import FileFilter
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.settings import RunSettings


@dataclass
class Outcome:
    """What became of a member.

    Attributes:
        job: The member, with the facts of its record.
        contents: Its results.
        fault: Why it failed; None if it did not.
    """

    job: Job
    contents: list[bytes]
    fault: Fault | None = None


@dataclass
class Totals:
    """What is said about all members of a tar.

    Attributes:
        done, copied, failed: Number of members that were processed, copied, or could not be processed
            and were copied.
        unchanged: Number of those processed whose results are copies.
        remarks: Notes of the operation, and how many members have them.
        lost: What metadata of members no result has.
        device: That the model ran on.
        size, sha256: Of the tar of results.
    """

    done: int = 0
    copied: int = 0
    failed: int = 0
    unchanged: int = 0
    remarks: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    device: str | None = None
    size: int = 0
    sha256: str = ""

    def add(self, job: Job) -> None:
        """Count a member that was processed."""
        facts = job.facts
        self.done += 1
        self.unchanged += facts.unchanged
        self.remarks.update(facts.notes)
        self.lost.update(facts.lost)
        self.device = facts.device or self.device


class Repack:
    """Writes the tar of results of one tar.

    Args:
        operation: What is done to the members that are inputs.
        settings: Of the run.
        wanted: Which members are inputs, by their paths below the path of the tar.
        archive: The tar.
        relative: Its path, relative to the input folder.

    Raises:
        InputError, UsageError: The tar cannot be processed; see `Archive.members` and `samples_of`.
    """

    def __init__(
        self,
        operation: Operation,
        settings: RunSettings,
        wanted: FileFilter,
        archive: Archive,
        relative: PurePosixPath,
    ) -> None:
        self._operation = operation
        self._settings = settings
        self._wanted = wanted
        self._archive = archive
        self._relative = relative
        self._members: dict[Path, Member] = {}
        self._work = Work(operation, settings, self._fetch)
        self._budget: Channel[Job] = Channel(settings.memory)
        self._threads: int = settings.jobs or usable_cores()
        self.samples: list[Sample] = samples_of(archive.members(), self._is_input, self._names)
        if not self.inputs:
            kinds = f" the suffixes {' '.join(wanted.suffixes)}"
            raise NothingMatchedError(f"no member matched{kinds}", file=archive.path)

    @property
    def inputs(self) -> int:
        """Number of members that go through the operation."""
        return sum(len(sample.inputs) for sample in self.samples)

    def _is_input(self, member: Member) -> bool:
        path = PurePosixPath(member.name)
        is_hidden = any(part.startswith(".") for part in path.parts)
        fits = member.is_file and not is_hidden and self._wanted.has_suffix(path.name)
        return fits and self._wanted.includes(self._relative / path)

    def _names(self, member: Member) -> tuple[str, ...]:
        item = self._planned(member)
        if item.problem is not None:
            raise item.problem
        key = str(item.source.relative)
        if self._operation.files_of(key):
            problem = f"{self._operation.name} has files of its own for the member {key}"
            remedy = "these are found by the names of files: unpack the tar"
            raise UsageError(problem, file=self._archive.path, remedy=remedy)
        return item.names

    def _planned(self, member: Member) -> PlannedItem:
        """The member as an input of a run over the folder that the tar would be unpacked to."""
        relative, path = PurePosixPath(member.name), self._archive.path
        source = Source(path / relative, relative, "", member.info.size)
        return planned_item(self._operation, source, Target(path), self._settings.to)

    def _fetch(self, source: Source) -> bytes:
        most = most_bytes(self._settings.max_pixels)
        if source.size > most:
            raise TooLargeError(
                f"{source.size / 1e6:,.0f} MB are more than {most / 1e6:,.0f} MB, the most that "
                "an image within the limit can need",
                remedy="raise it with --max-pixels",
            )
        return self._archive.read(self._members[source.path])

    def write(
        self, file: BinaryIO, path: Path, on_member: Callable[[Record | None], None]
    ) -> Totals:
        """Process all members, and write the tar.

        Args:
            file: What to write to.
            path: The output, for errors.
            on_member: Called for each member that was processed, with its record if it failed.

        Raises:
            FaultError: A member failed for a reason that lies elsewhere, such as a model or a disk.
            OutputError: The output cannot be written.
        """
        totals, digest = Totals(), hashlib.sha256()
        for part in self._parts(totals, on_member):
            with output_errors(path):
                file.write(part)
            digest.update(part)
            totals.size += len(part)
        totals.sha256 = digest.hexdigest()
        self._archive.check_unchanged()
        return totals

    def _parts(self, totals: Totals, on_member: Callable[[Record | None], None]) -> Iterator[bytes]:
        """The bytes of the tar."""
        inputs = (member for sample in self.samples for member in sample.inputs)
        size = 0
        depth = min(2 * self._threads, MOST_PARALLEL)
        # Members in flight are bounded by number, and by their bytes in `_process`.
        work = stream(self._process, inputs, depth=depth, threads=self._threads)
        with closing(work) as outcomes:
            taken = self._told(outcomes, on_member)
            for sample in self.samples:
                for part in (self._split if sample.is_split else self._whole)(
                    sample, taken, totals
                ):
                    size += len(part)
                    yield part
        yield bytes(-(size + 1024) % tarfile.RECORDSIZE + 1024)

    def _process(self, item: Member, *, key: str) -> Outcome:  # noqa: ARG002
        """Read, process and encode a member."""
        job = Job(self._planned(item))
        path = job.planned.source.path
        started = time.perf_counter()
        charge = self._budget.reserve(self._work.expected_size(job.planned))
        self._members[path] = item
        try:
            charge = self._budget.correct(charge, self._work.read(job))
            self._work.process(job)
            outcome = Outcome(job, self._work.encode(job))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything, even SystemExit
            fault = fault_of(error, path)
            if fault.stops or fault.transient:  # not the fault of the member
                raise FaultError(fault) from error
            outcome = Outcome(job, [], fault)
        finally:
            del self._members[path]
            self._budget.release(charge)
        job.facts.seconds = time.perf_counter() - started
        return outcome

    def _record(self, outcome: Outcome) -> Record | None:
        """The record of a member that failed."""
        fault, item = outcome.fault, outcome.job.planned
        if fault is None:
            return None
        item = dataclasses.replace(item, outputs=())
        op, seconds = self._operation.name, outcome.job.facts.seconds
        return failed(item, op, fault.code, fault.message, seconds, transient=False)

    def _told(
        self, outcomes: Iterator[Outcome], on_member: Callable[[Record | None], None]
    ) -> Iterator[Outcome]:
        for outcome in outcomes:
            on_member(self._record(outcome))
            yield outcome

    def _whole(
        self, sample: Sample, outcomes: Iterator[Outcome], totals: Totals
    ) -> Iterator[bytes]:
        """The bytes of a sample that stays one, each member when it is there: it may be the whole tar.

        Members that failed are copied.
        """
        entries: defaultdict[int, list[Entry]] = defaultdict(list)
        for entry in sample.entries:
            entries[id(entry.member)].append(entry)
        inputs = {id(member) for member in sample.inputs}
        for member in sample.members:
            outcome = next(outcomes) if id(member) in inputs else None
            if outcome is None:
                totals.copied += 1
            elif outcome.fault is None:
                totals.add(outcome.job)
            else:
                totals.failed += 1
                yield from self._copy(member)
                continue
            for number, entry in enumerate(entries[id(member)]):
                yield from self._entry(entry, outcome, is_first=number == 0)

    def _split(
        self, sample: Sample, outcomes: Iterator[Outcome], totals: Totals
    ) -> Iterator[bytes]:
        """The bytes of a sample whose results are samples. If a member failed, all are copied."""
        found = {id(member): next(outcomes) for member in sample.inputs}
        bad = sum(outcome.fault is not None for outcome in found.values())
        totals.failed += bad
        if bad:
            totals.copied += len(sample.members) - bad
            for member in sample.members:
                yield from self._copy(member)
            return
        for outcome in found.values():
            totals.add(outcome.job)
        totals.copied += len(sample.members) - len(sample.inputs)
        seen: set[int] = set()
        for entry in sample.entries:
            number = id(entry.member)
            yield from self._entry(entry, found.get(number), is_first=number not in seen)
            seen.add(number)

    def _entry(self, entry: Entry, outcome: Outcome | None, *, is_first: bool) -> Iterator[bytes]:
        """A member of the tar of results; `is_first` of those that are made from its member."""
        member = entry.member
        if entry.number is None and entry.name == member.name:
            if is_first:
                yield from self._copy(member)
            return
        if is_first:  # global headers before it
            yield from self._archive.parts(member.start, member.info.offset - member.start)
        if outcome is None or entry.number is None:
            yield from self._renamed(member, entry.name)
        else:
            data = outcome.contents[entry.number]
            yield member.header(entry.name, len(data))
            yield from _padded([data], len(data))

    def _copy(self, member: Member) -> Iterator[bytes]:
        """A member with its headers as they are."""
        return self._archive.parts(member.start, member.end - member.start)

    def _renamed(self, member: Member, name: str) -> Iterator[bytes]:
        size = member.info.size
        yield member.header(name, size)
        yield from _padded(self._archive.parts(member.info.offset_data, size), size)


def _padded(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    yield from parts
    yield bytes(-size % tarfile.BLOCKSIZE)
