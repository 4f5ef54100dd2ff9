"""Worker processes, as the server uses them: one request at a time, restarted when they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

from vaetools.model.child import child_command

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from vaetools.errors import VaetoolsError

_LONGEST_LINE = 1 << 24

PATIENCE = 5.0
"""Seconds from the wish to cancel to the end of the process, if the work does not stop."""


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


class WorkerProcess:
    """A process of `vaetools.web.worker`, started when it is needed.

    Args:
        settings: The first line that it is sent.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def ask(self, request: Mapping[str, Any], limit: float = 120.0) -> dict[str, Any]:
        """The last event of a request. Raises `WorkError`, also after `limit` seconds."""
        async with self._lock:
            last: dict[str, Any] = {}
            try:
                async with asyncio.timeout(limit):
                    async for event in self._events(request):
                        last = event
            except TimeoutError:
                await self.kill()
                raise WorkError("E001", "it takes too long to decode") from None
            return last

    async def events(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """All events of a request. Raises `WorkError`."""
        async with self._lock:
            async for event in self._events(request):
                yield event

    async def _events(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        process = await self._started()
        self._send(process, request)
        if process.stdout is None:
            raise RuntimeError("the worker has no stdout")
        while True:
            line = await process.stdout.readline()
            if not line:
                code = await process.wait()
                self._process = None
                raise WorkError("E099", f"the worker process ended unexpectedly (exit code {code})")
            event = json.loads(line)
            if event["event"] == "error":
                raise WorkError(event["code"], event["message"], event["exit_code"])
            yield event
            if event["event"] == "end":
                return

    async def cancel(self) -> None:
        """End the request in work; the process is killed if it does not within `PATIENCE`."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._send(process, {"do": "cancel"})
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while self._lock.locked() and process.returncode is None:
            if asyncio.get_running_loop().time() > deadline:
                await self.kill()
                return
            await asyncio.sleep(0.05)

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
        self._process = await asyncio.create_subprocess_exec(
            *child_command("vaetools.web.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), tempfile.gettempdir())},
            limit=_LONGEST_LINE,
            **group,
        )
        self._send(self._process, self._settings)
        return self._process

    @staticmethod
    def _send(process: asyncio.subprocess.Process, request: Mapping[str, Any]) -> None:
        if process.stdin is not None:
            with contextlib.suppress(OSError):  # it has ended: its stdout says so
                process.stdin.write(json.dumps(request).encode() + b"\n")
