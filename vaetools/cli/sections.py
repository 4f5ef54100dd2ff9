"""Help of commands with many flags: in sections, with examples."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

from vaetools.operation import summary_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vaetools.operation import Operation

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Inputs": (
        *("include", "exclude", "files_from", "root", "strict", "frames", "max_pixels"),
        *("watch", "interval", "raw"),
    ),
    "Outputs": (
        *("out", "to", "quality_out", "strip", "times", "fourcc", "video_quality"),
        *("on_exists", "prune", "report"),
    ),
    "Run": (
        *("resume", "force", "dry_run", "journal", "jobs", "workers", "threads"),
        *("shard", "config"),
    ),
    "Jobs on several machines": (
        *("job", "engine", "retries"),
        *("address", "gpus_per_task", "cpus_per_task"),
    ),
    "Models and devices": ("models_dir", "device", "isolate"),
    "Messages": ("json", "as_json", "quiet", "verbose", "debug", "help"),
}
"""Parameters by the section that shows them; options of an operation have one of their own."""


class SectionedCommand(click.Command):
    """Shows its flags in sections.

    Attributes:
        steps: Titles of sections by the beginning of the parameter names that belong there.
    """

    steps: Mapping[str, str] = {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags, first those of the operations."""
        titles = [*self.steps.values(), *SECTIONS, "Other options"]
        rows: dict[str, list[tuple[str, str]]] = {title: [] for title in titles}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                name = "help" if "--help" in parameter.opts else parameter.name
                rows[self._title(name or "")].append(record)
        for title, records in rows.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def _title(self, name: str) -> str:
        for beginning, title in self.steps.items():
            if name.startswith(beginning):
                return title
        return next((title for title, names in SECTIONS.items() if name in names), "Other options")


def titles_of(names: Sequence[str]) -> dict[str, str]:
    """Titles of the options of steps, by the beginnings of click's names for them."""
    if len(names) == 1:
        return {"step0_": f"Options of {names[0]}"}
    return {
        f"step{number}_": f"Options of step {number + 1}, {name}"
        for number, name in enumerate(names)
    }


def examples_of(kind: type[Operation]) -> list[str]:
    """Command lines in the section "Examples:" of an operation's docstring, or one that fits it."""
    _, _, text = inspect.cleandoc(kind.__doc__ or "").partition("\nExamples:\n")
    lines = [line.strip() for line in text.splitlines()]
    found = [line for line in lines if line.startswith("vaetools ")]
    if found:
        return found
    inputs = {"image": "photos/ ", "file": "files/ ", "nothing": ""}[kind.takes]
    return [f"vaetools {kind.name} {inputs}-o out/"]


def help_of(kind: type[Operation], sentence: str) -> str:
    """The help text of an operation's command: its summary and examples."""
    return with_examples(sentence or summary_of(kind), examples_of(kind))


def with_examples(text: str, examples: Sequence[str]) -> str:
    """A help text and its examples, which click leaves as they are."""
    return "\n".join([text, "", "\b", "Examples:", *(f"  {line}" for line in examples)])
