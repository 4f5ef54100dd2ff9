"""`vaetools explain CODE`: what an error code means, and the page docs/errors.md."""

from __future__ import annotations

import click

from vaetools import errors
from vaetools.cli.flags import DEBUG
from vaetools.cli.table import table
from vaetools.cli.values import codes
from vaetools.errors import UsageError, did_you_mean
from vaetools.explanations import explanations

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
@click.argument("code", required=False, metavar="[CODE]", shell_complete=codes)
@click.option("--markdown", is_flag=True, help="Print the page docs/errors.md.")
@DEBUG
def command(code: str | None, markdown: bool) -> None:
    """Explain an error code.

    Prints the meaning of CODE, such as E013, its usual causes, a remedy and the exit code. Without
    CODE, all codes are listed.

    \b
    Examples:
      vaetools explain
      vaetools explain E013
    """
    found = explanations()
    if markdown and code is not None:
        raise UsageError("--markdown prints all codes", remedy=f"leave out {code}")
    if markdown:
        click.echo(page(), nl=False)
    elif code is None:
        for line in table([[one.code, one.meaning] for one in found.values()], ["code", "meaning"]):
            click.echo(line)
    elif code.upper() in found:
        click.echo(found[code.upper()].text)
    else:
        remedy = did_you_mean(code.upper(), found) or "vaetools explain lists all codes"
        raise UsageError(f"there is no error code {code!r}", remedy=remedy)
