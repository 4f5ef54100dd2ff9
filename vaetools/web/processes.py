"""Worker processes, as the server uses them: one request at a time, restarted when they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import tempfile
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from vaetools.errors import EXIT_INTERRUPTED
from vaetools.model.child import child_command

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from vaetools.errors import VaetoolsError

_LONGEST_LINE = 1 << 24

PATIENCE = 5.0
"""Seconds from the cancel request to the end of the process, if the work does not stop."""


class WorkError(Exception):
    """What a worker could not do: the code and the line of an error.

    Attributes:
        code: Such as `E013`.
        message: One line.
        exit_code: What a command would exit with.
    """

    def __init__(self, code: str, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.code, self.message, self.exit_code = code, message, exit_code

    @classmethod
    def of(cls, error: VaetoolsError) -> WorkError:
        """The same for an error of vaetools."""
        return cls(error.code, error.line.partition(" ")[2], error.exit_code)


@dataclass(frozen=True)
class _Sent:
    """A request that the process has been sent; `ended` is set after its last event."""

    number: int
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class WorkerProcess:
    """A process of `vaetools.web.worker`, started when it is needed.

    Args:
        settings: The first line that it is sent.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._numbers = count(1)
        self._sent: _Sent | None = None

    async def ask(self, request: Mapping[str, Any], limit: float = 120.0) -> dict[str, Any]:
        """The last event of a request. Raises `WorkError`, also after `limit` seconds."""
        async with self._lock:
            last: dict[str, Any] = {}
            try:
                async with asyncio.timeout(limit):
                    async for event in self._events(request, lambda: False):
                        last = event
            except TimeoutError:
                raise WorkError("E001", "it takes too long to decode") from None
            return last

    async def events(
        self, request: Mapping[str, Any], is_cancelled: Callable[[], bool]
    ) -> AsyncGenerator[dict[str, Any]]:
        """All events of a request. Raises `WorkError`.

        Args:
            request: For the worker.
            is_cancelled: Whether to give up before the request is sent.
        """
        async with self._lock, aclosing(self._events(request, is_cancelled)) as events:
            async for event in events:
                yield event

    async def _events(
        self, request: Mapping[str, Any], is_cancelled: Callable[[], bool]
    ) -> AsyncGenerator[dict[str, Any]]:
        process = await self._started()
        if is_cancelled():
            raise WorkError("E000", "cancelled", EXIT_INTERRUPTED)
        sent = self._sent = _Sent(next(self._numbers))
        self._send(process, {**request, "number": sent.number})
        is_over = False
        try:
            while not is_over:
                event = await self._received(process)
                if event.get("number", sent.number) != sent.number:
                    continue  # of the request before: it was cancelled just as it ended
                is_over = event["event"] in ("end", "error")
                if event["event"] == "error":
                    raise WorkError(event["code"], event["message"], event["exit_code"])
                yield event
        finally:
            self._sent = None
            sent.ended.set()
            if not is_over:  # its further events would be taken for those of the next request
                await self.kill()

    @staticmethod
    async def _received(process: asyncio.subprocess.Process) -> dict[str, Any]:
        if process.stdout is None:
            raise RuntimeError("the worker has no stdout")
        try:
            line = await process.stdout.readline()
            if line:
                event: dict[str, Any] = json.loads(line)
                return event
        except (OSError, ValueError) as error:  # too long, or not JSON
            raise WorkError("E099", f"the worker process cannot be read: {error}") from error
        code = await process.wait()
        raise WorkError("E099", f"the worker process ended unexpectedly (exit code {code})")

    async def cancel(self) -> None:
        """End the request in work; the process is killed if it does not within `PATIENCE`."""
        sent, process = self._sent, self._process
        if sent is None or process is None:
            return
        self._send(process, {"do": "cancel", "number": sent.number})
        try:
            await asyncio.wait_for(sent.ended.wait(), PATIENCE)
        except TimeoutError:
            if self._sent is sent:
                await self.kill()

    async def kill(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        group: dict[str, Any] = {"start_new_session": True}  # Ctrl+C is for the server
        if os.name == "nt":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *child_command("vaetools.web.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), tempfile.gettempdir()),
                limit=_LONGEST_LINE,
                **group,
            )
        except OSError as error:  # too many processes or open files, no memory
            reason = error.strerror or str(error)
            raise WorkError("E099", f"the worker process cannot be started: {reason}") from error
        self._send(self._process, self._settings)
        return self._process

    @staticmethod
    def _send(process: asyncio.subprocess.Process, request: Mapping[str, Any]) -> None:
        if process.stdin is not None:
            with contextlib.suppress(OSError):  # it has ended: its stdout says so
                process.stdin.write(json.dumps(request).encode() + b"\n")
