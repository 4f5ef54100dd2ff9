"""Errors of the machine that are no defects: a full, failing or unreachable disk, too little memory."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.errors import OutputError, UnreadableError

if TYPE_CHECKING:
    from vaetools.errors import VaetoolsError

_CANNOT_WRITE = frozenset({errno.ENOSPC, errno.EROFS, errno.EFBIG, getattr(errno, "EDQUOT", 0)})

_CANNOT_ACCESS = frozenset(
    getattr(errno, name, 0)  # not every system has all of them
    for name in ("EIO", "ESTALE", "ETIMEDOUT", "ENXIO", "ENODEV", "EREMOTEIO", "EACCES", "EPERM")
) | {errno.EMFILE, errno.ENFILE}

_NO_MEMORY = frozenset({errno.ENOMEM, errno.EAGAIN})


def system_error(error: BaseException) -> VaetoolsError | None:
    """The error to report for an `OSError` of the system, with its file; otherwise None.

    What depends on the program, such as a missing file or a wrong descriptor, is not one of these.
    """
    if not isinstance(error, OSError) or not error.errno:
        return None
    file = error.filename if isinstance(error.filename, str | Path) else None
    reason = error.strerror or os.strerror(error.errno)
    if error.errno in _CANNOT_WRITE:
        found: VaetoolsError = OutputError(f"cannot be written: {reason}", file=file)
    elif error.errno in _CANNOT_ACCESS:
        found = UnreadableError(f"cannot be accessed: {reason}", file=file)
    else:
        return None
    found.__cause__ = error
    return found


def is_transient(error: BaseException | None) -> bool:
    """Whether an error is due to the machine: another attempt, or another machine, may succeed.

    Args:
        error: What was raised. What it was raised from counts, too. Exceptions that are no `OSError`
            may have an attribute `is_transient`.
    """
    while error is not None:
        if isinstance(error, MemoryError | ConnectionError | TimeoutError):
            return True
        if getattr(error, "is_transient", False) is True:
            return True
        if (
            isinstance(error, OSError)
            and error.errno in _CANNOT_WRITE | _CANNOT_ACCESS | _NO_MEMORY
        ):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False
