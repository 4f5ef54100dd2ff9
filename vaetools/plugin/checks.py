"""Checks of what plugins register: kinds, names, and flags that are taken."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from vaetools.errors import OptionError, PluginError
from vaetools.operation import (
    RESERVED_OPTIONS,
    RESERVED_SHORT_FLAGS,
    Operation,
    is_operation_name,
    option_specs,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.operation import OptionSpec


def check_operations(operations: Sequence[Any]) -> None:
    """Raise `PluginError` unless all are operation classes with usable names and flags."""
    for operation in operations:
        if not (isinstance(operation, type) and issubclass(operation, Operation)):
            raise PluginError(f"{operation!r} is not an Operation class")
        if not isinstance(getattr(operation, "name", None), str):
            raise PluginError(f"{operation.__name__} has no name")
        missing: frozenset[str] = getattr(operation, "__abstractmethods__", frozenset())
        if missing:
            methods = ", ".join(sorted(missing))
            raise PluginError(f"{operation.name} does not define {methods}")
        _check_name(operation.name, "an operation")
        _check_flags(operation)


def check_commands(commands: Sequence[Any]) -> None:
    """Raise `PluginError` unless all are click commands with usable names."""
    import click  # not needed by plugins without commands

    for command in commands:
        if not isinstance(command, click.Command):
            raise PluginError(f"{command!r} is not a click command")
        if not isinstance(command.name, str):
            raise PluginError("a command has no name")
        _check_name(command.name, "a command")


def _check_name(name: str, what: str) -> None:
    if not is_operation_name(name):
        raise PluginError(
            f"{name!r} is not a valid name of {what}",
            remedy="use a-z, 0-9 and dashes, and no Python keyword",
        )


def _check_default(operation: type[Operation], spec: OptionSpec) -> None:
    """Raise `PluginError` for a default that nobody could type."""
    if spec.default is None:
        return
    try:
        spec.check(spec.default)
    except OptionError as error:
        raise PluginError(f"{operation.name}: the default {error.problem}") from None


def _check_flags(operation: type[Operation]) -> None:
    """Raise `PluginError` for a flag that every operation has, or that two options would share."""
    specs = option_specs(operation.Options)
    taken = RESERVED_OPTIONS & {spec.name for spec in specs}
    if taken:
        problem = f"{operation.name}: every operation has an option {min(taken)!r} already"
        raise PluginError(problem)
    seen = dict.fromkeys(RESERVED_SHORT_FLAGS, "every operation")
    for spec in specs:
        _check_default(operation, spec)
        flags = [f"--{spec.name}", *([f"--no_{spec.name}"] if spec.kind is bool else [])]
        if spec.short is not None:
            if re.fullmatch(r"-[A-Za-z]", spec.short) is None:
                raise PluginError(f"{operation.name}: {spec.short!r} is not a dash and a letter")
            flags.append(spec.short)
        for flag in flags:
            if flag in seen:
                raise PluginError(
                    f"{operation.name}: the flag {flag.replace('_', '-')} of {spec.name!r} "
                    f"is that of {seen[flag]}"
                )
            seen[flag] = repr(spec.name)
