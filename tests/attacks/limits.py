"""Refusals take little time and memory."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

# Loading a library counts neither as time nor as memory, and without memory it ends the process.
import cv2  # noqa: F401
import onnx  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 1.0
MEMORY = 256 * 2**20


@contextlib.contextmanager
def little_time_and_memory() -> Iterator[None]:
    """At most `SECONDS` of processor time; `MEMORY` more address space, where that can be limited."""
    page = os.sysconf("SC_PAGE_SIZE")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text().split()[0]) * page
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    start = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert time.process_time() - start < SECONDS
