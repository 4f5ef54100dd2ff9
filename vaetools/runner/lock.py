"""One run at a time on one output folder; the system releases the lock of a killed process."""

from __future__ import annotations

import errno
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO

from vaetools.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def folder_lock(folder: Path, shard: tuple[int, int] | None) -> Iterator[None]:
    """Hold `folder` (the `.vaetools` of an output folder) for one run.

    Different shards may work side by side; a whole run excludes them all.

    Raises:
        UsageError: another run holds it.
        OutputError: the folder cannot be made or written to.
    """
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            whole = held.enter_context((folder / "lock").open("ab"))
            part = whole
            if shard is not None:
                part = held.enter_context((folder / _shard_name(shard)).open("ab"))
        except OSError as error:
            reason = f"cannot be written to: {error.strerror}"
            raise OutputError(reason, file=folder.parent) from error
        free = _take(whole, shared=shard is not None) and (shard is None or _take(part))
        if not free:
            raise UsageError(
                "another run is writing there", file=folder.parent, remedy="wait until it has ended"
            )
        yield


def _shard_name(shard: tuple[int, int]) -> str:
    return f"lock-{shard[0]}-of-{shard[1]}"


def _take(file: BinaryIO, *, shared: bool = False) -> bool:
    """Whether the lock was free. A file system without locks lets everyone in."""
    try:
        _lock(file, shared=shared)
    except OSError as error:
        return error.errno in _UNSUPPORTED
    return True


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO, *, shared: bool) -> None:
        # There are no shared locks here, so that shards exclude only themselves.
        if not shared:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO, *, shared: bool) -> None:
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(file.fileno(), mode | fcntl.LOCK_NB)
