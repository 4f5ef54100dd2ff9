"""URLs of files relative to the folder of the page."""

from __future__ import annotations

import os
import re
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

from vaetools.paths import OBJECT_STORES

if TYPE_CHECKING:
    from pathlib import Path

_URL = re.compile(f"({'|'.join(OBJECT_STORES)})://")
"""What records call objects in stores. Other URLs, such as `javascript://`, are no links."""


class Links:
    """URLs of files relative to a folder: they stay valid if all folders are moved together.

    Symbolic links are not resolved, because browsers do not resolve them in `..` either.
    """

    def __init__(self, base: Path) -> None:
        self._base = os.path.abspath(base)  # noqa: PTH100
        self._folders: dict[str, str] = {}

    def url(self, file: str) -> str:
        """The relative URL of a file; characters with a meaning in URLs are escaped."""
        if _URL.match(file):
            return quote(file, safe=":/")
        folder, name = os.path.split(os.path.abspath(file))  # noqa: PTH100
        if folder not in self._folders:
            self._folders[folder] = self._folder(folder)
        return self._folders[folder] + quote(os.fsencode(name))

    def _folder(self, folder: str) -> str:
        try:
            relative = PurePath(os.path.relpath(folder, self._base))
        except ValueError:  # another drive
            return PurePath(folder).as_uri() + "/"
        parts = [quote(os.fsencode(part)) + "/" for part in relative.parts]
        return "".join(parts)
