"""Queues between threads, bounded in bytes."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")

MIN_CHARGE = 64 * 1024
"""Least number of bytes charged for an item, so that the number of small items is bounded too."""


class ByteBudget:
    """A limit on the bytes that are in flight.

    Attributes:
        limit: Largest number of bytes in flight.
        used: Number of bytes in flight now.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used: int = 0
        self._first_in_line = threading.Lock()
        self._freed = threading.Condition()

    def acquire(self, count: int) -> None:
        """Wait until `count` bytes fit; a larger item waits until nothing else is in flight."""
        # Only one thread waits for room at a time: smaller items must not overtake a large one.
        with self._first_in_line, self._freed:
            self._freed.wait_for(lambda: self.used == 0 or self.used + count <= self.limit)
            self.used += count

    def correct(self, difference: int) -> None:
        """Change the number of bytes in flight without waiting, when the real size is known."""
        with self._freed:
            self.used += difference
            self._freed.notify_all()

    def release(self, count: int) -> None:
        """Return `count` bytes to the budget."""
        self.correct(-count)


class Channel(Generic[Item]):
    """A queue whose items are charged to a byte budget, from `reserve` until `release`."""

    def __init__(self, limit: int) -> None:
        self.budget: ByteBudget = ByteBudget(limit)
        self._items: SimpleQueue[tuple[Item, int] | None] = SimpleQueue()

    def reserve(self, size: int) -> int:
        """Wait for room for an item of about `size` bytes; return the charge."""
        charge = max(size, MIN_CHARGE)
        self.budget.acquire(charge)
        return charge

    def correct(self, charge: int, size: int) -> int:
        """Replace the charge of an item whose size is `size` bytes; return the new charge."""
        actual = max(size, MIN_CHARGE)
        self.budget.correct(actual - charge)
        return actual

    def put(self, item: Item, charge: int) -> None:
        """Add an item with the charge reserved for it."""
        self._items.put((item, charge))

    def get(self) -> tuple[Item, int] | None:
        """Wait for an item; return it with the charge to release after use. None when closed."""
        return self._items.get()

    def release(self, charge: int) -> None:
        """Release the charge of an item that is no longer in memory."""
        self.budget.release(charge)

    def close(self, consumers: int) -> None:
        """Make `get` return None once in each of `consumers` threads, after the last item."""
        for _ in range(consumers):
            self._items.put(None)
