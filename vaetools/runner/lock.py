"""One run at a time per output folder; the system releases the lock of a killed process."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from vaetools.errors import OutputError, UsageError
from vaetools.runner.place import open_own

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vaetools.runner.place import Place, Shard

_UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def folder_lock(place: Place, shard: Shard | None) -> Iterator[None]:
    """Lock an output folder for one run; it is created if it is missing.

    Runs of different shards may write at the same time; a run without a shard excludes all others.

    Raises:
        UsageError: Another run holds the lock.
        OutputError: The folder cannot be created or written to, or the lock is no regular file.
    """
    with ExitStack() as held:
        try:
            place.out.mkdir(parents=True, exist_ok=True)
            place.folder.mkdir(parents=True, exist_ok=True)
            locks = [(_opened(held, path), shared) for path, shared in place.locks(shard)]
        except OSError as error:
            reason = f"cannot be written to: {error.strerror}"
            raise OutputError(reason, file=place.folder) from error
        if not all(_try_lock(handle, shared=shared) for handle, shared in locks):
            problem = "another run is writing to this folder"
            raise UsageError(problem, file=place.out, remedy="wait until it has ended")
        yield


def _opened(held: ExitStack, path: Path) -> int:
    handle = open_own(path, os.O_RDWR | os.O_CREAT)
    held.callback(_close, handle)
    return handle


def _close(handle: int) -> None:
    with suppress(OSError):  # nothing was written to it
        os.close(handle)


def _try_lock(handle: int, *, shared: bool) -> bool:
    """Whether the lock was free. On a file system without locks it always is."""
    try:
        _lock(handle, shared=shared)
    except OSError as error:
        return error.errno in _UNSUPPORTED
    return True


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int, *, shared: bool) -> None:
        # Windows has no shared locks: a run without a shard does not exclude shards there.
        if not shared:
            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int, *, shared: bool) -> None:
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(handle, mode | fcntl.LOCK_NB)
