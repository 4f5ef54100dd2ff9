"""`vaetools doctor`: checks the installation. Each line says ok, note or fail, and how to fix it."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial

import click

from vaetools.cli.context import host_of, hub_of
from vaetools.cli.flags import DEBUG, DEVICE, JSON
from vaetools.diagnosis import Installation, diagnose
from vaetools.errors import EXIT_ENVIRONMENT
from vaetools.model.devices import parse_device


@click.command("doctor")
@DEVICE
@JSON
@DEBUG
@click.pass_context
def command(ctx: click.Context, device: str, as_json: bool) -> None:
    """Check the installation.

    Checks packages, devices, folders, plugins and models, each with a remedy if something is wrong.
    The self-tests of the models run on --device.

    \b
    Examples:
      vaetools doctor
      vaetools doctor --device cuda --json
    """
    parse_device(device)  # refuses a word that is not one
    installation = Installation(
        partial(host_of, ctx, retry=True), lambda name: hub_of(ctx, device=name), device
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
