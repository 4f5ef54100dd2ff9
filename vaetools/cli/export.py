"""`vaetools export SOURCE --to DIR [--from KIND]`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vaetools.errors import UsageError
from vaetools.training.importers import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vaetools.model.vae import Model

F = TypeVar("F")

HELP = "\n".join(
    [
        "Turn a training run, or someone's weights, into a model: ONNX graphs, manifest, self-test.",
        "",
        "Without --from, SOURCE is the folder of a training run. With it:",
        "",
        "\b",
        *(f"{name:18} {kind.takes}" for name, kind in KINDS.items()),
        "",
        "Weights are only read as tensors, never as programs. The one exception:",
        "--from module executes the Python file that you name.",
    ]
)

SOURCES = (
    click.argument("source"),
    click.option(
        "--to", required=True, type=click.Path(path_type=Path), help="Folder of the model."
    ),
    click.option("--from", "kind", type=click.Choice(list(KINDS)), help="What SOURCE is."),
    click.option(
        "--data",
        type=click.Path(path_type=Path),
        help="The training pictures, for a run of the codec or a denoiser.",
    ),
)

ABOUT = (
    click.option("--id", metavar="ID", help="Of the model [the name of DIR]."),
    click.option("--license", metavar="NAME", help="Of the weights [unknown]."),
    click.option("--source", "origin", metavar="TEXT", help="Where the weights come from."),
)
"""What goes into the manifest of something imported."""

NETWORK = (
    click.option("--size", metavar="HxW", help="Of pictures, if the network takes one size only."),
    click.option("--channels", type=click.Choice(["1", "3"]), help="Grey or RGB [3]."),
    click.option(
        "--likelihood",
        type=click.Choice(["none", "bernoulli", "gaussian"]),
        help="Of images given latents [none].",
    ),
    click.option("--deviation", type=float, help="Of a gaussian likelihood [1]."),
    click.option(
        "--prior",
        type=click.Choice(["normal", "none"]),
        help="Of latents [normal where there is a logvar].",
    ),
)
"""What --from module cannot measure."""


def _with(options: tuple[Any, ...]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@click.command("export", help=HELP)
@_with(SOURCES)
@_with(ABOUT)
@_with(NETWORK)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def command(source: str, to: Path, kind: str | None, data: Path | None, **given: Any) -> None:
    chosen = {name: value for name, value in given.items() if value is not None}
    if kind is None:
        _refuse(chosen, "a training run, which says this itself")
        model, differences = _export_run(Path(source), data, to)
    else:
        model, differences = _import(kind, source, to, chosen)
    _report(model, differences, to)


def _export_run(run: Path, data: Path | None, to: Path) -> tuple[Model, Mapping[str, float]]:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UsageError("export needs torch", remedy="pip install 'vaetools[train]'") from None
    from vaetools.training.run.finish import export_run

    return export_run(run, data, to)


def _import(
    kind: str, source: str, to: Path, chosen: dict[str, Any]
) -> tuple[Model, Mapping[str, float]]:
    from vaetools.training.importers import import_model

    about = {name: chosen.pop(name) for name in ("id", "license", "origin") if name in chosen}
    if kind != "module":
        _refuse(chosen, f"--from {kind}, where it is known")
    if "size" in chosen:
        chosen["size"] = _size(chosen["size"])
    if "channels" in chosen:
        chosen["channels"] = int(chosen["channels"])
    return import_model(kind, source, to, **about, **chosen)


def _refuse(chosen: Mapping[str, Any], context: str) -> None:
    """Options that would be ignored are errors."""
    for name in chosen:
        raise UsageError(f"--{'source' if name == 'origin' else name} does not go with {context}")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise UsageError(f"--size {text!r} is not HEIGHTxWIDTH, such as 28x28")
    return int(match.group(1)), int(match.group(2))


def _report(model: Model, differences: Mapping[str, float], folder: Path) -> None:
    from vaetools.training.export.card import facts_of

    for role, difference in differences.items():
        click.echo(f"{role:20} differs from its source by {difference:.2g}")
    for name, fact in facts_of(model.manifest).items():
        click.echo(f"{name:20} {fact}")
    size = model.manifest.bytes / 1e6
    click.echo(f"{model.id} {model.manifest.version}: {size:.1f} MB in {folder}")
