"""`vaetools models list|show|verify`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from vaetools.cli import values
from vaetools.cli.context import hub_of, warn
from vaetools.cli.flags import DEBUG, ISOLATE, JSON, MODELS_DIR
from vaetools.cli.table import table
from vaetools.errors import EXIT_ENVIRONMENT, ManifestError, VaetoolsError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.hub import Hub
    from vaetools.model.spec import Manifest


@click.group("models")
@DEBUG
def command() -> None:
    """List, show and verify models.

    \b
    Examples:
      vaetools models list
      vaetools models verify photo-codec
    """


@command.command("list")
@MODELS_DIR
@JSON
@DEBUG
@click.pass_context
def list_models(ctx: click.Context, models_dir: tuple[str, ...], as_json: bool) -> None:
    """List all models, and errors in their manifests.

    \b
    Examples:
      vaetools models list
      vaetools models list --models-dir my-models/ --json
    """
    hub = hub_of(ctx, models_dir=models_dir)
    rows = []
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
            "stream_id": None if manifest.codec is None else manifest.codec.stream_id,
            "folder": str(entry.folder),
        }
        if as_json:
            click.echo(json.dumps(facts))
        else:
            size = f"{manifest.bytes / 1e6:.1f} MB"
            stream = "" if manifest.codec is None else f"; stream id {manifest.codec.stream_id}"
            tasks = ", ".join(manifest.tasks)
            rows.append([manifest.id, manifest.version, size, f"{tasks}{stream}"])
    for line in table(rows, ["id", "version", "size", "tasks"], right={2}):
        click.echo(line)


@command.command("show")
@click.argument("model_id", metavar="ID", shell_complete=values.models())
@MODELS_DIR
@DEBUG
@click.pass_context
def show(ctx: click.Context, model_id: str, models_dir: tuple[str, ...]) -> None:
    """Print the manifest of a model.

    \b
    Examples:
      vaetools models show photo-codec
    """
    import tomli_w

    from vaetools.model.manifest import manifest_table

    manifest = hub_of(ctx, models_dir=models_dir).registry.manifest(model_id)
    click.echo(tomli_w.dumps(manifest_table(manifest)), nl=False)


@command.command("verify")
@click.argument("model_ids", nargs=-1, metavar="[ID]...", shell_complete=values.models())
@MODELS_DIR
@ISOLATE
@DEBUG
@click.pass_context
def verify(
    ctx: click.Context,
    model_ids: tuple[str, ...],
    models_dir: tuple[str, ...],
    isolate: bool | None,
) -> None:
    """Check the files, graphs and tasks of models, and run their self-tests.

    Without ID, all models are verified. A model without a self-test, or with a task that no operation
    has, is not valid.

    \b
    Examples:
      vaetools models verify
      vaetools models verify photo-codec photo-denoise
    """
    hub = hub_of(ctx, models_dir=models_dir, device="cpu", isolate=isolate)
    failures = 0
    if not model_ids:
        for entry in hub.registry.entries:
            failures += entry.error is not None
            warn(entry.error)
    for model_id in model_ids or hub.registry.ids():
        try:
            model = hub.registry.open(model_id)
            _check_tasks(hub, model.manifest, model.folder)
            model.verify()
            click.echo(f"{model_id}: valid")
        except VaetoolsError as error:
            warn(error)
            failures += 1
    if failures:
        ctx.exit(EXIT_ENVIRONMENT)


def _check_tasks(hub: Hub, manifest: Manifest, folder: Path) -> None:
    """Raise `ManifestError` for a task that no operation has."""
    from vaetools.model.manifest import FILE_NAME
    from vaetools.model.tasks import ROLES, unknown

    tasks = (kind.task or () for kind in hub.host.operations.values())
    known = {task for one in tasks for task in ((one,) if isinstance(one, str) else one)} | {*ROLES}
    for task in unknown(manifest, known):
        listed = f"known: {', '.join(sorted(known))}"
        raise ManifestError(
            f"tasks has {task!r}, which no operation needs",
            file=folder / FILE_NAME,
            remedy=did_you_mean(task, known) or listed,
        )
