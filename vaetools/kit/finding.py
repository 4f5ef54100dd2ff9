"""What the check of a plugin finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "note", "fail"]


@dataclass(frozen=True)
class Finding:
    """One result of the check: `note` is worth knowing, `fail` needs a fix."""

    state: State
    subject: str
    text: str
