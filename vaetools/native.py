"""What native code writes to stderr: kept from users, or the cause of an error."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG_LINE = re.compile(r"(?:\x1b\[[\d;]*m)*\d{4}-\d\d-\d\d [\d:.]+ \[\w:onnxruntime:")
"""How a line of ONNX Runtime's log begins."""

_FAILURE = re.compile(r"error|fail|could not|cannot|unable|not found", re.IGNORECASE)

ERROR, FATAL = 3, 4
"""Severities of ONNX Runtime's log."""

_PREFIX = re.compile(
    r"^.*(\[\w:onnxruntime:[^]]*\]|\[ONNXRuntimeError\] : \d+ : \w+ :|with error:"
    r"|/onnxruntime_src/\S+:\d+ [^)]*\)( \[with [^]]*\])?)|\x1b\[[\d;]*m",
    re.DOTALL,
)

_LOCK = threading.RLock()


def cause_of(message: str) -> str:
    """A message of ONNX Runtime as one line, without the places in its code, at most 300 characters."""
    return " ".join(_PREFIX.sub("", message).split())[:300]


class Heard:
    """What was written to stderr. Its text is read when the block has ended, or during it."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self._text = ""

    def text(self) -> str:
        """All that was written so far."""
        if self._file is not None:
            size = self._file.seek(0, os.SEEK_END)
            self._file.seek(0)
            self._text = self._file.read(size).decode(errors="replace")
        return self._text

    def cause(self) -> str:
        """The first error of ONNX Runtime, else the first line that is about a failure, or nothing."""
        lines = self.text().splitlines()
        errors = [line for line in lines if LOG_LINE.match(line)]
        errors += [line for line in lines if _FAILURE.search(line)]
        return next(filter(None, map(cause_of, errors)), "")

    def close(self) -> None:
        """Keep the text, and nothing else."""
        self.text()
        self._file = None


@contextlib.contextmanager
def captured_stderr() -> Iterator[Heard]:
    """Keep everything from the process's stderr; one thread at a time.

    Native libraries write to the file descriptor, past `sys.stderr`.
    """
    import tempfile

    with _LOCK, contextlib.ExitStack() as ends:
        try:
            sys.stderr.flush()
            saved = os.dup(2)
            ends.callback(os.close, saved)
            file = ends.enter_context(tempfile.TemporaryFile())
            os.dup2(file.fileno(), 2)
        except (OSError, AttributeError, ValueError):  # no stderr, or no space
            yield Heard(None)
            return
        heard = Heard(file)
        try:
            yield heard
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
            os.dup2(saved, 2)
            heard.close()


@contextlib.contextmanager
def captured_log() -> Iterator[Heard]:
    """As `captured_stderr`, with the errors that ONNX Runtime logs."""
    ort = onnxruntime()
    with captured_stderr() as heard:
        ort.set_default_logger_severity(ERROR)
        try:
            yield heard
        finally:
            ort.set_default_logger_severity(FATAL)


@functools.cache
def onnxruntime() -> Any:
    """The module, imported silently; from then on it logs nothing to stderr.

    ONNX Runtime looks for devices when it is imported, and logs what it cannot read.
    """
    with captured_stderr() as heard:
        ort = importlib.import_module("onnxruntime")
    ort.set_default_logger_severity(FATAL)
    others = [line for line in heard.text().splitlines(True) if not LOG_LINE.match(line)]
    if others:  # of other threads, or of a broken installation
        sys.stderr.writelines(others)
    return ort
