"""Objects as inputs: listings become sources, and keys relative paths."""

from __future__ import annotations

import re
import threading
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, cast

from vaetools.errors import TooLargeError, UnreadableError, UsageError
from vaetools.image import most_bytes
from vaetools.objects.address import ObjectPath, is_path
from vaetools.objects.store import StoreError, open_store
from vaetools.runner.inputs import Found, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vaetools.objects.store import Store, Stored
    from vaetools.runner.inputs import FileFilter

_MAGIC = re.compile(r"[*?\[]")


class ObjectInputs:
    """The inputs of a run that are objects.

    Args:
        max_pixels: Of the run; an object that is larger than such an image is not fetched.
        apart: Folder of objects that are no inputs, such as OUT.
    """

    def __init__(self, max_pixels: int, apart: ObjectPath | None = None) -> None:
        self._most = most_bytes(max_pixels)
        self._apart = apart
        self._stores: dict[tuple[str, str], Store] = {}
        self._lock = threading.Lock()

    def discover(self, inputs: Sequence[str | Path], wanted: FileFilter) -> Found:
        """Find the sources in objects, folders of objects and globs; as `runner.inputs.discover`.

        Raises:
            UsageError: There is no such bucket, object or folder.
            UnreadableError: A bucket cannot be listed. LibraryError: the store's library is missing.
        """
        found: dict[str, Source] = {}
        left_alone, folders = 0, False
        other_kinds: Counter[str] = Counter()
        for url in inputs:
            place = ObjectPath.parse(str(url))
            for base, stored in self._listed(place):
                folders |= base is not None
                source = _source(place, base, stored)
                if source is None or _is_hidden(source, base):
                    continue
                if _is_wanted(source, base, wanted) and not self._is_apart(source, base):
                    found.setdefault(str(source.path), source)
                else:
                    left_alone += 1
                    if not wanted.has_suffix(source.path.name):
                        other_kinds[source.path.suffix.lower()] += 1
        one_file = len(inputs) == 1 and not folders and len(found) == 1
        return Found(tuple(found.values()), left_alone, one_file, other_kinds)

    def fetch(self, source: Source) -> bytes:
        """The bytes of an object. Raises `UnreadableError` or `TooLargeError`."""
        place = cast("ObjectPath", source.path)
        if source.size > self._most:
            raise TooLargeError(
                f"{source.size / 1e6:,.0f} MB are more than {self._most / 1e6:,.0f} MB, the most "
                "that an image within the limit can need",
                file=str(place),
                remedy="raise it with --max-pixels",
            )
        try:
            return self._store(place).get(place.key, source.version)
        except StoreError as error:
            reason = "it changed during the run" if error.kind == "conflict" else error.reason
            problem = f"cannot be read: {reason}"
            raise UnreadableError(problem, file=str(place), remedy=error.remedy) from error

    def _store(self, place: ObjectPath) -> Store:
        with self._lock:
            name = (place.scheme, place.bucket)
            if name not in self._stores:
                self._stores[name] = open_store(place)
            return self._stores[name]

    def _listed(self, place: ObjectPath) -> Iterator[tuple[str | None, Stored]]:
        """(key of the folder that it was found in, object) of all objects of one argument."""
        try:
            yield from self._found(self._store(place), place)
        except StoreError as error:
            if error.kind == "bucket":
                raise UsageError(error.reason, file=str(place)) from error
            problem = f"cannot be listed: {error.reason}"
            raise UnreadableError(problem, file=str(place), remedy=error.remedy) from error

    def _found(self, store: Store, place: ObjectPath) -> Iterator[tuple[str | None, Stored]]:
        inside = store.list(place.below)
        for stored in inside:
            yield place.below, stored
        if inside or not place.key:
            return
        one = store.head(place.key)
        if one is not None:
            yield None, one
        elif _MAGIC.search(place.key):
            yield from _matches(store, place.key)
        else:
            raise UsageError("no such object or folder", file=str(place))

    def _is_apart(self, source: Source, base: str | None) -> bool:
        """Whether it lies in the folder apart, which lies in the folder that was listed."""
        apart = self._apart
        if base is None or apart is None or not source.path.is_relative_to(apart):
            return False
        return apart.key.startswith(base)


def _matches(store: Store, glob: str) -> Iterator[tuple[str | None, Stored]]:
    """The objects that match a glob, and those below folders that do."""
    from fsspec.utils import glob_translate

    fixed = glob[: _first_magic(glob)]
    pattern = re.compile(glob_translate(glob))
    for stored in store.list(fixed):
        parts = stored.key.split("/")
        folders = ("/".join(parts[:count]) for count in range(1, len(parts)))
        if pattern.fullmatch(stored.key):
            yield None, stored
        elif folder := next((name for name in folders if pattern.fullmatch(name)), ""):
            yield f"{folder}/", stored


def _first_magic(glob: str) -> int:
    match = _MAGIC.search(glob)
    return len(glob) if match is None else match.start()


def _source(place: ObjectPath, base: str | None, stored: Stored) -> Source | None:
    """The source of an object; None for one that only stands for a folder."""
    key = stored.key
    name = key.rpartition("/")[2] if base is None else key[len(base) :]
    if key.endswith("/") or not name:
        return None
    problem = ""
    if not is_path(name) or not is_path(key):
        problem = "cannot be read: its key has empty parts, `.` or `..`, and is no path"
        name = "/".join(part for part in name.split("/") if part not in ("", ".", "..")) or "key"
    path = ObjectPath(f"{place.scheme}://{place.bucket}", key)
    return Source(
        cast("Path", path),  # of a path, no more is used than objects have
        PurePosixPath(name),
        real="",
        size=stored.size,
        mtime_ns=stored.modified_ns,
        problem=problem,
        version=stored.version,
    )


def _is_hidden(source: Source, base: str | None) -> bool:
    """Whether it is an object of a folder that would be a hidden file, or in a hidden folder."""
    return base is not None and any(part.startswith(".") for part in source.relative.parts)


def _is_wanted(source: Source, base: str | None, wanted: FileFilter) -> bool:
    fits = base is None or wanted.has_suffix(source.path.name)
    return fits and wanted.includes(source.relative)
