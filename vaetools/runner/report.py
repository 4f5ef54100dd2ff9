"""The file of the HTML report: it replaces only an earlier report, and is written atomically."""

from __future__ import annotations

import contextlib
import os
import stat
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.errors import ExistsError, OutputError, UsageError
from vaetools.report.page import PAGE_START, page
from vaetools.runner.atomic import (
    create,
    publish,
    remove_stale,
    stamp_of,
    temporary_path,
    temporary_stem,
)
from vaetools.runner.inputs import is_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vaetools.record import Record

SUFFIXES = (".html", ".htm")


@contextlib.contextmanager
def reserved(report: str | Path | None) -> Iterator[None]:
    """Check before a run that its report can be written; creates the folder of the report.

    If the run raises, the folders that were created are removed, as long as they are empty.

    Args:
        report: Path of the report, or None for no report.

    Raises:
        UsageError: Another suffix, a folder, or a folder that cannot be written to.
        ExistsError: There is a file that is not a report.
    """
    if report is None:
        yield
        return
    path = Path(report)
    made = [folder for folder in path.parents if not os.path.lexists(folder)]
    try:
        _check_free(path)
        _check_writable(path)
        yield
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):  # it is not empty any more
                folder.rmdir()
        raise


def write_page(
    path: Path, records: Sequence[Record], summary: str, facts: Mapping[str, str]
) -> None:
    """Write a report; missing folders are created.

    Args:
        path: Path of the report.
        records: One per input.
        summary: One line about the run.
        facts: Totals of the run, by name.

    Raises:
        UsageError: Another suffix, or a folder.
        ExistsError: There is a file that is not a report.
        OutputError: The file cannot be written.
    """
    standing = stamp_of(path)
    _check_free(path)
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with create(temporary) as raw, TextIOWrapper(raw, encoding="utf-8", newline="\n") as file:
            file.writelines(page(records, summary, facts, path.parent))
        publish(temporary, path, standing)
    except OSError as error:
        problem = f"the report cannot be written: {error.strerror}"
        raise OutputError(problem, file=path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check_free(path: Path) -> None:
    """Raise `UsageError` or `ExistsError` unless the path is free or an earlier report."""
    if is_folder(path):
        raise UsageError("is a folder; the report is a file", file=path)
    if path.suffix.lower() not in SUFFIXES:
        remedy = f"name it {path.name}.html"
        raise UsageError("the report is an HTML file", file=path, remedy=remedy)
    try:
        replaceable = _is_report(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error) from error
    if not replaceable:
        remedy = "nothing was done; choose another file"
        raise ExistsError("already exists and is not a report", file=path, remedy=remedy)


def _is_report(path: Path) -> bool:
    """Whether a regular file (not a link to one) begins as a report does. Raises `OSError`."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    with path.open("rb") as file:
        return file.read(len(PAGE_START)) == PAGE_START.encode()


def _check_writable(path: Path) -> None:
    """Create and remove a file next to the report. Raises `UsageError`.

    Temporary files that killed runs left there for the same report are removed.
    """
    temporary, stem = temporary_path(path), temporary_stem(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale([path.parent], lambda found: found.stem == stem and found.is_abandoned)
        create(temporary).close()
        temporary.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UsageError:
    remedy = "nothing was done; choose another file"
    return UsageError(f"the report cannot be written: {error.strerror}", file=path, remedy=remedy)
