"""A bucket in memory, with the conditions of a real one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping

from vaetools.objects.store import Kind, Stored, StoreError, in_range

Hook = Callable[[str, str], None]


class MemoryBucket:
    """A `Store`.

    Attributes:
        objects: (content, object) by key.
        calls: Number of requests by method.
        before: Called with method and key before each request; may raise.
    """

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, Stored]] = {}
        self.calls: Counter[str] = Counter()
        self.before: Hook = lambda method, key: None
        self._lock = threading.RLock()
        self._versions = 0

    def fill(self, files: Mapping[str, bytes]) -> None:
        """Put objects there as another program would."""
        for key, data in files.items():
            stood = self.objects.get(key)
            self.put(key, data, {}, None if stood is None else stood[1].version)
        self.calls.clear()

    def content(self, prefix: str = "") -> dict[str, bytes]:
        """All objects but hidden ones, by the rest of their keys."""
        return {
            key.removeprefix(prefix): data
            for key, (data, _) in self.objects.items()
            if key.startswith(prefix) and "/." not in f"/{key}"
        }

    def fail(self, method: str, kind: Kind, key: str = "") -> None:
        """Let requests fail."""

        def before(called: str, where: str) -> None:
            if called == method and key in where:
                raise StoreError(kind, f"refused: {kind}")

        self.before = before

    def list(self, prefix: str, *, first: str = "", last: str = "") -> list[Stored]:
        self._begin("list", prefix)
        with self._lock:
            found = [stored for _, (_, stored) in sorted(self.objects.items())]
        return [
            Stored(s.key, s.size, s.version, s.modified_ns)
            for s in found
            if s.key.startswith(prefix) and in_range(s.key, first, last)
        ]

    def head(self, key: str) -> Stored | None:
        self._begin("head", key)
        with self._lock:
            return self.objects[key][1] if key in self.objects else None

    def get(self, key: str, version: str) -> bytes:
        self._begin("get", key)
        with self._lock:
            if key not in self.objects:
                raise StoreError("missing", "there is no such object")
            data, stored = self.objects[key]
            if stored.version != version:
                raise StoreError("conflict", "something else stands there")
            return data

    def put(self, key: str, data: bytes, metadata: Mapping[str, str], replaces: str | None) -> str:
        self._begin("put", key)
        with self._lock:
            stands = self.objects[key][1].version if key in self.objects else None
            if stands != replaces:
                raise StoreError("conflict", "something else stands there")
            self._versions += 1
            version = f'"{self._versions}"'
            self.objects[key] = (data, Stored(key, len(data), version, 1, dict(metadata)))
            return version

    def _begin(self, method: str, key: str) -> None:
        with self._lock:
            self.calls[method] += 1
        self.before(method, key)
