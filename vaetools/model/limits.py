"""Limits of time and memory for one call of a graph."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaetools.native import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL = 0.1
"""Seconds between two looks at the clock."""

GRACE = 2.0
"""Seconds from the moment when a call is asked to end until the process ends."""


MOST_PARALLEL = 1024
"""Largest number of threads or processes to ask for: a wrong number must not take all memory."""


class Watch:
    """Ends calls of ONNX Runtime that take too long, with one thread for all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[int, tuple[float, Any]] = {}
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[Any]:
        """The `RunOptions` of a call that ends after this time.

        ONNX Runtime looks at them between two nodes.
        """
        options = onnxruntime().RunOptions()
        key = id(options)
        with self._lock:
            self._calls[key] = time.monotonic() + seconds, options
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
                self._thread.start()
        try:
            yield options
        finally:
            with self._lock:
                del self._calls[key]

    def _look(self) -> None:
        idle = 0.0
        while idle < 1.0:
            time.sleep(POLL)
            now = time.monotonic()
            with self._lock:
                idle = 0.0 if self._calls else idle + POLL
                for end, options in self._calls.values():
                    if now > end:
                        options.terminate = True
                if idle >= 1.0:
                    self._thread = None


WATCH = Watch()


def _renewed() -> None:
    """A forked process has none of the threads, and perhaps a lock that nobody will release."""
    WATCH.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renewed)


class Alarm:
    """Ends the process when a call goes on after its time: nothing in it needs to work for that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[int, float] = {}

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Of several calls in progress, the one with the most time counts."""
        key = threading.get_ident()
        self._change(key, time.monotonic() + seconds + GRACE)
        try:
            yield
        finally:
            self._change(key, None)

    def _change(self, key: int, end: float | None) -> None:
        with self._lock:
            self._ends.pop(key, None)
            if end is not None:
                self._ends[key] = end
            left = max(self._ends.values(), default=0.0) - time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, max(left, 0.001) if self._ends else 0)


class Memory:
    """Limits the address space of the process, on Linux; elsewhere it does nothing.

    Args:
        limited: whether there is a limit at all.
    """

    def __init__(self, *, limited: bool) -> None:
        self.limited: bool = limited and Path("/proc/self/statm").exists()
        self._lock = threading.Lock()
        self._granted: dict[Any, int] = {}
        self._base = self._used()

    def _used(self) -> int:
        if not self.limited:
            return 0
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @contextlib.contextmanager
    def opening(self, most: int) -> Iterator[None]:
        """Allow `most` bytes more while a graph is opened; what it keeps belongs to the base."""
        with self._lock:
            self._set(self._used() + most + sum(self._granted.values()))
            try:
                yield
            finally:
                self._base = self._used()

    def grant(self, key: Any, most: int) -> None:
        """Allow `most` bytes for calls of a kind. ONNX Runtime keeps the memory of one for the next."""
        with self._lock:
            self._granted[key] = max(most, self._granted.get(key, 0))
            self._set(self._base + sum(self._granted.values()))

    def _set(self, most: int) -> None:
        if self.limited:
            import resource

            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


LONGEST_SLEEP = 4_000_000.0
"""Longest time to wait in seconds, 46 days. Every system can wait that long; Windows can for 49."""
