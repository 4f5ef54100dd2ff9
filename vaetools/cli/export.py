"""`vaetools export RUN --to DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from vaetools.errors import UsageError


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder of the model.")
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="The training pictures."
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def command(run: Path, to: Path, data: Path) -> None:
    """Turn a training run into a model: ONNX graphs, tables, manifest, self-test."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UsageError("export needs torch", remedy="pip install 'vaetools[train]'") from None
    from vaetools.training.pictures import PicturePack
    from vaetools.training.runs import export_run

    model, differences = export_run(run, PicturePack.from_folder(data), to)
    for role, difference in differences.items():
        click.echo(f"{role:20} differs from torch by {difference:.2g}")
    click.echo(f"{model.id} {model.manifest.version}: {model.manifest.bytes / 1e6:.1f} MB in {to}")
