"""`vaetools plugins`: what is loaded, what it offers, what is broken and why."""

from __future__ import annotations

import json

import click

from vaetools.cli.app import host_of


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per plugin.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List plugins and what they offer."""
    for plugin in host_of(ctx).plugins:
        error = None if plugin.error is None else plugin.error.line
        if as_json:
            facts = {**vars(plugin), "error": error}
            click.echo(json.dumps(facts))
        else:
            offers = ", ".join([*plugin.operations, *plugin.commands]) or "-"
            click.echo(f"{plugin.name:30} {plugin.origin:20} {error or offers}")
