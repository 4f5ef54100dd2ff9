"""The stages: bytes in flight, full disks and Ctrl-C."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vaetools.errors import OptionError, UnreadableError
from vaetools.runner import Record, RunSettings, run
from vaetools.runner.atomic import write_files
from vaetools.runner.budget import MIN_CHARGE, ByteBudget
from vaetools.runner.folder import OutputFolder
from vaetools.runner.inputs import FileFilter, discover
from vaetools.runner.journal import Journal
from vaetools.runner.pipeline import Pipeline
from vaetools.runner.plan import Target, plan
from vaetools.runner.stages import Publisher, Threads

from .operations import Copy, Gated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.operation import Operation
    from vaetools.runner.plan import PlannedItem

    from .conftest import Plant

SIZE = 4 * MIN_CHARGE


class Watched(ByteBudget):
    """Remembers the largest number of bytes in flight."""

    peak = 0

    def acquire(self, count: int) -> None:
        super().acquire(count)
        self.peak = max(self.peak, self.used)

    def correct(self, difference: int) -> None:
        super().correct(difference)
        self.peak = max(self.peak, self.used)


class Unreadable(Copy):
    """Refuses each input when it is read."""

    def check_head(self, head: bytes) -> None:
        raise UnreadableError(f"cannot be read: {len(head)} bytes")


def in_threads(operation: Operation, items: list[PlannedItem], settings: RunSettings) -> Pipeline:
    folder = OutputFolder(Path(settings.out))
    publisher = Publisher(operation.name, Journal(None), folder)
    return Pipeline(operation.name, items, Threads(operation, settings, publisher), folder)


def test_bytes_in_flight_are_bounded(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {f"{i}.txt": bytes(SIZE) for i in range(40)})
    sources = discover([top], FileFilter((".txt",))).sources
    items = plan(Copy(), sources, Target(tmp_path / "out"))
    settings = RunSettings(tmp_path / "out", jobs=3, memory=2 * 3 * SIZE)
    pipeline = in_threads(Copy(), items, settings)
    budgets = [Watched(channel.budget.limit) for channel in (pipeline.decoded, pipeline.results)]
    pipeline.decoded.budget, pipeline.results.budget = budgets
    pipeline.start()
    records = list(iter(pipeline.next_record, None))
    pipeline.join()
    assert len(records) == 40
    for budget in budgets:
        assert SIZE <= budget.peak <= 3 * SIZE
        assert budget.used == 0


def test_readers_wait_for_a_slow_operation(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {f"{i}.txt": bytes(SIZE) for i in range(20)})
    opened: list[str] = []
    sources = discover([top], FileFilter((".txt",))).sources
    operation = Gated()
    items = plan(operation, sources, Target(tmp_path / "out"))
    settings = RunSettings(tmp_path / "out", jobs=1, memory=2 * 3 * SIZE)
    pipeline = in_threads(operation, items, settings)
    read = pipeline.stages.read

    def count(job: Any) -> int:
        opened.append(job.planned.names[0])
        return read(job)

    pipeline.stages.read = count  # type: ignore[method-assign]
    pipeline.start()
    assert operation.begun.acquire(timeout=5)
    deadline = time.monotonic() + 5
    while len(opened) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(opened) == 3
    operation.gate.set()
    assert sum(1 for _ in iter(pipeline.next_record, None)) == 20
    pipeline.join()


def test_an_input_larger_than_the_memory_passes(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {f"{i}.txt": bytes(SIZE) for i in range(5)})
    assert run(Copy(), [top], RunSettings(tmp_path / "out", memory=1)).counts["done"] == 5


def test_no_threads_are_left(plant: Plant, tmp_path: Path) -> None:
    before = {*threading.enumerate()}
    run(Copy(), [plant("in", {"a.txt": b""})], RunSettings(tmp_path / "out"))
    assert {*threading.enumerate()} <= before


def test_a_listener_that_fails_before_all_threads_are_started_ends_the_run(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, join = threading.Thread.start, Pipeline.join
    is_ending = threading.Event()

    def start_late(thread: threading.Thread) -> None:
        if "_write_all" in thread.name:
            assert is_ending.wait(60)
        start(thread)

    def join_early(pipeline: Pipeline) -> None:
        is_ending.set()
        join(pipeline)

    def listen(_: Record) -> None:
        raise ValueError("no")

    monkeypatch.setattr(threading.Thread, "start", start_late)
    monkeypatch.setattr(Pipeline, "join", join_early)
    top, before = plant("in", {"a.txt": b"x" * 100}), {*threading.enumerate()}
    with pytest.raises(ValueError, match="no"):  # with the record of a reader
        run(Unreadable(), [top], RunSettings(tmp_path / "out"), on_record=listen)
    assert {*threading.enumerate()} <= before


def test_a_listener_that_fails_ends_the_run(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {f"{i}.txt": b"" for i in range(30)})
    before = {*threading.enumerate()}

    def listen(_: Record) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(Copy(), [top], RunSettings(tmp_path / "out"), on_record=listen)
    assert {*threading.enumerate()} <= before
    assert run(Copy(), [top], RunSettings(tmp_path / "out")).exit_code == 0


class Bar:
    """A progress display that remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self, op: str, total: int) -> None:
        self.calls.append(f"{op} {total}")

    def advance(self, record: Record) -> None:
        self.calls.append(record.status)

    def close(self) -> None:
        self.calls.append("closed")


def test_progress_is_displayed(plant: Plant, tmp_path: Path) -> None:
    top, settings = plant("in", {"a.txt": b"", "b.txt": b""}), RunSettings(tmp_path / "out")
    run(Copy(), [top / "a.txt"], settings)
    bar = Bar()
    run(Copy(), [top], settings, progress=bar)
    assert bar.calls == ["copy 2", "skipped", "done", "closed"]


def test_a_dry_run_displays_no_progress(plant: Plant, tmp_path: Path) -> None:
    bar = Bar()
    settings = RunSettings(tmp_path / "out", dry_run=True)
    result = run(Copy(), [plant("in", {"a.txt": b""})], settings, progress=bar)
    assert result.counts["planned"] == 1
    assert bar.calls == ["closed"]


# A full disk.


def test_a_full_disk_stops_the_run_and_the_same_command_resumes(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, out = plant("in", {f"{i:02}.txt": b"data" for i in range(50)}), tmp_path / "out"
    left = [10]

    def fill_up(contents: Any, **options: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_files(contents, **options)

    monkeypatch.setattr("vaetools.runner.stages.write_files", fill_up)
    result = run(Copy(), [top], RunSettings(out, jobs=1))
    assert result.exit_code == 1
    assert result.counts["done"] == 10
    assert 1 <= result.counts["failed"] <= 8  # one per writer at most
    assert result.unreached == 40 - result.counts["failed"]
    assert "the disk is full" in result.summary
    assert "run the same command again to resume" in result.summary
    (message, *_) = [r.message for r in result.records if r.code == "E070"]
    assert "No space left" in message
    monkeypatch.undo()
    assert run(Copy(), [top], RunSettings(out)).counts == {
        "done": 40, "failed": 0, "skipped": 10, "planned": 0, "left alone": 0
    }  # fmt: skip


LIMITED = """
import json, resource, sys
sys.path[:0] = sys.argv[3:]
from runner_operations import Copy
from vaetools.runner import RunSettings, run
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
result = run(Copy(), [sys.argv[1]], RunSettings(sys.argv[2], jobs=2))
print(json.dumps([result.exit_code, [r.as_dict() for r in result.records]]))
"""


def test_files_that_cannot_be_written_whole_are_not_written(plant: Plant, tmp_path: Path) -> None:
    """A limit on the size of files cuts a write short, as a full disk does."""
    sizes = {f"{i}.txt": 1000 * i + 1 for i in range(0, 60, 5)}
    top, out = plant("in", {name: bytes(size) for name, size in sizes.items()}), tmp_path / "out"
    (tmp_path / "runner_operations.py").symlink_to(Path(__file__).with_name("operations.py"))
    command = [sys.executable, "-c", LIMITED, str(top), str(out), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    exit_code, records = json.loads(done.stdout)
    assert exit_code == 1
    failed = {Path(r["file"]).name: r for r in records if r["status"] == "failed"}
    assert set(failed) == {name for name, size in sizes.items() if size > 30_000}
    assert {r["code"] for r in failed.values()} == {"E070"}
    assert "File too large" in failed["55.txt"]["message"]
    written = {p.name: p.stat().st_size for p in out.glob("[!.]*")}
    assert written == {name: size for name, size in sizes.items() if size <= 30_000}


# Ctrl-C.


@pytest.fixture
def _ctrl_c_works() -> Iterator[None]:
    """Restores the default handler: background jobs of a shell inherit that Ctrl-C is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("_ctrl_c_works")
def test_ctrl_c_finishes_what_is_in_flight_and_the_same_command_resumes(
    plant: Plant, tmp_path: Path
) -> None:
    top, out = plant("in", {f"{i:02}.txt": b"ab" for i in range(40)}), tmp_path / "out"
    operation = Gated(seconds=0.01)
    operation.gate.set()
    heard: list[Record] = []

    def listen(record: Record) -> None:
        heard.append(record)
        if len(heard) == 3:
            interrupt()

    result = run(operation, [top], RunSettings(out, jobs=2), on_record=listen)
    assert result.exit_code == 130
    done = result.counts["done"]
    assert 3 <= done < 40
    assert result.unreached == 40 - done
    assert "interrupted" in result.summary
    assert "run the same command again to resume" in result.summary
    assert not list(out.rglob("*.part"))
    assert len(list(out.glob("*.txt"))) in (done, done + 1)  # one record may get lost on the way
    again = run(operation, [top], RunSettings(out, jobs=2))
    assert again.counts["skipped"] >= done
    assert len(list(out.glob("*.txt"))) == 40


@pytest.mark.usefixtures("_ctrl_c_works")
def test_a_second_ctrl_c_does_not_wait(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, out = plant("in", {f"{i}.txt": b"ab" for i in range(5)}), tmp_path / "out"
    operation, stopping = Gated(), threading.Event()
    stop = Pipeline.stop

    def stop_and_tell(pipeline: Pipeline, reason: str) -> None:
        stop(pipeline, reason)
        stopping.set()

    def press_twice() -> None:
        operation.begun.acquire()
        time.sleep(0.2)  # now all threads have been started, and the run waits for records
        interrupt()
        stopping.wait()
        time.sleep(0.2)  # now it waits again
        interrupt()

    monkeypatch.setattr(Pipeline, "stop", stop_and_tell)
    thread = threading.Thread(target=press_twice)
    thread.start()
    result = run(operation, [top], RunSettings(out, jobs=1))
    thread.join()
    assert not operation.ended.is_set()  # the run did not wait for it
    assert (result.exit_code, result.counts["done"], result.unreached) == (130, 0, 5)
    operation.gate.set()
    assert operation.ended.wait(60)
    for worker in threading.enumerate():  # the abandoned threads find the journal closed
        if worker.name.startswith("vaetools "):
            worker.join(60)
    assert {path.name for path in out.iterdir()} == {".vaetools.lock", ".vaetools.ndjson"}


def test_no_more_threads_than_inputs(plant: Plant, tmp_path: Path) -> None:
    top, most = plant("in", {f"{i}.txt": b"ab" for i in range(2)}), []

    class Counts(Copy):
        def process(self, item: bytes) -> bytes:
            most.append(
                sum(thread.name.startswith("vaetools ") for thread in threading.enumerate())
            )
            return super().process(item)

    assert run(Counts(), [top], RunSettings(tmp_path / "out", jobs=1000)).counts["done"] == 2
    assert max(most) <= 2 * 3  # readers, workers, writers
    with pytest.raises(OptionError, match=r"jobs=10000000000 is not 1 … 1024"):
        RunSettings(tmp_path / "out", jobs=10**10)
