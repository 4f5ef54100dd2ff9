"""The records of a run as they come: JSON lines on stdout, or failures and a summary on stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from vaetools.cli.repeats import Repeats
from vaetools.cli.signals import RESUME
from vaetools.errors import EXIT_DONE, OutputError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vaetools.distributed.loop import Work
    from vaetools.runner import Record, RunResult, WatchResult
    from vaetools.runner.terminal import TerminalProgress


NOTABLE = ("done", "kept")
"""Statuses of records whose notes are printed."""

MOST_LOSSES = 6
"""Kinds of metadata that are named at the end of a run."""


class Reporter:
    """Prints the records of a run.

    Create it before stdout is redirected: records go to the stdout of that moment.

    Args:
        as_json: Print JSON lines on stdout.
        quiet: Print errors only.
        verbose: Print every message, instead of the first of equal ones and their number.

    Attributes:
        progress: The progress bar for the run, or None.
    """

    def __init__(self, *, as_json: bool, quiet: bool, verbose: bool = False) -> None:
        from vaetools.record import plural
        from vaetools.runner import terminal_progress

        self._plural = plural

        self.as_json = as_json
        self.quiet = quiet
        self._stdout = sys.stdout
        self._lost: OutputError | None = None
        self._watches = False
        self._verbose = verbose
        self._repeats = Repeats()
        self.progress: TerminalProgress | None = None if quiet or as_json else terminal_progress()

    def watching(self, inputs: Sequence[str]) -> None:
        """Print what is watched. From now on each input has its own line, and there is no bar."""
        self._watches, self._verbose, self.progress = True, True, None
        if not self.quiet:
            names = ", ".join(printable(name) for name in inputs)
            self._warn(f"watching {names}; Ctrl-C ends it")

    def problem(self, line: str) -> None:
        """Print a problem that ends nothing."""
        self._warn(line)

    def record(self, record: Record) -> None:
        """Print one record."""
        if self.as_json:
            self._print(json.dumps(record.as_dict()))
        if record.status == "failed":
            self._tell(record, f"{record.code} ")
        elif record.status in NOTABLE and record.message and record.noted and not self.quiet:
            self._tell(record)
        elif record.status == "done" and self._watches and not self.quiet and not self.as_json:
            self._warn(_line_of(record))
        elif record.status == "planned" and not self.as_json:
            self._print(printable(f"{record.file} -> {', '.join(record.out)}"))
        elif record.status == "obsolete" and not self.as_json:
            self._print(printable(f"{record.file} is gone: remove {', '.join(record.out)}"))

    def finish(self, result: RunResult | WatchResult | Work) -> int:
        """Print what else failed, and the summary as the last line; return the exit code."""
        self._tell_counts()
        for problem in result.problems:
            self._warn(problem)
        if self._lost is not None:
            self._warn(self._lost.line)
        if not self.quiet:
            self._warn_of_losses(result.not_kept)
            click.echo(result.summary, err=True)
        lost = EXIT_DONE if self._lost is None else self._lost.exit_code
        return result.exit_code or lost

    def trouble(self, line: str) -> None:
        """Print what happened to an attempt at a shard."""
        self._warn(line)

    def interrupted(self) -> None:
        """Print how to go on, for a run that ended without a result."""
        self._tell_counts()
        click.echo(RESUME, err=True)

    def _print(self, line: str) -> None:
        """Print on stdout until that fails; the work goes on."""
        if self._lost is None:
            try:
                click.echo(line, file=self._stdout)
            except OutputError as error:
                self._lost = error

    def _tell(self, record: Record, code: str = "") -> None:
        """Print a message, unless an equal one was printed before."""
        if self._verbose or self._repeats.is_first(record, code):
            self._warn(code + record.message)

    def _tell_counts(self) -> None:
        for count, code, text in self._repeats.further():
            self._warn(f"{code}{self._plural(count, 'more input')}: {text}")

    def _warn_of_losses(self, not_kept: Mapping[str, int]) -> None:
        """One line for all inputs: a folder of photos mostly loses the same of each."""
        from vaetools.record import plural

        parts = [f"{what}, {plural(count, 'input')}" for what, count in not_kept.items()]
        if len(parts) > MOST_LOSSES:
            parts[MOST_LOSSES:] = [f"{len(parts) - MOST_LOSSES} more kinds, see the records"]
        if parts:
            self._warn(f"not kept: {'; '.join(parts)}")

    def _warn(self, line: str) -> None:
        if self.progress is not None:
            self.progress.note(line)  # above the bar
        else:
            click.echo(line, err=True)


def _line_of(record: Record) -> str:
    """`a.jpg -> out/a.jpg.vae, 812 kB -> 71 kB in 0.4 s`."""
    from vaetools.record import format_bytes, format_seconds

    sizes = f"{format_bytes(record.bytes_in)} -> {format_bytes(record.bytes_out)}"
    names = printable(f"{record.file} -> {', '.join(record.out)}")
    return f"{names}, {sizes} in {format_seconds(record.ms / 1000)}"
