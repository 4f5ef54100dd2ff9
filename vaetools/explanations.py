"""What the docstrings of the error classes say: meaning, causes and remedy of each code."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
from dataclasses import dataclass

from vaetools import errors
from vaetools.errors import VaetoolsError

EXITS = {
    errors.EXIT_SOME_FAILED: "some inputs failed",
    errors.EXIT_USAGE: "wrong usage, nothing was done",
    errors.EXIT_NOTHING_MATCHED: "no input matched",
    errors.EXIT_ENVIRONMENT: "a device or a model is missing",
}


@dataclass(frozen=True)
class Explanation:
    """What the docstring of an error class says."""

    code: str
    name: str
    exit_code: int
    meaning: str
    causes: str
    remedy: str

    @property
    def text(self) -> str:
        """Several lines for a terminal."""
        lines = [
            f"{self.code} {self.name}",
            self.meaning,
            f"Causes: {self.causes}",
            f"Remedy: {self.remedy}",
            f"Exit code: {self.exit_code} ({EXITS[self.exit_code]})",
        ]
        return "\n".join(textwrap.fill(line, 80, subsequent_indent="  ") for line in lines)

    @property
    def section(self) -> str:
        """A section of the page."""
        paragraphs = (self.meaning, f"*Causes:* {self.causes}", f"*Remedy:* {self.remedy}")
        filled = [textwrap.fill(text, 100, break_on_hyphens=False) for text in paragraphs]
        return "\n\n".join([f"## {self.code} {self.name}", *filled])


@functools.cache
def explanations() -> dict[str, Explanation]:
    """All explanations by their codes, in order."""
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, VaetoolsError) and kind is not VaetoolsError
    ]
    # Two base classes have the code of a subclass, which follows them and says more.
    by_code = {kind.code: kind for kind in kinds}
    return {code: _explained(kind) for code, kind in sorted(by_code.items())}


def _explained(kind: type[VaetoolsError]) -> Explanation:
    text = inspect.cleandoc(kind.__doc__ or "")
    match = re.match(r"(.+?)\n\nCauses: (.+?)\nRemedy: (.+?)(\n\n.*)?$", text, re.DOTALL)
    if match is None:
        raise TypeError(f"the docstring of {kind.__name__} lacks Causes or Remedy")
    meaning, causes, remedy = (" ".join(part.split()) for part in match.groups()[:3])
    return Explanation(kind.code, kind.__name__, kind.exit_code, meaning, causes, remedy)
