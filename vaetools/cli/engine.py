"""`--engine`: which processes work on the shards of a job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from vaetools.cli.flags import refuse_typed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vaetools.cli.reporter import Reporter
    from vaetools.distributed.job import Job
    from vaetools.distributed.loop import Work
    from vaetools.distributed.ray import RayOptions
    from vaetools.operation.chain import StepSpec

LOOP = "loop"
LOCAL = "local"
RAY = "ray"

OF_RAY = frozenset({"address", "gpus_per_task", "cpus_per_task"})
"""Parameters for Ray only."""

PARAMETERS = OF_RAY | {"engine", "retries"}

ENGINE_FLAGS = (
    click.option(
        "--engine",
        type=click.Choice([LOCAL, LOOP, RAY]),
        default=LOOP,
        help="Processes for a --job: this one (loop), --workers N here (local), a Ray cluster.",
    ),
    click.option(
        "--address",
        default="auto",
        metavar="HOST:PORT",
        help="Ray cluster; auto: the one of this machine; local: one for this command.",
    ),
    click.option(
        "--gpus-per-task",
        type=click.FloatRange(min=0),
        metavar="G",
        show_default="1 if the cluster has any",
        help="GPUs that Ray gives each task; 0.5: two tasks share one.",
    ),
    click.option(
        "--cpus-per-task",
        type=click.IntRange(min=1),
        metavar="N",
        show_default="4, or all of the smallest node",
        help="Cores that Ray gives each task.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(min=0),
        metavar="N",
        default=2,
        help="Further attempts at a shard whose process or machine was lost.",
    ),
)
"""Flags for a job."""


@dataclass(frozen=True)
class Engine:
    """Hands the shards of a job to processes.

    Attributes:
        steps: The operations.
        opened: Keyword arguments of `vaetools.open` in the processes.
        retries: Further attempts after one that failed.
        ray: How to use a Ray cluster; None for processes of this machine.
    """

    steps: tuple[StepSpec, ...]
    opened: Mapping[str, Any]
    retries: int
    ray: RayOptions | None

    def run(
        self, job: Job, root: str | None, out: str, settings: Mapping[str, Any], report: Reporter
    ) -> Work:
        """Process all shards that are not done.

        Args:
            job: The job, begun.
            root: Folder of the inputs, if it is not that of the job.
            out: Output folder.
            settings: Fields of `RunSettings`.
            report: Prints what happens.
        """
        from vaetools.distributed.recipe import Recipe

        recipe = Recipe(str(job.folder), root, self.steps, out, settings, self.opened)
        if self.ray is not None:
            from vaetools.distributed.ray import run_on_ray

            return run_on_ray(job, recipe, self.ray, report)
        from vaetools.distributed.local import run_locally

        workers = settings["workers"]
        recipe = replace(recipe, settings={**settings, "workers": 0})
        return run_locally(
            job, recipe, None if workers == "auto" else workers, self.retries, report
        )


def engine_of(
    ctx: click.Context,
    job: str | None,
    steps: Sequence[StepSpec],
    opened: Mapping[str, Any],
    values: Mapping[str, Any],
) -> Engine | None:
    """The engine that is asked for; None if this process does the work itself.

    Args:
        ctx: The context.
        job: The job folder; None for a run without one.
        steps: The operations.
        opened: Keyword arguments of `vaetools.open`.
        values: Those of `PARAMETERS`; none for an operation without inputs.

    Raises:
        UsageError: A flag has no effect, or a value does not fit.
        LibraryError: Ray is asked for and not installed.
    """
    if job is None:
        refuse_typed(ctx, PARAMETERS, "a run without --job")
        return None
    if values["engine"] != RAY:
        refuse_typed(ctx, OF_RAY, f"--engine {values['engine']}")
    if values["engine"] == LOOP:
        refuse_typed(ctx, {"retries"}, "--engine loop")
        return None
    ray = None
    if values["engine"] == RAY:
        from vaetools.distributed.ray import RayOptions, library

        needs = (values["gpus_per_task"], values["cpus_per_task"], values["retries"])
        ray = RayOptions(values["address"], *needs, opened["device"])
        library()
    return Engine(tuple(steps), opened, values["retries"], ray)
