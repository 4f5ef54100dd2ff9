"""Who is informed while a run goes on: a progress display and a callback for records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.record import Record


class Progress(Protocol):
    """A progress display. All methods are called in the thread that called `run`."""

    def start(self, op: str, total: int) -> None:
        """A part of the run begins: `total` is the number of inputs, then of frames of each video."""

    def advance(self, record: Record) -> None:
        """One input, or one frame of a video, is finished."""

    def close(self) -> None:
        """The run has ended; called exactly once, also if `start` was not."""


class Listeners:
    """Collects the records of a run, and passes them on to a callback and a progress display."""

    def __init__(
        self, on_record: Callable[[Record], None] | None, progress: Progress | None
    ) -> None:
        self.records: list[Record] = []
        self._on_record = on_record
        self._progress = progress
        self._remaining = 0

    def start(self, op: str, total: int) -> None:
        """Start the progress display, unless the total is unknown (0)."""
        self._remaining = total
        if self._progress is not None and total:
            self._progress.start(op, total)

    def advance(self, record: Record) -> None:
        """Advance the progress display by one, without adding a record; never beyond the total."""
        if self._progress is not None and self._remaining > 0:
            self._remaining -= 1
            self._progress.advance(record)

    def add(self, record: Record) -> None:
        """Add a record without advancing the progress display."""
        self.records.append(record)
        if self._on_record is not None:
            self._on_record(record)

    def finish(self, record: Record) -> None:
        """Add the record of one input, and advance the progress display by one."""
        self.advance(record)
        self.add(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.close()
