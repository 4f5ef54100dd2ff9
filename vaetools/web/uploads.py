"""Uploaded files: streamed to disk, counted while they arrive, checked before they are kept."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
import unicodedata
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from vaetools.image import SUFFIXES
from vaetools.record import format_bytes
from vaetools.web.limits import HttpError
from vaetools.web.processes import WorkError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

    from starlette.datastructures import UploadFile
    from starlette.requests import Request
    from starlette.types import Message, Receive

    from vaetools.web.limits import Limits
    from vaetools.web.processes import WorkerProcess

PLAIN_SUFFIXES = (".txt", ".xml", ".json", ".jsonl")
"""Files that options name and that are no images: labels, manifests."""

MOST_NAME = 200
MOST_DEPTH = 16
"""Bytes of one part of a name, and folders in it."""

_FORBIDDEN = '\\:"<>|?*' if os.name == "nt" else "\\"

_AT_ONCE = 8

_DRAINED_BYTES, _DRAINED_SECONDS = 64 * 2**20, 1.0


@dataclass(frozen=True)
class Upload:
    """A file that was uploaded.

    Attributes:
        id: Random.
        name: Relative path with `/`, as the user's folder had it.
        path: Where it is.
        size: In bytes.
        width, height: Of the image, in pixels; None if it is none.
        is_input: False for files that options name, such as masks.
    """

    id: str
    name: str
    path: Path
    size: int
    width: int | None
    height: int | None
    is_input: bool

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "id": self.id,
            "name": self.name,
            "bytes": self.size,
            "width": self.width,
            "height": self.height,
            "purpose": "input" if self.is_input else "option",
        }


def checked_name(name: str) -> str:
    """A relative path without anything that could lead elsewhere.

    Raises:
        HttpError: An absolute path, `..`, a backslash, control characters, a hidden file, too long.
    """
    name = unicodedata.normalize("NFC", name)
    parts = name.split("/")
    wrong = (
        not name
        or len(parts) > MOST_DEPTH
        or any(not part or part.startswith(".") or part != part.strip() for part in parts)
        or any(len(part.encode("utf-8", "replace")) > MOST_NAME for part in parts)
        or any(c in _FORBIDDEN or unicodedata.category(c) in ("Cc", "Cs") for c in name)
    )
    if wrong:
        raise HttpError(400, f"{name[:80]!a} is not the name of a file that is accepted")
    return name


class Uploads:
    """The uploaded files.

    Args:
        folder: Where they are kept.
        limits: What is accepted.
        looker: The process that reads their headers.
        suffixes: Of all files that some operation takes.
    """

    def __init__(
        self, folder: Path, limits: Limits, looker: WorkerProcess, suffixes: Collection[str]
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._looker = looker
        self._suffixes = {*SUFFIXES, *suffixes, *PLAIN_SUFFIXES}
        self._checked = {*SUFFIXES, ".vae"}
        self._found: dict[str, Upload] = {}
        self._arriving = 0
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    def listed(self) -> list[Upload]:
        """All of them, by name."""
        return sorted(self._found.values(), key=lambda upload: upload.name)

    def get(self, upload_id: str) -> Upload:
        """Raises `HttpError` if there is none."""
        if upload_id not in self._found:
            raise HttpError(404, f"there is no upload {upload_id[:40]!a}")
        return self._found[upload_id]

    def remove(self, upload_id: str) -> None:
        """Delete a file; runs keep their own links to it. Raises `HttpError`."""
        shutil.rmtree(self.get(upload_id).path.parent, ignore_errors=True)
        self._found.pop(upload_id, None)

    async def add(
        self, request: Request, *, is_input: bool
    ) -> tuple[list[Upload], list[HttpError]]:
        """Keep the files of a multipart request.

        Returns:
            What is kept, and for each other file why it is refused.

        Raises:
            HttpError: Nothing of the request is kept.
        """
        receive = request.receive
        try:
            return await self._add(request, is_input=is_input)
        except HttpError as error:
            if error.status == 413:
                await drained(receive)
            raise
        except OSError as error:  # the form is spooled to disk while it arrives
            await drained(receive)
            raise HttpError(507, f"the upload cannot be kept: {error.strerror}", "E070") from error

    async def _add(
        self, request: Request, *, is_input: bool
    ) -> tuple[list[Upload], list[HttpError]]:
        self._check_length(request)
        async with self._at_once, self._counted(request):
            free = self._limits.files - len(self._found)
            if free < 1:
                raise self._too_many()
            async with request.form(max_files=min(free, 1000), max_fields=10) as form:
                files = [part for _, part in form.multi_items() if not isinstance(part, str)]
                if not files:
                    raise HttpError(400, "there is no file in the request")
                kept, refused = [], []
                for file in files:
                    try:
                        kept.append(await self._keep(file, is_input=is_input))
                    except HttpError as error:
                        refused.append(error)
        return kept, refused

    def _check_length(self, request: Request) -> None:
        """Refuse what says that it is too large, before it is sent."""
        given = request.headers.get("content-length", "0")
        if not given.isdigit() or int(given) > self._free():
            raise self._too_large()

    def _free(self) -> int:
        used = sum(upload.size for upload in self._found.values())
        return self._limits.upload_bytes - used - self._arriving

    def _too_large(self) -> HttpError:
        most = format_bytes(self._limits.upload_bytes)
        message = f"the uploads are larger than {most} in all; start with a larger --max-upload"
        return HttpError(413, message, "E013")

    def _too_many(self) -> HttpError:
        return HttpError(413, f"there are {self._limits.files:,} files already", "E013")

    @asynccontextmanager
    async def _counted(self, request: Request) -> AsyncIterator[None]:
        """Until the end, count what arrives, and refuse what is too large or too slow."""
        body = Body(request.receive, self)
        request._receive = body.receive  # noqa: SLF001 - Starlette has no public way
        try:
            yield
        finally:
            self._arriving -= body.count

    async def _keep(self, file: UploadFile, *, is_input: bool) -> Upload:
        name = checked_name(file.filename or "")
        suffix = name[name.rfind(".") :].lower() if "." in name else ""
        if suffix not in self._suffixes or (is_input and suffix in PLAIN_SUFFIXES):
            raise HttpError(415, f"{name}: files of this kind are not accepted", "E010")
        upload_id = token_hex(8)
        path = self._folder / upload_id / name.rpartition("/")[2]
        try:
            await asyncio.to_thread(_copy, file, path)
            size = path.stat().st_size
            facts: dict[str, Any] = {}
            if suffix in self._checked:
                facts = await self._looker.ask({"do": "inspect", "path": str(path)}, limit=60)
        except WorkError as error:
            shutil.rmtree(path.parent, ignore_errors=True)
            message = error.message.removeprefix(f"{path}: ")
            raise HttpError.of(error.code, f"{name}: {message}") from None
        except OSError as error:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise HttpError(507, f"{name}: cannot be kept: {error.strerror}", "E070") from error
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise
        if len(self._found) >= self._limits.files:  # by requests that came at the same time
            shutil.rmtree(path.parent, ignore_errors=True)
            raise self._too_many()
        kept = Upload(
            upload_id, name, path, size, facts.get("width"), facts.get("height"), is_input
        )
        self._found[upload_id] = kept
        return kept

    def arrived(self, count: int) -> None:
        """Some bytes have arrived. Raises `HttpError` if they are too many."""
        self._arriving += count
        if self._free() < 0:
            raise self._too_large()

    @property
    def limits(self) -> Limits:
        """What is accepted."""
        return self._limits


class Body:
    """The body of an upload as it arrives.

    Attributes:
        count: Bytes so far.
    """

    def __init__(self, receive: Receive, uploads: Uploads) -> None:
        self._receive = receive
        self._uploads = uploads
        self._start = time.monotonic()
        self.count = 0

    async def receive(self) -> Message:
        """The next part of the body. Raises `HttpError`."""
        limits = self._uploads.limits
        message = await timed(self._receive, limits.silence)
        size = len(message.get("body", b""))
        self.count += size
        self._uploads.arrived(size)
        seconds = time.monotonic() - self._start - limits.silence
        if seconds > 0 and self.count < seconds * limits.slowest:
            raise HttpError(408, "the upload is too slow")
        return message


async def timed(receive: Receive, seconds: float) -> Message:
    """A part of a request. Raises `HttpError` if none arrives for too long."""
    try:
        return await asyncio.wait_for(receive(), seconds)
    except TimeoutError:
        raise HttpError(408, "the request stopped before its end") from None


async def drained(receive: Receive) -> None:
    """Take the rest of a request that is refused, within limits: a client that is still sending
    would see a reset connection in place of the reason."""
    left = _DRAINED_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAINED_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _copy(file: UploadFile, path: Path) -> None:
    path.parent.mkdir(parents=True)
    with path.open("xb") as target:
        shutil.copyfileobj(file.file, target, 1 << 20)
