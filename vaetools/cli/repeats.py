"""Equal messages about several inputs, folded into the first one and a count."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING

from vaetools.text import printable

if TYPE_CHECKING:
    from vaetools.record import Record


class Repeats:
    """Counts messages that differ in nothing but the names of the input and its outputs."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._texts: dict[str, str] = {}

    def is_first(self, record: Record, code: str) -> bool:
        """Whether this is the first record with its message; counts it.

        Args:
            record: Has a message.
            code: What stands before the message, such as `E010 `.
        """
        text = _without_input(record)
        key = code + _without_names(text, record)
        self._texts.setdefault(key, code + text)
        self._seen[key] += 1
        return self._seen[key] == 1

    def further(self) -> list[tuple[int, str, str]]:
        """(number of further inputs, code, message of the first one) of each repeated message."""
        found = []
        for key, count in self._seen.items():
            if count > 1:
                code, separator, text = self._texts[key].partition(" ")
                is_code = re.fullmatch(r"E\d{3}", code) is not None
                parts = (code + separator, text) if is_code else ("", self._texts[key])
                found.append((count - 1, *parts))
        self._seen.clear()
        self._texts.clear()
        return found


def _without_input(record: Record) -> str:
    name = " ".join(printable(record.file).split())
    return record.message.removeprefix(f"{name}: ")


def _without_names(text: str, record: Record) -> str:
    """The message without the paths, names and stem of the input and its outputs."""
    for path in (record.file, *record.out):
        text = text.replace(printable(path), "…")
    name = PurePath(record.file).name
    for part in (name, PurePath(name).stem):
        shown = re.escape(printable(part))
        text = re.sub(rf"(?<![^\W_]){shown}(?![^\W_])", "…", text)
    return text
