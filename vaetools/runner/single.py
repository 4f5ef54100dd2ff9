"""The journal of a single output file. It is in the user's cache: the folder is not ours alone."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from vaetools.runner.entries import parse
from vaetools.runner.journal import Journal
from vaetools.user_cache import read_cache, write_cache

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.runner.place import Place

MAX_LINES = 20
"""Lines kept per output; each run adds two."""


class FileJournal(Journal):
    """Remembers what a run wrote to one file. A lost cache costs time, but no results.

    Args:
        path: The output file.
        work: The work key of the run.
    """

    def __init__(self, path: Path, work: str) -> None:
        name = os.fsencode(os.path.abspath(path))  # noqa: PTH100
        self._cache = f"output-{hashlib.sha256(name).hexdigest()[:32]}.json"
        self._lines: list[str] = []
        super().__init__(path.parent, work)
        self.place: Place | None = None  # nothing is kept in the folder

    def read(self) -> None:
        """Read the cache."""
        lines = read_cache(self._cache).get("lines")
        self._lines = [str(line) for line in lines] if isinstance(lines, list) else []
        for line in self._lines:
            found = parse(line.encode(errors="replace"))
            if isinstance(found, tuple):
                self._add(found[1], found[2])

    def open(self, shard: tuple[int, int] | None) -> None:
        """Nothing to open."""

    def _append(self, line: bytes) -> int:
        self._lines = [*self._lines, line.decode("ascii").strip()][-MAX_LINES:]
        write_cache(self._cache, {"lines": self._lines})
        return 0
