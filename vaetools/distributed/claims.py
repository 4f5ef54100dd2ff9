"""Claims: which process works on which shard.

Attempt A at shard N is the file `claims/NNNNNN.A`, which only one process can create. It names its
owner from the first moment: a file with this content is linked to that name. The owner touches it
every few seconds. A claim without a sign of life for the lease, or of a process of this
machine that has ended, is free: another process then makes attempt A + 1. A process that was only
stopped for a while finds that file before its next output takes its name, and gives up.

Times are those that the file system gives to files, so clocks of machines are not compared unless
the file system uses them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from vaetools.distributed.files import read_own, stands
from vaetools.errors import OutputError
from vaetools.runner.atomic import create, discard, temporary_path
from vaetools.runner.machine import is_running, machine_id, started
from vaetools.runner.place import open_own
from vaetools.runner.share import TakenOverError
from vaetools.text import parse_json
from vaetools.tomlfile import from_table

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.distributed.job import Job

BEATS = 10
"""Signs of life within a lease."""

WITHOUT_LINKS = {errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}
WITHOUT_LINKS |= {errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK}
"""What file systems without hard links answer."""


@dataclass(frozen=True)
class Owner:
    """The process that made a claim.

    Attributes:
        host: Name of the machine.
        machine: See `machine_id`.
        pid: Id of the process.
        started: See `vaetools.runner.machine.started`.
        engine: Identifies the engine that the process works for; empty if it works on its own.
    """

    host: str
    machine: str
    pid: int
    started: str
    engine: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether the process is known to have ended."""
        if self.machine != machine_id():
            return False
        if not is_running(self.pid):
            return True
        now = started(self.pid)  # not known for processes of other users, if /proc hides them
        return bool(now and self.started) and now != self.started


def this_process(engine: str = "") -> Owner:
    """The owner of the claims of this process."""
    return Owner(platform.node(), machine_id(), os.getpid(), started(os.getpid()), engine)


class Claim:
    """A shard that belongs to this process, as long as no other one takes it over.

    As a context manager, it gives signs of life until the end, and is free then.

    Attributes:
        number: Of the shard.
        attempt: Number of the attempt, from 1.
        deaths: Number of earlier attempts whose processes ended without giving the shard back.
    """

    def __init__(
        self, folder: Path, number: int, attempt: int, lease: float, deaths: int = 0
    ) -> None:
        self.number = number
        self.attempt = attempt
        self.deaths = deaths
        self._path = _path(folder, number, attempt)
        self._next = _path(folder, number, attempt + 1)
        self._interval = lease / BEATS
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="vaetools claim", daemon=True)

    def check(self) -> None:
        """Raise `TakenOverError` if another process has taken over the shard."""
        if os.path.lexists(self._next) or not os.path.lexists(self._path):
            problem = f"another process has taken over shard {self.number}"
            raise TakenOverError(problem, file=self._path)

    def _beat(self) -> None:
        while not self._ended.wait(self._interval):
            with contextlib.suppress(OSError):  # the file system may come back
                os.utime(self._path)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            os.utime(self._path, (0, 0))


def take(job: Job, number: int, engine: str = "") -> Claim | None:
    """Claim a shard for this process; None if another process works on it.

    Args:
        job: The job.
        number: Of the shard.
        engine: The engine that this process works for. A claim of the same engine is free: it hands out
            no shard twice, unless it knows that the first process has ended or hangs.

    Raises:
        OutputError: The folder of the claims cannot be written to.
    """
    attempt = attempts(job, number)
    if attempt and not is_free(job, number, attempt, engine):
        return None
    path = _path(job.claims, number, attempt + 1)
    try:
        job.claims.mkdir(exist_ok=True)
        _create(path, json.dumps(vars(this_process(engine))).encode())
    except FileExistsError:
        return None
    except OSError as error:
        raise OutputError(f"cannot be claimed: {error.strerror}", file=path) from error
    return Claim(job.claims, number, attempt + 1, job.lease, deaths(job, number, attempt))


def _create(path: Path, data: bytes) -> None:
    """Create a file with its content in one step. Raises `FileExistsError`, `OSError`.

    A claim without an owner, which a full or broken disk could leave otherwise, would hold its shard
    until the lease is over. That can still happen where there are no hard links.
    """
    temporary = temporary_path(path.with_name(f"{path.name}.{threading.get_ident()}"))
    try:
        with create(temporary) as file:
            file.write(data)
        _link(temporary, path)
    except OSError as error:
        if error.errno not in WITHOUT_LINKS:
            raise
        _create_without_links(path, data)
    finally:
        discard([temporary])


def _create_without_links(path: Path, data: bytes) -> None:
    file = path.open("xb")
    try:
        with file:
            file.write(data)
    except OSError:
        discard([path])
        raise


def _link(temporary: Path, path: Path) -> None:
    """Give a file a second name. Raises `FileExistsError`, `OSError`."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        # NFS reports this also if the answer to the first request was lost.
        if not os.path.samestat(temporary.lstat(), path.lstat()):
            raise


def deaths(job: Job, number: int, attempt: int) -> int:
    """How many of the attempts at a shard up to this one ended without giving it back."""
    paths = (_path(job.claims, number, a) for a in range(1, attempt + 1))
    return sum(_touched(path) != 0 for path in paths)


def _touched(path: Path) -> float:
    """Time of the last sign of life in a claim; 0 if it was given back."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def attempts(job: Job, number: int) -> int:
    """How many attempts at a shard there were, with the one that goes on."""
    attempt = 0
    while stands(_path(job.claims, number, attempt + 1)):
        attempt += 1
    return attempt


def is_free(job: Job, number: int, attempt: int, engine: str = "") -> bool:
    """Whether the process that made the last attempt at a shard has ended, as far as can be seen."""
    path = _path(job.claims, number, attempt)
    try:
        touched = path.stat().st_mtime
    except OSError:
        return False
    owner = owner_of(job, number, attempt)
    if touched == 0 or (owner is not None and owner.has_ended):
        return True
    if engine and owner is not None and owner.engine == engine:
        return True
    return now(job.claims) - touched > job.lease


def silence(job: Job, number: int, attempt: int) -> float:
    """Seconds since the last sign of life of an attempt; infinite for one that has ended."""
    try:
        touched = _path(job.claims, number, attempt).stat().st_mtime
    except OSError:
        return 0.0
    return float("inf") if touched == 0 else now(job.claims) - touched


def owner_of(job: Job, number: int, attempt: int) -> Owner | None:
    """The process that made an attempt; None if its claim does not say."""
    try:
        values = parse_json(read_own(_path(job.claims, number, attempt)))
        return from_table(Owner, values, OutputError)
    except (OSError, ValueError, OutputError):
        return None


def _path(folder: Path, number: int, attempt: int) -> Path:
    return folder / f"{number:06}.{attempt}"


def now(folder: Path) -> float:
    """The time by the clock that stamps the files of a folder."""
    path = folder / f".clock.{machine_id()}-{os.getpid()}"
    try:
        handle = open_own(path, os.O_WRONLY | os.O_CREAT)
        try:
            os.write(handle, b"x")
            now = os.fstat(handle).st_mtime
        finally:
            os.close(handle)
        path.unlink(missing_ok=True)  # another thread may have been faster
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return time.time()
        raise OutputError(f"cannot be written to: {error.strerror}", file=folder) from error
    return now
