"""The files of the HTML report: they replace only an earlier report, and the page is written atomically.

Previews lie within the page, or in a folder next to it if they are many or large.
"""

from __future__ import annotations

import contextlib
import os
import stat
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.errors import ExistsError, OutputError, UsageError
from vaetools.report.links import Links
from vaetools.report.page import PAGE_START, page
from vaetools.report.previews import Previews, files_of
from vaetools.report.sheet import contact_sheet, is_contact_sheet
from vaetools.report.store import (
    Folder,
    Inline,
    PageFullError,
    check_folder,
    folder_of,
    remove_previews,
)
from vaetools.runner.atomic import (
    create,
    publish,
    remove_stale,
    stamp_of,
    temporary_path,
    temporary_stem,
    write_files,
)
from vaetools.runner.inputs import is_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vaetools.record import Record
    from vaetools.report.page import Overview
    from vaetools.report.previews import Decode, Shot

SUFFIXES = (".html", ".htm")

MOST_PREVIEWS = 5_000
"""Records with previews; further ones have links only."""

MOST_INLINE = 300
"""If more records have previews, these are files, so that the page itself stays small."""


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
        check_folder(path)
        _check_writable(path)
        yield
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):  # it is not empty any more
                folder.rmdir()
        raise


def write_page(
    path: Path, records: Sequence[Record], overview: Overview, decode: Decode | None = None
) -> None:
    """Write a report; missing folders are created.

    Args:
        path: Path of the report.
        records: One per input.
        overview: What the report says about the run as a whole.
        decode: For previews of files that are not images, such as `.vae` files.

    Raises:
        UsageError: Another suffix, or a folder.
        ExistsError: There is a file that is not a report, or a folder that is not of previews.
        OutputError: The file cannot be written.
    """
    standing = stamp_of(path)
    _check_free(path)
    check_folder(path)
    ordered = sorted(records, key=lambda record: record.file)
    temporary = temporary_path(path)
    store: Inline | Folder = Inline()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        links = Links(path.parent)
        store, shots = _previews(path, ordered[:MOST_PREVIEWS], links, decode)
        with create(temporary) as raw, TextIOWrapper(raw, encoding="utf-8", newline="\n") as file:
            file.writelines(page(ordered, overview, links, shots))
        publish(temporary, path, standing)
    except BaseException as error:
        if isinstance(store, Folder):
            store.discard()
        if isinstance(error, OSError):
            problem = f"the report cannot be written: {error.strerror}"
            raise OutputError(problem, file=path) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    if isinstance(store, Folder):
        store.remove_earlier()
    else:
        remove_previews(folder_of(path))


def write_contact_sheet(
    path: Path, records: Sequence[Record], summary: str, decode: Decode | None = None
) -> None:
    """Write a contact sheet. Raises as `RunResult.write_contact_sheet`."""
    if is_folder(path):
        raise UsageError("is a folder; the contact sheet is a file", file=path)
    if path.suffix.lower() != ".png":
        remedy = f"name it {path.name}.png"
        raise UsageError("the contact sheet is a PNG file", file=path, remedy=remedy)
    standing = stamp_of(path)
    if standing is not None and not is_contact_sheet(path):
        remedy = "nothing was done; choose another file"
        raise ExistsError("already exists and is not a contact sheet", file=path, remedy=remedy)
    ordered = sorted(records, key=lambda record: (record.status != "failed", record.file))
    data = contact_sheet(ordered, summary, decode)
    try:
        write_files([(path, data)], standing=[standing])
    except OSError as error:
        problem = f"the contact sheet cannot be written: {error.strerror}"
        raise OutputError(problem, file=path) from error


def _previews(
    path: Path, records: Sequence[Record], links: Links, decode: Decode | None
) -> tuple[Inline | Folder, list[tuple[Shot, ...]]]:
    """The previews of records, and where they are: in the page if they fit."""
    many = sum(bool(files_of(record)) for record in records) > MOST_INLINE
    if not many:
        inline = Inline()
        with contextlib.suppress(PageFullError):
            return inline, Previews(inline, links, decode).of(records)
    folder = Folder(path)
    try:
        return folder, Previews(folder, links, decode).of(records)
    except BaseException:
        folder.discard()
        raise


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
