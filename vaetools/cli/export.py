"""`vaetools export SOURCE --to DIR [--from KIND]`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaetools.cli.arguments import LocalPath
from vaetools.cli.flags import DEBUG, with_flags
from vaetools.errors import UsageError
from vaetools.training.importers import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetools.model.folder import Model

CODEC = "codec"
MODEL = "model"

HELP = "\n".join(
    [
        "Convert a training run, or weights from elsewhere, into a model.",
        "",
        "Writes ONNX graphs, a manifest and a self-test.",
        "Without --from, SOURCE is the folder of a training run. With --from KIND it is:",
        "",
        "\b",
        *(f"{name:18} {kind.takes}" for name, kind in KINDS.items()),
        f"{CODEC:18} the model of a codec; its decoder is written, in half the bytes",
        f"{MODEL:18} a model; the same one is written, in smaller files",
        "",
        "Weights are read as tensors and never executed, with one exception:",
        "--from module executes the Python file that you name.",
        "",
        "\b",
        "Examples:",
        "  vaetools export runs/small-photos --to my-models/photos",
        "  vaetools export vae.py --from module --to my-models/mine --size 64x64",
    ]
)

SOURCE_FLAGS = (
    click.argument("source", type=LocalPath(), metavar="SOURCE"),
    click.option(
        "--to",
        required=True,
        type=LocalPath(path_type=Path),
        metavar="DIR",
        help="Folder of the new model.",
    ),
    click.option(
        "--from",
        "kind",
        type=click.Choice([*KINDS, CODEC, MODEL]),
        show_default="a training run",
        help="What SOURCE is.",
    ),
    click.option(
        "--data",
        type=LocalPath(path_type=Path),
        metavar="DIR",
        help="The training images, for a run of the codec or of a restoration model.",
    ),
    click.option(
        "--half",
        is_flag=True,
        help="Round the weights of a run or a model to float16: files of half the size.",
    ),
)

MANIFEST_FLAGS = (
    click.option(
        "--id",
        metavar="ID",
        show_default=f"the name of DIR; with --from {MODEL}, that of SOURCE",
        help="Id of the model.",
    ),
    click.option(
        "--license",
        metavar="NAME",
        show_default="unknown; of a model, its own",
        help="License of the weights.",
    ),
    click.option("--source", "origin", metavar="TEXT", help="Where the weights come from."),
)
"""What the manifest of an imported model says."""

NETWORK_FLAGS = (
    click.option(
        "--size",
        metavar="HxW",
        show_default="any size",
        help="Image size, if the network accepts only one.",
    ),
    click.option(
        "--channels",
        type=click.Choice(["1", "3"]),
        show_default="3",
        help="Image channels: grayscale or RGB.",
    ),
    click.option(
        "--likelihood",
        type=click.Choice(["none", "bernoulli", "gaussian"]),
        show_default="none",
        help="Likelihood of images given latents.",
    ),
    click.option(
        "--deviation",
        type=float,
        metavar="X",
        show_default="1",
        help="Standard deviation of a Gaussian likelihood.",
    ),
    click.option(
        "--prior",
        type=click.Choice(["normal", "none"]),
        show_default="normal if there is a logvar",
        help="Prior of the latents.",
    ),
)
"""What --from module cannot measure."""


@click.command("export", help=HELP)
@with_flags(*SOURCE_FLAGS, *MANIFEST_FLAGS, *NETWORK_FLAGS, DEBUG)
def command(
    source: str, to: Path, kind: str | None, data: Path | None, half: bool, **given: Any
) -> None:
    chosen = {name: value for name, value in given.items() if value is not None}
    if kind is None:
        _refuse(chosen, "a training run, whose recipe sets it")
        model, differences = _export_run(Path(source), data, to, half)
    else:
        unused = {"data": data, "half": (half and kind != MODEL) or None}
        _refuse({n: v for n, v in unused.items() if v is not None}, f"--from {kind}")
        if kind == MODEL:
            model, differences = _repack(source, to, chosen, half)
        else:
            convert = _export_decoder if kind == CODEC else _import
            model, differences = convert(kind, source, to, chosen)
    _report(model, differences, to)


def _export_run(
    run: Path, data: Path | None, to: Path, half: bool
) -> tuple[Model, Mapping[str, float]]:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UsageError("export needs torch", remedy="pip install 'vaetools[train]'") from None
    from vaetools.training.run.finish import export_run

    return export_run(run, data, to, half=half)


def _import(
    kind: str, source: str, to: Path, chosen: dict[str, Any]
) -> tuple[Model, Mapping[str, float]]:
    from vaetools.training.importers import import_model

    about = {name: chosen.pop(name) for name in ("id", "license", "origin") if name in chosen}
    if kind != "module":
        _refuse(chosen, f"--from {kind}, which reads it from the files")
    if "size" in chosen:
        chosen["size"] = _size(chosen["size"])
    if "channels" in chosen:
        chosen["channels"] = int(chosen["channels"])
    return import_model(kind, source, to, **about, **chosen)


def _export_decoder(
    kind: str, source: str, to: Path, chosen: dict[str, Any]
) -> tuple[Model, Mapping[str, float]]:
    from vaetools.training.export.decoder import export_decoder
    from vaetools.training.importers import about_of

    about = {name: chosen.pop(name, None) for name in ("id", "license")}
    _refuse(chosen, f"--from {kind}, which reads it from the model")
    named = about_of(to, id=about["id"], version="", license="", origin="")
    return export_decoder(Path(source), to, id=named.id, license=about["license"])


def _repack(
    source: str, to: Path, chosen: dict[str, Any], half: bool
) -> tuple[Model, Mapping[str, float]]:
    from vaetools.training.export.repack import repack_model
    from vaetools.training.importers import about_of

    about = {name: chosen.pop(name, None) for name in ("id", "license")}
    _refuse(chosen, f"--from {MODEL}, which reads it from the model")
    if about["id"] is not None:
        about_of(to, id=about["id"], version="", license="", origin="")
    return repack_model(Path(source), to, half=half, **about)


def _refuse(chosen: Mapping[str, Any], context: str) -> None:
    """Raise `UsageError` for an option that would be ignored."""
    for name in chosen:
        raise UsageError(f"--{'source' if name == 'origin' else name} has no effect with {context}")


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
