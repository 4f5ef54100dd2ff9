"""The program's own output: stdout for results alone, and nothing that controls the terminal."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any, cast

from vaetools.cli.streams import lead_nowhere
from vaetools.errors import OutputError
from vaetools.text import PrintableStream, unfiltered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

STDOUT, STDERR = 1, 2


@contextlib.contextmanager
def own_output() -> Iterator[None]:
    """Until the end, stdout takes what is printed through `sys.stdout`, and both streams are filtered.

    What plugins and libraries write to file descriptor 1 goes to stderr, so that it cannot get
    between lines of JSON or into raw frames. `os._exit` of a plugin raises `SystemExit`: the program
    must not end as if all had been done.
    """
    streams = sys.stdout, sys.stderr
    ends = os._exit
    process = os.getpid()

    def exit_as_others(code: int) -> Any:
        if os.getpid() != process:  # forked: the usual end of such a process
            ends(code)
        raise SystemExit(f"os._exit({code})")

    with _moved_stdout(streams[0]) as stdout:
        sys.stdout = cast("TextIO", _Stdout(stdout or io.StringIO()))
        sys.stderr = cast("TextIO", _Stderr(streams[1] or io.StringIO()))
        os._exit = exit_as_others  # type: ignore[assignment]
        try:
            yield
        finally:
            os._exit = ends
            sys.stdout, sys.stderr = streams


@contextlib.contextmanager
def unfiltered_output() -> Iterator[None]:
    """Until the end, both streams and their file descriptors are as they were: for plugins' commands."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = unfiltered(streams[0]), unfiltered(streams[1])
    try:
        with _number_back(sys.stdout, STDOUT), _number_back(sys.stderr, STDERR):
            yield
    finally:
        sys.stdout, sys.stderr = streams


@contextlib.contextmanager
def _number_back(stream: TextIO, number: int) -> Iterator[None]:
    """Until the end, what is written to descriptor `number` goes where `stream` goes."""
    own = _number(stream)
    if own is None or own == number:
        yield
        return
    moved = os.dup(number)
    os.dup2(own, number)
    try:
        yield
    finally:
        stream.flush()
        os.dup2(moved, number)
        os.close(moved)


@contextlib.contextmanager
def _moved_stdout(stdout: TextIO) -> Iterator[TextIO]:
    """Stdout under another number; its own becomes that of stderr."""
    console = os.name == "nt" and stdout is not None and stdout.isatty()  # has no other number
    if console or _number(stdout) != STDOUT:  # caught, as by tests
        yield stdout
        return
    stdout.flush()
    own = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    buffering = 1 if stdout.isatty() else -1
    moved = os.fdopen(own, "w", buffering, stdout.encoding, stdout.errors)
    try:
        yield moved
        moved.flush()
    finally:
        with contextlib.suppress(OSError):  # closed by a plugin
            os.dup2(own, STDOUT)
        with contextlib.suppress(OSError):  # what was not written is an error already
            moved.close()


class _Stdout(PrintableStream):
    """Raises `OutputError`, once, if the stream below cannot be written; not for a closed pipe."""

    def write(self, text: str) -> int:
        with self._named():
            return super().write(text)

    def flush(self) -> None:
        with self._named():
            self.stream.flush()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            _give_up(self.stream)
            raise stdout_error(error) from error


def _give_up(stream: TextIO) -> None:
    """Let a stream that cannot be written lead nowhere: what it still holds would fail again."""
    number = _number(stream)
    if number is not None:
        lead_nowhere(number)


def stdout_error(error: OSError) -> OutputError:
    """The error of a stream of results that cannot be written."""
    return OutputError(f"cannot be written: {error.strerror}", file="<stdout>")


class _Stderr(PrintableStream):
    """Never fails: messages that nobody can read must not end the work."""

    def write(self, text: str) -> int:
        with self._suppressed():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._suppressed():
            self.stream.flush()

    @contextlib.contextmanager
    def _suppressed(self) -> Iterator[None]:
        try:
            yield
        except ValueError:  # it is closed
            pass
        except OSError:
            _give_up(self.stream)


def _number(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
