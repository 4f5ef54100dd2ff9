"""`vaetools inspect MODEL [--data DIR]`: what a VAE has learned, and which images it knows."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaetools import __version__
from vaetools.cli.arguments import LocalPath
from vaetools.cli.context import hub_of, warn
from vaetools.cli.flags import DEBUG, DEVICE, ISOLATE, JSON, MODELS_DIR, refuse_typed
from vaetools.cli.values import models
from vaetools.errors import (
    EXIT_SOME_FAILED,
    ExistsError,
    InputError,
    NothingMatchedError,
    OutputError,
    UnreadableError,
    UsageError,
    VaetoolsError,
    printable,
)
from vaetools.model.manifest import FILE_NAME

if TYPE_CHECKING:
    from vaetools.hub import Hub
    from vaetools.inspection import Findings, Settings
    from vaetools.model.vae import Vae


@click.command("inspect")
@click.argument("model", metavar="MODEL", shell_complete=models())
@click.option(
    "--data",
    multiple=True,
    type=LocalPath(),
    metavar="IN",
    help="Images to analyse (repeatable).",
)
@click.option(
    "--reference",
    multiple=True,
    type=LocalPath(),
    metavar="IN",
    help="Images that the model should know, to compare the data with (repeatable).",
)
@click.option(
    "-o",
    "--out",
    type=LocalPath(path_type=Path),
    metavar="DIR",
    show_default="inspect-MODEL",
    help="Output folder.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=2),
    metavar="N",
    default=8,
    help="Samples from each posterior.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    default=1000,
    help="Number of images to use at most, chosen at random.",
)
@click.option("--seed", type=click.IntRange(min=0), metavar="N", default=0, help="Random seed.")
@click.option(
    "--image",
    type=LocalPath(path_type=Path),
    metavar="FILE",
    show_default="the mean of the prior",
    help="Image whose latents the traversal varies.",
)
@click.option("--resize", is_flag=True, help="Scale images to the size of a fixed-size model.")
@click.option(
    "--binarise/--no-binarise",
    default=True,
    help="Sample black or white pixels for a Bernoulli model.",
)
@JSON
@MODELS_DIR
@DEVICE
@ISOLATE
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="one per core",
    help="Threads per call of a network.",
)
@DEBUG
@click.pass_context
def command(
    ctx: click.Context,
    model: str,
    data: tuple[str, ...],
    reference: tuple[str, ...],
    out: Path | None,
    image: Path | None,
    as_json: bool,
    models_dir: tuple[str, ...],
    device: str,
    threads: int | None,
    isolate: bool | None,
    samples: int,
    limit: int,
    seed: int,
    resize: bool,
    binarise: bool,
) -> None:
    """Inspect a VAE: latents, traversals, which images it knows.

    MODEL is the id of a VAE or its folder. IN is a folder, an image, a quoted glob or an IDX file
    (*-idx3-ubyte, *.gz). Without --data, the report has traversals, effects of the latents and
    samples from the prior.

    \b
    Examples:
      vaetools inspect mnist-conv
      vaetools inspect mnist-conv --data digits/ --samples 16 -o looked-at/
    """
    from vaetools.inspection import Settings

    if reference and not data:
        raise UsageError("--reference needs --data to compare with", remedy="add --data")
    if not data:
        refuse_typed(ctx, {"limit", "samples"}, "an inspection without --data")
    with hub_of(ctx, models_dir=models_dir, device=device, threads=threads, isolate=isolate) as hub:
        vae = open_vae(hub, model)
        if resize and not vae.manifest.size.fixed:
            raise UsageError(
                f"model {vae.id} accepts images of any size", remedy="leave out --resize"
            )
        if not data and image is None:
            refuse_typed(ctx, {"resize"}, "an inspection without --data and --image")
        folder = out or Path(f"inspect-{vae.id}")
        check_folder(folder)
        settings = Settings(samples, limit, seed, resize, binarise)
        findings = _look(vae, settings, data, reference, image, folder)
        _report(findings, folder, as_json=as_json)
    if findings.failures:
        ctx.exit(EXIT_SOME_FAILED)


def open_vae(hub: Hub, name: str) -> Vae:
    """The VAE with an id or in a folder; ids take precedence, and `./NAME` always means a folder.

    Raises:
        UsageError: a model that is not a VAE.
        ModelError: no such model, or a broken one.
    """
    from vaetools.model.registry import ModelRegistry
    from vaetools.model.vae import Vae

    registry = hub.registry
    if name not in registry.ids() and (Path(name) / FILE_NAME).exists():
        # A registry of its own: a copy of an installed model is not a duplicate here.
        registry = ModelRegistry([Path(name)], lambda: hub.runtime)
        entry = registry.entries[0]
        if entry.manifest is None:
            raise entry.error or UsageError("is not a model folder", file=name)
        name = entry.manifest.id
    model = registry.open(name)
    if not isinstance(model, Vae):
        raise UsageError(f"model {name} is not a VAE: it lacks the graph 'encode' or 'decode'")
    model.check_files()
    return model


def check_folder(folder: Path) -> None:
    """Raise `ExistsError` if the folder holds anything but an earlier report."""
    from vaetools.inspection import FILES

    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise OutputError(f"cannot be written to: {error.strerror}", file=folder) from None
    if names and "inspection.json" not in names and names & set(FILES):
        raise ExistsError(
            "contains other files with these names",
            file=folder,
            remedy="choose another folder with -o",
        )


def _look(
    vae: Vae,
    settings: Settings,
    data: tuple[str, ...],
    reference: tuple[str, ...],
    image: Path | None,
    out: Path,
) -> Findings:
    from vaetools.inspection import look

    broken: list[VaetoolsError] = []
    files = _files(data, out, broken)
    held = _files(reference, out, broken)
    status = Status()
    try:
        findings = look(
            vae,
            settings,
            data=files,
            reference=held,
            image=image,
            failed=status.failed,
            tell=status.tell,
        )
    finally:
        status.clear()
    findings.failures += broken
    return findings


def _files(names: tuple[str, ...], out: Path, broken: list[VaetoolsError]) -> list[Path]:
    """The images and IDX files in files, folders and globs; unreadable ones go to `broken`.

    Raises:
        UsageError: an input does not exist.
        NothingMatchedError: no image.
    """
    from vaetools.image import SUFFIXES
    from vaetools.runner.inputs import FileFilter, discover

    if not names:
        return []
    suffixes = (*SUFFIXES, "idx3-ubyte", "idx3-ubyte.gz")
    apart = set() if out is None else {os.path.realpath(out)}
    sources = discover(names, FileFilter(suffixes, apart=apart)).sources
    if not sources:
        raise NothingMatchedError("no images found", file=", ".join(names))
    for one in sources:
        if one.problem:
            broken.append(UnreadableError(one.problem, file=one.path))
            warn(broken[-1])
    files = [one.path for one in sources if not one.problem]
    if not files:
        raise InputError("none of the files can be read", file=", ".join(names))
    return files


def _report(findings: Findings, folder: Path, *, as_json: bool) -> None:
    from vaetools.inspection import FILES, facts, figures, text
    from vaetools.runner.atomic import write_files

    content = json.dumps({"vaetools": __version__, **facts(findings)}, indent=1, allow_nan=False)
    parts = {**figures(findings), "inspection.json": content.encode()}
    try:
        write_files([(folder / n, data) for n, data in parts.items()])
        for name in set(FILES) - parts.keys():
            (folder / name).unlink(missing_ok=True)  # of an earlier report
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", file=folder) from None
    click.echo(content if as_json else text(findings))
    if not as_json:
        names = ", ".join(name for name in FILES if name in parts)
        click.echo(f"written      {printable(str(folder))}: {names}")


class Status:
    """One line of progress on a terminal, with errors above it."""

    def __init__(self) -> None:
        self._on = sys.stderr is not None and sys.stderr.isatty()

    def tell(self, what: str, done: int, total: int) -> None:
        if self._on:
            click.echo(f"\r\033[K{what} {done}/{total}", nl=False, err=True)

    def failed(self, error: VaetoolsError) -> None:
        self.clear()
        warn(error)

    def clear(self) -> None:
        if self._on:
            click.echo("\r\033[K", nl=False, err=True)
