"""All commands of the program, for tests that hold for each of them."""

from __future__ import annotations

import click

from vaetools.cli.app import program


def commands() -> dict[str, click.Command]:
    """Every command by its words, groups with their subcommands and a chain among them."""
    found: dict[str, click.Command] = {}

    def add(group: click.Group, ctx: click.Context, words: str) -> None:
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            assert command is not None
            found[f"{words}{name}"] = command
            if isinstance(command, click.Group):
                add(command, click.Context(command, parent=ctx), f"{words}{name} ")

    ctx = click.Context(program)
    add(program, ctx, "")
    run = program.get_command(ctx, "run")
    assert isinstance(run, click.Group)
    chain = run.get_command(click.Context(run, parent=ctx), "denoise,compress")
    assert chain is not None
    return {**found, "run denoise,compress": chain}


def flags_of(parameter: click.Parameter) -> list[str]:
    """All flags of one option."""
    return [*parameter.opts, *parameter.secondary_opts]
