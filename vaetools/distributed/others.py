"""Outputs that belong to other shards of a job.

A shard plans its outputs on its own, so two shards may name the same output. The second one must not
replace what the first one wrote, nor an input of another shard.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from vaetools.distributed.job import mark_file
from vaetools.distributed.lists import files_of
from vaetools.errors import ClashError, UsageError, printable
from vaetools.runner.plan import folded
from vaetools.runner.recorded import read_events

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vaetools.distributed.job import Job

_REMEDY = "leave one out with --exclude, or use different output folders"


def clashes(
    job: Job, number: int, out: Path, standing: Mapping[str, Path]
) -> dict[str, ClashError]:
    """Why outputs that exist must not be replaced by a shard.

    The journals of the other shards are read only if an output is not older than the job.

    Args:
        job: The job, begun.
        number: Of the shard.
        out: The output folder.
        standing: The inputs of existing outputs that this shard did not write, by name of the output.

    Returns:
        An error for each output that another shard wrote, or that is an input of another shard.
    """
    found: dict[str, ClashError] = {}
    stamps = {name: _status(out / name) for name in standing}
    mark = _status(mark_file(job, out))
    # Both times are of one file system. Outputs may have the modification time of their input.
    new = {
        folded(name): name
        for name, status in stamps.items()
        if status and (mark is None or status.st_ctime_ns >= mark.st_mtime_ns)
    }
    for made, size, file in _written(job, number) if new else ():
        name = new.get(folded(made))
        status = None if name is None else stamps[name]
        if name is not None and status is not None and status.st_size == size:
            one, other = printable(str(standing[name])), printable(str(job.root / file))
            problem = f"{other} and {one} would both be written to {printable(str(out / name))}"
            found[name] = ClashError(problem, remedy=_REMEDY)
    places = _below_root(job, out, standing)
    for file in _inputs(job, number) if places else ():
        if (name := places.get(folded(file))) is not None:
            problem = f"the output {printable(str(out / name))} is the input {printable(file)}"
            remedy = "inputs are never overwritten: choose another output folder"
            found[name] = ClashError(problem, remedy=remedy)
    return found


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _written(job: Job, number: int) -> Iterator[tuple[str, int, str]]:
    """(name, size, input) of the outputs of other shards, also of those that were only begun."""
    folder = job.journal(0, 1).parent
    for path in sorted(folder.glob("*.ndjson")) if folder.is_dir() else ():
        shard, _, rest = path.name.partition(".")
        if not shard.isdigit() or int(shard) == number or rest.endswith("records.ndjson"):
            continue
        for entry, _ in read_events([path], begun=True)[1]:
            for name, (size, _) in entry.out.items():
                yield name, size, entry.file


def _below_root(job: Job, out: Path, standing: Mapping[str, Path]) -> dict[str, str]:
    """Outputs that lie in the folder of the inputs: their names by those of inputs there."""
    root, real_out = Path(os.path.realpath(job.root)), Path(os.path.realpath(out))
    if not job.explicit and root in real_out.parents:
        return {}  # OUT is a folder of its own there, and what is in it is no input
    found = {}
    for name in standing:
        place = Path(os.path.realpath((out / name).parent), PurePosixPath(name).name)
        if place.is_relative_to(root):
            found[folded(place.relative_to(root).as_posix())] = name
    return found


def _inputs(job: Job, number: int) -> Iterator[str]:
    """The names in the lists of the other shards."""
    for other in range(job.shards):
        if other != number:
            with contextlib.suppress(UsageError):  # nothing of that shard can be processed
                yield from (file.name for file in files_of(job, other))
