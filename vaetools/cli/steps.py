"""The flags of a command's steps: the options of an operation become click options."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from vaetools.cli.flags import is_typed
from vaetools.cli.values import models
from vaetools.operation import Operation, OptionSpec, make_options, option_specs
from vaetools.operation.chain import StepSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from vaetools.cli.flags import Flag


@dataclass(frozen=True)
class StepFlags:
    """The flags of one step of a command, and what they give.

    Attributes:
        number: position of the step, from 0; keeps click's parameter names apart.
        kind: the operation class.
        spec: the step as the user named it; its options are the defaults of the flags.
        prefixes: alternatives in front of the flag names: `compress.` in a chain.
        shared: flag names that other steps have as well; these need a prefix.
    """

    number: int
    kind: type[Operation]
    spec: StepSpec
    prefixes: tuple[str, ...] = ("",)
    shared: frozenset[str] = frozenset()

    @property
    def names_outputs(self) -> bool:
        """Whether the flag `--to` is an option of the operation, not of the run."""
        return "" in self.prefixes and any(
            spec.name == "to" and "to" not in self.shared for spec in self.specs
        )

    @cached_property
    def specs(self) -> list[OptionSpec]:
        """The operation's options; defaults are those of the step. Raises `OptionError`."""
        chosen = make_options(self.kind.Options, self.spec.options)
        specs = option_specs(self.kind.Options)
        return [replace(spec, default=getattr(chosen, spec.name)) for spec in specs]

    def flags(self) -> Iterator[Flag]:
        """The click options of the step. Raises `OptionError`."""
        for spec in self.specs:
            yield _flag(self._parameter(spec.name), spec, self._prefixes(spec.name), self.shared)
        tasks = self.kind.task
        if tasks is None:
            return
        yield click.option(
            self._parameter("model"),
            *(f"--{prefix}model" for prefix in self._prefixes("model")),
            default=self.spec.model,
            metavar="ID",
            shell_complete=models(*(tasks if isinstance(tasks, tuple) else (tasks,))),
            help="Model to use, if several fit.",
        )

    def chosen(self, ctx: click.Context, values: dict[str, Any]) -> StepSpec:
        """The step with the values of its flags, which are removed from `values`.

        A flag on the command line overrides the options in a file that it excludes.
        """
        typed = {spec.name for spec in self.specs if is_typed(ctx, self._parameter(spec.name))}
        rivals = _rivals(self.specs, typed)
        model = values.pop(self._parameter("model"), self.spec.model)
        given = {spec.name: values.pop(self._parameter(spec.name)) for spec in self.specs}
        options = {name: value for name, value in given.items() if name not in rivals}
        return StepSpec(self.spec.op, model, options)

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults from the step's table in a config file, by click's parameter names.

        What a pipeline file sets for the step takes precedence, as do options that exclude those
        of the config file.
        """
        fixed = {spec.name for spec in self.specs if spec.name in self.spec.options}
        fixed |= _rivals(self.specs, fixed)
        if self.spec.model is not None:
            fixed.add("model")
        return {self._parameter(n): value for n, value in options.items() if n not in fixed}

    def _parameter(self, name: str) -> str:
        """Click's name for an option of the step."""
        return f"step{self.number}_{name}"

    def _prefixes(self, name: str) -> list[str]:
        return [prefix for prefix in self.prefixes if prefix or name not in self.shared]


def step_flags(kinds: Sequence[type[Operation]], specs: Sequence[StepSpec]) -> list[StepFlags]:
    """The flags of a chain: with the step's name in front, and without where only one step has it.

    Steps of one operation are numbered: `--dust.1.amount`, `--dust.2.amount`.
    """
    if len(specs) == 1:
        return [StepFlags(0, kinds[0], specs[0])]
    names = [_names(kind) for kind in kinds]
    counts, seen = Counter(spec.op for spec in specs), Counter[str]()
    steps = []
    for number, (kind, spec) in enumerate(zip(kinds, specs, strict=True)):
        seen[spec.op] += 1
        label = f"{spec.op}.{seen[spec.op]}" if counts[spec.op] > 1 else spec.op
        others = frozenset({"to"}).union(*names[:number], *names[number + 1 :])
        steps.append(StepFlags(number, kind, spec, (f"{label}.", ""), others))
    return steps


def _names(kind: type[Operation]) -> frozenset[str]:
    """Names and short flags of an operation's options."""
    specs = option_specs(kind.Options)
    model = [] if kind.task is None else ["model"]
    return frozenset([*model, *(s.name for s in specs), *(s.short for s in specs if s.short)])


def _rivals(specs: Sequence[OptionSpec], chosen: AbstractSet[str]) -> set[str]:
    """Options that exclude one of the chosen ones."""
    groups = {spec.group for spec in specs if spec.name in chosen} - {None}
    return {spec.name for spec in specs if spec.group in groups and spec.name not in chosen}


def _flag(
    parameter: str, spec: OptionSpec, prefixes: Sequence[str], shared: AbstractSet[str]
) -> Flag:
    """The click option of an operation's option."""
    flag = spec.name.replace("_", "-")
    names = [parameter]
    if spec.short and spec.short not in shared:
        names.append(spec.short)
    if spec.kind is bool:
        names += [f"--{prefix}{flag}/--no-{prefix}{flag}" for prefix in prefixes]
    else:
        names += [f"--{prefix}{flag}" for prefix in prefixes]
    return click.option(
        *names,
        type=_click_type(spec),
        default=spec.default,
        metavar=spec.metavar or {int: "N", float: "X"}.get(spec.kind),
        help=sentence(spec.help),
    )


def _click_type(spec: OptionSpec) -> click.ParamType[Any] | type:
    """The type that click converts to; only flags and choices, as the operation checks values."""
    if spec.kind is bool:
        return bool
    if spec.choices is not None:
        return click.Choice(list(spec.choices))
    return _Bounded(spec.min, spec.max) if spec.bounds else _Text()


class _Text(click.types.StringParamType):
    """Passes values of files as they are, such as the numbers of a tuple: the operation has checked
    them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(value, param, ctx) if isinstance(value, str | bytes) else value


class _Bounded(click.FloatRange):
    """Shows its bounds in the help and accepts any text: the operation checks the value."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        del param, ctx
        return value


def sentence(text: str) -> str:
    """An option's line of help as a sentence, so that the help of all plugins looks alike."""
    return text and text[0].upper() + text[1:].rstrip(".") + "."
