"""`vaetools models list|show|verify`."""

from __future__ import annotations

import json
from typing import Any

import click

from vaetools.cli.app import hub_of, warn
from vaetools.errors import EXIT_ENVIRONMENT, VaetoolsError

MODELS_DIR = click.option(
    "--models-dir", multiple=True, metavar="DIR", help="Further folder of models."
)


@click.group("models")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def command() -> None:
    """List, show and verify models."""


@command.command("list")
@MODELS_DIR
@click.option("--json", "as_json", is_flag=True, help="One JSON object per model.")
@click.pass_context
def list_models(ctx: click.Context, models_dir: tuple[str, ...], as_json: bool) -> None:
    """Every model that is found, and what is wrong with those that are not sound."""
    hub = hub_of(ctx, models_dir=models_dir)
    for entry in hub.registry.entries:
        if entry.manifest is None:
            warn(entry.error)
            continue
        manifest = entry.manifest
        facts: dict[str, Any] = {
            "id": manifest.id,
            "version": manifest.version,
            "tasks": list(manifest.tasks),
            "bytes": manifest.bytes,
            "license": manifest.license,
            "folder": str(entry.folder),
        }
        if as_json:
            click.echo(json.dumps(facts))
        else:
            size = f"{manifest.bytes / 1e6:.1f} MB"
            click.echo(
                f"{manifest.id:20} {manifest.version:6} {size:>9}  {', '.join(manifest.tasks)}"
            )


@command.command("show")
@click.argument("model_id")
@MODELS_DIR
@click.pass_context
def show(ctx: click.Context, model_id: str, models_dir: tuple[str, ...]) -> None:
    """The manifest of a model."""
    import tomli_w

    from vaetools.model.manifest import manifest_table

    manifest = hub_of(ctx, models_dir=models_dir).registry.manifest(model_id)
    click.echo(tomli_w.dumps(manifest_table(manifest)), nl=False)


@command.command("verify")
@click.argument("model_ids", nargs=-1)
@MODELS_DIR
@click.pass_context
def verify(ctx: click.Context, model_ids: tuple[str, ...], models_dir: tuple[str, ...]) -> None:
    """Check sizes and sha256 of all files, and run the self-test."""
    hub = hub_of(ctx, models_dir=models_dir, device="cpu")
    failures = 0
    if not model_ids:
        for entry in hub.registry.entries:
            failures += entry.error is not None
            warn(entry.error)
    for model_id in model_ids or hub.registry.ids():
        try:
            hub.registry.open(model_id).verify()
            click.echo(f"{model_id}: sound")
        except VaetoolsError as error:
            warn(error)
            failures += 1
    if failures:
        ctx.exit(EXIT_ENVIRONMENT)
