"""An operation as a command: its options become flags, the rest is common to all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaetools.cli.app import hub_of
from vaetools.errors import EXIT_DONE, printable
from vaetools.image import MAX_PIXELS
from vaetools.operation import Operation, OptionSpec, option_specs, summary_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.runner import Record, RunResult

SETTINGS = (
    click.option("--jobs", type=click.IntRange(min=1), help="Pictures at once [one per core]."),
    click.option("--resume/--no-resume", default=True, help="Skip what is proved done [resume]."),
    click.option("--force", is_flag=True, help="Do everything again, replace outputs."),
    click.option(
        "--on-exists",
        type=click.Choice(["error", "skip", "replace"]),
        default="error",
        help="Outputs that are there but not from an earlier run [error].",
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing."),
    click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        default=MAX_PIXELS,
        help=f"Largest picture [{MAX_PIXELS}].",
    ),
    click.option("--shard", metavar="I/N", help="Only part I of N of the inputs."),
)
"""Flags of the runner; their names are fields of `RunSettings`."""

INPUTS = (
    click.argument("inputs", nargs=-1, required=True, metavar="IN..."),
    click.option("--include", multiple=True, metavar="GLOB", help="Only these files of folders."),
    click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these files out."),
    click.option("--strict/--lenient", default=True, help="Refuse damaged pictures [strict]."),
    click.option(
        "--frames",
        type=click.Choice(["error", "first"]),
        default="error",
        help="Animated and multi-page files [error].",
    ),
    click.option(
        "--strip",
        type=click.Choice(["none", "gps", "exif", "all"]),
        default="none",
        help="Metadata to leave out [none].",
    ),
)
"""Inputs and how they are read, for operations that take any; names as in `SETTINGS`."""

PLACES = (
    click.option("--model", metavar="ID", help="Model to use, where several fit."),
    click.option("--models-dir", multiple=True, metavar="DIR", help="Further folder of models."),
    click.option("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N [auto]."),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="Threads per picture [1; all for one picture].",
    ),
)
"""Flags of the hub."""


def operation_command(kind: type[Operation]) -> click.Command:
    """The click command of an operation."""
    options: list[Callable[[Any], Any]] = [_flag(spec) for spec in option_specs(kind.Options)]
    names = [spec.name for spec in option_specs(kind.Options)]

    def call(ctx: click.Context, /, **values: Any) -> None:
        chosen = {name: values.pop(name) for name in names}
        run_command(ctx, kind, chosen, **values)

    command: Any = click.pass_context(call)
    decorators = [
        click.option(
            "-o", "--out", required=True, metavar="OUT", help="Folder, or file for one input."
        ),
        *options,
        *PLACES,
        *SETTINGS,
        *(() if kind.takes == "nothing" else INPUTS),
        click.option(
            "--json", "as_json", is_flag=True, help="One JSON record per input on stdout."
        ),
        click.option("--quiet", is_flag=True, help="Say nothing but errors."),
        click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks."),
    ]
    for decorator in reversed(decorators):
        command = decorator(command)
    return click.command(kind.name, help=summary_of(kind))(command)


def _flag(spec: OptionSpec) -> Callable[[Any], Any]:
    """The click option of an operation's option. Values are checked by the operation, once."""
    flag = f"--{spec.name.replace('_', '-')}"
    names = [spec.name, *([spec.short] if spec.short else []), flag]
    notes = [spec.bounds] if spec.bounds else []
    if spec.default is not None and spec.kind is not bool:
        notes.append(
            f"default {spec.default:g}" if spec.kind in (int, float) else str(spec.default)
        )
    help_text = f"{spec.help} [{', '.join(notes)}]" if notes else spec.help
    if spec.kind is bool:
        names[-1] = f"{flag}/--no-{flag[2:]}"
        return click.option(*names, default=spec.default, help=help_text)
    kind = str if spec.choices is None else click.Choice(list(spec.choices))
    metavar = spec.metavar or {int: "N", float: "X"}.get(spec.kind)
    return click.option(*names, type=kind, default=spec.default, metavar=metavar, help=help_text)


def run_command(
    ctx: click.Context,
    kind: type[Operation],
    options: dict[str, Any],
    *,
    out: str,
    as_json: bool,
    quiet: bool,
    models_dir: tuple[str, ...],
    device: str,
    threads: int | None,
    inputs: tuple[str, ...] = (),
    frames: str = "error",
    **settings: Any,
) -> None:
    """Run an operation over files, report on it, and exit with the run's code."""
    if threads is None:
        # One picture gets all cores; of many, each worker takes one core, which is faster.
        threads = None if len(inputs) == 1 and Path(inputs[0]).is_file() else 1
    settings["shard"] = _shard(settings["shard"])
    with hub_of(ctx, models_dir=models_dir, device=device, threads=threads) as hub:
        report = Reporter(as_json=as_json, quiet=quiet)
        result = hub.map(
            kind.name,
            inputs,
            out=out,
            on_record=report.record,
            progress=report.progress,
            first_frame=frames == "first",
            **settings,
            **options,
        )
    report.finish(result)
    if result.exit_code != EXIT_DONE:
        ctx.exit(result.exit_code)


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    part, _, whole = text.partition("/")
    if not (part.isdigit() and whole.isdigit() and 1 <= int(part) <= int(whole)):
        raise click.BadParameter(f"{text!r} is not I/N with 1 ≤ I ≤ N", param_hint="--shard")
    return int(part), int(whole)


class Reporter:
    """Records as they come: JSON lines on stdout, or failures on stderr and a summary at the end."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        from vaetools.runner import terminal_progress

        self.as_json = as_json
        self.quiet = quiet
        self.progress = None if quiet or as_json else terminal_progress()

    def record(self, record: Record) -> None:
        if self.as_json:
            sys.stdout.write(json.dumps(record.as_dict()) + "\n")
            sys.stdout.flush()
        if record.status == "failed":
            self._say(f"{record.code} {record.message}")
        elif record.status == "planned" and not self.as_json:
            click.echo(printable(f"{record.file} -> {', '.join(record.out)}"))

    def _say(self, line: str) -> None:
        if self.progress is not None:
            self.progress.note(line)  # above the bar
        else:
            click.echo(line, err=True)

    def finish(self, result: RunResult) -> None:
        if not self.quiet:
            click.echo(result.summary, err=True)
