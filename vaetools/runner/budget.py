"""A queue between threads that is bounded in bytes."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")

SMALLEST_CHARGE = 64 * 1024
"""Bytes; what an item costs at least, so that tiny ones do not pile up without end."""


class ByteBudget:
    """Bytes that may be in flight at once.

    Attributes:
        used: bytes in flight now.
        peak: the most that ever were.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.peak = 0
        self._turn = threading.Lock()
        self._freed = threading.Condition()

    def acquire(self, count: int) -> None:
        """Wait until `count` bytes fit; more than the limit is let through when nothing else is."""
        with self._turn, self._freed:  # one waits at a time, or a large item would wait for ever
            self._freed.wait_for(lambda: self.used == 0 or self.used + count <= self.limit)
            self.used += count
            self.peak = max(self.peak, self.used)

    def correct(self, difference: int) -> None:
        """Add to what is in flight without waiting: for sizes that were only guessed before."""
        with self._freed:
            self.used += difference
            self.peak = max(self.peak, self.used)
            self._freed.notify_all()

    def release(self, count: int) -> None:
        self.correct(-count)


class Channel(Generic[Item]):
    """Hands items over to threads; an item is charged from `reserve` until `release`."""

    def __init__(self, limit: int) -> None:
        self.budget = ByteBudget(limit)
        self._items: SimpleQueue[tuple[Item, int] | None] = SimpleQueue()

    def reserve(self, size: int) -> int:
        """Wait for room for an item of about `size` bytes; returns the charge."""
        charge = max(size, SMALLEST_CHARGE)
        self.budget.acquire(charge)
        return charge

    def correct(self, charge: int, size: int) -> int:
        """The charge of an item that turned out to have `size` bytes."""
        right = max(size, SMALLEST_CHARGE)
        self.budget.correct(right - charge)
        return right

    def put(self, item: Item, charge: int) -> None:
        """Hand over an item that there is room for."""
        self._items.put((item, charge))

    def get(self) -> tuple[Item, int] | None:
        """(item, charge to release when it is done with); None after the last one."""
        return self._items.get()

    def release(self, charge: int) -> None:
        self.budget.release(charge)

    def close(self, takers: int) -> None:
        """Say to each of the threads that take items that there are no more."""
        for _ in range(takers):
            self._items.put(None)
