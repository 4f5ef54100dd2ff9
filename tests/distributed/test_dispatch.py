"""Tasks that end, hang or are stopped: every input is done once, and what went wrong is said."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.distributed.conftest import FILES, tree
from tests.runner.operations import Copy
from vaetools.distributed.claims import attempts, take
from vaetools.distributed.dispatch import Crash, Dispatcher, Outcome, Unusable
from vaetools.distributed.job import Job
from vaetools.distributed.lists import files_of
from vaetools.distributed.loop import Work
from vaetools.distributed.parts import Part
from vaetools.distributed.shard_runner import ShardResult, ShardRunner
from vaetools.errors import DeviceError, OutputError, UsageError
from vaetools.record import Record

ENGINE = "e"
DONE = {name: data[::-1] for name, data in FILES.items()}


@dataclass
class InProcess:
    """An executor that runs its tasks in this process, one at a time.

    Attributes:
        runner: Of the job.
        troubles: What becomes of which task, by its number from 0, instead of a result.
        poison: Names of inputs that end their process.
        silent: Numbers of tasks that claim their shard, give no sign of life and never end.
        ctrl_c: Number of the call of `wait` in which Ctrl-C is pressed.
    """

    runner: ShardRunner
    troubles: dict[int, Outcome] = field(default_factory=dict)
    poison: frozenset[str] = frozenset()
    silent: frozenset[int] = frozenset()
    ctrl_c: frozenset[int] = frozenset()
    parts: list[Part] = field(default_factory=list)
    abandoned: list[int] = field(default_factory=list)
    interrupted: set[int] = field(default_factory=set)
    waits: int = 0
    lines: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def slots(self) -> int:
        return 1

    def submit(self, part: Part) -> int:
        self.parts.append(part)
        return len(self.parts) - 1

    def wait(self, tasks: Sequence[int], seconds: float) -> Sequence[int]:
        self.waits += 1
        if self.waits - 1 in self.ctrl_c:
            raise KeyboardInterrupt
        ready = [task for task in tasks if task not in self.silent]
        for task in {*tasks} & self.silent:
            if not attempts(self.runner.job, self.parts[task].shard):
                self._leave_claim(self.parts[task].shard)
        return ready[:1]

    def outcome(self, task: int) -> Outcome:
        part = self.parts[task]
        if task in self.interrupted:
            return ShardResult(part.shard, "interrupted")
        if task in self.troubles:
            if isinstance(self.troubles[task], Crash):
                self._leave_claim(part.shard)
            return self.troubles[task]
        files = files_of(self.runner.job, part.shard)
        names = [file.name for file in files]
        wanted = {*range(len(names))[part.begin : part.end]} - {*part.killers}
        if any(names[position] in self.poison for position in wanted):
            self._leave_claim(part.shard)
            return Crash("SIGKILL")
        return self.runner(part.shard, part=part, engine=ENGINE)

    def _leave_claim(self, shard: int) -> None:
        """A claim of a process that seems to run, without a sign of life for long."""
        claim = take(self.runner.job, shard, ENGINE)
        assert claim is not None
        os.utime(self.runner.job.claims / f"{shard:06}.{claim.attempt}", (1.0, 1.0))

    def interrupt(self, tasks: Sequence[int]) -> None:
        self.interrupted.update(tasks)

    def abandon(self, task: int) -> None:
        self.abandoned.append(task)

    def record(self, record: Record) -> None:
        self.records.append(record)

    def trouble(self, line: str) -> None:
        self.lines.append(line)

    def run(self, retries: int = 2) -> Work:
        return Dispatcher(self.runner.job, self, retries, self).run()


MakeJob = Callable[..., Job]
RunnerOf = Callable[..., ShardRunner]


class Unsendable(Copy):
    """Cannot be sent to worker processes, which a shard gets after a crash otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = lambda: None


def test_all_shards_are_done(make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path) -> None:
    engine = InProcess(runner_of(make_job(), Unsendable()))
    work = engine.run()
    assert tree(tmp_path / "out") == DONE
    assert (work.exit_code, work.retried, work.missing) == (0, 0, 0)
    assert sorted(result.shard for result in work.results) == [0, 1, 2, 3]
    assert sorted(Path(record.file).name for record in engine.records) == sorted(
        Path(name).name for name in FILES
    )
    assert work.summary.startswith("4 shards: 10 done, ")


def test_a_second_run_has_nothing_to_do(make_job: MakeJob, runner_of: RunnerOf) -> None:
    runner = runner_of(make_job(), Unsendable())
    InProcess(runner).run()
    engine = InProcess(runner)
    assert engine.run().exit_code == 0
    assert engine.parts == []


def test_a_lost_process_costs_an_attempt(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    engine = InProcess(
        runner_of(make_job(), Unsendable()), troubles={0: Crash("its node was lost")}
    )
    work = engine.run()
    assert tree(tmp_path / "out") == DONE
    shard = engine.parts[0].shard
    assert engine.lines == [f"shard {shard}: its node was lost; tried again"]
    assert (work.exit_code, work.retried) == (0, 1)


def test_inputs_that_end_their_process_are_recorded_and_all_others_done(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    engine = InProcess(
        runner_of(make_job(), Unsendable()), poison=frozenset({"a/1.txt", "b/0.txt"})
    )
    work = engine.run()
    assert tree(tmp_path / "out") == {k: v for k, v in DONE.items() if k not in engine.poison}
    assert work.exit_code == 1
    assert work.summary.startswith("4 shards: 8 done, 2 failed, ")
    failed = {Path(r.file).as_posix(): r for r in engine.records if r.status == "failed"}
    assert len(failed) == 2
    for name, record in failed.items():
        assert name.endswith(("a/1.txt", "b/0.txt"))
        assert record.code == "E099"
        assert f"{name}: ended each of its processes: SIGKILL; " in record.message
    assert len(engine.records) == len(FILES)
    assert any(line.endswith("SIGKILL; recorded as failed") for line in engine.lines)


def test_a_process_without_a_sign_of_life_is_abandoned(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    engine = InProcess(runner_of(make_job(lease=0.01), Unsendable()), silent=frozenset({0}))
    work = engine.run()
    assert tree(tmp_path / "out") == DONE
    assert engine.abandoned == [0]
    assert engine.lines == [
        f"shard {engine.parts[0].shard}: no sign of life for 0.01 s; tried again"
    ]
    assert work.exit_code == 0


def test_what_stops_a_task_is_tried_elsewhere(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    stopped = ShardResult(0, "stopped", host="n7", problem="the disk is full")
    engine = InProcess(runner_of(make_job(), Unsendable()), troubles={0: stopped})
    assert engine.run().exit_code == 0
    assert tree(tmp_path / "out") == DONE
    shard = engine.parts[0].shard
    assert engine.lines == [f"shard {shard}: the disk is full on n7; tried again"]


def test_what_stops_every_attempt_stops_the_job(make_job: MakeJob, runner_of: RunnerOf) -> None:
    stopped = ShardResult(0, "stopped", host="n7", problem="the disk is full")
    engine = InProcess(
        runner_of(make_job(), Unsendable()), troubles=dict.fromkeys(range(99), stopped)
    )
    work = engine.run()
    assert (work.exit_code, work.missing) == (1, 4)
    assert "the disk is full" in work.summary


def test_an_error_of_every_attempt_is_raised(make_job: MakeJob, runner_of: RunnerOf) -> None:
    error = DeviceError("no GPU")
    engine = InProcess(
        runner_of(make_job(), Unsendable()), troubles=dict.fromkeys(range(99), error)
    )
    with pytest.raises(DeviceError, match="no GPU"):
        engine.run()
    assert len(engine.parts) <= 3 * 4 + 1


def test_an_error_of_one_machine_is_not_that_of_the_job(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    engine = InProcess(
        runner_of(make_job(), Unsendable()), troubles={0: OutputError("stale handle", file="x")}
    )
    assert engine.run().exit_code == 0
    assert tree(tmp_path / "out") == DONE


def test_an_error_is_raised_if_all_shards_are_refused(
    make_job: MakeJob, runner_of: RunnerOf
) -> None:
    engine = InProcess(
        runner_of(make_job(), Unsendable()), troubles=dict.fromkeys(range(4), UsageError("clash"))
    )
    with pytest.raises(UsageError, match="clash"):
        engine.run()


@pytest.mark.parametrize("task", range(4))
def test_a_shard_that_is_refused_is_reported_and_the_others_are_done(
    make_job: MakeJob, runner_of: RunnerOf, task: int
) -> None:
    engine = InProcess(runner_of(make_job(), Unsendable()), troubles={task: UsageError("clash")})
    work = engine.run()
    assert [error.problem for error in work.refused] == ["clash"]
    assert (work.exit_code, len(work.results), work.missing) == (2, 3, 1)
    assert work.summary.endswith("; 1 shard not done: 1 refused")


def test_a_machine_that_cannot_work_on_the_job_refuses_no_shard(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    unusable = Unusable(UsageError("cannot be entered on n7"))
    engine = InProcess(runner_of(make_job(), Unsendable()), troubles={0: unusable})
    assert engine.run().exit_code == 0
    assert tree(tmp_path / "out") == DONE
    assert engine.lines == [
        f"shard {engine.parts[0].shard}: E002 cannot be entered on n7; tried again"
    ]


def test_a_shard_that_is_given_up_is_a_problem(make_job: MakeJob, runner_of: RunnerOf) -> None:
    job = make_job(size=10)
    engine = InProcess(
        runner_of(job, Unsendable()), troubles=dict.fromkeys(range(99), Crash("SIGKILL"))
    )
    work = engine.run(retries=0)
    (problem,) = work.problems
    assert problem.startswith("shard 0: SIGKILL; given up after ")
    assert (work.exit_code, work.missing) == (1, 1)
    assert work.summary.endswith("; 1 shard not done: 1 given up")


def test_a_list_that_is_damaged_while_a_shard_is_split_refuses_it_alone(
    make_job: MakeJob, runner_of: RunnerOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")  # begins with shard 0
    job = make_job()
    engine = InProcess(runner_of(job, Unsendable()), troubles={0: Crash("SIGKILL")})
    job.list_of(0).write_bytes(b"")
    work = engine.run(retries=0)
    (error,) = work.refused
    assert error.problem == "is cut short or was changed"
    assert (work.exit_code, len(work.results)) == (2, 3)


def test_ctrl_c_interrupts_tasks_and_the_next_run_goes_on(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    runner = runner_of(make_job(), Unsendable())
    engine = InProcess(runner, ctrl_c=frozenset({1}))
    work = engine.run()
    assert (work.exit_code, work.missing) == (130, 3)
    assert engine.interrupted
    assert InProcess(runner).run().exit_code == 0
    assert tree(tmp_path / "out") == DONE


def test_the_second_ctrl_c_does_not_wait(make_job: MakeJob, runner_of: RunnerOf) -> None:
    engine = InProcess(runner_of(make_job(), Unsendable()), ctrl_c=frozenset({1, 2}))
    with pytest.raises(KeyboardInterrupt):
        engine.run()


def test_shards_of_other_processes_are_left_to_them(make_job: MakeJob, runner_of: RunnerOf) -> None:
    runner = runner_of(make_job(), Unsendable())
    claim = take(runner.job, 2, "another engine")
    assert claim is not None
    with claim:
        work = InProcess(runner).run()
    assert work.missing == 1
    assert sorted(result.shard for result in work.results) == [0, 1, 3]


def test_what_a_killed_attempt_could_not_confirm_counts_as_done(
    make_job: MakeJob, runner_of: RunnerOf
) -> None:
    job = make_job()
    runner = runner_of(job, Unsendable())
    assert runner(0, engine=ENGINE).counts["done"] == 3
    job.done_file(0).unlink()
    journal = job.journal(0, 1)
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b'"event":"done"' in lines[-1]
    journal.write_bytes(b"".join(lines[:-1]))
    engine = InProcess(runner)
    work = engine.run()
    assert {record.status for record in engine.records} == {"done"}
    assert work.summary.startswith("4 shards: 10 done, ")
