"""`--config FILE`: defaults of flags from a TOML file; flags on the command line take precedence.

    jobs = 4                    # a flag that all operations have
    include = ["*.jpg"]

    [compress]                  # an operation, with its options and its model
    quality = 60

The whole file is checked, whichever operation is run, so that misspelt keys are always found.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaetools.cli.arguments import LocalPath
from vaetools.cli.context import hub_of
from vaetools.cli.flags import Workers, common_flags
from vaetools.errors import OptionError, UsageError, did_you_mean
from vaetools.operation import make_options
from vaetools.tomlfile import read_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vaetools.hub import Hub


@dataclass(frozen=True)
class Config:
    """The contents of a config file.

    Attributes:
        common: flags of all operations, by click's parameter names.
        operations: the options of each operation, converted, and its `model`.
    """

    common: Mapping[str, Any]
    operations: Mapping[str, Mapping[str, Any]]


def config_option(defaults: Callable[[Config], dict[str, Any]]) -> Callable[[Any], Any]:
    """The option `--config` of a command.

    Args:
        defaults: gives the defaults of the command's parameters for a file.
    """

    def apply(ctx: click.Context, _: click.Parameter, name: str | None) -> None:
        if name is not None:
            ctx.default_map = defaults(read_config(Path(name), hub_of(ctx)))

    return click.option(
        "--config",
        type=LocalPath(),
        metavar="FILE",
        is_eager=True,  # before the flags whose defaults it sets
        expose_value=False,
        callback=apply,
        help="TOML file with defaults for these flags.",
    )


def read_config(path: Path, hub: Hub) -> Config:
    """Read and check a config file.

    Raises:
        UsageError: it cannot be read, or has a table for an unknown operation.
        OptionError: an unknown key, or a value that does not fit.
    """
    table = read_toml(path, UsageError)
    operations = {name: value for name, value in table.items() if isinstance(value, dict)}
    flags = {name: value for name, value in table.items() if name not in operations}
    return Config(
        _flags(flags, path),
        {name: _options(name, options, hub, path) for name, options in operations.items()},
    )


def _flags(table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The common flags of a file, by click's names. Raises `OptionError`."""
    known = common_flags()
    flags = {}
    for name, value in _plain(table, path).items():
        if name not in known:
            remedy = did_you_mean(name, known) or (
                f"options of an operation go into its table; keys: {', '.join(known)}"
            )
            raise OptionError(f"unknown key {name!r}", file=path, remedy=remedy)
        _check(name, known[name], value, path)
        flags[known[name].name] = value
    return flags


def _options(op: str, table: Mapping[str, Any], hub: Hub, path: Path) -> dict[str, Any]:
    """The options in an operation's table, converted, and its model. Raises as `read_config`."""
    values = _plain(table, path)
    model = values.pop("model", "")
    try:
        kind = hub.find(op)
        options = make_options(kind.Options, values)
    except OptionError as error:
        problem = f"[{op}] {error.problem}"
        raise OptionError(problem, file=path, remedy=error.remedy) from None
    except UsageError as error:
        raise error.about(path) from None
    if not isinstance(model, str):
        raise OptionError(f"[{op}] model={model!r} is not text", file=path)
    if model and kind.task is None:
        raise OptionError(f"[{op}] model={model!r} has no effect: {op} uses no model", file=path)
    chosen = {name: getattr(options, name) for name in values}
    return chosen | {"model": model} if model else chosen


def _plain(table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A table with `_` for `-` in its keys. Raises `OptionError` for a key in both spellings."""
    plain: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name in plain:
            raise OptionError(f"the key {key!r} occurs twice", file=path)
        plain[name] = value
    return plain


def _check(name: str, flag: click.Option, value: Any, path: Path) -> None:
    """Raise `OptionError` if a flag does not accept the value."""
    kinds, wanted = _kinds(flag)
    values = value if flag.multiple and isinstance(value, list) else [value]
    if flag.multiple != isinstance(value, list) or not all(type(one) in kinds for one in values):
        raise OptionError(f"{name}={value!r} is not {wanted}", file=path)
    try:
        for one in values:
            flag.type.convert(one, flag, None)
    except click.BadParameter as error:
        raise OptionError(f"{name}: {error.message.rstrip('.')}", file=path) from None


def _kinds(flag: click.Option) -> tuple[tuple[type, ...], str]:
    """(types, their name in messages) of a flag's values in TOML."""
    if flag.is_flag:
        return (bool,), "true or false"
    if isinstance(flag.type, click.IntRange):
        return (int,), "an integer"
    if isinstance(flag.type, click.FloatRange):
        return (int, float), "a number"
    if isinstance(flag.type, Workers):
        return (int, str), "auto or a whole number"
    return (str,), "a list of text" if flag.multiple else "text"
