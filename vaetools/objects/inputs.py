"""Objects as inputs: listings become sources, and keys relative paths."""

from __future__ import annotations

import re
import threading
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, cast

from vaetools.errors import TooLargeError, UnreadableError, UsageError
from vaetools.image import most_bytes
from vaetools.objects.address import ObjectPath, RawPath, is_path
from vaetools.objects.store import Stored, StoreError, open_store
from vaetools.runner.inputs import Found, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vaetools.objects.store import Store
    from vaetools.runner.inputs import FileFilter

_MAGIC = re.compile(r"[*?\[]")


class _Match(NamedTuple):
    """An object that an argument stands for.

    Attributes:
        stored: The object.
        base: Key of the folder that its relative path begins in; None for its name alone.
        searched: Key of the folder that was searched; None if the object was named itself.
    """

    stored: Stored
    base: str | None = None
    searched: str | None = None


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
        found: dict[tuple[str, str, str], Source] = {}
        left_alone, folders = 0, False
        other_kinds: Counter[str] = Counter()
        for url in inputs:
            place = ObjectPath.parse(str(url))
            for match in self._listed(place):
                base = match.base
                folders |= base is not None
                source = _source(place, base, match.stored)
                if source is None or _is_hidden(match, place):
                    continue
                if _is_wanted(source, base, wanted) and not self._is_apart(source, match.searched):
                    # Not by path: `a//b` and `a/b` are two objects, and one path.
                    found.setdefault((place.scheme, place.bucket, match.stored.key), source)
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

    def _listed(self, place: ObjectPath) -> Iterator[_Match]:
        """All objects of one argument."""
        try:
            yield from self._found(self._store(place), place)
        except StoreError as error:
            if error.kind == "bucket":
                raise UsageError(error.reason, file=str(place)) from error
            problem = f"cannot be listed: {error.reason}"
            raise UnreadableError(problem, file=str(place), remedy=error.remedy) from error

    def _found(self, store: Store, place: ObjectPath) -> Iterator[_Match]:
        inside = store.list(place.below)
        for stored in inside:
            yield _Match(stored, place.below, place.below)
        if inside or not place.key:
            return
        one = store.head(place.key)
        if one is not None:
            yield _Match(one)
        elif _MAGIC.search(place.key):
            yield from _matches(store, place.key)
        else:
            raise UsageError("no such object or folder", file=str(place))

    def _is_apart(self, source: Source, searched: str | None) -> bool:
        """Whether it lies in the folder apart, which lies in the folder that was searched."""
        apart = self._apart
        if searched is None or apart is None or not source.path.is_relative_to(apart):
            return False
        return apart.key.startswith(searched)


def _matches(store: Store, glob: str) -> Iterator[_Match]:
    """The objects that match a glob, and those below folders that do."""
    from fsspec.utils import glob_translate

    fixed = glob[: _first_magic(glob)]
    searched = fixed[: fixed.rfind("/") + 1]
    pattern = re.compile(glob_translate(glob))
    for stored in store.list(fixed):
        parts = stored.key.split("/")
        folders = ("/".join(parts[:count]) for count in range(1, len(parts)))
        if pattern.fullmatch(stored.key):
            yield _Match(stored, None, searched)
        elif folder := next((name for name in folders if pattern.fullmatch(name)), ""):
            yield _Match(stored, f"{folder}/", searched)


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
    path = _path(f"{place.scheme}://{place.bucket}", key)
    return Source(
        cast("Path", path),  # of a path, no more is used than objects have
        PurePosixPath(name),
        real="",
        size=stored.size,
        mtime_ns=stored.modified_ns,
        problem=problem,
        version=stored.version,
    )


def _path(bucket: str, key: str) -> ObjectPath:
    if is_path(key):
        return ObjectPath(bucket, key)
    path = RawPath(bucket, key.lstrip("/"))
    path.url = f"{bucket}/{key}"
    return path


def _is_hidden(match: _Match, place: ObjectPath) -> bool:
    """Whether an object that was searched for would be a hidden file, or lies in a hidden folder.

    As for files, a part of a glob that begins with a dot stands for hidden names.
    """
    if match.searched is None:
        return False
    found, named = (_hidden_parts(k, match.searched) for k in (match.stored.key, place.key))
    return any(not any(fnmatchcase(part, pattern) for pattern in named) for part in found)


def _hidden_parts(key: str, folder: str) -> list[str]:
    """The parts of a key below a folder that are hidden names."""
    parts = key[len(folder) :].split("/")
    return [part for part in parts if part.startswith(".") and part not in (".", "..")]


def _is_wanted(source: Source, base: str | None, wanted: FileFilter) -> bool:
    fits = base is None or wanted.has_suffix(source.path.name)
    return fits and wanted.includes(source.relative)
