"""An operation, or a chain of operations, as a command that runs over files."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from vaetools.cli.config import config_option
from vaetools.cli.context import hub_of
from vaetools.cli.engine import ENGINE_FLAGS, PARAMETERS, engine_of
from vaetools.cli.flags import (
    DEBUG,
    INPUT_FLAGS,
    OUT,
    QUALITY_FLAG,
    REPORTING_FLAGS,
    RUN_FLAGS,
    RUNTIME_FLAGS,
    TO_FLAG,
    WATCH_FLAGS,
    is_typed,
    refuse_typed,
    with_flags,
)
from vaetools.cli.job import run_job
from vaetools.cli.reporter import Reporter
from vaetools.cli.sections import SectionedCommand, help_of, titles_of
from vaetools.cli.signals import exit_code
from vaetools.cli.steps import StepFlags, sentence
from vaetools.errors import EXIT_DONE, EXIT_INTERRUPTED, UsageError
from vaetools.operation import Operation, summary_of
from vaetools.operation.chain import StepSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vaetools.cli.config import Config
    from vaetools.cli.flags import Flag
    from vaetools.hub import Hub
    from vaetools.operation.step import Step
    from vaetools.runner import RunResult, WatchResult


def operation_command(kind: type[Operation]) -> click.Command:
    """The click command of an operation."""
    step = StepFlags(0, kind, StepSpec(kind.name))
    return command_of(kind.name, help_of(kind, sentence(summary_of(kind))), [step])


def command_of(
    name: str,
    help_text: str,
    steps: Sequence[StepFlags],
    *more: Flag,
    run: Callable[..., None] | None = None,
) -> click.Command:
    """The click command of operations, applied one after the other.

    Args:
        more: additional click options, passed to `run`.
        run: called with the context, the chosen steps and all common values; by default
            `run_command`.
    """

    def call(ctx: click.Context, /, **values: Any) -> None:
        _drop_other_forms(ctx, values)
        chosen = [step.chosen(ctx, values) for step in steps]
        (run or run_command)(ctx, chosen, **values)

    def defaults(config: Config) -> dict[str, Any]:
        found = dict(config.common)
        for step in steps:
            own = {"to": found["to"]} if step.names_outputs and "to" in found else {}
            found |= step.defaults({**own, **config.operations.get(step.spec.op, {})})
        return found

    flags = with_flags(
        OUT,
        *(flag for step in steps for flag in step.flags()),
        *RUNTIME_FLAGS,
        *RUN_FLAGS,
        *(() if steps[0].names_outputs else (TO_FLAG,)),
        QUALITY_FLAG,
        *(() if steps[0].kind.takes == "nothing" else (*INPUT_FLAGS, *WATCH_FLAGS, *ENGINE_FLAGS)),
        *more,
        *REPORTING_FLAGS,
        config_option(defaults),
        DEBUG,
    )
    make = click.command(name, cls=SectionedCommand, help=help_text)
    command: SectionedCommand = make(flags(click.pass_context(call)))
    command.steps = titles_of([step.spec.op for step in steps])
    return command


def step_of(hub: Hub, steps: Sequence[StepSpec]) -> Step[Any]:
    """The steps of a command as one. Raises as `Hub.op` and `Hub.chain`."""
    return hub.chain(*(hub.op(step.op, model=step.model, **step.options) for step in steps))


def run_command(
    ctx: click.Context,
    steps: Sequence[StepSpec],
    *,
    out: str,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    models_dir: tuple[str, ...],
    device: str,
    threads: int | None,
    isolate: bool | None,
    inputs: tuple[str, ...] = (),
    job: str | None = None,
    frames: str = "error",
    watch: bool = False,
    interval: float = 2.0,
    **settings: Any,
) -> None:
    """Run operations over files or over shards of a job, report, and exit with the code of it."""
    from vaetools.runner.archive import is_tar

    _check_inputs(ctx, inputs, settings.get("files_from"), job)
    if watch:
        refuse_typed(ctx, {"dry_run", "prune", "report", "files_from", "job"}, "a watched folder")
    else:
        refuse_typed(ctx, {"interval"}, "a run without --watch")
    if threads is None:
        # A single image gets all cores; with many, one core per image is faster.
        is_one = len(inputs) == 1 and os.path.isfile(inputs[0]) and not watch
        is_one = is_one and not is_tar(inputs[0])
        threads = None if is_one else 1
    report = Reporter(as_json=as_json, quiet=quiet, verbose=verbose)
    opened = {
        "device": device,
        "models_dirs": models_dir,
        "plugins_dirs": ctx.find_root().params.get("plugins_dir") or (),
        "threads": threads,
        "isolate": isolate,
    }
    chosen = {name: settings.pop(name) for name in PARAMETERS & settings.keys()}
    engine = engine_of(ctx, job, steps, opened, chosen)
    here = device if engine is None else "cpu"  # the processes of an engine find the device
    with (
        redirect_stdout(sys.stderr),  # the output of plugins must not mix with the records
        hub_of(ctx, models_dir=models_dir, device=here, threads=threads, isolate=isolate) as hub,
    ):
        step = step_of(hub, steps)
        _refuse_unused(ctx, step.operation, inputs)
        settings["first_frame"] = frames == "first"
        run: Callable[..., RunResult | WatchResult] = partial(hub.map, progress=report.progress)
        if watch:
            run = partial(hub.watch, interval=interval, on_problem=report.problem)
            report.watching(inputs)
        try:
            if job is not None:
                ctx.exit(run_job(ctx, hub, step, job, out, report, settings, engine))
            result = run(
                step,
                inputs,
                out=out,
                on_record=report.record,
                **settings,
            )
        except KeyboardInterrupt:
            code = exit_code()
            report.interrupted()
            ctx.exit(code)
    code = report.finish(result)
    if code != EXIT_DONE:
        ctx.exit(exit_code() if code == EXIT_INTERRUPTED else code)


FORMS: dict[str, tuple[str, ...]] = {"inputs": (), "files_from": ("root",), "job": ()}
"""Parameters that name the inputs, and others that belong to one of them."""


def _drop_other_forms(ctx: click.Context, values: dict[str, Any]) -> None:
    """Inputs in one form on the command line override those in another form in a config file."""
    if not any(is_typed(ctx, form) for form in FORMS):
        return
    for form, more in FORMS.items():
        if not is_typed(ctx, form):
            dropped = [n for n in (form, *more) if values.get(n) and not is_typed(ctx, n)]
            values.update(dict.fromkeys(dropped))


def _check_inputs(
    ctx: click.Context, inputs: Sequence[str], files_from: str | None, job: str | None
) -> None:
    """Raise `click.UsageError` unless there are inputs in exactly one form."""
    named = [parameter for parameter in ctx.command.params if parameter.name == "inputs"]
    if not named:  # an operation without inputs
        return
    forms = {
        "IN": bool(inputs),
        "--files-from": files_from is not None,
        "--job": job is not None,
    }
    given = [name for name, is_given in forms.items() if is_given]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} exclude each other")
    if not given:
        raise click.MissingParameter(ctx=ctx, param=named[0])


VIDEO_ONLY = frozenset({"fourcc", "video_quality"})
"""Parameters without effect on images."""


def _refuse_unused(ctx: click.Context, operation: Operation, inputs: Sequence[str]) -> None:
    """Raise `UsageError` for flags on the command line that this run would ignore."""
    from vaetools.video import is_video

    files = [name for name in inputs if not os.path.isdir(name)]
    videos = [name for name in files if operation.takes == "image" and is_video(name)]
    if inputs and len(videos) == len(inputs):
        refuse_typed(ctx, {"frames", "to", "quality_out"}, "a video")
    elif inputs and len(files) == len(inputs) and not videos:
        refuse_typed(ctx, VIDEO_ONLY, "images")
    if is_typed(ctx, "force") and ctx.params["force"]:
        if is_typed(ctx, "on_exists") and ctx.params["on_exists"] != "replace":
            flag = f"--on-exists {ctx.params['on_exists']}"
            raise UsageError(f"--force and {flag} exclude each other")
        if is_typed(ctx, "resume") and ctx.params["resume"]:
            raise UsageError("--force and --resume exclude each other")
