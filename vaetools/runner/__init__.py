"""The folder runner: one operation over many inputs, which can be killed at any time.

discover   inputs, or items that come out of nothing -> sources with relative names
plan       sources -> steps with all output names; clashes are refused before any work
journal    what earlier runs have proved done
pipeline   read, work, write; bounded in bytes
report     one record per input, and a result
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vaetools.runner.result import Progress, Record, RunResult
from vaetools.runner.runner import run
from vaetools.runner.settings import RunSettings

if TYPE_CHECKING:
    from vaetools.runner.terminal import TerminalProgress

__all__ = ["Progress", "Record", "RunResult", "RunSettings", "run", "terminal_progress"]


def terminal_progress() -> TerminalProgress | None:
    """A progress bar for `run`, if stderr is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    from vaetools.runner.terminal import TerminalProgress

    return TerminalProgress()
