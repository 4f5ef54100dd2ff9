"""Checks of folders: the cache, and space where outputs and temporary files go."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.diagnosis.finding import Finding, Installation
from vaetools.user_cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

ENOUGH = 2**30
"""Bytes; below that, a run over a folder may end early."""

TRIAL = 2**20
"""Bytes that are written to find out whether there is space: quotas and limits of a process do not
show in the size of a disk."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cache(_: Installation) -> Iterator[Finding]:
    """Whether the user's cache folder can be written."""
    folder = cache_folder()
    if folder is None:
        text = "there is no home folder; graphs are checked in each run again"
        yield Finding("note", "cache", text, "export XDG_CACHE_HOME=/tmp/cache")
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder)
    except OSError as error:
        text = (
            f"{folder} cannot be written ({error.strerror}); graphs are checked in each run again"
        )
        cure = f"chmod u+rwx {folder}, or export XDG_CACHE_HOME=/tmp/cache"
        if error.errno in FULL:
            cure = f"df -h {folder}  # then delete files, or export XDG_CACHE_HOME=/tmp/cache"
        yield Finding("note", "cache", text, cure)
    else:
        yield Finding("ok", "cache", f"{folder} can be written")


def space(_: Installation) -> Iterator[Finding]:
    """Free space in this folder and in the folder for temporary files."""
    for name, folder in (("this folder", Path.cwd()), ("temporary files", _temporary())):
        if folder is None:
            text = "no folder for temporary files can be written"
            yield Finding("fail", "disk", text, "df -h /tmp; export TMPDIR=/path/with/space")
            continue
        free = shutil.disk_usage(folder).free
        text = f"{free / 1e9:.1f} GB free for {name} ({folder})"
        cure = f"df -h {folder}  # then delete files, or work in another folder"
        try:
            _write(folder)
        except OSError as error:
            if error.errno in FULL:
                text = f"no space for {name} ({folder}): {error.strerror}"
                yield Finding("fail", "disk", text, cure)
                continue
        enough = free >= ENOUGH
        yield Finding("ok" if enough else "note", "disk", text, "" if enough else cure)


def _temporary() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return None


def _write(folder: Path) -> None:
    """Write a file that has no name, or loses it at once. Raises `OSError`."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(TRIAL))
        file.flush()
