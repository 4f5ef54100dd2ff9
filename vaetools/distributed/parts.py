"""Which part of a shard to process next, if processes end at it: finds the input that ends them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROUNDS = 2
"""How often a shard is split before it is given up."""


@dataclass(frozen=True)
class Part:
    """Inputs of a shard that one task processes.

    Attributes:
        shard: Number of the shard.
        begin, end: Positions in its list; None for the whole shard, which is done then.
        killers: What happened at the inputs that end their process, by position. They are recorded
            as failed, and not processed.
    """

    shard: int
    begin: int = 0
    end: int | None = None
    killers: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether the shard is done after this part."""
        return self.end is None

    @property
    def is_single(self) -> bool:
        """Whether it is a single input."""
        return self.end == self.begin + 1

    def __str__(self) -> str:
        if self.end is None:
            return f"shard {self.shard}"
        if self.is_single:
            return f"input {self.begin + 1} of shard {self.shard}"
        return f"inputs {self.begin + 1:,} to {self.end:,} of shard {self.shard}"


class Attempts:
    """The attempts at one shard.

    The whole shard is tried `1 + retries` times. If each attempt ends its process, halves are tried,
    down to single inputs, which get `1 + retries` attempts again: a machine may have failed meanwhile.
    Then the whole shard is tried without those that ended each of their processes. Inputs that are
    done stay done, so nothing is processed twice but the inputs that were in work.

    Args:
        shard: Number of the shard.
        retries: Further attempts after one that failed.
        size: Returns the number of inputs of the shard; called when it has to be split.

    Attributes:
        part: What to try next.
        crashes: Number of attempts that ended their process.
    """

    def __init__(self, shard: int, retries: int, size: Callable[[], int]) -> None:
        self.part = Part(shard)
        self.crashes = 0
        self._retries = retries
        self._size = size
        self._left = retries
        self._rounds = 0
        self._stops = 0
        self._stack: list[tuple[int, int]] = []
        self._killers: dict[int, str] = {}

    def ended(self) -> bool:
        """The part was processed; return whether the shard is done."""
        if self.part.is_whole:
            return True
        self._next()
        return False

    def crashed(self, reason: str) -> bool:
        """The part ended its process; return whether to continue.

        Args:
            reason: How it ended.
        """
        self.crashes += 1
        tries_again = self.part.is_whole or self.part.is_single
        if tries_again and self._left > 0:
            self._left -= 1
            return True
        if self.part.is_whole:
            return self._split_shard(reason)
        begin, end = self.part.begin, self.part.end
        assert end is not None
        if self.part.is_single:
            self._killers[begin] = reason
        else:
            self._split(begin, end)
        self._next()
        return True

    def stopped(self) -> bool:
        """Something else than an input stopped the part; return whether to continue."""
        self._stops += 1
        return self._stops <= self._retries

    def _split_shard(self, reason: str) -> bool:
        size = self._size()
        self._rounds += 1
        if self._rounds > ROUNDS or not size:
            return False
        if size == 1:
            self._killers[0] = reason
        else:
            self._split(0, size)
        self._next()
        return True

    def _split(self, begin: int, end: int) -> None:
        middle = (begin + end) // 2
        self._stack += [(middle, end), (begin, middle)]

    def _next(self) -> None:
        self._left = self._retries
        begin, end = self._stack.pop() if self._stack else (0, None)
        self.part = replace(self.part, begin=begin, end=end, killers=dict(self._killers))
