"""What happens to one input: it is read, processed and encoded. Nothing is written here.

The same code runs in the threads of a run and in its worker processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from vaetools.device_memory import watched
from vaetools.errors import printable
from vaetools.image import HEAD_SIZE, Image, most_bytes, read_file
from vaetools.operation import results_of
from vaetools.record import json_value
from vaetools.runner.output import Original, Output, outputs_of, read_original
from vaetools.runner.record import record_of

if TYPE_CHECKING:
    from vaetools.device_memory import Shortages
    from vaetools.operation import Item, Operation
    from vaetools.record import Record
    from vaetools.runner.inputs import Source
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.settings import RunSettings

Written: TypeAlias = Mapping[str, tuple[int, str]]
"""Size and SHA-256 of each output by its name, as in the journal."""

Fetch: TypeAlias = "Callable[[Source], bytes]"
"""Gives the bytes of an input that is not a file of this machine."""

COMPRESSION_RATIO = 16
"""Typical ratio of a photo as JPEG; if it is higher, each reader exceeds the budget by one image."""


@dataclass
class Facts:
    """What the record of an input will say; the fields are as in `Record`."""

    width: int | None = None
    height: int | None = None
    device: str | None = None
    notes: Sequence[str] = ()
    remarks: Sequence[str] = ()
    found: Mapping[str, Any] = field(default_factory=dict)
    lost: Sequence[str] = ()
    unchanged: bool = False
    seconds: float = 0.0
    written: Written = field(default_factory=dict)

    def measure(self, item: Item) -> None:
        """Note the size of an image."""
        if isinstance(item, Image):
            self.width, self.height = item.width, item.height


@dataclass
class Job:
    """One input on its way.

    Attributes:
        planned: The input and its outputs.
        item: What the operation takes.
        original: The image as it was read.
        results: What the operation gave.
        temporaries: Files with the encoded results, if a worker process has written them.
        facts: For the record.
        waiting: Seconds of the stage in progress that were spent on waiting.
    """

    planned: PlannedItem
    item: Any = None
    original: Original | None = None
    results: list[Output] = field(default_factory=list)
    temporaries: Sequence[Path] = ()
    facts: Facts = field(default_factory=Facts)
    waiting: float = 0.0


class Work:
    """Reads, processes and encodes inputs, one step at a time; can be used by several threads.

    Args:
        operation: What is done.
        settings: Of the run.
        fetch: The bytes of an input; None if the inputs are files.
    """

    def __init__(
        self, operation: Operation, settings: RunSettings, fetch: Fetch | None = None
    ) -> None:
        self.operation = operation
        self.settings = settings
        self._fetch = fetch

    def expected_size(self, item: PlannedItem) -> int:
        """Estimate the bytes of a decoded input from the size of its file."""
        return item.source.size * (COMPRESSION_RATIO if self.operation.takes == "image" else 1)

    def read(self, job: Job) -> int:
        """Read and decode the input; return its bytes in memory. Raises as `read_image`."""
        path, settings, operation = job.planned.source.path, self.settings, self.operation
        if operation.takes == "nothing":
            job.item = job.planned.source.relative
            return 0
        data = None if self._fetch is None else self._fetch(job.planned.source)
        if operation.takes == "file":
            job.item = data
            if data is None:
                most = most_bytes(settings.max_pixels)
                job.item = read_file(path, check_head=operation.check_head, most=most)
            else:
                operation.check_head(data[:HEAD_SIZE])
            return len(job.item)
        job.original = read_original(path, settings, data)
        job.item = job.original.image
        if operation.wants_encoded and settings.strip == "none":
            job.item = replace(job.item, encoded=job.original.data)
        job.facts.measure(job.item)
        return job.original.nbytes

    def process(self, job: Job) -> int:
        """Apply the operation; return the bytes of its results. Raises what it raises."""
        item, job.item = job.item, None
        original, job.original = job.original, None
        source, facts = job.planned.source, job.facts
        path = source.path if source.real else None
        names = [PurePosixPath(name) for name in job.planned.names]
        bound = self.operation.on(str(source.relative), path, names)
        with watched() as shortages:
            results = results_of(bound, bound.process(item), len(job.planned.outputs))
        damage = [f"read in part: {item.damage}"] if isinstance(item, Image) and item.damage else []
        facts.notes, facts.remarks = (
            [*damage, *bound.notes],
            [*damage, *shortages.remarks, *bound.remarks],
        )
        facts.found, facts.lost = json_value(bound.findings), bound.lost
        if facts.width is None:
            facts.measure(results[0])
        job.results = outputs_of(job.planned, results, original, self.settings)
        facts.unchanged = all(output.copied for output in job.results)
        facts.device = device_of(self.operation, shortages)
        return sum(result.nbytes for result in job.results)

    def encode(self, job: Job) -> list[bytes]:
        """The bytes of the outputs, in order. Raises as `encode_image`."""
        lost: list[str] = []
        contents = [result.encoded(self.settings, lost) for result in job.results]
        lost += [what for result in job.results for what in result.not_kept(self.settings)]
        job.facts.lost = tuple(dict.fromkeys([*job.facts.lost, *lost]))
        job.results.clear()
        named = zip(job.planned.names, contents, strict=True)
        job.facts.written = {
            name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in named
        }
        return contents


def device_of(operation: Operation, shortages: Shortages | None = None) -> str | None:
    """The device of the operation's models, and the CPU if it helped; None if none says so."""
    device = getattr(next(iter(operation.opened), None), "device", None)
    if device is None:
        return None
    return f"{device}, cpu" if shortages is not None and shortages.used_cpu else str(device)


def record_of_done(job: Job, op: str) -> Record:
    """The record of an input whose outputs are written."""
    facts, file = job.facts, job.planned.source.path
    lost = [f"not kept: {', '.join(facts.lost)}"] if facts.lost else []
    text = "; ".join([*facts.remarks, *lost])
    if facts.unchanged:
        text = f"{text or 'unchanged'}: copied"
    return record_of(
        job.planned,
        op,
        "done",
        seconds=facts.seconds,
        message=printable(f"{file}: {text}") if text else "",
        noted=bool(facts.notes),
        found=facts.found,
        unchanged=facts.unchanged,
        not_kept=tuple(printable(what) for what in facts.lost),
        bytes_out=sum(size for size, _ in facts.written.values()),
        width=facts.width,
        height=facts.height,
        device=facts.device,
    )
