"""One shard at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vaetools.distributed.claims import take

from .conftest import FILES, tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vaetools.distributed.job import Job
    from vaetools.distributed.shard_runner import ShardRunner


def test_shards_give_the_files_of_one_run(
    make_job: Callable[..., Job], runner_of: Callable[..., ShardRunner], tmp_path: Path
) -> None:
    runner = runner_of(make_job())
    results = [runner(number) for number in range(runner.job.shards)]
    assert [result.state for result in results] == ["done"] * 4
    assert [result.counts["done"] for result in results] == [3, 3, 3, 1]
    assert tree(tmp_path / "out") == {name: data[::-1] for name, data in FILES.items()}
    assert runner(2).state == "already done"


def test_a_shard_that_another_process_works_on_is_left_to_it(
    make_job: Callable[..., Job], runner_of: Callable[..., ShardRunner], tmp_path: Path
) -> None:
    job = make_job()
    runner = runner_of(job)
    claim = take(job, 1)
    assert claim is not None
    with claim:
        assert runner(1).state == "held"
        assert tree(tmp_path / "out") == {}
    assert runner(1).state == "done"
    assert json.loads(job.done_file(1).read_text())["attempt"] == 2
