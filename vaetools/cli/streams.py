"""What libraries write to the standard streams themselves, past Python, kept out of ours."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

STDERR = 2


def open_closed_streams() -> None:
    """Without this, the next file that is opened would get the number of a closed stream."""
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def lead_nowhere(descriptor: int) -> None:
    """What is written to a descriptor from now on is discarded."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


@contextlib.contextmanager
def own_stderr() -> Iterator[bool]:
    """Until the end, `sys.stderr` has a descriptor of its own, so that number 2 can be turned away.

    Yields whether it has; not if it is closed, or caught as by tests.
    """
    before = cast("TextIO | None", sys.stderr)
    if before is None or sys.__stderr__ is None or before is not sys.__stderr__:
        yield False
        return
    before.flush()
    own = os.dup(STDERR)
    sys.stderr = os.fdopen(own, "w", 1, before.encoding, before.errors)
    try:
        yield True
    finally:
        sys.stderr.flush()
        sys.stderr = before


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Until the end, what C libraries write to descriptor 2 goes nowhere.

    libtiff, OpenCV, LibRaw and others do not name the image that their lines are about; our own
    line about it says the same. Only inside `own_stderr`.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    shown = os.dup(STDERR)
    lead_nowhere(STDERR)
    faulthandler.enable(shown)  # a crash in a library is still reported
    try:
        yield
    finally:
        faulthandler.disable()
        os.dup2(shown, STDERR)
        os.close(shown)
