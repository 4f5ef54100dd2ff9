"""Every command line in the documentation is one that the program understands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.paths import ROOT
from vaetools.cli.app import program

ELSEWHERE = {"--plugins-dir", "--config", "pipeline.toml", "KIND"}
"""Lines with these need a plugin or a file of the page, which other tests have, or stand for many."""

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def command_lines(page: Path) -> Iterator[list[str]]:
    """The words of each line that starts with `vaetools`, without pipes, redirections, comments."""
    for code in re.findall(r"^ *```sh\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in re.sub(r"\\\n\s*", " ", code).splitlines():
            found = re.match(r"(?:\S+ \| |\w+=\S+ |\$ )?(vaetools .*)", line.strip())
            if found and "…" not in found[1] and "[" not in found[1]:
                words = shlex.split(found[1], comments=True)
                ends = [i for i, word in enumerate(words) if re.fullmatch(r"[|<>&;]+|2>", word)]
                if not ELSEWHERE.intersection(words):
                    yield words[1 : min(ends, default=len(words))]


def parse(words: list[str]) -> None:
    """Parse a command line and run nothing."""
    command: click.Command = program
    ctx = program.make_context("vaetools", list(words))
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
        assert found is not None, words
        command = found
        ctx = command.make_context(name, list(rest), parent=ctx)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_command_lines_are_understood(page: Path) -> None:
    for words in command_lines(page):
        try:
            parse(words)
        except click.exceptions.Exit:
            pass
        except click.ClickException as error:
            pytest.fail(f"{shlex.join(words)}: {error.format_message()}")
