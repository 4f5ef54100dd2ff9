"""A shard that changes hands: nothing is lost, nothing is written twice, all records are kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.runner.operations import Copy, Gated
from vaetools.distributed.loop import work
from vaetools.distributed.merged import merged
from vaetools.distributed.shard_runner import MOST_DEATHS

from .conftest import FILES, tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vaetools.distributed.job import Job
    from vaetools.distributed.shard_runner import ShardResult, ShardRunner


class Slow(Gated):
    """Waits at the gate with its second input."""

    name = "copy"

    def process(self, item: bytes) -> bytes:
        if self.seen:
            super().process(item)
        self.seen.append(self._key)
        return item[::-1]


def forget(job: Job, number: int, attempt: int) -> None:
    """Make the last sign of life of an attempt older than the lease."""
    os.utime(job.claims / f"{number:06}.{attempt}", (1, 1))


def test_a_process_that_lost_its_shard_writes_nothing_more(
    make_job: Callable[..., Job], runner_of: Callable[..., ShardRunner], tmp_path: Path
) -> None:
    job, slow = make_job(), Slow()
    zombie = runner_of(job, slow)
    first = threading.Event()  # the first input is in the journal
    zombie.on_record = lambda _: first.set()
    results: list[ShardResult] = []
    thread = threading.Thread(target=lambda: results.append(zombie(0)))
    thread.start()
    assert slow.begun.acquire(timeout=60) and first.wait(60)
    forget(job, 0, 1)
    other = runner_of(job)
    result = other(0)
    assert (result.state, result.attempt) == ("done", 2)
    assert result.counts == {"done": 2, "failed": 0, "skipped": 1, "planned": 0}
    stamps = {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*.txt")}
    slow.gate.set()
    thread.join()
    assert [result.state for result in results] == ["taken over"]
    assert {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*.txt")} == stamps
    assert not list((tmp_path / "out").rglob("*.part"))
    report = merged(other.job)
    assert report.counts["done"] == 3 and report.missing == (1, 2, 3)
    assert [*report.retried] == [0] and len(report.retried[0]) == 2
    assert "retried" in report.options


def test_what_two_attempts_write_at_the_same_time_is_no_failure(
    make_job: Callable[..., Job], runner_of: Callable[..., ShardRunner], tmp_path: Path
) -> None:
    """The first one may pass its last check just before the second one begins."""

    class Raced(Copy):
        def process(self, item: bytes) -> bytes:
            path = tmp_path / "out" / self._key
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(item[::-1])  # by the other attempt
            return super().process(item)

    runner = runner_of(make_job(), Raced())
    assert work(runner).exit_code == 0
    assert tree(tmp_path / "out") == {name: data[::-1] for name, data in FILES.items()}


def test_a_shard_that_kills_its_processes_is_given_up(
    make_job: Callable[..., Job], runner_of: Callable[..., ShardRunner]
) -> None:
    job = make_job()
    runner = runner_of(job)
    job.claims.mkdir()
    for attempt in range(1, MOST_DEATHS + 1):
        (job.claims / f"000002.{attempt}").touch()
        forget(job, 2, attempt)
    done = work(runner)
    assert done.exit_code == 1 and len(done.problems) == 1
    assert done.problems[0] == "shard 2 ended 10 processes and is given up"
    report = merged(runner.job)
    assert (report.missing, report.exit_code) == ((2,), 5)


OPERATION = """
import os, pathlib, signal, time
import vaetools

class Trouble(vaetools.Operation):
    "Reverses the bytes of a file."
    name = "trouble"
    takes = "file"
    suffixes = (".txt",)
    def process(self, item):
        first = pathlib.Path(os.environ["TROUBLE"])
        if item in (b"b1", b"a2") and not first.exists():
            first.touch()
            os.kill(os.getpid(), getattr(signal, os.environ["SIGNAL"]))
        if item == b"poison":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        return item[::-1]

@vaetools.hookimpl
def register_operations():
    return [Trouble]
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], subprocess.Popen[str]]:
    """Starts a process that works on the job in `run`."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "trouble.py").write_text(OPERATION)
    monkeypatch.setenv("VAETOOLS_PLUGINS_DIR", str(tmp_path / "plugins"))
    monkeypatch.setenv("TROUBLE", str(tmp_path / "troubled"))

    def begin() -> subprocess.Popen[str]:
        words = ["trouble", "--job", "run", "-o", "out", "--jobs", "1"]
        command = [sys.executable, "-m", "vaetools", *words]
        return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)

    return begin


@pytest.mark.slow
def test_a_process_that_is_killed(
    make_job: Callable[..., Job],
    start: Callable[[], subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SIGNAL", "SIGKILL")
    make_job()
    with start() as first:
        assert first.wait() == -signal.SIGKILL
    with start() as second:
        assert second.wait() == 0, second.stderr
    assert tree(tmp_path / "out") == {name: data[::-1] for name, data in FILES.items()}
    check_report(tmp_path, code=0, retried=True)


@pytest.mark.slow
def test_a_process_that_is_stopped_and_goes_on(
    make_job: Callable[..., Job],
    start: Callable[[], subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SIGNAL", "SIGSTOP")
    make_job(lease=2.0)
    with start() as zombie:
        while not (tmp_path / "troubled").exists():
            time.sleep(0.05)
        with start() as second:  # it waits until the first one counts as dead
            assert second.wait() == 0
        written = {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*.txt")}
        zombie.send_signal(signal.SIGCONT)
        assert zombie.wait() == 0
        text = zombie.communicate()[1]
    assert len(written) == len(FILES)
    assert {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*.txt")} == written, text
    check_report(tmp_path, code=0, retried=True)


@pytest.mark.slow
def test_an_input_that_kills_its_process_fails_alone(
    make_job: Callable[..., Job],
    start: Callable[[], subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SIGNAL", "SIGCONT")
    make_job({**FILES, "a/poison.txt": b"poison"})
    with start() as first:
        assert first.wait() == -signal.SIGKILL
    with start() as second:
        assert second.wait() == 1
        assert "E099" in second.communicate()[1]
    assert tree(tmp_path / "out") == {name: data[::-1] for name, data in FILES.items()}
    check_report(tmp_path, code=1, retried=True)


def check_report(folder: Path, *, code: int, retried: bool) -> None:
    command = [sys.executable, "-m", "vaetools", "report", "run"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert ("2 attempts" in done.stderr) is retried
    assert f"{len(FILES)} done" in done.stderr
