"""Where the preview images of a report go: into the page, or into a folder next to it."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import secrets
import threading
from typing import TYPE_CHECKING, Protocol

from vaetools.errors import ExistsError
from vaetools.report.links import Links

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INLINE_BYTES = 20_000_000
"""Previews within the page have at most this size in all, as Base64 text."""

MARKER = ".vaetools-report"
"""A file with this name marks a folder of previews: nothing in it is ever an input of a run."""

MOST_FOLDER_NAME = 200

_OWN = re.compile(r"[0-9a-f]{8}-\d+\.(?:jpg|png)")


class PageFullError(Exception):
    """The previews do not fit into the page."""


class Store(Protocol):
    """Takes preview images. Called by several threads."""

    full: bool
    """Whether previews are as large as the viewer needs, because the files may not be there."""

    def add(self, data: bytes, suffix: str) -> str:
        """Keep a file; return its URL. Raises `PageFullError` or `OSError`."""


class Inline:
    """Previews as data URLs within the page."""

    full = True

    def __init__(self, most: int = INLINE_BYTES) -> None:
        self._left = most
        self._lock = threading.Lock()

    def add(self, data: bytes, suffix: str) -> str:
        kind = "jpeg" if suffix == "jpg" else suffix
        url = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
        with self._lock:
            self._left -= len(url)
            if self._left < 0:
                raise PageFullError
        return url


class Folder:
    """Previews as files in a folder next to the page.

    Names are new for each report, so that an earlier page keeps its previews until it is replaced.

    Args:
        page: Path of the page.
    """

    full = False

    def __init__(self, page: Path) -> None:
        self._folder = folder_of(page)
        self._url = Links(page.parent)
        self._token = secrets.token_hex(4)
        self._count = 0
        self._lock = threading.Lock()
        check_folder(page)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / MARKER).touch()

    def add(self, data: bytes, suffix: str) -> str:
        with self._lock:
            self._count += 1
            name = f"{self._token}-{self._count}.{suffix}"
        path = self._folder / name
        with path.open("xb") as file:  # never follows a link
            file.write(data)
        return self._url.url(str(path))

    def discard(self) -> None:
        """Remove the files of this report, since its page was not written."""
        remove_previews(self._folder, lambda name: name.startswith(self._token))

    def remove_earlier(self) -> None:
        """Remove the files of earlier reports, since their page was replaced."""
        remove_previews(self._folder, lambda name: not name.startswith(self._token))


def folder_of(page: Path) -> Path:
    """The folder of the previews of a page: `out_files` for `out.html`."""
    stem = page.stem
    if len(os.fsencode(stem)) > MOST_FOLDER_NAME:
        stem = os.fsdecode(os.fsencode(stem)[:MOST_FOLDER_NAME])
    return page.with_name(f"{stem}_files")


def check_folder(page: Path) -> None:
    """Raise `ExistsError` if something that is not a folder of previews has its name."""
    folder = folder_of(page)
    if not os.path.lexists(folder):
        return
    if os.path.islink(folder) or not os.path.isdir(folder):
        raise _taken(folder, "is not a folder")
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError as error:
        raise _taken(folder, f"cannot be listed: {error.strerror}") from error
    foreign = [name for name in names if name != MARKER and not _OWN.fullmatch(name)]
    if foreign:
        raise _taken(folder, f"holds other files, such as {foreign[0]!r}")


def _taken(folder: Path, why: str) -> ExistsError:
    remedy = "nothing was done; choose another name for the report"
    return ExistsError(f"is for previews of the report, but {why}", file=folder, remedy=remedy)


def remove_previews(folder: Path, is_old: Callable[[str], bool] | None = None) -> None:
    """Remove preview files, and the folder itself if nothing is left in it.

    Args:
        folder: Only real folders with a marker are touched.
        is_old: Takes a name and returns whether to remove the file; by default all are removed.
    """
    if os.path.islink(folder) or not os.path.isfile(folder / MARKER):
        return
    with contextlib.suppress(OSError):
        names = [name for name in os.listdir(folder) if _OWN.fullmatch(name)]  # noqa: PTH208
        old = [name for name in names if is_old is None or is_old(name)]
        for name in old:
            (folder / name).unlink()
        if len(old) == len(names):
            (folder / MARKER).unlink()
            folder.rmdir()
