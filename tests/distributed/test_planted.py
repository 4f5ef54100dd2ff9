"""Files in RUN that are no files of vaetools: no hang, no write through a link, one clear error."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vaetools.distributed.claims import now, owner_of, take
from vaetools.distributed.job import Job, open_job
from vaetools.distributed.lists import files_of
from vaetools.distributed.merged import merged
from vaetools.distributed.shard_runner import ShardResult, ShardRunner
from vaetools.errors import OutputError, UsageError

MakeJob = Callable[..., Job]
DEEP = b"[" * 100_000

PLANTS: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "link": lambda path: path.symlink_to(path.parent.parent / "victim"),
    "folder": Path.mkdir,
    "deep": lambda path: path.write_bytes(DEEP),
    "type": lambda path: path.write_bytes(b"[1]"),
}


def plant(path: Path, kind: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    (path.parent.parent / "victim").write_bytes(b"")
    PLANTS[kind](path)


@pytest.mark.parametrize("kind", PLANTS)
def test_a_claim(make_job: MakeJob, kind: str) -> None:
    job = make_job()
    plant(job.claims / "000000.1", kind)
    assert owner_of(job, 0, 1) is None
    assert take(job, 0) is None


@pytest.mark.parametrize("kind", PLANTS)
def test_a_result(make_job: MakeJob, kind: str) -> None:
    job = make_job()
    plant(job.done_file(0), kind)
    assert ShardResult.read(job.done_file(0)) is None
    assert 0 in merged(job).missing


def test_a_result_that_the_disk_does_not_give(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that may be done is not reported as missing."""

    def fail(_: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("vaetools.distributed.shard_runner.read_own", fail)
    with pytest.raises(UsageError, match="cannot be read: Input/output error"):
        merged(make_job())


@pytest.mark.parametrize("kind", PLANTS)
def test_a_list(make_job: MakeJob, kind: str) -> None:
    job = make_job()
    plant(job.list_of(0), kind)
    with pytest.raises(UsageError, match=r"cannot be read|is cut short"):
        files_of(job, 0)


@pytest.mark.parametrize("line", ["[5, 1, 2]", '["a", "1", 2]', '["a", 1]', "{}", "5"])
def test_a_line_of_a_list_with_the_right_hash(make_job: MakeJob, line: str) -> None:
    job = make_job()
    body = f"{line}\n".encode()
    head = {"job": job.id, "shard": 0, "files": 1, "sha256": hashlib.sha256(body).hexdigest()}
    job.list_of(0).write_bytes(json.dumps(head).encode() + b"\n" + body)
    with pytest.raises(UsageError, match="is cut short or was changed"):
        files_of(job, 0)


@pytest.mark.parametrize("kind", ["FIFO", "link", "folder"])
def test_the_clock_and_the_records_are_not_written_through(
    make_job: MakeJob,
    runner_of: Callable[..., ShardRunner],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    job = make_job({"a.txt": b"a"})
    monkeypatch.setattr("vaetools.distributed.claims.machine_id", lambda: "12345678")
    plant(job.claims / f".clock.12345678-{os.getpid()}", kind)
    with pytest.raises(OutputError, match="not a file of vaetools"):
        now(job.claims)
    runner = runner_of(job)
    (job.root / "a.txt").unlink()
    plant(job.records(0, 1), kind)
    with pytest.raises(OutputError, match="not a file of vaetools"):
        runner(0)
    assert (job.folder / "victim").read_bytes() == b""


@pytest.mark.parametrize("kind", ["FIFO", "link", "folder"])
def test_the_mark_in_out(
    make_job: MakeJob, runner_of: Callable[..., ShardRunner], tmp_path: Path, kind: str
) -> None:
    job = make_job()
    runner_of(job)
    plant(tmp_path / f"out/.vaetools.job-{job.id}", kind)
    with pytest.raises(UsageError, match="is not the output folder of the job"):
        runner_of(open_job(job.folder))


@pytest.mark.parametrize("kind", ["FIFO", "link", "folder", "text"])
def test_a_mark_that_was_in_out_before_the_job(
    make_job: MakeJob, runner_of: Callable[..., ShardRunner], tmp_path: Path, kind: str
) -> None:
    job = make_job()
    mark = tmp_path / f"out/.vaetools.job-{job.id}"
    mark.parent.mkdir()
    if kind == "text":
        mark.write_text("mine")
    else:
        plant(mark, kind)
    with pytest.raises(OutputError, match="is no mark of a job"):
        runner_of(job)
    assert not (job.folder / "operation.toml").exists()


def test_a_mark_that_cannot_be_read_is_no_other_one(
    make_job: MakeJob, runner_of: Callable[..., ShardRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, *_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    job = make_job()
    with monkeypatch.context() as patched:
        patched.setattr("vaetools.distributed.job.read_own", fail)
        with pytest.raises(OutputError, match="cannot be read: Input/output error"):
            runner_of(job)
    assert runner_of(job)(0).state == "done"


def test_too_many_shards(make_job: MakeJob) -> None:
    file = make_job().folder / "job.toml"
    file.write_text(file.read_text().replace("shards = 4", "shards = 400000000"))
    with pytest.raises(UsageError, match="shards = 400000000 is not 1"):
        open_job(file.parent)
