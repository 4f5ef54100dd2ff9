"""`vaetools explain CODE`: what an error code means, and the page docs/errors.md."""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import dataclass

import click

from vaetools import errors
from vaetools.cli.flags import DEBUG
from vaetools.errors import UsageError, VaetoolsError, did_you_mean

EXITS = {
    errors.EXIT_SOME_FAILED: "some inputs failed",
    errors.EXIT_USAGE: "wrong usage, nothing was done",
    errors.EXIT_NOTHING_MATCHED: "no input matched",
    errors.EXIT_ENVIRONMENT: "a device or a model is missing",
}

PAGE = """\
# Error codes

Every error is one line: its code, the file, the problem and a remedy. `vaetools explain E013`
prints an entry of this page; `vaetools explain --markdown` writes the page from the docstrings in
`vaetools/errors.py`. Codes are stable: scripts may rely on them. In Python, each code is a class in
`vaetools.errors`, with the attributes `code`, `file`, `problem` and `remedy`.

Base classes: {bases}.

A run goes on after an input that failed, and then exits with 1.

| code | meaning | exit code |
|---|---|---:|
{rows}

{sections}
"""


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


def page() -> str:
    """The text of docs/errors.md."""
    found = explanations().values()
    rows = [
        f"| [{one.code}](#{one.code.lower()}-{one.name.lower()}) | {one.meaning} "
        f"| {one.exit_code} |"
        for one in found
    ]
    bases = [
        f"`{kind.__name__}` of {', '.join(sorted(sub.code for sub in kind.__subclasses__()))}"
        for kind in (errors.InputError, errors.BitstreamError, errors.ModelError, UsageError)
    ]
    return PAGE.format(
        bases=";\n".join(bases),
        rows="\n".join(rows),
        sections="\n\n".join(one.section for one in found),
    )


@click.command("explain")
@click.argument("code", required=False, metavar="[CODE]")
@click.option("--markdown", is_flag=True, help="Print the page docs/errors.md.")
@DEBUG
def command(code: str | None, markdown: bool) -> None:
    """Explain an error code.

    Prints the meaning of CODE, such as E013, its usual causes, a remedy and the exit code. Without
    CODE, all codes are listed.
    """
    found = explanations()
    if markdown and code is not None:
        raise UsageError("--markdown prints all codes", remedy=f"leave out {code}")
    if markdown:
        click.echo(page(), nl=False)
    elif code is None:
        for one in found.values():
            click.echo(f"{one.code}  {one.meaning}")
    elif code.upper() in found:
        click.echo(found[code.upper()].text)
    else:
        remedy = did_you_mean(code.upper(), found) or "vaetools explain lists all codes"
        raise UsageError(f"there is no error code {code!r}", remedy=remedy)
