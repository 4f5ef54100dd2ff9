"""Tars as inputs of jobs, and of runs with an object store."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from tests.runner.operations import Copy, Raising
from tests.tar.pack import pack, unpack
from vaetools.distributed.job import Job, open_job
from vaetools.distributed.lists import Left, walk, write_lists
from vaetools.distributed.merged import merged
from vaetools.distributed.shard_runner import ShardRunner
from vaetools.errors import UsageError
from vaetools.runner import RunSettings
from vaetools.runner.inputs import FileFilter, Source
from vaetools.runner.sources import refuse_local_only

if TYPE_CHECKING:
    from vaetools.operation import Operation


def job_of(top: Path) -> Job:
    found = walk(top / "in", FileFilter((".tar",)), Left())
    write_lists(top / "run", top / "in", found, size=1)
    return open_job(top / "run")


def runner_of(job: Job, out: Path, operation: Operation) -> ShardRunner:
    return ShardRunner(job, operation, RunSettings(out, jobs=1), "fingerprint")


def test_tars_are_inputs_of_a_job(tmp_path: Path) -> None:
    for name in ("x.tar", "d/y.tar"):
        pack(tmp_path / "in" / name, [("a.txt", b"abc"), ("a.cls", b"3")])
    job = job_of(tmp_path)
    runner = runner_of(job, tmp_path / "out", Copy())
    assert [runner(number).state for number in range(job.shards)] == ["done", "done"]
    for name in ("x.tar", "d/y.tar"):
        assert unpack(tmp_path / "out" / name) == [("a.txt", b"cba"), ("a.cls", b"3")]
    assert (merged(job).exit_code, merged(job).counts["done"]) == (0, 2)


def test_members_that_fail_are_in_the_report_of_a_job(tmp_path: Path) -> None:
    pack(tmp_path / "in" / "x.tar", [("a.txt", b"bad"), ("b.txt", b"ok")])
    job = job_of(tmp_path)
    runner_of(job, tmp_path / "out", Raising(UsageError("no")))(0)
    found = merged(job)
    assert (found.exit_code, found.counts["done"], found.counts["failed"]) == (1, 1, 1)
    assert found.failures[0].file.endswith("x.tar/a.txt")


def test_tars_of_object_stores_are_refused() -> None:
    source = Source(Path("b/x.tar"), PurePosixPath("x.tar"), "", 10)
    with pytest.raises(UsageError, match="tars are processed from local files"):
        refuse_local_only(Copy(), [source])
