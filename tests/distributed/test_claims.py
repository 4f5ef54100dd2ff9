"""Which process works on which shard."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vaetools.distributed import claims
from vaetools.distributed.claims import attempts, deaths, is_free, owner_of, take, this_process
from vaetools.distributed.job import Job
from vaetools.errors import OutputError
from vaetools.runner.atomic import temporary_path
from vaetools.runner.share import TakenOverError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.distributed.shard_runner import ShardRunner


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path, "0" * 16, tmp_path, 5, 10, 100, "0" * 64)


def age(job: Job, attempt: int, seconds: float) -> None:
    """Make the last sign of life of an attempt at shard 3 older."""
    path = job.claims / f"000003.{attempt}"
    time = path.stat().st_mtime - seconds
    os.utime(path, (time, time))


def of_another_machine(job: Job, attempt: int) -> None:
    owner = {**vars(this_process()), "machine": "12345678", "pid": 999_999_999}
    path = job.claims / f"000003.{attempt}"
    status = path.stat()
    path.write_text(json.dumps(owner))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_only_one_gets_a_shard(job: Job) -> None:
    with ThreadPoolExecutor(8) as pool:
        claims = [*pool.map(lambda _: take(job, 3), range(32))]
    assert len([claim for claim in claims if claim is not None]) == 1
    assert attempts(job, 3) == 1 and attempts(job, 2) == 0
    owner = owner_of(job, 3, 1)
    assert owner == this_process() and not owner.has_ended


def test_a_claim_that_is_given_back_is_free(job: Job) -> None:
    claim = take(job, 3)
    assert claim is not None
    with claim:
        assert take(job, 3) is None
    again = take(job, 3)
    assert again is not None and (again.attempt, again.deaths) == (2, 0)


def test_without_a_sign_of_life_it_is_free_after_the_lease(job: Job) -> None:
    assert take(job, 3) is not None
    of_another_machine(job, 1)
    for seconds, free in ((0, False), (job.lease - 10, False), (11, True)):
        age(job, 1, seconds)
        assert is_free(job, 3, 1) is free
    claim = take(job, 3)
    assert claim is not None and (claim.attempt, claim.deaths) == (2, 1)


def test_a_clock_that_is_ahead_does_not_free_it(job: Job) -> None:
    assert take(job, 3) is not None
    of_another_machine(job, 1)
    age(job, 1, -10 * job.lease)
    assert not is_free(job, 3, 1)


def test_signs_of_life_are_given(tmp_path: Path) -> None:
    job = Job(tmp_path, "0" * 16, tmp_path, 5, 10, 100, "0" * 64, lease=0.2)
    claim = take(job, 3)
    assert claim is not None
    age(job, 1, 1000)
    path = job.claims / "000003.1"
    old = path.stat().st_mtime
    with claim:
        while path.stat().st_mtime == old:
            pass
        assert not is_free(job, 3, 1)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff"])
def test_a_claim_that_says_nothing_is_held_until_the_lease_is_over(
    job: Job, content: bytes
) -> None:
    assert take(job, 3) is not None
    (job.claims / "000003.1").write_bytes(content)
    assert take(job, 3) is None
    age(job, 1, job.lease + 1)
    assert take(job, 3) is not None


def test_the_process_that_lost_its_shard_notices(job: Job) -> None:
    claim = take(job, 3)
    assert claim is not None
    claim.check()
    age(job, 1, job.lease + 1)
    assert take(job, 3) is not None
    with pytest.raises(TakenOverError, match="has taken over shard 3"):
        claim.check()


def test_a_claim_that_was_removed_is_lost(job: Job) -> None:
    claim = take(job, 3)
    assert claim is not None
    (job.claims / "000003.1").unlink()
    with pytest.raises(TakenOverError):
        claim.check()


def test_a_process_of_this_machine_that_has_ended_holds_nothing(job: Job) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    own = vars(this_process())
    assert take(job, 3) is not None
    path = job.claims / "000003.1"
    path.write_text(json.dumps({**own, "pid": process.pid}))
    assert is_free(job, 3, 1)
    path.write_text(json.dumps({**own, "started": "1"}))  # another process with this id
    assert is_free(job, 3, 1) and deaths(job, 3, 1) == 1
    path.write_text(json.dumps(own))
    assert not is_free(job, 3, 1)


def test_a_claim_is_held_if_its_start_cannot_be_seen(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`/proc` mounted with `hidepid` shows only the processes of the same user."""
    assert take(job, 3) is not None
    monkeypatch.setattr(claims, "started", lambda _: "")
    assert not is_free(job, 3, 1)


def test_a_folder_without_permission(nobody: Path, make_other: Callable[[Path], Job]) -> None:
    job = make_other(nobody)
    job.claims.mkdir()
    job.claims.chmod(0o500)
    with pytest.raises(OutputError) as caught:
        take(job, 3)
    assert caught.value.line == f"E070 {job.claims}/000003.1: cannot be claimed: Permission denied"


@pytest.fixture
def make_other() -> Callable[[Path], Job]:
    return lambda folder: Job(folder, "0" * 16, folder, 5, 10, 100, "0" * 64)


def fails(number: int) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("broken", ["os.link", "create"])
def test_a_disk_that_fails_leaves_no_claim_without_an_owner(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    job = make_job()
    with monkeypatch.context() as patched:
        patched.setattr(f"vaetools.distributed.claims.{broken}", fails(errno.ENOSPC))
        patched.setattr("vaetools.distributed.claims.discard", lambda _: None)  # nor removed
        with pytest.raises(OutputError, match="cannot be claimed: No space left"):
            take(job, 0)
    assert attempts(job, 0) == 0
    assert take(job, 0) is not None


@pytest.mark.parametrize("number", sorted(claims.WITHOUT_LINKS))
def test_a_file_system_without_hard_links(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    job = make_job()
    monkeypatch.setattr("vaetools.distributed.claims.os.link", fails(number))
    assert take(job, 0) is not None
    assert owner_of(job, 0, 1) == this_process()
    assert take(job, 0) is None
    assert [path.name for path in job.claims.iterdir()] == ["000000.1"]


def test_a_full_disk_without_hard_links(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        write = fails(errno.ENOSPC)

    really = Path.open

    def open_full(path: Path, mode: str = "r", **options: Any) -> Any:
        if mode != "xb":
            return really(path, mode, **options)
        path.touch()
        return Full()

    job = make_job()
    with monkeypatch.context() as patched:
        patched.setattr("vaetools.distributed.claims.os.link", fails(errno.EPERM))
        patched.setattr("pathlib.Path.open", open_full)
        with pytest.raises(OutputError, match="cannot be claimed: No space left"):
            take(job, 0)
    assert attempts(job, 0) == 0


def test_a_link_that_was_made_although_the_server_reports_an_error(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, link = make_job(), os.link

    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr("vaetools.distributed.claims.os.link", link_twice)
    assert take(job, 0) is not None
    assert take(job, 0) is None


def test_what_killed_processes_left_of_their_claims_is_removed(
    make_job: Callable[..., Job],
    runner_of: Callable[..., ShardRunner],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = make_job()
    job.claims.mkdir()
    with subprocess.Popen(["true"]) as process:
        process.wait()
    monkeypatch.setattr(os, "getpid", lambda: process.pid)
    left = temporary_path(job.claims / "000000.1.77")
    left.touch()
    monkeypatch.undo()
    runner_of(job)
    assert not left.exists()
