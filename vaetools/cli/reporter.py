"""The records of a run as they come: JSON lines on stdout, or failures and a summary on stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from vaetools.errors import printable

if TYPE_CHECKING:
    from vaetools.runner import Record, RunResult
    from vaetools.runner.terminal import TerminalProgress


MOST_LOSSES = 6
"""Kinds of metadata that are named at the end of a run."""


class Reporter:
    """Prints the records of a run.

    Create it before stdout is redirected: records go to the stdout of that moment.

    Attributes:
        progress: the progress bar for the run, or None.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        from vaetools.runner import terminal_progress

        self.as_json = as_json
        self.quiet = quiet
        self._stdout = sys.stdout
        self.progress: TerminalProgress | None = None if quiet or as_json else terminal_progress()

    def record(self, record: Record) -> None:
        """Print one record."""
        if self.as_json:
            click.echo(json.dumps(record.as_dict()), file=self._stdout)
        if record.status == "failed":
            self._warn(f"{record.code} {record.message}")
        elif record.status == "done" and record.message and record.noted and not self.quiet:
            self._warn(record.message)
        elif record.status == "planned" and not self.as_json:
            line = printable(f"{record.file} -> {', '.join(record.out)}")
            click.echo(line, file=self._stdout)

    def finish(self, result: RunResult) -> None:
        """Print what else failed, and the summary as the last line."""
        for problem in result.problems:
            self._warn(problem)
        if not self.quiet:
            self._warn_of_losses(result.not_kept)
            click.echo(result.summary, err=True)

    def _warn_of_losses(self, not_kept: dict[str, int]) -> None:
        """One line for all inputs: a folder of photos mostly loses the same of each."""
        from vaetools.runner.record import plural

        parts = [f"{what}, {plural(count, 'input')}" for what, count in not_kept.items()]
        if len(parts) > MOST_LOSSES:
            parts[MOST_LOSSES:] = [f"{len(parts) - MOST_LOSSES} more kinds, see the records"]
        if parts:
            self._warn(f"metadata not kept: {'; '.join(parts)}")

    def _warn(self, line: str) -> None:
        if self.progress is not None:
            self.progress.note(line)  # above the bar
        else:
            click.echo(line, err=True)
