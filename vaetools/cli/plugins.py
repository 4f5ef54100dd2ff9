"""`vaetools plugins`: what is loaded and broken; `new` and `check` are for those who write them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from vaetools.cli.app import host_of
from vaetools.errors import EXIT_SOME_FAILED, printable

JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")


@click.group("plugins", invoke_without_command=True)
@JSON
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List plugins and what they offer; begin one, or check one."""
    if ctx.invoked_subcommand is not None:
        return
    for plugin in host_of(ctx).plugins:
        error = None if plugin.error is None else plugin.error.line
        if as_json:
            facts = {**vars(plugin), "error": error}
            click.echo(json.dumps(facts))
        else:
            offers = ", ".join([*plugin.operations, *plugin.commands]) or "-"
            click.echo(f"{plugin.name:30} {plugin.origin:20} {error or offers}")


@command.command("new")
@click.argument("name")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Folder for the new package [here].",
)
@click.pass_context
def new(ctx: click.Context, name: str, to: Path) -> None:
    """Write a package with one operation that works, its tests and its CI."""
    from vaetools.kit import new_plugin
    from vaetools.operation import RESERVED_OPERATIONS

    host = host_of(ctx)
    place = new_plugin(name, to, taken={*RESERVED_OPERATIONS, *host.operations, *host.commands})
    click.echo(f"written  {printable(str(place))}")
    click.echo(
        "next     pip install -e '.[test]' && pytest && vaetools plugins check .    in there"
    )


@command.command("check")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    help="What all of it may take.",
)
@JSON
@click.pass_context
def check(ctx: click.Context, path: Path, seconds: float, as_json: bool) -> None:
    """Load a plugin in a process of its own and try its operations.

    PATH is a Python file, a package, or a project with a pyproject.toml. Operations see small pictures
    of every kind, with a tiny model where they need one: does the shape stay, does the same picture
    give the same result, is the input left as it is?
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
