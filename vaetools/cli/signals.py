"""SIGTERM and SIGHUP end a command as Ctrl-C does; the exit code says which signal it was."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

RESUME = "interrupted; run the same command again to resume"

_NAMES = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_received: list[int] = []


def exit_code() -> int:
    """Exit code of an interrupted command, as shells count: 128 + the number of the signal.

    The process is about to end: from now on Ctrl-C is ignored, for it could only spoil the end.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 128 + (_received[0] if _received else signal.SIGINT)


@contextmanager
def like_ctrl_c() -> Iterator[None]:
    """Until the end, SIGTERM and SIGHUP raise `KeyboardInterrupt`, unless they are ignored (nohup)."""
    _received.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, frame: object) -> None:
    _received.append(number)
    ctrl_c = signal.getsignal(signal.SIGINT)
    if not callable(ctrl_c):  # it is ignored
        raise KeyboardInterrupt
    ctrl_c(number, frame)  # type: ignore[arg-type]
