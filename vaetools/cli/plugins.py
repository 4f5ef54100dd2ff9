"""`vaetools plugins`: lists plugins, and helps to write them with `new` and `check`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from vaetools.cli.arguments import LocalPath
from vaetools.cli.context import host_of
from vaetools.cli.flags import DEBUG, JSON, Seconds, refuse_typed
from vaetools.cli.table import table
from vaetools.errors import EXIT_SOME_FAILED, printable


@click.group("plugins", invoke_without_command=True)
@JSON
@DEBUG
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List, create and check plugins.

    Without COMMAND, all plugins are listed with their operations and commands.

    \b
    Examples:
      vaetools plugins
      vaetools plugins new sepia
      vaetools plugins check vaetools-sepia/
    """
    if ctx.invoked_subcommand is not None:
        refuse_typed(ctx, {"as_json"}, f"'plugins {ctx.invoked_subcommand}' in this place")
        return
    rows = []
    for plugin in host_of(ctx, retry=True).plugins:
        error = None if plugin.error is None else plugin.error.line
        if as_json:
            facts = {**vars(plugin), "error": error}
            click.echo(json.dumps(facts))
        else:
            offers = ", ".join([*plugin.operations, *plugin.commands]) or "-"
            rows.append([printable(plugin.name), printable(plugin.origin), error or offers])
    for line in table(rows, ["plugin", "origin", "operations and commands"]):
        click.echo(line)


@command.command("new")
@click.argument("name", metavar="NAME")
@click.option(
    "--to",
    type=LocalPath(path_type=Path),
    default=Path(),
    metavar="DIR",
    show_default="this folder",
    help="Folder for the new package.",
)
@DEBUG
@click.pass_context
def new(ctx: click.Context, name: str, to: Path) -> None:
    """Create a plugin package with one operation, tests and CI.

    NAME is the name of the operation: lower case letters, digits and dashes.

    \b
    Examples:
      vaetools plugins new sepia
      vaetools plugins new sepia --to projects/
    """
    from vaetools.kit import new_plugin
    from vaetools.operation import RESERVED_OPERATIONS

    host = host_of(ctx)
    place = new_plugin(name, to, taken={*RESERVED_OPERATIONS, *host.operations, *host.commands})
    click.echo(f"written  {printable(str(place))}")
    click.echo("next     run there: pip install -e '.[test]' && pytest && vaetools plugins check .")


@command.command("check")
@click.argument("path", type=LocalPath(path_type=Path))
@click.option(
    "--seconds",
    type=Seconds(shortest=1),
    metavar="S",
    default=60.0,
    help="Time limit in seconds.",
)
@JSON
@DEBUG
@click.pass_context
def check(ctx: click.Context, path: Path, seconds: float, as_json: bool) -> None:
    """Load a plugin in a separate process and test its operations.

    PATH is a Python file, a package, or a project with a pyproject.toml. Each operation processes
    small images of every kind, with a tiny model if it needs one. The check finds operations that
    change the shape or the input, or are not deterministic.

    \b
    Examples:
      vaetools plugins check sepia.py
      vaetools plugins check vaetools-sepia/ --json
    """
    from vaetools.kit import check_plugin

    findings = check_plugin(path, seconds=seconds)
    for finding in findings:
        if as_json:
            click.echo(json.dumps(asdict(finding)))
        else:
            click.echo(printable(f"{finding.state:4}  {finding.subject}: {finding.text}"))
    if any(finding.state == "fail" for finding in findings):
        ctx.exit(EXIT_SOME_FAILED)


@command.command("stubs")
@click.option(
    "-o",
    "--out",
    type=LocalPath(path_type=Path),
    metavar="DIR",
    show_default="the folder of installed packages",
    help="Folder to write the package vaetools-stubs into.",
)
@click.option(
    "--built-in", is_flag=True, help="Print the stub vaetools/hub_methods.pyi of vaetools itself."
)
@DEBUG
@click.pass_context
def stubs(ctx: click.Context, out: Path | None, built_in: bool) -> None:
    """Write type stubs for the operations of all plugins.

    mypy, pyright and editors then know hub.NAME(...) with its options. Run it again after plugins
    were installed, updated or removed. Type checkers look in the folder of installed packages;
    pyright also looks in the folder "typings" of a project.

    \b
    Examples:
      vaetools plugins stubs
      vaetools plugins stubs -o typings/
    """
    from vaetools.kit.stubs import built_in_module, installed_packages, write_stubs
    from vaetools.plugin.host import PluginHost

    if built_in:
        refuse_typed(ctx, {"out"}, "--built-in")
        click.echo(built_in_module(PluginHost(installed=False).operations.values()), nl=False)
        return
    host = host_of(ctx)
    host.load_all()
    place = write_stubs(host.operations.values(), out or installed_packages())
    click.echo(f"written  {printable(str(place))}: {len(host.operations)} operations")
