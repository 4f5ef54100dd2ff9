"""The whole of a job: records, totals and the exit code, from what the shards left in RUN.

Records come from the journals, so those of attempts that were killed are among them. A job may have
more records than fit into memory: totals of finished shards are read from their results, and only
`MOST_RECORDS` records are kept, besides as many failures.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.distributed.claims import attempts, owner_of
from vaetools.distributed.files import stands
from vaetools.distributed.lists import files_of
from vaetools.distributed.shard_runner import ShardResult
from vaetools.errors import EXIT_INCOMPLETE, printable
from vaetools.record import Record, plural
from vaetools.runner.entries import absolute
from vaetools.runner.recorded import read_events, read_records, record_of_entry
from vaetools.runner.result import RunResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vaetools.distributed.job import Job

MOST_RECORDS = 100_000
"""Records that are kept, and as many failures besides; a report shows fewer images anyway."""


@dataclass(frozen=True, repr=False)
class JobResult(RunResult):
    """The result of a job.

    Attributes:
        totals: Number of inputs by status, and `bytes_in` and `bytes_out` of those that are done;
            `records` may have fewer.
        shards: Number of shards.
        missing: Numbers of the shards that are not done.
        retried: Names of the machines that worked on a shard, for shards with several attempts.
        cpu_seconds: CPU time of all attempts that finished.
    """

    totals: Mapping[str, int] = field(default_factory=dict)
    shards: int = 0
    missing: tuple[int, ...] = ()
    retried: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    @property
    def counts(self) -> dict[str, int]:
        """Number of inputs by status, as in `RunResult`."""
        known = {status: self.totals.get(status, 0) for status in super().counts}
        return {**known, "left alone": self.left_alone}

    @property
    def bytes_in(self) -> int:
        """Total size of the inputs that are done, in bytes."""
        return self.totals.get("bytes_in", 0)

    @property
    def bytes_out(self) -> int:
        """Total size of the outputs of the inputs that are done, in bytes."""
        return self.totals.get("bytes_out", 0)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some inputs failed, 5 shards are missing."""
        return EXIT_INCOMPLETE if self.missing else super().exit_code

    @property
    def summary(self) -> str:
        """One line, such as `50 of 50 shards: 99,998 done, 2 failed, 812 MB -> 71 MB`."""
        text = super().summary
        done = f"{self.shards - len(self.missing):,} of {plural(self.shards, 'shard')}"
        if self.missing:
            text += f"; {plural(self.unreached, 'input')} not processed yet"
        return f"{done}: {text}"


def merged(job: Job, most: int = MOST_RECORDS) -> JobResult:
    """The result of a job so far.

    Args:
        job: The job.
        most: Records to keep, and as many failures besides, but at least one.

    Raises:
        UsageError: A list is damaged, or a result cannot be read.
        OutputError: A journal is no regular file.
    """
    totals: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    kept = _Kept(most)
    missing: list[int] = []
    problems: list[str] = []
    retried: dict[int, tuple[str, ...]] = {}
    left_alone, unreached, cpu_seconds = 0, 0, 0.0
    for number in range(job.shards):
        result, count = ShardResult.read(job.done_file(number)), attempts(job, number)
        if count > 1:
            retried[number] = tuple(_hosts(job, number, count))
        if result is not None:
            left_alone += result.left_alone
            kinds.update(result.other_kinds)
            cpu_seconds += result.cpu_seconds
        if result is not None and result.attempt == 1 and kept.is_full:
            totals.update(result.counts)
            totals.update(bytes_in=result.bytes_in, bytes_out=result.bytes_out)
            if result.failed:
                kept.add(shard_records(job, number, 1))
            continue
        found = [*shard_records(job, number, count)]
        if result is None:  # what failed because of a machine will be tried again
            found = [record for record in found if not record.transient]
            problems += _unfinished(job, number, count)
        kept.add(found)
        totals.update(record.status for record in found)
        done = [record for record in found if record.status == "done"]
        totals.update(
            bytes_in=sum(r.bytes_in for r in done), bytes_out=sum(r.bytes_out for r in done)
        )
        if result is None:
            missing.append(number)
            unreached += max(0, len(files_of(job, number)) - len(found))
        elif len(found) < sum(result.counts.values()):
            lost = plural(sum(result.counts.values()) - len(found), "record")
            problems.append(f"shard {number}: {lost} missing from its journals")
    options = {} if job.task is None else dict(job.task.options)
    if retried:
        options["retried"] = "; ".join(retries(retried))
    return JobResult(
        tuple(kept.records),
        left_alone=left_alone,
        unreached=unreached,
        seconds=None,
        problems=tuple(problems),
        other_kinds=dict(kinds),
        options=options,
        totals=dict(totals),
        shards=job.shards,
        missing=tuple(missing),
        retried=retried,
        cpu_seconds=round(cpu_seconds, 3),
    )


def all_records(job: Job) -> Iterator[Record]:
    """The records of a job, shard after shard; those that `merged` counts.

    Raises:
        OutputError: A journal is no regular file.
    """
    for number in range(job.shards):
        is_done = ShardResult.read(job.done_file(number)) is not None
        for record in shard_records(job, number, attempts(job, number)):
            if is_done or not record.transient:
                yield record


def _unfinished(job: Job, number: int, count: int) -> Iterator[str]:
    """Why the last attempt at a shard left it to another one, if it did."""
    last = ShardResult.read(job.unfinished_file(number, count))
    if last is not None:
        yield f"{last.problem} on {printable(last.host)}; to be tried again"


class _Kept:
    """Up to `most` records, and up to as many failures besides, but at least one.

    Attributes:
        records: What was kept.
    """

    def __init__(self, most: int) -> None:
        self.records: list[Record] = []
        self._most = most
        self._failures = max(1, most)

    @property
    def is_full(self) -> bool:
        """Whether only failures are kept."""
        return len(self.records) >= self._most

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.status != "failed" and not self.is_full:
                self.records.append(record)
            elif record.status == "failed" and self._failures > 0:
                self._failures -= 1
                self.records.append(record)


def retries(retried: Mapping[int, tuple[str, ...]]) -> Iterator[str]:
    """Shards with several attempts, such as `shard 3: 2 attempts (node1, node2)`."""
    for number, hosts in retried.items():
        names = ", ".join(dict.fromkeys(map(printable, hosts)))
        yield f"shard {number}: {plural(len(hosts), 'attempt')} ({names})"


def _hosts(job: Job, number: int, count: int) -> Iterator[str]:
    for attempt in range(1, count + 1):
        owner = owner_of(job, number, attempt)
        yield "unknown" if owner is None else owner.host


def shard_records(job: Job, number: int, count: int) -> Iterator[Record]:
    """The last record of each input of a shard that has one, from all attempts.

    Args:
        job: The job.
        number: Of the shard.
        count: Number of attempts.

    Raises:
        OutputError: A journal is no regular file.
    """
    records: dict[str, Record] = {}
    out = _out(job)
    begun: dict[str, Record] = {}
    for attempt in range(1, count + 1):
        journal, kept = job.journal(number, attempt), job.records(number, attempt)
        for entry, facts in read_events([journal])[1] if stands(journal) else ():
            file = str(job.root / entry.file)
            record = record_of_entry(entry, facts or {}, out, file)
            if record is not None:
                records[entry.file] = record
        for record, values in read_records(kept) if stands(kept) else ():
            name = str(values.get("name", record.file))
            known = records.get(name)
            is_open = known is None or known.status == "failed"
            if is_open and record.message.endswith("is already done") and name in begun:
                # Its process ended, or its disk failed, before it could confirm what is there now.
                records[name] = begun[name]
                continue
            if known is None or known.status != "done" or record.status == "failed":
                records[name] = _named(record, str(job.root / name))
        for entry, facts in read_events([journal], begun=True)[1] if stands(journal) else ():
            file = str(job.root / entry.file)
            record = record_of_entry(entry, facts or {}, out, file)
            if record is not None:
                begun[entry.file] = record
    yield from records.values()


def _out(job: Job) -> Path:
    """The output folder, as it is seen from here."""
    if job.task is None:
        return job.folder
    path = absolute(job.task.out, os.path.realpath(job.folder))
    here = os.getcwd()  # noqa: PTH109
    return Path(os.path.relpath(path, here) if path.startswith(here + os.sep) else path)


def _named(record: Record, file: str) -> Record:
    """A record with another path of its input."""
    text = record.message.removeprefix(f"{printable(record.file)}: ")
    message = printable(f"{file}: {text}") if text else ""
    return dataclasses.replace(record, file=file, message=message)
