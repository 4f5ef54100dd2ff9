"""An operation as a command, or a chain of them: options become flags, the rest is common to all."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaetools.chain import StepSpec
from vaetools.cli.app import hub_of
from vaetools.errors import EXIT_DONE, printable
from vaetools.image import MAX_PIXELS
from vaetools.operation import Operation, OptionSpec, make_options, option_specs, summary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vaetools.hub import Hub
    from vaetools.runner import Record, RunResult
    from vaetools.step import Step

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
    click.option("--models-dir", multiple=True, metavar="DIR", help="Further folder of models."),
    click.option("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N [auto]."),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="Threads per picture [1; all for one picture].",
    ),
)
"""Flags of the hub."""


@dataclass(frozen=True)
class Part:
    """One step of a command: an operation class, and what was chosen for it so far.

    Attributes:
        prefixes: of its flags: nothing for the only step, `compress.` in a chain.
    """

    kind: type[Operation]
    spec: StepSpec
    prefixes: tuple[str, ...] = ("",)

    def options(self) -> list[OptionSpec]:
        """Its options, with what was chosen as the default. Raises `OptionError`."""
        chosen = make_options(self.kind.Options, self.spec.options)
        specs = option_specs(self.kind.Options)
        return [replace(spec, default=getattr(chosen, spec.name)) for spec in specs]


def operation_command(kind: type[Operation]) -> click.Command:
    """The click command of an operation."""
    return command_of(kind.name, summary_of(kind), [Part(kind, StepSpec(kind.name))])


def command_of(
    name: str,
    help_text: str,
    parts: Sequence[Part],
    *more: Callable[[Any], Any],
    run: Callable[..., None] | None = None,
) -> click.Command:
    """The click command of operations, one after the other.

    Args:
        more: further click options, which `run` takes.
        run: called with the context, the steps and all common values; `run_command` if None.
    """
    flags: list[Callable[[Any], Any]] = []
    for number, part in enumerate(parts):
        flags += _flags_of(part, number, {n for p in parts if p is not part for n in _names_of(p)})

    def call(ctx: click.Context, /, **values: Any) -> None:
        steps = [_chosen(part, number, values) for number, part in enumerate(parts)]
        (run or run_command)(ctx, steps, **values)

    command: Any = click.pass_context(call)
    decorators = [
        click.option(
            "-o", "--out", required=True, metavar="OUT", help="Folder, or file for one input."
        ),
        *flags,
        *PLACES,
        *SETTINGS,
        *(() if parts[0].kind.takes == "nothing" else INPUTS),
        *more,
        click.option(
            "--json", "as_json", is_flag=True, help="One JSON record per input on stdout."
        ),
        click.option("--quiet", is_flag=True, help="Say nothing but errors."),
        click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks."),
    ]
    for decorator in reversed(decorators):
        command = decorator(command)
    return click.command(name, help=help_text)(command)


def _names_of(part: Part) -> Iterator[str]:
    """Names, and short flags, of a step's options."""
    yield "model"
    for spec in option_specs(part.kind.Options):
        yield spec.name
        if spec.short:
            yield spec.short


def _parameter(number: int, name: str) -> str:
    """What click calls the option of a step."""
    return f"step{number}_{name}"


def _chosen(part: Part, number: int, values: dict[str, Any]) -> StepSpec:
    """The step with the values of its flags, which are taken out of all values."""
    model = values.pop(_parameter(number, "model"))
    names = [spec.name for spec in option_specs(part.kind.Options)]
    return StepSpec(
        part.spec.op, model, {name: values.pop(_parameter(number, name)) for name in names}
    )


def _flags_of(part: Part, number: int, shared: set[str]) -> list[Callable[[Any], Any]]:
    """The click options of a step.

    Args:
        shared: names that other steps have as well: such flags need the step's own prefix.
    """

    def prefixes(name: str) -> list[str]:
        return [prefix for prefix in part.prefixes if prefix or name not in shared]

    flags = []
    for spec in part.options():
        flag = _flag(_parameter(number, spec.name), spec, prefixes(spec.name), shared)
        flags.append(flag)
    flags.append(
        click.option(
            _parameter(number, "model"),
            *(f"--{prefix}model" for prefix in prefixes("model")),
            default=part.spec.model,
            metavar="ID",
            help="Model to use, where several fit.",
        )
    )
    return flags


def _flag(
    parameter: str, spec: OptionSpec, prefixes: Sequence[str], shared: set[str]
) -> Callable[[Any], Any]:
    """The click option of an operation's option. Values are checked by the operation, once."""
    flag = spec.name.replace("_", "-")
    names = [parameter]
    if spec.short and spec.short not in shared:
        names.append(spec.short)
    notes = [spec.bounds] if spec.bounds else []
    if spec.default is not None and spec.kind is not bool:
        notes.append(
            f"default {spec.default:g}" if spec.kind in (int, float) else str(spec.default)
        )
    help_text = f"{spec.help} [{', '.join(notes)}]" if notes else spec.help
    if spec.kind is bool:
        names += [f"--{prefix}{flag}/--no-{prefix}{flag}" for prefix in prefixes]
        return click.option(*names, default=spec.default, help=help_text)
    names += [f"--{prefix}{flag}" for prefix in prefixes]
    kind = str if spec.choices is None else click.Choice(list(spec.choices))
    metavar = spec.metavar or {int: "N", float: "X"}.get(spec.kind)
    return click.option(*names, type=kind, default=spec.default, metavar=metavar, help=help_text)


def step_of(hub: Hub, steps: Sequence[StepSpec]) -> Step:
    """The steps of a command as one. Raises as `Hub.make` and `Hub.chain`."""
    return hub.chain(*(hub.op(step.op, model=step.model, **step.options) for step in steps))


def run_command(
    ctx: click.Context,
    steps: Sequence[StepSpec],
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
    """Run operations over files, report on it, and exit with the run's code."""
    if threads is None:
        # One picture gets all cores; of many, each worker takes one core, which is faster.
        threads = None if len(inputs) == 1 and Path(inputs[0]).is_file() else 1
    settings["shard"] = _shard(settings["shard"])
    report = Reporter(as_json=as_json, quiet=quiet)
    with (
        redirect_stdout(sys.stderr),  # what a plugin prints must not get between the records
        hub_of(ctx, models_dir=models_dir, device=device, threads=threads) as hub,
    ):
        result = hub.map(
            step_of(hub, steps),
            inputs,
            out=out,
            on_record=report.record,
            progress=report.progress,
            first_frame=frames == "first",
            **settings,
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
        self._stdout = sys.stdout
        self.progress = None if quiet or as_json else terminal_progress()

    def record(self, record: Record) -> None:
        if self.as_json:
            click.echo(json.dumps(record.as_dict()), file=self._stdout)
        if record.status == "failed":
            self._say(f"{record.code} {record.message}")
        elif record.status == "done" and record.message and not self.quiet:
            self._say(record.message)
        elif record.status == "planned" and not self.as_json:
            line = printable(f"{record.file} -> {', '.join(record.out)}")
            click.echo(line, file=self._stdout)

    def _say(self, line: str) -> None:
        if self.progress is not None:
            self.progress.note(line)  # above the bar
        else:
            click.echo(line, err=True)

    def finish(self, result: RunResult) -> None:
        if not self.quiet:
            click.echo(result.summary, err=True)
