"""What is done when a device has too little memory: smaller tiles, then the CPU.

A session raises `DeviceMemoryError` only where its caller can try smaller tiles (`can_shrink`);
elsewhere it computes on the CPU. Both are noted for the record of the image (`watched`).
"""

from __future__ import annotations

import contextlib
import logging
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from logging import Logger

log: Logger = logging.getLogger(__name__)

SMALLER, MOVED = "smaller tiles were computed", "parts were computed on the CPU"


class DeviceMemoryError(MemoryError):
    """A device has too little memory for a call.

    Args:
        device: such as `cuda:0`.
    """

    def __init__(self, device: str) -> None:
        super().__init__(f"{device} has too little memory")
        self.device = device


@dataclass
class Shortages:
    """What was done for lack of memory.

    Attributes:
        found: (device, `SMALLER` or `MOVED`), in order.
    """

    found: dict[tuple[str, str], None] = field(default_factory=dict)

    @property
    def remarks(self) -> list[str]:
        """One line each."""
        return [f"{device} had too little memory: {what}" for device, what in self.found]

    @property
    def used_cpu(self) -> bool:
        """Whether anything was computed on the CPU instead."""
        return any(what == MOVED for _, what in self.found)


_logged: set[tuple[str, str]] = set()
_can_shrink: ContextVar[bool] = ContextVar("can_shrink", default=False)
_shortages: ContextVar[Shortages | None] = ContextVar("shortages", default=None)


@contextlib.contextmanager
def can_shrink() -> Iterator[None]:
    """In this block, `DeviceMemoryError` is raised: smaller tiles can be tried."""
    token = _can_shrink.set(True)
    try:
        yield
    finally:
        _can_shrink.reset(token)


def is_shrinkable() -> bool:
    """Whether this is called inside `can_shrink`."""
    return _can_shrink.get()


@contextlib.contextmanager
def watched() -> Iterator[Shortages]:
    """What is noted in this block, also in the threads of `vaetools.tiling.map_ordered`."""
    token = _shortages.set(found := Shortages())
    try:
        yield found
    finally:
        _shortages.reset(token)


def note(device: str, what: str) -> None:
    """Note what was done because a device had too little memory, and log it the first time."""
    shortages = _shortages.get()
    if shortages is not None:
        shortages.found[device, what] = None
    if (device, what) not in _logged:
        _logged.add((device, what))
        log.warning("%s had too little memory: %s; fewer --jobs need less", device, what)
