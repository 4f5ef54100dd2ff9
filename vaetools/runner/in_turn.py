"""Inputs that are processed one after the other, in the calling thread: videos and tars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaetools.runner.fault import TAKEN_OVER
from vaetools.runner.record import not_processed
from vaetools.runner.result import INTERRUPTED
from vaetools.runner.share import TakenOverError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vaetools.record import Record
    from vaetools.runner.journal import Journal
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.progress import Listeners


def process_in_turn(
    items: Iterable[PlannedItem],
    op: str,
    journal: Journal,
    listeners: Listeners,
    process: Callable[[PlannedItem], tuple[Record, str]],
) -> str:
    """Process all pending inputs; return why the run stopped early, or an empty string.

    Args:
        items: The inputs.
        op: Name of the operation.
        journal: Of the run.
        listeners: Receive a record of each input.
        process: Gives the record of an input, and why no further ones are taken, or an empty string.
    """
    try:
        for item in items:
            if not item.is_pending:
                listeners.add(not_processed(item, op))
                continue
            with journal.in_work(item.source):
                record, stopped = process(item)
            listeners.add(record)
            if stopped:
                return stopped
    except KeyboardInterrupt:
        return INTERRUPTED
    except TakenOverError:
        return TAKEN_OVER
    return ""
