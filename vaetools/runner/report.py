"""The page of a report as a file: it replaces nothing but an earlier page, and is whole or not there."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.errors import ExistsError, OutputError, UsageError
from vaetools.runner.atomic import part_of, publish
from vaetools.runner.inputs import is_folder
from vaetools.runner.html import HEAD, markup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.runner.result import RunResult

SUFFIXES = (".html", ".htm")


@contextlib.contextmanager
def reserved(report: str | Path | None) -> Iterator[None]:
    """Prove before any work that a page can be written; folders made for it go again on an error.

    Args:
        report: None where no page is wanted.

    Raises:
        UsageError: no name of a page; a folder; a place that cannot be written to.
        ExistsError: a file that is no such page.
    """
    if report is None:
        yield
        return
    path = Path(report)
    made = [folder for folder in path.parents if not os.path.lexists(folder)]
    try:
        _check_free(path)
        _try_out(path)
        yield
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):  # there is something in it by now
                folder.rmdir()
        raise


def write_page(result: RunResult, path: Path) -> None:
    """Write a result as a page; folders are made as needed.

    Raises:
        UsageError, ExistsError: as `reserved`. OutputError: the disk is full, not permitted.
    """
    _check_free(path)
    part = part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        with part.open("x", encoding="utf-8", newline="\n") as file:
            file.writelines(markup(result, path.parent))
        publish(part, path)
    except OSError as error:
        problem = f"the report cannot be written: {error.strerror}"
        raise OutputError(problem, file=path) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _check_free(path: Path) -> None:
    """Raises as `reserved`."""
    if is_folder(path):
        raise UsageError("is a folder; a report is one file", file=path)
    if path.suffix.lower() not in SUFFIXES:
        remedy = f"name it {path.name}.html"
        raise UsageError("a report is a page of HTML", file=path, remedy=remedy)
    try:
        is_ours = _is_page(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error) from error
    if not is_ours:
        remedy = "nothing was done; name another file"
        raise ExistsError("is there already and is no report", file=path, remedy=remedy)


def _is_page(path: Path) -> bool:
    """Whether it is such a page already; a link, pipe or device is none. Raises `OSError`."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    with path.open("rb") as file:
        return file.read(len(HEAD)) == HEAD.encode()


def _try_out(path: Path) -> None:
    """Raises `UsageError`."""
    part = part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        part.touch(exist_ok=False)
        part.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UsageError:
    remedy = "nothing was done; name another file"
    return UsageError(
        f"the report cannot be written there: {error.strerror}", file=path, remedy=remedy
    )
