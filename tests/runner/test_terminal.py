"""The progress bar on a terminal; none elsewhere."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import TYPE_CHECKING

from vaetools.runner import Record, terminal_progress

if TYPE_CHECKING:
    import pytest

    from vaetools.record import Status


def record(status: Status) -> Record:
    return Record("a", (), "compress", status)


def test_the_line_says_how_far_how_fast_and_how_long() -> None:
    from rich.console import Console

    from vaetools.runner.terminal import TerminalProgress

    text = io.StringIO()
    progress = TerminalProgress(Console(file=text, force_terminal=True, width=120))
    progress.start("compress", 10_000)
    assert progress.line(0.0) == "compress 0/10000"
    for _ in range(100):
        progress.advance(record("skipped"))
    for _ in range(50):
        progress.advance(record("done"))
        progress.advance(record("failed"))
    assert progress.line(4.0) == "compress 200/10000 · 25 img/s · ETA 6:32 · 50 failed"
    assert progress.line(100.0).startswith("compress 200/10000 · 1.0 img/s · ETA 2:43:20")
    progress.start("compress", 20)  # a video after the images: its frames
    assert progress.line(0.0) == "compress 0/20 · 50 failed"
    assert len(progress._bar.tasks) == 1
    progress.note("E012 a[b].jpg: is cut\nshort")
    progress.close()
    assert "E012 a[b].jpg: is cut\\nshort" in text.getvalue()


def test_close_before_start_is_fine() -> None:
    from vaetools.runner.terminal import TerminalProgress

    TerminalProgress().close()


def test_there_is_no_bar_and_no_rich_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert terminal_progress() is None
    code = "import sys, vaetools.runner as r; r.terminal_progress(); print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
