"""A job over small text files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runner.conftest import nobody as nobody  # noqa: PLC0414 - a fixture
from tests.runner.operations import Copy
from vaetools.distributed.job import Job, open_job
from vaetools.distributed.lists import Left, walk, write_lists
from vaetools.distributed.shard_runner import ShardRunner
from vaetools.runner import RunSettings
from vaetools.runner.inputs import FileFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vaetools.operation import Operation

FILES = {
    f"{folder}/{number}.txt": f"{folder}{number}".encode() for folder in "ab" for number in range(5)
}


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """Makes a job in `run` over text files in `in`, three in a shard."""

    def make(files: Mapping[str, bytes] = FILES, *, size: int = 3, lease: float = 300.0) -> Job:
        top = tmp_path / "in"
        for name, data in files.items():
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        found = walk(top, FileFilter((".txt",)), Left())
        write_lists(tmp_path / "run", top, found, size=size, lease=lease)
        return open_job(tmp_path / "run")

    return make


@pytest.fixture
def runner_of(tmp_path: Path) -> Callable[..., ShardRunner]:
    """A runner of the shards of a job into `out`."""

    def make(job: Job, operation: Operation | None = None, **settings: object) -> ShardRunner:
        made = RunSettings(**{"out": tmp_path / "out", "jobs": 1, **settings})  # type: ignore[arg-type]
        return ShardRunner(job, operation or Copy(), made, "fingerprint")

    return make


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder, without those of vaetools."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in paths
        if not path.name.startswith(".vaetools")
    }
