"""The runner: applies one operation to many inputs. A run can be killed at any time and resumed.

    inputs     files, folders and globs, or generated items -> sources with relative paths
    plan       sources -> planned items with all output names; clashes are refused before any work
    journal    inputs that earlier runs have completed
    batch      files: read, process and write in parallel, with bounded memory (pipeline)
    video      videos: frame by frame
    watch      the same for files that arrive in folders, without an end
    record     what happened to each input; result: totals; report: both as an HTML page

`runner.run` does these in order; `recorded` gives the records of runs that have ended.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vaetools.record import Record
from vaetools.runner.inputs import input_paths
from vaetools.runner.progress import Progress
from vaetools.runner.recorded import recorded
from vaetools.runner.result import RunResult
from vaetools.runner.runner import run
from vaetools.runner.settings import RunSettings
from vaetools.runner.watch import WatchResult, watch

if TYPE_CHECKING:
    from vaetools.runner.terminal import TerminalProgress

__all__ = [
    "Progress",
    "Record",
    "RunResult",
    "RunSettings",
    "WatchResult",
    "input_paths",
    "recorded",
    "run",
    "terminal_progress",
    "watch",
]


def terminal_progress() -> TerminalProgress | None:
    """A progress bar for `run` on stderr; None if stderr is not a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    from vaetools.runner.terminal import TerminalProgress

    return TerminalProgress()
