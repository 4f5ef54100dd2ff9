"""`vaetools run OP[,OP...]` and `vaetools run pipeline.toml`: chains, videos and raw frames."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from vaetools.cli.context import host_of, hub_of
from vaetools.cli.flags import DEBUG, refuse_typed
from vaetools.cli.operation import command_of, run_command, step_of
from vaetools.cli.sections import examples_of, with_examples
from vaetools.cli.steps import step_flags
from vaetools.errors import OptionError, UsageError
from vaetools.operation.chain import read_chain
from vaetools.video import VIDEO_QUALITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.operation.chain import StepSpec

PIPE = "-"
"""As input and output: raw frames on stdin and stdout."""

VIDEO_FLAGS = (
    click.option("--fourcc", metavar="CODE", help="Codec of the output video, four letters."),
    click.option(
        "--video-quality",
        type=click.IntRange(0, 51),
        metavar="CRF",
        default=VIDEO_QUALITY,
        show_default=True,
        help="Constant rate factor of the output video, 0 to 51: lower is better and larger.",
    ),
    click.option(
        "--raw",
        metavar="WxH:FORMAT",
        help="Size and pixel format of raw frames from - to -, such as 1280x720:bgr24.",
    ),
)


class Chains(click.Group):
    """Takes any operation, chain of operations or pipeline file as the name of a command."""

    is_chain = True

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*host_of(ctx).operations]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        specs = read_chain(cmd_name)
        hub = hub_of(ctx)
        steps = step_flags([hub.find(spec.op) for spec in specs], specs)
        text = f"Run {', then '.join(spec.op for spec in specs)}."
        first = examples_of(steps[0].kind)
        if len(steps) > 1 or specs[0].options:
            inputs = "" if steps[0].kind.takes == "nothing" else "photos/ "
            first = [f"vaetools {cmd_name} {inputs}-o out/"]
        lines = [line.replace("vaetools ", "vaetools run ", 1) for line in first]
        help_text = with_examples(text, lines)
        try:
            return command_of(cmd_name, help_text, steps, *VIDEO_FLAGS, run=run)
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
@DEBUG
def command() -> None:
    """Run several operations in a row, or one over a video.

    Images stay in memory between the operations.

    Videos keep their frame times and their sound. With - for IN and OUT, raw frames go from stdin to
    stdout, as ffmpeg writes and reads them.

    \b
    Examples:
      vaetools run denoise,compress photos/ -o packed/ --quality 60
      vaetools run pipeline.toml photos/ -o out/
      vaetools run denoise clip.mp4 -o clean.mp4
      vaetools run denoise clips/ -o clean/ --video-quality 23
      vaetools run denoise - -o - --raw 1280x720:bgr24
      vaetools run denoise,compress --help
    """


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
    isolate: bool | None,
    jobs: int | None,
    **unused: Any,
) -> None:
    """Raises `UsageError` for flags that apply to files only."""
    refuse_typed(ctx, unused, "raw frames")
    started = time.monotonic()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    # Stdout belongs to the frames: the output of plugins must not mix with them.
    with (
        contextlib.redirect_stdout(sys.stderr),
        hub_of(ctx, models_dir=models_dir, device=device, threads=threads, isolate=isolate) as hub,
    ):
        count = hub.pipe(step_of(hub, steps), source, sink, raw=raw, threads=jobs or 1)
    if not quiet:
        click.echo(f"{count:,} frames in {time.monotonic() - started:.1f} s", err=True)
