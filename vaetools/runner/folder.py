"""The output folder of a run, which must stay the same folder while the run writes to it."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaetools.errors import OutputError

if TYPE_CHECKING:
    from os import stat_result


class OutputFolder:
    """The folder of all outputs.

    It is created when it is first needed. If it is moved, removed or replaced after that, nothing
    more is written: a second folder of its name would hide the outputs and the journal in the first one.

    Args:
        path: May be a link to a folder.

    Attributes:
        path: As given.
        is_lost: Whether it was found moved, removed or replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_lost: bool = False
        self._identity: tuple[int, int] | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def enter(self) -> None:
        """Note which folder it is, if it exists: from now on it must be this one."""
        with contextlib.suppress(OSError):
            self._identity = _identity(self.path.stat())

    def prepare(self, folder: Path) -> None:
        """Create a folder in the output folder, unless it exists.

        Raises:
            OutputError: The output folder was moved, or a link leads out of it.
            OSError: The folder cannot be created.
        """
        self.check()
        if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(self.path)):
            raise OutputError("leads out of the output folder through a link", file=folder)
        if os.path.isdir(folder):
            return
        made = self.path
        for name in folder.relative_to(self.path).parts:
            made /= name
            made.mkdir(exist_ok=True)

    def check(self) -> None:
        """Create the output folder if it was never there. Raises `OutputError` if it was moved."""
        with self._lock:
            if self._identity is None:
                self.path.mkdir(parents=True, exist_ok=True)
                self._identity = _identity(self.path.stat())
        try:
            self.is_lost |= _identity(self.path.stat()) != self._identity
        except FileNotFoundError:
            self.is_lost = True
        if self.is_lost:
            problem = "the output folder was moved, removed or replaced during the run"
            raise OutputError(problem, file=self.path)


def _identity(status: stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
