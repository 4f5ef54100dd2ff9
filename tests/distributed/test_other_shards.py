"""Outputs of one name in several shards: no output is lost, as in a plain run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePath

import pytest

from tests.distributed.conftest import tree
from tests.runner.operations import Renaming
from vaetools.distributed.job import Job
from vaetools.distributed.lists import stem_of
from vaetools.distributed.loop import work
from vaetools.distributed.shard_runner import ShardRunner
from vaetools.record import Record

MakeJob = Callable[..., Job]
RunnerOf = Callable[..., ShardRunner]


class Joined(Renaming):
    """Names its outputs after the first letter of the input."""

    def __init__(self) -> None:
        super().__init__(lambda source: [PurePath(f"{source.name[0]}.txt")])


FILES = {"a1.txt": b"one", "a2.txt": b"two", "b1.txt": b"b"}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)], ids=["up", "down"])
@pytest.mark.parametrize("rule", ["error", "skip", "replace"])
def test_an_output_of_another_shard_is_kept(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path, rule: str, order: tuple[int, ...]
) -> None:
    job = make_job(FILES, size=1)
    runner = runner_of(job, Joined(), on_exists=rule)
    records: list[Record] = []
    runner.on_record = records.append
    for number in order:
        assert runner(number).state == "done"
    first, second = sorted(FILES)[:2] if order[0] == 0 else sorted(FILES)[1::-1]
    assert tree(tmp_path / "out") == {"a.txt": FILES[first], "b.txt": b"b"}
    (failed,) = [record for record in records if record.status == "failed"]
    assert failed.code == "E080" and Path(failed.file).name == second
    assert f"{first} and " in failed.message and "would both be written to" in failed.message


def test_what_stood_there_before_the_job_is_replaced(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.txt").write_bytes(b"old")
    runner = runner_of(make_job(FILES, size=1), Joined(), on_exists="replace")
    assert work(runner).exit_code == 1
    assert tree(tmp_path / "out")["b.txt"] == b"b"


def test_an_attempt_replaces_what_an_earlier_one_of_the_shard_wrote(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    job = make_job({"b1.txt": b"b"}, size=1)
    runner = runner_of(job, Joined(), on_exists="replace")
    assert runner(0).counts["done"] == 1
    job.done_file(0).unlink()
    os.utime(tmp_path / "in/b1.txt", (1, 1))
    assert runner(0).counts["done"] == 1


def test_an_input_of_another_shard_is_never_replaced(
    make_job: MakeJob, runner_of: RunnerOf, tmp_path: Path
) -> None:
    job = make_job({"a1.txt": b"one", "a.txt": b"input"}, size=1)
    runner = runner_of(job, Joined(), on_exists="replace", out=tmp_path / "in")
    numbers = {job.list_of(n).read_text().count('"a1.txt"'): n for n in range(2)}
    result = runner(numbers[1])
    assert result.counts == {**result.counts, "failed": 1, "done": 0}
    assert (tmp_path / "in/a.txt").read_bytes() == b"input"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("x/A.jpg.vae", "x/a"),
        ("x/a.png.vae", "x/a"),
        ("a.m.png.vae", "a.m"),
        ("a.b.png", "a.b"),
        (".png", ".png"),
        ("a", "a"),
    ],
)
def test_all_known_suffixes_are_left_out_of_the_stem(name: str, stem: str) -> None:
    assert stem_of(name) == stem
