"""A progress bar on a terminal; imported only if needed, because importing rich takes time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from vaetools.record import Record, format_seconds
from vaetools.text import PrintableStream, printable, unfiltered

if TYPE_CHECKING:
    from typing import TextIO


class TerminalProgress:
    """Shows `compress 412/10000 · 38 img/s · ETA 4:12 · 2 failed` on stderr during a run."""

    def __init__(self, console: Console | None = None) -> None:
        # The bar moves the cursor: it needs the terminal itself.
        self._console = console or Console(file=unfiltered(sys.stderr))
        columns = (BarColumn(bar_width=20), TextColumn("{task.description}", markup=False))
        self._bar = Bar(*columns, console=self._console, transient=True)
        self._op = ""
        self._total = 0
        self._finished = 0
        self._processed = 0
        self._failed = 0

    def start(self, op: str, total: int) -> None:
        self._op, self._total = printable(op), total
        self._finished = self._processed = 0
        is_running = bool(self._bar.task_ids)
        for earlier in self._bar.task_ids:
            self._bar.remove_task(earlier)
        self._task = self._bar.add_task(self._op, total=total)
        if is_running:
            return
        self._bar.start()
        # Rich prints what others write meanwhile above the bar, escape sequences included.
        sys.stdout = cast("TextIO", PrintableStream(sys.stdout))
        sys.stderr = cast("TextIO", PrintableStream(sys.stderr))

    def advance(self, record: Record) -> None:
        self._finished += 1
        self._failed += record.status == "failed"
        self._processed += record.status != "skipped"
        elapsed = self._bar.tasks[0].elapsed or 0.0
        self._bar.update(self._task, advance=1, description=self.line(elapsed))

    def line(self, elapsed: float) -> str:
        """The text next to the bar, `elapsed` seconds after the start."""
        parts = [f"{self._op} {self._finished}/{self._total}"]
        if self._processed and elapsed > 0:
            rate = self._processed / elapsed
            parts.append(f"{rate:.0f} img/s" if rate >= 9.95 else f"{rate:.1f} img/s")
            parts.append(f"ETA {format_seconds((self._total - self._finished) / rate)}")
        if self._failed:
            parts.append(f"{self._failed} failed")
        return " · ".join(parts)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._bar.stop()
