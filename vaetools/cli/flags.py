"""Flags that all operations have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vaetools.image import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def parse_shard(text: str) -> tuple[int, int]:
    """`I/N` -> (I, N). Raises `BadParameter`."""
    part, _, whole = text.partition("/")
    if not (part.isdigit() and whole.isdigit() and 1 <= int(part) <= int(whole)):
        raise click.BadParameter(f"{text!r} is not I/N with 1 ≤ I ≤ N")
    return int(part), int(whole)


SETTINGS = (
    click.option("--jobs", type=click.IntRange(min=1), help="Pictures at once [one per core]."),
    click.option("--resume/--no-resume", default=True, help="Skip what is proved done [resume]."),
    click.option("--force", is_flag=True, help="Do everything again, replace outputs."),
    click.option(
        "--on-exists",
        type=click.Choice(["error", "skip", "replace"]),
        default="error",
        help="Outputs that are there but not from an earlier run [error].",
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing."),
    click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        default=MAX_PIXELS,
        help=f"Largest picture [{MAX_PIXELS}].",
    ),
    click.option(
        "--shard", type=parse_shard, metavar="I/N", help="Only part I of N of the inputs."
    ),
    click.option("--report", metavar="FILE.html", help="Write a page about the run, with links."),
)
"""Flags of the runner; their names are fields of `RunSettings`."""

INPUTS = (
    click.argument("inputs", nargs=-1, required=True, metavar="IN..."),
    click.option("--include", multiple=True, metavar="GLOB", help="Only these files of folders."),
    click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these files out."),
    click.option("--strict/--lenient", default=True, help="Refuse damaged pictures [strict]."),
    click.option(
        "--frames",
        type=click.Choice(["error", "first"]),
        default="error",
        help="Animated and multi-page files [error].",
    ),
    click.option(
        "--strip",
        type=click.Choice(["none", "gps", "exif", "all"]),
        default="none",
        help="Metadata to leave out [none].",
    ),
)
"""Inputs and how they are read, for operations that take any; names as in `SETTINGS`."""

PLACES = (
    click.option("--models-dir", multiple=True, metavar="DIR", help="Further folder of models."),
    click.option("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N [auto]."),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="Threads per picture [1; all for one picture].",
    ),
)
"""Flags of the hub."""

OUT = click.option(
    "-o", "--out", required=True, metavar="OUT", help="Folder, or file for one input."
)

TELLING = (
    click.option("--json", "as_json", is_flag=True, help="One JSON record per input on stdout."),
    click.option("--quiet", is_flag=True, help="Say nothing but errors."),
)


def decorated(command: Any, decorators: Sequence[Callable[[Any], Any]]) -> Any:
    """A function with click's decorators, as if they stood above it in this order."""
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def common_flags() -> dict[str, click.Option]:
    """The flags that a file may set for all operations, by their names in it."""
    command = click.command()(decorated(lambda: None, [OUT, *PLACES, *SETTINGS, *INPUTS, *TELLING]))
    options = [option for option in command.params if isinstance(option, click.Option)]
    return {option.opts[-1].lstrip("-").replace("-", "_"): option for option in options}
