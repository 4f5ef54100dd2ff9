"""`vaetools run OP[,OP...]` and `vaetools run pipeline.toml`: chains, videos and raw frames."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from vaetools.cli.app import host_of, hub_of
from vaetools.cli.operation import Part, command_of, is_typed, run_command, step_of
from vaetools.errors import OptionError, UsageError
from vaetools.operation.chain import read_chain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.operation.chain import StepSpec

PIPE = "-"
"""As input and output: raw frames on stdin and stdout."""

VIDEO = (
    click.option("--fourcc", metavar="CODE", help="Codec of a video file, four letters."),
    click.option(
        "--raw",
        metavar="WxH:FORMAT",
        help="What raw frames from - to - are, such as 1280x720:bgr24.",
    ),
)


class Chains(click.Group):
    """Its commands are all operations, all chains of them, and pipeline files."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*host_of(ctx).operations]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        parts = _parts(ctx, read_chain(cmd_name))
        try:
            return command_of(cmd_name, _help(parts), parts, *VIDEO, run=run)
        except OptionError as error:
            raise error.about(cmd_name) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Operations"):
            formatter.write_text(", ".join(self.list_commands(ctx)))


@click.command(
    "run",
    cls=Chains,
    subcommand_metavar="OP[,OP...] | PIPELINE.toml  IN... -o OUT [OPTIONS]",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def command() -> None:
    """Run operations one after the other; pictures stay in memory between them.

    \b
    vaetools run denoise,compress photos/ -o packed/ --quality 60
    vaetools run pipeline.toml photos/ -o out/
    vaetools run denoise clip.mp4 -o clean.mp4            a video, frame by frame
    vaetools run denoise - -o - --raw 1280x720:bgr24      frames piped from and to ffmpeg
    vaetools run denoise,compress --help                  the options of these steps
    """


def _parts(ctx: click.Context, specs: Sequence[StepSpec]) -> list[Part]:
    """The steps with their classes, and with names for their flags. Raises `UsageError`."""
    hub = hub_of(ctx)
    kinds = [hub.operation(spec.op) for spec in specs]
    if len(specs) == 1:
        return [Part(kinds[0], specs[0])]
    counts, seen = Counter(spec.op for spec in specs), Counter[str]()
    parts = []
    for kind, spec in zip(kinds, specs, strict=True):
        seen[spec.op] += 1
        label = f"{spec.op}.{seen[spec.op]}" if counts[spec.op] > 1 else spec.op
        parts.append(Part(kind, spec, (f"{label}.", "")))
    return parts


def _help(parts: Sequence[Part]) -> str:
    if len(parts) == 1:
        return f"Run {parts[0].spec.op}."
    return f"Run {', then '.join(part.spec.op for part in parts)}."


def run(
    ctx: click.Context,
    steps: Sequence[StepSpec],
    *,
    out: str,
    raw: str | None,
    inputs: tuple[str, ...] = (),
    **settings: Any,
) -> None:
    """Files and videos as any operation does them; raw frames from stdin to stdout."""
    if raw is None and PIPE not in (out, *inputs):
        run_command(ctx, steps, out=out, inputs=inputs, **settings)
    elif raw is None or inputs != (PIPE,) or out != PIPE:
        raise UsageError(
            "raw frames go from - to -", remedy="vaetools run OP - -o - --raw 1280x720:bgr24"
        )
    elif is_typed(ctx, "report"):
        raise UsageError("--report is for files: raw frames have none")
    else:
        _pipe(ctx, steps, raw, **settings)


def _pipe(
    ctx: click.Context,
    steps: Sequence[StepSpec],
    raw: str,
    *,
    quiet: bool,
    models_dir: tuple[str, ...],
    device: str,
    threads: int | None,
    jobs: int | None,
    **_: Any,
) -> None:
    started = time.monotonic()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    # Stdout belongs to the frames: what a plugin prints must not get between them.
    with (
        contextlib.redirect_stdout(sys.stderr),
        hub_of(ctx, models_dir=models_dir, device=device, threads=threads) as hub,
    ):
        count = hub.pipe(step_of(hub, steps), source, sink, raw=raw, threads=jobs or 1)
    if not quiet:
        click.echo(f"{count:,} frames in {time.monotonic() - started:.1f} s", err=True)
