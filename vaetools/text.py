"""Text for a terminal: one line without control characters, and suggestions for misspelt names."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def printable(text: str) -> str:
    """`text` with control characters and undecodable bytes escaped, so that it stays on one line."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


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
