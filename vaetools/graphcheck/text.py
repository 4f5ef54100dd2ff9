"""Untrusted text in messages: short, on one line, without control characters."""

from __future__ import annotations

from vaetools.errors import printable


def shown(name: str) -> str:
    """A name from a graph."""
    return repr(printable(name[:60]))


def first_line(error: Exception) -> str:
    """First line of the message of a library's exception."""
    lines = str(error).strip().splitlines()
    return printable(lines[0][:200]) if lines else type(error).__name__
