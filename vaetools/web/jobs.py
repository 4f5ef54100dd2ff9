"""Runs: a queue that one process works through, their records and events, cancelling, removal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from vaetools.errors import EXIT_INTERRUPTED, EXIT_SOME_FAILED, RunError
from vaetools.record import plural
from vaetools.runner.record import explain
from vaetools.web.layout import OptionFiles, lay_out, option_path
from vaetools.web.limits import HttpError
from vaetools.web.processes import WorkError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vaetools.web.limits import Limits
    from vaetools.web.processes import WorkerProcess
    from vaetools.web.requests import Wanted
    from vaetools.web.uploads import Uploads

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]

HEARTBEAT = 15.0
"""Seconds between comments in a stream of events without events."""


@dataclass
class Job:
    """A run.

    Attributes:
        id: Random.
        folder: With `in`, `out`, `options` and `previews`.
        wanted: The request.
        request: For the worker.
        state: `done` if the run came to its end, also if some inputs failed.
        total: Number of inputs; None until it is known.
        records: As the command line writes them with `--json`, with paths relative to `in` and `out`.
        raw: The same as the worker sent them.
        problem: Code and message, if the run could not be done or stopped early.
        summary: One line when it is done.
        options: Of the run, for people.
        exit_code: What a command would have exited with; None before the end.
        cancelling: Whether it is to stop: however it ends now, it is `cancelled`.
        events: Everything that happened, for streams.
    """

    id: str
    folder: Path
    wanted: Wanted
    request: dict[str, Any]
    state: State = "queued"
    total: int | None = None
    records: list[dict[str, Any]] = field(default_factory=list)
    raw: list[dict[str, Any]] = field(default_factory=list)
    problem: dict[str, Any] | None = None
    summary: str = ""
    options: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    cancelling: bool = False
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def has_ended(self) -> bool:
        return self.state not in ("queued", "running")

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, without the records."""
        return {
            "id": self.id,
            "operation": self.wanted.operation.name,
            "state": self.state,
            "total": self.total,
            "finished": len(self.records),
            "summary": self.summary,
            "options": self.options,
            "exit_code": self.exit_code,
            "error": self.problem,
        }

    def outputs(self) -> dict[str, Path]:
        """The files that were written, by their names."""
        names = (name for record in self.records for name in record["out"])
        found = {name: self.folder / "out" / name for name in names}
        return {name: path for name, path in found.items() if path.is_file()}

    def inputs(self) -> dict[str, Path]:
        """The files that were read, by their names."""
        return {record["file"]: self.folder / "in" / record["file"] for record in self.records}

    async def tell(self, kind: str, value: dict[str, Any]) -> None:
        """Add an event, and wake the streams."""
        async with self.changed:
            self.events.append((kind, value))
            self.changed.notify_all()

    async def follow(self, start: int) -> AsyncIterator[str]:
        """Server-sent events from number `start` to the end of the run."""
        number = start
        while True:
            async with self.changed:
                if number >= len(self.events):
                    if self.has_ended:
                        return
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.changed.wait(), HEARTBEAT)
                new = self.events[number:]
            if not new:
                yield ": waiting\n\n"
            for kind, value in new:
                yield event_text(number, kind, value)
                number += 1


def event_text(number: int, kind: str, value: dict[str, Any]) -> str:
    """A server-sent event."""
    import json

    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(value)}\n\n"


class Jobs:
    """All runs of a server.

    Args:
        folder: For the runs.
        limits: How many are kept.
        worker: The process that works.
    """

    def __init__(self, folder: Path, limits: Limits, worker: WorkerProcess) -> None:
        self._folder = folder
        self._limits = limits
        self._worker = worker
        self._jobs: dict[str, Job] = {}
        self._coming = 0
        self._queue: asyncio.Queue[Job] = asyncio.Queue()

    def listed(self) -> list[Job]:
        """All of them, the newest last."""
        return list(self._jobs.values())

    def get(self, job_id: str) -> Job:
        """Raises `HttpError` if there is none."""
        if job_id not in self._jobs:
            raise HttpError(404, f"there is no run {job_id[:40]!a}")
        return self._jobs[job_id]

    async def add(self, wanted: Wanted, uploads: Uploads) -> Job:
        """Queue a run. Raises `HttpError`."""
        inputs = [uploads.get(one) for one in wanted.uploads]
        options = {
            name: OptionFiles([uploads.get(one) for one in chosen.uploads], chosen.inputs)
            for name, chosen in wanted.files.items()
        }
        self._check_room()
        job_id = token_hex(8)
        folder = self._folder / job_id
        self._coming += 1
        try:
            await asyncio.to_thread(lay_out, folder, inputs, options)
        except HttpError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise HttpError(507, f"the run cannot be stored: {error.strerror}", "E070") from error
        finally:
            self._coming -= 1
        paths = {
            name: option_path(folder, name, whole=chosen.folder)
            for name, chosen in wanted.files.items()
        }
        request = {
            "do": "run",
            "operation": wanted.operation.name,
            "inputs": [str(folder / "in")] if inputs else [],
            "out": str(folder / "out"),
            "options": {**wanted.options, **paths},
            "settings": wanted.output,
        }
        job = self._jobs[job_id] = Job(job_id, folder, wanted, request)
        self._queue.put_nowait(job)
        return job

    def _check_room(self) -> None:
        """Raise `HttpError` if there are too many runs: only the user knows which can go."""
        if len(self._jobs) + self._coming >= self._limits.jobs:
            message = f"{self._limits.jobs} runs are kept: remove some that you no longer need"
            raise HttpError(429, message)

    async def cancel(self, job: Job) -> None:
        """Stop a run that waits or is in work; otherwise nothing happens."""
        if job.has_ended:
            return
        job.cancelling = True
        if job.state == "queued":
            await self._end(job)
        else:
            await self._worker.cancel()
            async with job.changed:
                await job.changed.wait_for(lambda: job.has_ended)

    async def remove(self, job: Job) -> None:
        """Stop a run, and delete its files."""
        await self.cancel(job)
        self._forget(job)

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

    async def work(self) -> None:
        """Process the queue until cancelled."""
        while True:
            job = await self._queue.get()
            if job.state != "queued":
                continue
            job.state = "running"
            await job.tell("state", job.as_dict())
            try:
                await self._run(job)
            except WorkError as error:
                self._fail(job, error.code, error.message, error.exit_code)
            except Exception as error:  # noqa: BLE001 - the runs that wait must go on
                self._fail(job, *explain(error, ""), EXIT_SOME_FAILED)
            await self._end(job)

    async def _run(self, job: Job) -> None:
        events_of = self._worker.events(job.request, lambda: job.cancelling)
        async with aclosing(events_of) as events:
            async for event in events:
                if event["event"] == "start":
                    job.total = event["total"]
                    await job.tell("state", job.as_dict())
                elif event["event"] == "record":
                    job.raw.append(event["record"])
                    job.records.append(_relative(job, event["record"]))
                    shown = {"number": len(job.records) - 1, "record": job.records[-1]}
                    await job.tell("record", shown)
                else:
                    job.summary = event["summary"]
                    job.options = {k: _short(job, v) for k, v in event["options"].items()}
                    job.exit_code = event["exit_code"]
                    if event["stopped"]:
                        self._fail(job, RunError.code, _why_stopped(event), event["exit_code"])

    @staticmethod
    def _fail(job: Job, code: str, message: str, exit_code: int) -> None:
        job.problem = {"code": code, "message": _short(job, message)}
        job.exit_code = exit_code

    @staticmethod
    async def _end(job: Job) -> None:
        if job.cancelling:
            job.state, job.problem, job.exit_code = "cancelled", None, EXIT_INTERRUPTED
        else:
            job.state = "done" if job.problem is None else "failed"
        await job.tell("state", job.as_dict())


def _relative(job: Job, record: dict[str, Any]) -> dict[str, Any]:
    """A record with paths as the user knows them."""
    return {
        **record,
        "file": _named(record["file"], job.folder / "in"),
        "out": [_named(name, job.folder / "out") for name in record["out"]],
        "message": _short(job, record["message"]),
    }


def _why_stopped(event: dict[str, Any]) -> str:
    """Why a run stopped early, and how many inputs are missing."""
    left = event["unreached"]
    return (
        f"{event['stopped']}, {plural(left, 'input')} not processed" if left else event["stopped"]
    )


def _named(path: str, folder: Path) -> str:
    found = Path(path)
    is_inside = found.is_absolute() and found.is_relative_to(folder)
    return str(PurePosixPath(*found.relative_to(folder).parts)) if is_inside else path


def _short(job: Job, message: str) -> str:
    """A message without the paths of this server."""
    for name in ("in", "out", *(f"options/{name}" for name in job.wanted.files)):
        message = message.replace(f"{job.folder / name}{os.sep}", "")
    return message.replace(f"{job.folder}{os.sep}", "")
