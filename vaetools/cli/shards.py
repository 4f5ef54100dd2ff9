"""`vaetools shards IN -o RUN`: the shard lists of a job."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaetools.cli.arguments import LocalPath
from vaetools.cli.context import host_of, warn
from vaetools.cli.flags import DEBUG, FILES_FROM, JSON, ROOT, Seconds
from vaetools.errors import EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from vaetools.distributed.job import Job
    from vaetools.distributed.lists import Left
    from vaetools.runner.inputs import FileFilter


@click.command("shards")
@click.argument("folder", type=LocalPath(), required=False, metavar="[IN]")
@click.option("-o", "--out", required=True, type=LocalPath(), metavar="RUN", help="The job folder.")
@click.option(
    "--size",
    type=click.IntRange(min=1),
    metavar="N",
    default=2000,
    help="Files in a shard.",
)
@FILES_FROM
@ROOT
@click.option("--include", multiple=True, metavar="GLOB", help="Only these files (repeatable).")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not these files (repeatable).")
@click.option(
    "--lease",
    type=Seconds(),
    metavar="S",
    default=300.0,
    help="Seconds without a sign of life after which another process takes over a shard.",
)
@JSON
@DEBUG
@click.pass_context
def command(
    ctx: click.Context,
    /,
    folder: str | None,
    out: str,
    size: int,
    files_from: str | None,
    root: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    lease: float,
    as_json: bool,
) -> None:
    """Divide a folder of files into shards, for a job of many processes.

    The folder is searched once. What is in folders that cannot be listed is in no shard; each of them
    is named, and the exit code is 1. Then start the operation as often as you like, on all machines that
    see the same files. vaetools report shows what was done, with the exit code of the whole.

    \b
    Examples:
      vaetools shards photos/ -o run/
      vaetools compress --job run/ --out packed/ -q 75
      vaetools report run/
    """
    from vaetools.distributed.lists import Left, listed, walk, write_lists
    from vaetools.runner.filelist import read_list

    if (folder is None) == (files_from is None):
        raise UsageError("name either a folder IN, or a list with --files-from")
    if root is not None and files_from is None:
        raise UsageError("--root has no effect without --files-from", remedy="leave it out")
    left = Left()
    wanted = _wanted(ctx, out, include, exclude)
    if files_from is not None:
        files = read_list(files_from, root or ".")
        top, found = files.root, listed(files, wanted, left)
    else:
        top = Path(folder or "")
        if not top.is_dir():
            problem = "is not a folder" if os.path.lexists(top) else "no such folder"
            raise UsageError(problem, file=top, remedy="name files with --files-from")
        found = walk(top, wanted, left)
    try:
        job = write_lists(
            Path(out), top, found, size=size, explicit=files_from is not None, lease=lease
        )
    finally:
        for error in left.unlisted:
            warn(error)
    _show(job, left, as_json=as_json)
    if left.unlisted:
        ctx.exit(EXIT_SOME_FAILED)


def _wanted(
    ctx: click.Context, out: str, include: tuple[str, ...], exclude: tuple[str, ...]
) -> FileFilter:
    """The files that some operation takes; the operation of the job chooses among them."""
    from vaetools.image import SUFFIXES
    from vaetools.runner.archive import TAR
    from vaetools.runner.inputs import FileFilter
    from vaetools.video import VIDEO_SUFFIXES

    operations = host_of(ctx).operations.values()
    kinds = {suffix for operation in operations for suffix in operation.suffixes}
    suffixes = tuple(sorted({*SUFFIXES, *VIDEO_SUFFIXES, *kinds, TAR}))
    return FileFilter(suffixes, include, exclude, {os.path.realpath(out)})


def _show(job: Job, left: Left, *, as_json: bool) -> None:
    from vaetools.record import format_bytes, kinds_of_files, plural

    if as_json:
        facts = {"v": 1, "run": str(job.folder), "shards": job.shards, "files": job.files}
        click.echo(json.dumps({**facts, "bytes": job.bytes, "left_alone": left.count}))
        return
    shards = plural(job.shards, "shard")
    text = f"{shards}: {plural(job.files, 'file')}, {format_bytes(job.bytes)}"
    if left.count:
        text += f"; {plural(left.count, 'other file')} left alone"
    if left.kinds:
        text += f": {kinds_of_files(left.kinds)}"
    click.echo(text, err=True)
