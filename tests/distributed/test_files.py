"""The small files of a job folder."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.runner.operations import Copy
from vaetools.distributed.files import stands
from vaetools.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vaetools.distributed.job import Job
    from vaetools.distributed.shard_runner import ShardRunner


def break_disk(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make lookups of files with this name fail."""
    lstat = os.lstat

    def fail(path: Path, *args: object, **options: object) -> os.stat_result:
        if str(path).endswith(name):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return lstat(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "lstat", fail)
    monkeypatch.setattr("pathlib.Path.lstat", fail)


def test_what_stands_at_a_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert stands(tmp_path) and stands(tmp_path / "file") and stands(tmp_path / "dangling")
    assert not stands(tmp_path / "none") and not stands(tmp_path / "file" / "below")
    assert not stands(tmp_path / ("n" * 300)) and not stands(tmp_path / "a\0b")


def test_a_disk_that_fails_does_not_say_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_disk(monkeypatch, "done")
    with pytest.raises(OutputError) as caught:
        stands(tmp_path / "done")
    line = f"E070 {tmp_path}/done: cannot be looked up: Input/output error; check the disk"
    assert caught.value.line.startswith(line)


@pytest.mark.parametrize("name", ["operation.toml", "000000.json", "000000.1"])
def test_a_job_on_a_disk_that_fails(
    make_job: Callable[..., Job],
    runner_of: Callable[..., ShardRunner],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    job = make_job()
    with monkeypatch.context() as patched:
        break_disk(patched, name)
        with pytest.raises(OutputError, match="cannot be looked up: Input/output error"):
            runner_of(job, Copy())(0)
    assert runner_of(job, Copy())(0).state == "done"
