"""Text for a terminal and text of others: control characters, errors in words, suggestions, JSON."""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""Terminal codes that set colours."""


def printable(text: str) -> str:
    """`text` with control characters and undecodable bytes escaped, so that it stays on one line."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


class PrintableStream:
    """A text stream for people: what is written to it cannot control the terminal.

    Names of files, texts in models and errors of plugins come from others, and a terminal obeys
    escape sequences in them. Colours are removed; other control characters are escaped, but for line
    feeds and tabs. Everything else, such as `buffer`, is that of the stream below.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        lines = COLOUR.sub("", text).split("\n")
        self.stream.write("\n".join(map(_printable_line, lines)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def close(self) -> None:
        """Only flush: the stream below belongs to the program, not to whom `sys.stdout` is lent."""
        self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def unfiltered(stream: Any) -> TextIO:
    """The stream below a `PrintableStream`, or the stream itself."""
    below: TextIO = stream.stream if isinstance(stream, PrintableStream) else stream
    return below


def _printable_line(line: str) -> str:
    return line if line.isprintable() else "\t".join(map(printable, line.split("\t")))


def describe(error: BaseException) -> str:
    """The class and the text of any exception; of plugins, even the text may be broken."""
    kind = type(error).__name__
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001
        text = ""
    return f"{kind}: {text}" if text else kind


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A remedy for a misspelt name, `did you mean 'compress'?`; None if no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.7)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else None


def parse_json(data: str | bytes) -> Any:
    """The value of a JSON text of others. Raises `ValueError` whatever is wrong with it."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
