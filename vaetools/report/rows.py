"""One record as the table shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaetools.errors import printable
from vaetools.record import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.record import Record
    from vaetools.report.links import Links
    from vaetools.report.previews import Shot

Link = tuple[str, str]
"""(URL, path as text) of a file; the URL is empty if there is no such file."""


class Row:
    """A row of the table.

    Attributes:
        record: The record.
        shots: Its previews.
    """

    def __init__(self, record: Record, links: Links, shots: Sequence[Shot] = ()) -> None:
        self.record = record
        self.shots = shots
        self._links = links

    @property
    def input(self) -> Link:
        """A generated item has no file, and no bytes."""
        return self._link(self.record.file, exists=self.record.bytes_in > 0)

    @property
    def outputs(self) -> list[Link]:
        """Without those of an input that failed: there are none."""
        if self.record.status == "failed":
            return []
        exist = self.record.status != "planned"
        return [self._link(file, exists=exist) for file in self.record.out]

    def _link(self, file: str, *, exists: bool) -> Link:
        return (self._links.url(file) if exists else "", one_line(file))

    def url(self, shot: Shot) -> str:
        """URL of the file of a shot."""
        return self._links.url(shot.file)

    @property
    def message(self) -> str:
        """The message without the name of the input, which the row has already."""
        record = self.record
        return one_line(record.message.removeprefix(f"{printable(record.file)}: "))

    @property
    def code(self) -> str:
        return one_line(self.record.code)

    @property
    def kinds(self) -> str:
        """What the filter of the table selects, as words."""
        record = self.record
        kinds: list[str] = [record.status]
        kinds += ["unchanged"] if record.unchanged else []
        kinds += ["lossy"] if record.not_kept else []
        kinds += ["noted"] if record.message and record.status == "done" else []
        return " ".join(kinds)

    @property
    def found(self) -> list[str]:
        """What the operation found out, such as `sigma 7.3`, if the message does not say it."""
        found = {name.replace("_", " "): _value(v) for name, v in self.record.found.items()}
        return [
            one_line(f"{name} {value}")
            for name, value in found.items()
            if value not in self.record.message
        ]

    @property
    def sizes(self) -> str:
        record = self.record
        before = format_bytes(record.bytes_in) if record.bytes_in else ""
        after = f"→ {format_bytes(record.bytes_out)}" if record.bytes_out else ""
        return f"{before} {after}".strip()

    @property
    def ratio(self) -> str:
        """Size of the outputs relative to the input."""
        record = self.record
        if not (record.bytes_in and record.bytes_out):
            return ""
        return f"{record.bytes_out / record.bytes_in:.1%}"

    @property
    def pixels(self) -> str:
        record = self.record
        return f"{record.width} × {record.height}" if record.width else ""

    @property
    def ms(self) -> str:
        return f"{self.record.ms:,.0f}" if self.record.ms else ""


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def one_line(text: str) -> str:
    """Text without control characters and undecodable bytes."""
    return text if text.isprintable() else printable(text)
