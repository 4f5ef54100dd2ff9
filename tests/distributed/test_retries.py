"""Failures because of a machine: another attempt is made, and only the last one's failures stay."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runner.operations import Copy
from vaetools.cli.reporter import Reporter
from vaetools.distributed.claims import take
from vaetools.distributed.job import open_job
from vaetools.distributed.loop import work
from vaetools.distributed.merged import merged
from vaetools.distributed.retries import MOST_TRIES
from vaetools.distributed.shard_runner import BROKEN_MACHINE, ROOT_LOST
from vaetools.errors import InputError, UsageError

from .conftest import FILES, tree
from .test_dispatch import InProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.distributed.job import Job
    from vaetools.distributed.shard_runner import ShardRunner

    MakeJob = Callable[..., Job]
    RunnerOf = Callable[..., ShardRunner]

DONE = {name: data[::-1] for name, data in FILES.items()}


class Failing(Copy):
    """Fails for an input, the first `times` that it gets it."""

    def __init__(self, error: Exception, times: int, names: frozenset[str]) -> None:
        super().__init__()
        self.error = error
        self.times = times
        self.names = names
        self.nothing = lambda: None  # not for worker processes

    def process(self, item: bytes) -> bytes:
        result = super().process(item)
        if self._key in self.names and self.seen.count(self._key) <= self.times:
            raise self.error
        return result


def failing(
    error: Exception | None = None, *, times: int = 1, names: tuple[str, ...] = ("a/1.txt",)
) -> Failing:
    return Failing(error or OSError(errno.EIO, "Input/output error"), times, frozenset(names))


def elsewhere(job: Job, number: int, attempt: int) -> None:
    """Make an attempt that of another machine."""
    path = job.claims / f"{number:06}.{attempt}"
    owner = json.loads(path.read_text())
    stamp = path.stat()
    path.write_text(json.dumps({**owner, "machine": "0123abcd", "host": "node7"}))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(getattr(errno, n), n) for n in ("EIO", "ESTALE", "ETIMEDOUT", "EROFS", "EACCES")),
        MemoryError(),
        TimeoutError("no answer"),
    ],
    ids=str,
)
def test_what_fails_because_of_the_machine_is_tried_again(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path, error: Exception
) -> None:
    operation = failing(error)
    runner = runner_of(make_job(lease=0.01), operation)
    done = work(runner)
    assert (done.exit_code, done.missing, done.retried) == (0, 0, 1)
    assert done.summary.startswith("4 shards: 10 done, 20 B -> 20 B in ")
    assert tree(tmp_path / "out") == DONE
    assert sorted(operation.seen) == sorted([*FILES, "a/1.txt"])  # nothing else is done again
    report = merged(runner.job)
    assert (report.exit_code, report.counts["done"], report.counts["failed"]) == (0, 10, 0)
    assert [*report.retried] == [0]


def test_only_the_failures_of_the_last_attempt_stay(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    operation = failing(times=99)
    runner = runner_of(make_job(lease=0.01), operation)
    done = work(runner)
    assert operation.seen.count("a/1.txt") == MOST_TRIES
    assert (done.exit_code, done.missing) == (1, 0)
    assert done.summary.startswith("4 shards: 9 done, 1 failed, ")
    assert tree(tmp_path / "out") == {n: data for n, data in DONE.items() if n != "a/1.txt"}
    assert work(runner).results == []
    report = merged(runner.job)
    assert (report.exit_code, report.counts["done"]) == (1, 9)
    (record,) = report.failures
    assert record.transient and record.code == "E015"
    assert record.as_dict()["transient"] is True


def test_an_input_that_fails_because_of_its_content_is_not_tried_again(
    make_job: MakeJob, runner_of: RunnerOf
) -> None:
    operation = failing(InputError("no"), times=99)
    runner = runner_of(make_job(lease=0.01), operation)
    assert work(runner).exit_code == 1
    assert operation.seen.count("a/1.txt") == 1
    assert "transient" not in merged(runner.job).failures[0].as_dict()


def test_a_file_that_cannot_be_looked_at_is_tried_again(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = runner_of(make_job(lease=0.01))
    failed: list[Path] = []
    stat = Path.stat

    def fail_once(path: Path, **options: bool) -> object:
        if path.name == "3.txt" and path.parent.parent == tmp_path / "in" and not failed:
            failed.append(path)
            raise OSError(errno.ESTALE, "Stale file handle")
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", fail_once)
    done = work(runner)
    assert failed and (done.exit_code, done.retried) == (0, 1)
    assert tree(tmp_path / "out") == DONE


def test_another_machine_takes_it_at_once_and_this_one_after_a_pause(
    make_job: MakeJob, runner_of: RunnerOf
) -> None:
    job = make_job()  # with a pause of 30 s
    runner = runner_of(job, failing())
    assert runner(0).state == "unfinished"
    assert runner(0).state == "held"
    elsewhere(job, 0, 1)
    assert (runner(0).state, runner(0).state) == ("done", "already done")


def test_a_machine_that_sees_the_inputs_elsewhere_goes_on(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    job = make_job()
    assert runner_of(job, failing())(0).state == "unfinished"
    elsewhere(job, 0, 1)
    shutil.copytree(tmp_path / "in", tmp_path / "mount")
    operation = Copy()
    result = runner_of(replace(open_job(job.folder), root=tmp_path / "mount"), operation)(0)
    assert (result.state, result.counts["done"], result.counts["skipped"]) == ("done", 1, 2)
    assert operation.seen == ["a/1.txt"]


def test_it_is_left_to_other_machines_that_work_on_the_job(
    make_job: MakeJob, runner_of: RunnerOf
) -> None:
    job = make_job()
    claim = take(job, 2)
    assert claim is not None
    with claim:
        elsewhere(job, 2, 1)
        runner = runner_of(job, failing())
        done = work(runner)  # without a pause of 30 s
    assert (done.exit_code, done.missing) == (1, 2)
    assert len(done.problems) == 1
    assert done.problems[0].startswith("shard 0: 1 input failed because of the machine (E015 "), (
        done.problems
    )
    report = merged(runner.job)
    assert (report.exit_code, report.missing, report.unreached) == (5, (0, 2), 4)
    assert report.problems[0].endswith("; to be tried again")


def test_a_machine_on_which_nothing_works_stops(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    job = make_job(size=1)
    operation = failing(times=99, names=tuple(FILES))
    done = work(runner_of(job, operation))
    assert done.exit_code == 1 and BROKEN_MACHINE in done.summary
    assert (len(operation.seen), done.missing) == (3, 10)
    for number in {result.shard for result in done.results}:
        elsewhere(job, number, 1)
    assert work(runner_of(job)).exit_code == 0
    assert tree(tmp_path / "out") == DONE


def test_inputs_that_vanish_with_their_folder_are_not_recorded_as_failed(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    runner = runner_of(make_job())
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    done = work(runner)
    assert done.exit_code == 1 and ROOT_LOST in done.summary and done.missing == 4
    (tmp_path / "elsewhere").rename(tmp_path / "in")
    assert work(runner).exit_code == 0
    assert tree(tmp_path / "out") == DONE
    assert merged(runner.job).exit_code == 0


@pytest.mark.parametrize("mount", ["in", "in/b"])
def test_a_disk_that_is_not_mounted_is_a_fault_of_the_machine(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path, mount: str
) -> None:
    """Its mount point is an empty folder then."""
    runner = runner_of(make_job(size=1))
    disk = (tmp_path / mount).rename(tmp_path / "disk")
    (tmp_path / mount).mkdir()
    done = work(runner)
    assert done.exit_code == 1 and done.is_stopped
    assert done.results[-1].problem == (ROOT_LOST if mount == "in" else BROKEN_MACHINE)
    failed = [result.shard for result in done.results if result.failed]
    assert failed and not any(runner.job.done_file(number).exists() for number in failed)
    (tmp_path / mount).rmdir()
    disk.rename(tmp_path / mount)
    for result in done.results:
        elsewhere(runner.job, result.shard, 1)
    assert work(runner_of(runner.job)).exit_code == 0
    assert tree(tmp_path / "out") == DONE


def test_a_machine_without_the_inputs_does_not_begin(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    job = make_job()
    (tmp_path / "in").rename(tmp_path / "disk")
    (tmp_path / "in").mkdir()
    with pytest.raises(UsageError, match="the folder of the inputs is empty"):
        runner_of(job)


def test_a_file_that_was_removed_is_not_tried_again(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    runner = runner_of(make_job())
    (tmp_path / "in/a/1.txt").unlink()
    done = work(runner)
    assert (done.exit_code, done.missing, done.retried) == (1, 0, 0)
    assert not merged(runner.job).failures[0].transient


def test_an_engine_tries_again_after_the_other_shards(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    engine = InProcess(runner_of(make_job(lease=0.01), failing()))
    done = engine.run()
    assert (done.exit_code, done.missing, done.retried) == (0, 0, 1)
    assert done.summary.startswith("4 shards: 10 done, ")
    assert tree(tmp_path / "out") == DONE
    assert len(engine.lines) == 1 and engine.lines[0].endswith("); tried again")
    shards = [part.shard for part in engine.parts]
    assert len(shards) == 5 and shards[-1] == 0
    assert len(engine.records) == len(FILES)


def test_what_is_printed(
    make_job: MakeJob, runner_of: RunnerOf, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = runner_of(make_job(lease=0.01), failing())
    report = Reporter(as_json=False, quiet=False)
    runner.on_record = report.record
    assert report.finish(work(runner)) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("a/1.txt: cannot be accessed: Input/output error")
    assert lines[1].endswith("; 1 attempt made again")
