"""A cache of values that are expensive to make, such as sessions."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class _Slot(Generic[V]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.values: list[V] = []


class Recent(Generic[K, V]):
    """Values by key, made once each; the least recently used ones are dropped. Thread-safe.

    A value is made under a lock of its own, so callers with other keys do not wait for it.

    Args:
        most: values to keep; None for all.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._slots: dict[K, _Slot[V]] = {}  # the most recently used one last

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of a key. Where `make` raises, the next call tries again."""
        with self._lock:
            slot = self._slots.pop(key, None) or _Slot()
            self._slots[key] = slot
            while self.most is not None and len(self._slots) > self.most:
                del self._slots[next(iter(self._slots))]
        with slot.lock:
            if not slot.values:
                slot.values.append(make())
            return slot.values[0]

    def clear(self) -> None:
        """Drop all values; those in use live until their users are done."""
        with self._lock:
            self._slots.clear()
