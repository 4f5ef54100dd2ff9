"""Why an input failed, and what that means for the run: as plain values, for other processes too."""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaetools.errors import DeviceError, LibraryError, ModelError, OutputError
from vaetools.libraries import library_error
from vaetools.runner.record import explain
from vaetools.runner.result import BROKEN_LIBRARY, BROKEN_MODEL
from vaetools.runner.share import TakenOverError
from vaetools.system_errors import is_transient, system_error

if TYPE_CHECKING:
    from pathlib import Path

DISK_FULL = "stopped because the disk is full"
FOLDER_LOST = "stopped because the output folder is gone"
OUT_REFUSED = "stopped because OUT cannot be written to"
TAKEN_OVER = "stopped because another process has taken over"


@dataclass(frozen=True)
class Fault:
    """Why an input failed.

    Attributes:
        code: As in `Record`.
        message: One line that begins with the input.
        stops: Why no further inputs are taken because of it; otherwise empty.
        details: The traceback.
        transient: As in `Record`.
    """

    code: str
    message: str
    stops: str = ""
    details: str = ""
    transient: bool = False

    @property
    def drops_results(self) -> bool:
        """Whether nothing more can be written."""
        return self.stops in (DISK_FULL, FOLDER_LOST, OUT_REFUSED, TAKEN_OVER)


class FaultError(Exception):
    """An input failed in another process."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def fault_of(error: BaseException, file: Path, *, folder_is_lost: bool = False) -> Fault:
    """The fault that an exception stands for.

    Args:
        error: Anything: a plugin may raise `SystemExit`.
        file: The input.
        folder_is_lost: Whether the output folder is gone.
    """
    if isinstance(error, FaultError):
        return error.fault
    error = library_error(error) or system_error(error) or error
    code, message = explain(error, file)
    stops = ""
    if isinstance(error, TakenOverError):
        stops = TAKEN_OVER
    elif isinstance(error, OutputError) and _is_disk_full(error.__cause__):
        stops = DISK_FULL
    elif folder_is_lost:
        stops = FOLDER_LOST
    elif isinstance(error, ModelError | DeviceError):  # all other inputs would fail, too
        stops = BROKEN_MODEL
    elif isinstance(error, LibraryError):
        stops = BROKEN_LIBRARY
    details = "".join(traceback.format_exception(error))
    return Fault(code, message, stops, details, is_transient(error))


def _is_disk_full(cause: BaseException | None) -> bool:
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
