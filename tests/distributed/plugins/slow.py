"""Copies files, slowly; what a file contains may end the process, and the one of its task."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path, PurePath

import vaetools
from vaetools import hookimpl, option

TASKS = (b"ray::vaetools", b"vaetools.distributed.local")
"""In the command lines of processes of engines."""


class SlowCopy(vaetools.Operation):
    """Copy files."""

    name = "slow-copy"
    takes = "file"
    suffixes = (".raw",)

    @dataclass(frozen=True)
    class Options:
        pause: float = option(0.0, min=0, max=10, help="seconds for each file")

    def outputs(self, source: PurePath) -> tuple[PurePath, ...]:
        return (source,)

    def process(self, item: bytes) -> bytes:
        time.sleep(self.options.pause)
        parent = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
        if item.startswith(b"venom") and any(name in parent for name in TASKS):
            os.kill(os.getppid(), signal.SIGKILL)
        if item.startswith((b"poison", b"venom")):
            os.kill(os.getpid(), signal.SIGKILL)
        return item


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [SlowCopy]
