"""Flags that several commands share, each defined once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import click
from click.core import ParameterSource

from vaetools.cli import values
from vaetools.cli.arguments import LocalPath, Place
from vaetools.cli.context import COMMAND
from vaetools.errors import UsageError
from vaetools.image import MAX_PIXELS, TO
from vaetools.model.limits import LONGEST_SLEEP, MOST_PARALLEL

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    Flag: TypeAlias = Callable[[Any], Any]


def with_flags(*flags: Flag) -> Flag:
    """One decorator for several of click's, which `--help` lists in this order."""

    def decorate(command: Any) -> Any:
        for flag in reversed(flags):
            command = flag(command)
        return command

    return decorate


def is_typed(ctx: click.Context, parameter: str) -> bool:
    """Whether a value comes from the command line, not from a config file or by default."""
    return ctx.get_parameter_source(parameter) is ParameterSource.COMMANDLINE


def refuse_typed(ctx: click.Context, parameters: Container[str], context: str) -> None:
    """Raise `UsageError` for a flag on the command line that would have no effect.

    Args:
        parameters: names of the parameters without effect.
        context: in which case, such as "raw frames".
    """
    for parameter in ctx.command.params:
        if parameter.name in parameters and is_typed(ctx, parameter.name):
            raise UsageError(
                f"{parameter.opts[-1]} has no effect on {context}", remedy="leave it out"
            )


def parse_shard(text: str) -> tuple[int, int]:
    """`I/N` -> (I, N). Raises `BadParameter`."""
    part, _, whole = text.partition("/")
    if not (_is_digits(part) and _is_digits(whole) and 1 <= int(part) <= int(whole)):
        raise click.BadParameter(f"{text!r} is not I/N with 1 ≤ I ≤ N")
    return int(part), int(whole)


def _is_digits(text: str) -> bool:
    """Whether the text is a number of usual size in the digits 0–9: `str.isdigit` accepts ² as well."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


_DIGITS = 18


if TYPE_CHECKING:
    _WorkersType = click.ParamType[int | str]
else:
    _WorkersType = click.ParamType  # older versions of click are not generic


class Workers(_WorkersType):
    """`auto`, or a number of processes."""

    name = "workers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        text = str(value)
        if text != "auto" and not _is_digits(text):
            self.fail(f"{text!r} is not auto or a whole number", param, ctx)
        return text if text == "auto" else int(text)


class Seconds(click.FloatRange):
    """A time to wait: above 0, finite, and at most what every system can wait."""

    def __init__(self, shortest: float = 0) -> None:
        super().__init__(shortest, LONGEST_SLEEP, min_open=not shortest)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):  # it passes all bounds
            self.fail(f"{value} is not a number of seconds", param, ctx)
        return number


def _note_command(ctx: click.Context, _: click.Parameter, __: bool) -> None:
    ctx.meta[COMMAND] = ctx.command


DEBUG = click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_note_command,
    help="Show a traceback with an error.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout instead of text.")
QUIET = click.option("--quiet", is_flag=True, help="Print errors only.")
VERBOSE = click.option(
    "-v", "--verbose", is_flag=True, help="Print every message, also those that are equal."
)
OUT = click.option(
    "-o",
    "--out",
    required=True,
    type=Place(),
    metavar="OUT",
    help="Output folder, or file for a single input; local or s3://…, gs://….",
)
MODELS_DIR = click.option(
    "--models-dir",
    multiple=True,
    type=LocalPath(),
    metavar="DIR",
    help="Additional folder of models (repeatable).",
)
DEVICE = click.option(
    "--device",
    default="auto",
    metavar="D",
    shell_complete=values.devices,
    help="auto, cpu, cuda or cuda:N; others: tensorrt, openvino, webgpu, coreml, dml, migraphx.",
)
THREADS = click.option(
    "--threads",
    type=click.IntRange(1, MOST_PARALLEL),
    metavar="N",
    show_default="1; all cores for a single image",
    help="Threads per image.",
)
ISOLATE = click.option(
    "--isolate/--no-isolate",
    default=None,
    show_default="models that did not come with vaetools",
    help="Run models in processes of their own, with limits of time and memory.",
)

RUNTIME_FLAGS = (MODELS_DIR, DEVICE, THREADS, ISOLATE)
"""Flags of the hub."""

REPORTING_FLAGS = (JSON, QUIET, VERBOSE)

RUN_FLAGS = (
    click.option(
        "--jobs",
        type=click.IntRange(1, MOST_PARALLEL),
        metavar="N",
        show_default="one per core",
        help="Images to process at once.",
    ),
    click.option(
        "--workers",
        type=Workers(),
        metavar="N|auto",
        default="auto",
        help="Processes that share the images; 0: threads only.",
    ),
    click.option(
        "--resume/--no-resume", default=True, help="Skip inputs that an earlier run completed."
    ),
    click.option(
        "--journal",
        type=LocalPath(),
        metavar="DIR",
        help="Keep the journal of the run in DIR instead of OUT.",
    ),
    click.option("--force", is_flag=True, help="Process everything again and replace outputs."),
    click.option(
        "--on-exists",
        type=click.Choice(["error", "skip", "replace"]),
        default="error",
        help="What to do with existing outputs that are not from an earlier run.",
    ),
    click.option(
        "--times",
        type=click.Choice(["now", "keep"]),
        default="now",
        help="Modification time of outputs: that of writing, or that of the input.",
    ),
    click.option(
        "--dry-run",
        is_flag=True,
        help="List what would be done, what is broken, and about how long it takes; write nothing.",
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        metavar="N",
        default=MAX_PIXELS,
        help="Largest image to accept, in pixels.",
    ),
    click.option(
        "--shard", type=parse_shard, metavar="I/N", help="Process only part I of N of the inputs."
    ),
    click.option(
        "--report",
        type=LocalPath(),
        metavar="FILE.html",
        help="Write an HTML report of the run.",
    ),
)
"""Flags of the runner; their names are fields of `RunSettings`."""

TO_FLAG = click.option(
    "--to",
    type=click.Choice(TO),
    default="same",
    help="Format of image files; same: that of the source.",
)
QUALITY_FLAG = click.option(
    "--quality-out",
    type=click.IntRange(0, 100),
    metavar="Q",
    show_default="as the source, or 95",
    help="Quality of lossy image files, 0 to 100.",
)

FILES_FROM = click.option(
    "--files-from",
    type=LocalPath(allow_dash=True),
    metavar="LIST",
    help="Take the inputs from a list of names, one a line or ended by NUL; - for stdin.",
)
ROOT = click.option(
    "--root",
    type=LocalPath(),
    metavar="DIR",
    show_default="the current folder",
    help="The folder that the names of --files-from are relative to.",
)

INPUT_FLAGS = (
    click.argument("inputs", nargs=-1, type=Place(), metavar="IN..."),
    FILES_FROM,
    ROOT,
    click.option(
        "--job",
        type=LocalPath(),
        metavar="RUN",
        help="Take free shards of a job until there are none; see vaetools shards.",
    ),
    click.option(
        "--include", multiple=True, metavar="GLOB", help="Only these files of folders (repeatable)."
    ),
    click.option(
        "--exclude", multiple=True, metavar="GLOB", help="Not these files of folders (repeatable)."
    ),
    click.option(
        "--prune",
        is_flag=True,
        help="Remove outputs whose inputs are gone; --dry-run --prune lists them.",
    ),
    click.option(
        "--strict/--lenient",
        default=True,
        help="Refuse damaged images, or decode what is intact of them.",
    ),
    click.option(
        "--frames",
        type=click.Choice(["error", "first"]),
        default="error",
        help="Animated and multi-page files: refuse them, or take the first frame.",
    ),
    click.option(
        "--strip",
        type=click.Choice(["none", "gps", "exif", "all"]),
        default="none",
        help="Metadata to remove.",
    ),
)
"""Inputs and how they are read; names as in `RUN_FLAGS`."""

WATCH_FLAGS = (
    click.option(
        "--watch",
        is_flag=True,
        help="Go on with files that arrive later, until Ctrl-C; take each when it is complete.",
    ),
    click.option(
        "--interval",
        type=Seconds(),
        metavar="S",
        default=2.0,
        help="Seconds between two looks at the folders of --watch.",
    ),
)


def common_flags() -> dict[str, click.Option]:
    """The flags that a config file may set for all operations, by their names in the file."""
    flags = with_flags(
        OUT,
        *RUNTIME_FLAGS,
        *RUN_FLAGS,
        TO_FLAG,
        QUALITY_FLAG,
        *INPUT_FLAGS,
        *WATCH_FLAGS,
        *REPORTING_FLAGS,
    )
    command: click.Command = click.command()(flags(lambda: None))
    options = [option for option in command.params if isinstance(option, click.Option)]
    return {option.opts[-1].lstrip("-").replace("-", "_"): option for option in options}
