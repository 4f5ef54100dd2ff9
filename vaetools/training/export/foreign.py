"""Errors of other people's code, as errors of vaetools on one line."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from vaetools.errors import UsageError, VaetoolsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def one_line(error: BaseException) -> str:
    """The message of an exception from foreign code on one line, at most 200 characters."""
    return " ".join(str(error).split())[:200]


@contextlib.contextmanager
def complaint(
    problem: str, *, remedy: str | None = None, file: Path | None = None
) -> Iterator[None]:
    """Report an exception inside the user's code as one line.

    `sys.exit` counts too: in a file that is imported it would end vaetools, often as if all were well.

    Raises:
        UsageError: in place of the exception; errors of vaetools pass as they are.
    """
    try:
        yield
    except VaetoolsError:
        raise
    except (Exception, SystemExit) as error:
        said = f"{problem}: {type(error).__name__}: {one_line(error)}"
        raise UsageError(said, remedy=remedy, file=file) from error
