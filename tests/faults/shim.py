"""The library that makes system calls fail: compiled for the tests, and set up by variables."""

from __future__ import annotations

import errno
import mmap
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
COMPILER = shutil.which("gcc") or shutil.which("cc")
IS_POSSIBLE = sys.platform == "linux" and COMPILER is not None


def build(folder: Path) -> Path:
    """Compile the library; returns its path."""
    library = folder / "shim.so"
    command = [str(COMPILER), "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


@dataclass(frozen=True)
class Fault:
    """Which calls fail, and how.

    Attributes:
        calls: Names as in `shim.c`, separated by commas.
        error: Name of the error, such as `ENOSPC`.
        lasts: Whether all calls after the first one that fails fail, too.
    """

    calls: str
    error: str
    lasts: bool = False

    def __str__(self) -> str:
        return f"{self.calls} {self.error}{' from then on' if self.lasts else ''}"

    def variables(self, root: Path, state: Path, nth: int) -> dict[str, str]:
        """The environment in which the `nth` call below `root` fails; 0: calls are only counted."""
        return {
            "FAULT_ROOT": str(root),
            "FAULT_CALLS": self.calls,
            "FAULT_NTH": str(nth),
            "FAULT_ALL": str(int(self.lasts)),
            "FAULT_ERRNO": str(getattr(errno, self.error)),
            "FAULT_STATE": str(state),
        }


def reset(state: Path) -> None:
    """Set the counts that the processes share to 0."""
    state.write_bytes(bytes(16))


def counts(state: Path) -> tuple[int, int]:
    """Number of calls, and of calls that failed."""
    with state.open("rb") as file, mmap.mmap(file.fileno(), 16, access=mmap.ACCESS_READ) as data:
        return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")
