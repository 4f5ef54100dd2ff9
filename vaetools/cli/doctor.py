"""`vaetools doctor`: checks the installation. Each line says ok, note or fail, and how to fix it."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial

import click

from vaetools.cli.context import host_of, hub_of
from vaetools.cli.flags import DEBUG, JSON
from vaetools.diagnosis import Installation, diagnose
from vaetools.errors import EXIT_ENVIRONMENT


@click.command("doctor")
@JSON
@DEBUG
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check the installation.

    Checks packages, devices, folders, plugins and models, each with a remedy if something is wrong.
    """
    installation = Installation(
        partial(host_of, ctx, retry=True), partial(hub_of, ctx, device="cpu")
    )
    failed = False
    for finding in diagnose(installation):
        failed |= finding.state == "fail"
        if as_json:
            click.echo(json.dumps(asdict(finding)))
        else:
            cure = f"\n      -> {finding.cure}" if finding.cure else ""
            click.echo(f"{finding.state:4}  {finding.subject}: {finding.text}{cure}")
    if failed:
        ctx.exit(EXIT_ENVIRONMENT)
