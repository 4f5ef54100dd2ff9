"""`vaetools train RECIPE --data DIR`."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaetools.cli.arguments import LocalPath
from vaetools.cli.flags import DEBUG
from vaetools.cli.values import recipes
from vaetools.errors import DeviceError, UsageError
from vaetools.model.limits import MOST_PARALLEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vaetools.training.run.trainer import Trainer

SHORT = 30 * 60
"""Seconds of training below which expectations are named."""

EXPECTED = "docs/training.md, What a few minutes can do"


@click.command("train")
@click.argument("recipe", metavar="RECIPE", shell_complete=recipes)
@click.option(
    "--data",
    required=True,
    type=LocalPath(path_type=Path),
    metavar="DIR",
    help="Folder of images; or an IDX file, or a folder of them (MNIST).",
)
@click.option(
    "--run",
    type=LocalPath(path_type=Path),
    metavar="DIR",
    show_default="runs/RECIPE",
    help="Folder of the run.",
)
@click.option(
    "--from",
    "start_from",
    type=LocalPath(path_type=Path),
    metavar="DIR",
    help="Start from the weights of a model, or of a run with the same or a smaller network.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0.01),
    metavar="X",
    help="Train for this time instead of the number of steps in the recipe. It is kept when the run is "
    "resumed.",
)
@click.option(
    "--until",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=1.0,
    metavar="SHARE",
    show_default=True,
    help="Stop at this share of the whole training; the same command resumes it.",
)
@click.option(
    "--decay",
    type=click.IntRange(min=1),
    metavar="STEPS",
    help="Start the final decay of the learning rate now, and end after STEPS.",
)
@click.option(
    "--weights",
    "weights_file",
    type=LocalPath(path_type=Path, dir_okay=False),
    metavar="FILE.pt",
    help="With each checkpoint, also write the averaged weights alone, in float16.",
)
@click.option(
    "--device",
    default="auto",
    metavar="D",
    show_default=True,
    help="auto, cpu, cuda or cuda:N; auto takes a GPU where torch finds one.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, MOST_PARALLEL),
    metavar="N",
    show_default="chosen by torch",
    help="Threads of torch.",
)
@click.option(
    "--parts",
    type=click.IntRange(1, MOST_PARALLEL),
    default=1,
    metavar="N",
    show_default=True,
    help="Parts of a batch that are computed at the same time, by one thread each (CPU).",
)
@DEBUG
def command(
    recipe: str,
    data: Path,
    run: Path | None,
    start_from: Path | None,
    minutes: float | None,
    until: float,
    decay: int | None,
    weights_file: Path | None,
    device: str,
    threads: int | None,
    parts: int,
) -> None:
    """Train a model from a recipe.

    RECIPE is a TOML file, or the name of a shipped recipe. The same command resumes an
    interrupted run from its last checkpoint. Ctrl-C and SIGTERM end a run with a whole
    checkpoint.

    Minutes of training give blurred but recognisable reconstructions of photographs. Samples that
    look like photographs, or a codec or denoiser like those that ship, are out of their reach.

    \b
    Examples:
      vaetools train mnist-conv --data mnist/
      vaetools train small-photos --data photos/ --minutes 30 --run runs/mine
    """
    try:
        import torch
    except ImportError:
        raise UsageError("training needs torch", remedy="pip install 'vaetools[train]'") from None
    from vaetools.training.recipe import read_recipe
    from vaetools.training.run.starting import starting_weights
    from vaetools.training.run.trainer import Trainer
    from vaetools.training.tasks import open_task

    if weights_file is not None and not weights_file.parent.is_dir():
        raise UsageError("no such folder", file=weights_file.parent, remedy="make it first")
    if threads:
        torch.set_num_threads(threads)
    chosen = read_recipe(recipe)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device.partition(":")[0] not in ("cpu", "cuda"):
        raise UsageError(f"--device {device} is not one of auto, cpu, cuda, cuda:N")
    elif device != "cpu" and not torch.cuda.is_available():
        raise DeviceError(f"{device}: torch finds no GPU", remedy="use --device cpu or auto")
    task = open_task(chosen)
    folder = run or Path("runs") / chosen.id
    place = torch.device(device)
    weights = starting_weights(start_from, task.network, place) if start_from else None
    images = task.load(data)
    click.echo(f"{chosen.id}: {images.summary}, {device}")
    trainer = Trainer(
        task,
        images,
        folder,
        device=place,
        minutes=minutes,
        weights=weights,
        decay=decay,
        parts=parts,
    )
    trainer.weights_file = weights_file
    with _stopped_by_signals(trainer):
        for row in trainer.fit(until=until):
            click.echo(_line(row))
    for line in _closing_lines(trainer, data):
        click.echo(line)


@contextlib.contextmanager
def _stopped_by_signals(trainer: Trainer) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the training after a whole step. A second Ctrl-C ends it at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, _frame: object) -> None:
        trainer.stop()
        if number == signal.SIGINT:
            click.echo("ends after this step; once more: at once", err=True)
            signal.signal(number, before[signal.SIGINT])

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _closing_lines(trainer: Trainer, data: Path) -> Iterator[str]:
    """Where the sheet is, how the run ended, and what comes next."""
    from vaetools.training.run.sheets import SHEET

    run, task = trainer.run, trainer.task
    if (run / SHEET).exists():
        yield f"held-out images and what the model makes of them: {run / SHEET}"
    if trainer.progress < 1:
        yield f"stopped at step {trainer.step}, {trainer.progress:.1%} done"
        return
    if trainer.best.stopped:
        yield f"stopped early: no better score in {trainer.best.since} rows of the log"
    if trainer.seconds < SHORT:
        yield f"{trainer.seconds / 60:.0f} minutes of training; what to expect: {EXPECTED}"
    needed = f" --data {data}" if task.exports_with_data else ""
    yield f"done; next: vaetools export {run}{needed} --to models/{task.recipe.id}"


def _line(row: Mapping[str, float]) -> str:
    """A row of the log for the terminal."""
    left = row["minutes"] / max(row["progress"], 1e-6) - row["minutes"]
    figures = "  ".join(f"{n} {v:.4g}" for n, v in row.items() if n not in ("step", "minutes"))
    return f"step {row['step']:.0f}  {row['minutes']:.0f} min, {left:.0f} min left  {figures}"
