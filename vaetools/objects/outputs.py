"""What stands at OUT in an object store, and the proof that it is done: metadata of each object.

An output is written in one request together with its metadata, so it is there with its proof or not
at all. A later run reads the proofs: of objects that the index knows by name and version from
there, of others by one request each. The index is an object of its own and only saves requests: what
it says about another version of an object does not count.

    vaetools-work      hash of operation, options, model and settings; of masks and other files, too
    vaetools-source    path of the input relative to the input folder, percent-encoded
    vaetools-version   ETag of the input; size and time of a local file
    vaetools-origin    hash of the whole path of the input
    vaetools-sha256    of the output
    vaetools-run       which run wrote it
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import secrets
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

from vaetools.errors import ExistsError, OutputError, UsageError
from vaetools.objects.store import CONNECTIONS, Stored, StoreError, bounds, open_store
from vaetools.runner.fault import OUT_REFUSED, Fault, FaultError
from vaetools.runner.record import explain
from vaetools.text import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vaetools.objects.address import ObjectPath
    from vaetools.runner.inputs import Source
    from vaetools.runner.plan import PlannedItem

log = logging.getLogger(__name__)

Proof: TypeAlias = "dict[str, str]"
"""Metadata of an output, by the names above without their prefix."""

PREFIX = "vaetools-"

INDEX = ".vaetools.index"
"""What the names of indices begin with; hidden, so they are no inputs."""

_INDEX_FORMAT = 1
_MOST_INDEX_BYTES = 2**30
_LONGEST_NAME = 512
"""S3 takes 2 KB of metadata with an object."""


class Outputs:
    """The objects of an output folder. Methods can be called by several threads.

    Args:
        place: The folder.
        work: The work key of the run.
        shard: Part of the inputs that the run processes; each has an index of its own.

    Raises:
        LibraryError: The library of the store is not installed.
    """

    def __init__(self, place: ObjectPath, work: str, shard: tuple[int, int] | None = None) -> None:
        self._place = place
        self._work = work
        self._store = open_store(place)
        self._run = secrets.token_hex(8)
        self._found: dict[str, Stored] = {}
        part = "" if shard is None else f".{shard[0]}-of-{shard[1]}"
        self._index_name = f"{INDEX}{part}.json.gz"
        self._index_is_old = False

    def look_up(self, names: Sequence[str]) -> None:
        """Find out what stands at these names.

        Raises:
            UsageError: There is no such bucket. OutputError: It cannot be listed.
        """
        if not names:
            return
        first, last = bounds([self._key(name) for name in names])
        wanted = {self._key(name): name for name in names}
        try:
            listed = self._store.list(self._place.below, first=first, last=last)
            self._found = {wanted[s.key]: s for s in listed if s.key in wanted}
            if self._found:
                self._add_proofs()
        except StoreError as error:
            if error.kind == "bucket":
                raise UsageError(error.reason, file=str(self._place)) from error
            raise self._output_error("cannot be listed", error) from error

    def _add_proofs(self) -> None:
        """Read the proofs of what was found: from the index, or one by one."""
        known = self._index()
        open_names = []
        for name, stored in self._found.items():
            if known.get(name, {}).get("at") == stored.version:
                self._found[name] = replace(stored, metadata=_metadata(known[name]))
            elif stored.metadata is None:
                open_names.append(name)
        if not open_names:
            return
        self._index_is_old = True
        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="vaetools objects") as pool:
            heads = pool.map(self._store.head, map(self._key, open_names))
            for name, head in zip(open_names, heads, strict=True):
                if head is None:
                    del self._found[name]
                else:
                    self._found[name] = head

    def is_done(self, item: PlannedItem) -> bool:
        """Whether all outputs of an item stand there, and are what this run would make of it."""
        return all(self._proves(self._found.get(name), item) for name in item.names)

    def was_done(self, item: PlannedItem) -> bool:
        """The same as it is now: another run may have done the work meanwhile."""
        for name in item.names:
            try:
                stored = self._store.head(self._key(name))
            except StoreError:
                return False  # the attempt to write it will say what is wrong
            if stored is None or not self._proves(stored, item):
                return False
            self._found[name] = stored
        return True

    def foreign(self, item: PlannedItem) -> str:
        """Name of the first output that stands there and was not made from this input, or nothing."""
        origin = _origin(item.source)
        for name in item.names:
            stored = self._found.get(name)
            if stored is not None and _proof(stored).get("origin") != origin:
                return name
        return ""

    def put(self, item: PlannedItem, name: str, data: bytes) -> bool:
        """Write an output; what stands there is replaced only if it stood there before the run.

        Returns:
            Whether it was written; False if another run wrote the same meanwhile.

        Raises:
            ExistsError: Something else appeared there, and is left as it is.
            OutputError: It cannot be written.
            FaultError: The same, and nothing else can be.
        """
        proof = self._proof_of(item) | {
            "sha256": hashlib.sha256(data).hexdigest(), "run": self._run
        }  # fmt: skip
        stood = self._found.get(name)
        key, metadata = self._key(name), _metadata(proof)
        try:
            version = self._store.put(key, data, metadata, _version(stood))
        except StoreError as error:
            if error.kind != "conflict":
                raise self._stopping(
                    item, self._output_error("cannot be written", error, name), error
                ) from error
            return self._settle(item, name)
        self._found[name] = Stored(key, len(data), version, metadata=metadata)
        self._index_is_old = True
        return True

    def _settle(self, item: PlannedItem, name: str) -> bool:
        """Something else stands at an output: what this run or another one made of the input?"""
        try:
            stored = self._store.head(self._key(name))
        except StoreError as error:
            raise self._output_error("cannot be written", error, name) from error
        if stored is None or not self._proves(stored, item):
            problem = "changed while the run was going on, and is left as it is"
            remedy = "move it away, or run again with --on-exists skip|replace"
            raise ExistsError(problem, file=self.url(name), remedy=remedy)
        self._found[name] = stored
        # Of this run: the server wrote it, but its answer was lost, and the request was repeated.
        return _proof(stored).get("run") == self._run

    def write_index(self) -> None:
        """Write down what is known of all outputs; a failure costs the next run some time."""
        if not self._index_is_old:
            return
        rows = {n: {**_proof(s), "at": s.version} for n, s in self._found.items() if _proof(s)}
        text = json.dumps({"format": _INDEX_FORMAT, "objects": rows}, separators=(",", ":"))
        key = self._key(self._index_name)
        try:
            stood = self._store.head(key)
            data = gzip.compress(text.encode(), 3, mtime=0)
            self._store.put(key, data, {}, _version(stood))
        except StoreError as error:
            log.debug("%s: the index is not written: %s", key, error.reason)

    def _index(self) -> dict[str, Proof]:
        """What the index says; nothing if it is missing or damaged."""
        try:
            stored = self._store.head(self._key(self._index_name))
            if stored is None:
                return {}
            data = self._store.get(stored.key, stored.version)
            text = zlib.decompressobj(31).decompress(data, _MOST_INDEX_BYTES)
            rows = parse_json(text)["objects"]
            return {n: {k: str(v) for k, v in row.items()} for n, row in rows.items()}
        except (StoreError, zlib.error, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def url(self, name: str) -> str:
        """URL of an output."""
        return str(self._place / name)

    def _key(self, name: str) -> str:
        return self._place.below + name

    def _proof_of(self, item: PlannedItem) -> Proof:
        source = item.source
        relative = quote(str(source.relative))
        if len(relative) > _LONGEST_NAME:
            relative = hashlib.sha256(relative.encode()).hexdigest()
        return {
            "work": hashlib.sha256(f"{self._work} {item.files}".encode()).hexdigest(),
            "source": relative,
            "version": source.version or f"{source.size}-{source.mtime_ns}",
            "origin": _origin(source),
        }

    def _proves(self, stored: Stored | None, item: PlannedItem) -> bool:
        """Whether an object is what this run would make; wherever the input lies."""
        if stored is None:
            return False
        proof, wanted = _proof(stored), self._proof_of(item)
        return all(proof.get(name) == wanted[name] for name in ("work", "source", "version"))

    def _output_error(self, what: str, error: StoreError, name: str = "") -> OutputError:
        file = self.url(name) if name else str(self._place)
        return OutputError(f"{what}: {error.reason}", file=file, remedy=error.remedy)

    def _stopping(self, item: PlannedItem, error: OutputError, cause: StoreError) -> Exception:
        """An error that ends the run if the other outputs would fail, too."""
        if cause.kind not in ("bucket", "denied", "credentials", "unreachable"):
            return error
        return FaultError(Fault(*explain(error, item.source.path), OUT_REFUSED))


def _version(stored: Stored | None) -> str | None:
    return None if stored is None else stored.version


def _origin(source: Source) -> str:
    return hashlib.sha256(source.origin.encode(errors="surrogateescape")).hexdigest()[:16]


def _proof(stored: Stored) -> Proof:
    metadata = stored.metadata or {}
    return {
        name.lower().removeprefix(PREFIX): value
        for name, value in metadata.items()
        if name.lower().startswith(PREFIX)
    }


def _metadata(proof: Mapping[str, str]) -> dict[str, str]:
    return {f"{PREFIX}{name}": value for name, value in proof.items() if name != "at"}
