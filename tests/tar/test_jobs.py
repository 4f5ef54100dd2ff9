"""Tars as inputs of jobs, and of runs with an object store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from tests.runner.operations import Copy, Raising
from tests.tar.pack import pack, unpack
from vaetools.distributed.in_work import MOST_ENDS
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


TARS = FileFilter((".tar",))


def job_of(top: Path) -> Job:
    found = walk(top / "in", TARS, Left())
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


OPERATION = """
import os, signal
import vaetools

class Deadly(vaetools.Operation):
    "Reverses the bytes of a file."
    name = "deadly"
    takes = "file"
    suffixes = (".txt",)
    def process(self, item):
        if item == b"poison":
            os.kill(os.getpid(), signal.SIGKILL)
        return item[::-1]

@vaetools.hookimpl
def register_operations():
    return [Deadly]
"""


@pytest.mark.slow
def test_a_tar_that_ends_its_processes_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, data in (("a.tar", b"a"), ("b.tar", b"poison"), ("c.tar", b"c")):
        pack(tmp_path / "in" / name, [("a.txt", data)])
    write_lists(tmp_path / "run", tmp_path / "in", walk(tmp_path / "in", TARS, Left()))
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "deadly.py").write_text(OPERATION)
    monkeypatch.setenv("VAETOOLS_PLUGINS_DIR", str(tmp_path / "plugins"))
    words = ["deadly", "--job", "run", "-o", "out", "--jobs", "1"]
    ends = []
    for _ in range(MOST_ENDS + 1):
        command = [sys.executable, "-m", "vaetools", *words]
        ends.append(subprocess.run(command, cwd=tmp_path, stderr=subprocess.DEVNULL, check=False))
    assert [end.returncode for end in ends] == [*[-signal.SIGKILL] * MOST_ENDS, 1]
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == ["a.tar", "c.tar"]
    found = merged(open_job(tmp_path / "run"))
    assert (found.exit_code, found.counts["done"], found.counts["failed"]) == (1, 2, 1)
    assert found.failures[0].code == "E099" and found.failures[0].file.endswith("b.tar")


def test_tars_that_end_processes_do_not_make_a_shard_hopeless(tmp_path: Path) -> None:
    for number in range(5):
        pack(tmp_path / "in" / f"{number}.tar", [("a.txt", b"abc")])
    write_lists(tmp_path / "run", tmp_path / "in", walk(tmp_path / "in", TARS, Left()))
    job = open_job(tmp_path / "run")
    runner = runner_of(job, tmp_path / "out", Copy())
    job.claims.mkdir()
    job.in_work(0, 1).parent.mkdir()
    for attempt in range(1, 4 * MOST_ENDS + 1):
        claim = job.claims / f"000000.{attempt}"
        claim.touch()
        os.utime(claim, (1, 1))
        job.in_work(0, attempt).write_text(f'"{attempt % 4}.tar"')
    result = runner(0)
    assert (result.state, result.failed, result.counts["done"]) == ("done", 4, 1)
    assert not job.in_work(0, result.attempt).exists()


def test_tars_of_object_stores_are_refused() -> None:
    source = Source(Path("b/x.tar"), PurePosixPath("x.tar"), "", 10)
    with pytest.raises(UsageError, match="tars are processed from local files"):
        refuse_local_only(Copy(), [source])
