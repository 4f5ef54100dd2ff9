"""The hub of this process, for faces that have no place to keep one: files, Pillow, imageio."""

from __future__ import annotations

import os
import threading
from typing import ClassVar

from vaetools.hub import Hub
from vaetools.hub import open as open_hub


class _Shared:
    lock: ClassVar[threading.Lock] = threading.Lock()
    hub: ClassVar[Hub | None] = None


def shared_hub() -> Hub:
    """The default hub, opened on first use. Safe to call from several threads.

    A forked process opens its own: the threads of a session do not exist there.
    """
    with _Shared.lock:
        if _Shared.hub is None:
            _Shared.hub = open_hub()
        return _Shared.hub


def _after_fork() -> None:
    _Shared.lock = threading.Lock()  # perhaps held by a thread that does not exist here
    _Shared.hub = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
