"""Which files of a watched folder are complete: nobody writes to them any more.

A file is taken when its size and its time are those of the look before. Names that browsers,
downloaders and cameras use for what is not complete yet are left alone. On Linux, a file that a process
of this machine has open for writing waits until it is closed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from vaetools.runner.plan import identity_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import PurePosixPath

    from vaetools.operation import Operation
    from vaetools.runner.inputs import Source

UNFINISHED = (
    ".part",  # Firefox, wget2, yt-dlp
    ".partial",  # rclone, Internet Explorer
    ".crdownload",  # Chromium
    ".opdownload",  # Opera
    ".download",  # Safari, a folder
    ".filepart",  # WinSCP
    ".tmp",
    ".temp",
    ".aria2",  # a list of missing parts, next to the file itself
    ".lftp-pget-status",
    ".!ut",
    ".!qb",
)
"""Suffixes of files that are not complete, or that stand next to a file that is not."""


def is_unfinished_name(relative: PurePosixPath) -> bool:
    """Whether a file has, or a folder on its path has, the name of something incomplete.

    `a.jpg.part`, `a.part.jpg` and `~a.jpg` are such names. Hidden files are no inputs anyway.
    """
    stem = PurePath(relative.name).stem.lower()
    if relative.name.startswith("~") or stem.endswith(UNFINISHED):
        return True
    return any(part.lower().endswith(UNFINISHED) for part in relative.parts)


def has_unfinished_neighbour(path: PurePath) -> bool:
    """Whether a file such as `a.jpg.aria2` says that `a.jpg` is not complete."""
    return any(os.path.lexists(f"{path}{suffix}") for suffix in UNFINISHED)


@contextlib.contextmanager
def leases_allowed() -> Iterator[None]:
    """Until the end, `is_open_for_writing` works, if this is the main thread.

    A process that opens the file during the test makes the system send SIGIO, which would end this
    process.
    """
    own = sys.platform == "linux" and threading.current_thread() is threading.main_thread()
    if not own or signal.getsignal(signal.SIGIO) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGIO, signal.SIG_DFL)


if sys.platform == "linux":
    import fcntl

    def is_open_for_writing(path: PurePath) -> bool:
        """Whether a process of this machine has the file open for writing.

        False also where that is not known: for files of other users, and on most network folders.
        """
        if signal.getsignal(signal.SIGIO) is signal.SIG_DFL:
            return False
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return False  # the run says what is wrong
        try:
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError as error:
            return error.errno == errno.EAGAIN
        finally:
            os.close(handle)
        return False

else:

    def is_open_for_writing(path: PurePath) -> bool:  # noqa: ARG001
        """Not known on this system."""
        return False


@dataclass(frozen=True, slots=True)
class State:
    """What changes when an input changes: the file itself, or files that decide its result."""

    size: int
    mtime_ns: int
    problem: str
    files: str


Key = tuple[str, str]


class Arrivals:
    """Remembers the files of a folder from one look to the next.

    Attributes:
        waiting: Number of inputs that were not complete at the last look.
    """

    def __init__(self, operation: Operation) -> None:
        self.waiting = 0
        self._operation = operation
        self._seen: dict[Key, State] = {}
        self._taken: dict[Key, State] = {}

    def complete(self, sources: Sequence[Source]) -> list[Source]:
        """The sources that are complete, and were not taken since they changed last.

        Each is returned once. One that changes later is returned again.

        Args:
            sources: All inputs that there are now.
        """
        present = {key_of(source): (source, self._state(source)) for source in sources}
        ready = [
            source
            for key, (source, state) in present.items()
            if state != self._taken.get(key)
            and state == self._seen.get(key)
            and (state.problem or _is_closed(source))
        ]
        self._seen = {key: state for key, (_, state) in present.items()}
        self._taken = {key: state for key, state in self._taken.items() if key in present}
        self._taken |= {key_of(source): present[key_of(source)][1] for source in ready}
        self.waiting = len(present) - sum(
            self._taken.get(key) == s for key, s in self._seen.items()
        )
        return ready

    def _state(self, source: Source) -> State:
        try:
            files = identity_of(self._operation, source)
        except Exception as error:  # noqa: BLE001 - the run says what is wrong
            files = type(error).__name__
        return State(source.size, source.mtime_ns, source.problem, files)


def key_of(source: Source) -> Key:
    """What identifies an input from one look to the next."""
    return str(source.path), str(source.relative)


def _is_closed(source: Source) -> bool:
    """Whether a file whose size and time do not change is complete; an empty one never is."""
    path = source.path
    return source.size > 0 and not has_unfinished_neighbour(path) and not is_open_for_writing(path)
