"""An operation as a command, or a chain of them: options become flags, the rest is common to all."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from vaetools.cli.app import hub_of
from vaetools.cli.config import config_option
from vaetools.cli.flags import INPUTS, OUT, PLACES, SETTINGS, TELLING, decorated
from vaetools.errors import EXIT_DONE, printable
from vaetools.operation import Operation, OptionSpec, make_options, option_specs, summary_of
from vaetools.operation.chain import StepSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from vaetools.cli.config import Config
    from vaetools.hub import Hub
    from vaetools.operation.step import Step
    from vaetools.runner import Record, RunResult


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
        steps = [_chosen(ctx, part, number, values) for number, part in enumerate(parts)]
        (run or run_command)(ctx, steps, **values)

    decorators = [
        OUT,
        *flags,
        *PLACES,
        *SETTINGS,
        *(() if parts[0].kind.takes == "nothing" else INPUTS),
        *more,
        *TELLING,
        config_option(lambda config: _defaults(config, parts)),
        click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks."),
    ]
    return click.command(name, help=help_text)(decorated(click.pass_context(call), decorators))


def _defaults(config: Config, parts: Sequence[Part]) -> dict[str, Any]:
    """What a file says about a command of these steps, by the names of click's parameters.

    What a step was told in a pipeline file stays, as do options that exclude those of the file.
    """
    defaults = dict(config.common)
    for number, part in enumerate(parts):
        specs = option_specs(part.kind.Options)
        told = {spec.name for spec in specs if spec.name in part.spec.options}
        told |= _rivals(specs, told) | ({"model"} if part.spec.model is not None else set())
        for name, value in config.operations.get(part.spec.op, {}).items():
            if name not in told:
                defaults[_parameter(number, name)] = value
    return defaults


def _rivals(specs: Sequence[OptionSpec], chosen: AbstractSet[str]) -> set[str]:
    """Options that exclude one of those which were chosen."""
    groups = {spec.group for spec in specs if spec.name in chosen} - {None}
    return {spec.name for spec in specs if spec.group in groups and spec.name not in chosen}


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


def _chosen(ctx: click.Context, part: Part, number: int, values: dict[str, Any]) -> StepSpec:
    """The step with the values of its flags, which are taken out of all values.

    A flag that is typed puts aside what a file says about options that it excludes.
    """
    specs = option_specs(part.kind.Options)
    typed = {spec.name for spec in specs if is_typed(ctx, _parameter(number, spec.name))}
    rivals = _rivals(specs, typed)
    model = values.pop(_parameter(number, "model"))
    given = {spec.name: values.pop(_parameter(number, spec.name)) for spec in specs}
    options = {name: value for name, value in given.items() if name not in rivals}
    return StepSpec(part.spec.op, model, options)


def is_typed(ctx: click.Context, parameter: str) -> bool:
    """Whether a parameter's value comes from the command line, and not from a file or by default."""
    return ctx.get_parameter_source(parameter) is ParameterSource.COMMANDLINE


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
