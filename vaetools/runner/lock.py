"""One run at a time per output folder; the system releases the lock of a killed process."""

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
    """Lock `folder`, the `.vaetools` folder of an output folder, for one run.

    Runs of different shards may write at the same time; a run without a shard excludes all others.

    Raises:
        UsageError: Another run holds the lock.
        OutputError: The folder cannot be created or written to.
    """
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            whole = held.enter_context((folder / "lock").open("ab"))
            own = whole
            if shard is not None:
                own = held.enter_context((folder / _shard_name(shard)).open("ab"))
        except OSError as error:
            reason = f"cannot be written to: {error.strerror}"
            raise OutputError(reason, file=folder.parent) from error
        free = _try_lock(whole, shared=shard is not None) and (shard is None or _try_lock(own))
        if not free:
            problem = "another run is writing to this folder"
            raise UsageError(problem, file=folder.parent, remedy="wait until it has ended")
        yield


def _shard_name(shard: tuple[int, int]) -> str:
    return f"lock-{shard[0]}-of-{shard[1]}"


def _try_lock(file: BinaryIO, *, shared: bool = False) -> bool:
    """Whether the lock was free. On a file system without locks it always is."""
    try:
        _lock(file, shared=shared)
    except OSError as error:
        return error.errno in _UNSUPPORTED
    return True


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO, *, shared: bool) -> None:
        # Windows has no shared locks: a run without a shard does not exclude shards there.
        if not shared:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO, *, shared: bool) -> None:
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(file.fileno(), mode | fcntl.LOCK_NB)
