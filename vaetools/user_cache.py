"""Small files in the user's cache folder: missing, damaged or read-only ones only cost time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_DIGEST_SIZE = 32


def cache_folder() -> Path | None:
    """`$XDG_CACHE_HOME/vaetools` or the system's equivalent; None for a user without a home."""
    base = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "vaetools"
    except RuntimeError:
        return None


def read_cache(name: str) -> dict[str, Any]:
    """The JSON object in a file of the cache folder; empty if there is no valid one."""
    folder = cache_folder()
    if folder is None:
        return {}
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_cache(name: str, content: dict[str, Any]) -> None:
    """Replace a file of the cache folder atomically; does nothing if it cannot be written."""
    folder = cache_folder()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / name, json.dumps(content).encode())


def remembered(kind: str, key: str, make: Callable[[], bytes]) -> bytes:
    """The result of `make`, which is called only if it is not in the cache.

    An entry is one file: the SHA-256 of its content, then the content. A damaged one is made again.
    The folder is used only if it belongs to the user of this process and nobody else may write to it.

    Args:
        kind: a folder within the cache.
        key: a file name; it must depend on everything that the result depends on.
        make: an exception passes through, and nothing is kept.
    """
    folder = private_folder(kind)
    if folder is None:
        return make()
    with contextlib.suppress(OSError):
        entry = (folder / key).read_bytes()
        content = entry[_DIGEST_SIZE:]
        if hashlib.sha256(content).digest() == entry[:_DIGEST_SIZE]:
            return content
    content = make()
    with contextlib.suppress(OSError):
        _replace(folder / key, hashlib.sha256(content).digest() + content)
    return content


def private_folder(kind: str) -> Path | None:
    """The folder `kind` of the cache; None if it cannot be made, or if others may write to it."""
    top = cache_folder()
    if top is None:
        return None
    try:
        folder = top / kind
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    if os.name != "posix":
        return folder
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder if status.st_uid == os.geteuid() and not writable else None


def _replace(path: Path, data: bytes) -> None:
    """Write a file atomically. Raises `OSError`."""
    import tempfile

    handle, part = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
