"""`vaetools OP --job RUN`: works through the free shards of a job."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaetools.cli.flags import refuse_typed
from vaetools.cli.signals import exit_code
from vaetools.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

    from vaetools.cli.engine import Engine
    from vaetools.cli.reporter import Reporter
    from vaetools.hub import Hub
    from vaetools.operation.step import Step

OF_RUNS = frozenset(
    {"include", "exclude", "resume", "force", "journal", "dry_run", "shard", "report", "prune"}
)
"""Parameters of runs that have no meaning for a job: its inputs and its journals are in RUN."""


def run_job(
    ctx: click.Context,
    hub: Hub,
    step: Step[Any],
    job: str,
    out: str,
    report: Reporter,
    settings: Mapping[str, Any],
    engine: Engine | None,
) -> int:
    """Process free shards, print what was done, and return the exit code.

    Args:
        ctx: The context.
        hub: Of this process.
        step: The operations.
        job: The job folder.
        out: The output folder.
        report: Prints what happens.
        settings: Fields of `RunSettings`.
        engine: Hands the shards to other processes; None: this process takes free ones.
    """
    from vaetools.distributed.job import open_job
    from vaetools.distributed.loop import work
    from vaetools.distributed.shard_runner import ShardRunner
    from vaetools.hub_runs import fingerprint, task_of

    refuse_typed(ctx, OF_RUNS, "a job")
    opened = open_job(job)
    if (root := settings["root"]) is not None:
        opened = dataclasses.replace(opened, root=Path(root))
    unused = {*OF_RUNS, "files_from", "root"}
    given = {name: value for name, value in settings.items() if name not in unused}
    operation, run_settings = task_of(hub, step, out, given)
    runner = ShardRunner(
        opened, operation, run_settings, fingerprint(operation), on_record=report.record
    )
    done = work(runner) if engine is None else engine.run(runner.job, root, out, given, report)
    code = report.finish(done)
    return exit_code() if code == EXIT_INTERRUPTED else code
