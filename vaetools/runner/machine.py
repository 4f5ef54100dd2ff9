"""Which machine and which process this is, for other processes that see the same files."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import sys
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")


@functools.cache
def machine_id() -> str:
    """Eight hexadecimal digits for the machine on which ids of processes mean the same as here.

    The name alone is not enough: machines of a cloud may have equal names, containers may have the
    name of their host and still count processes on their own, and ids start again after a reboot.
    """
    facts = [platform.node()]
    with contextlib.suppress(OSError):  # on Linux only
        facts += [_BOOT.read_text().strip(), os.readlink(_NAMESPACE)]  # noqa: PTH115
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def is_running(pid: int) -> bool:
    """Whether a process with this id runs on this machine; always True on Windows."""
    if sys.platform == "win32":
        return True  # os.kill(pid, 0) would send Ctrl-C
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def started(pid: int) -> str:
    """When a process of this machine began, in ticks of the kernel; empty if that is not known.

    Together with its id it identifies the process: ids are used again.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[19]
