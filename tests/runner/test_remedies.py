"""Remedies in messages of runs and videos name only flags that the command has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import vaetools
from vaetools.cli.operation import command_of, operation_command
from vaetools.cli.run import VIDEO_FLAGS
from vaetools.cli.steps import StepFlags
from vaetools.operation import Operation
from vaetools.operation.chain import StepSpec

from .operations import Copy, Invert
from .test_generated import Dice

KINDS: tuple[type[Operation], ...] = (Copy, Invert, Dice)
"""Operations on files, on images, and without inputs."""

FOR_INPUTS = {"--prune", "--exclude", "--lenient", "--root"}
"""Named only where there are inputs: see the tests of clashes, and of videos."""


def messages() -> Iterator[str]:
    """All one-line strings of the runner and of video, except docstrings."""
    for room in ("runner", "video"):
        for path in sorted((Path(vaetools.__file__).parent / room).glob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                text = node.value if isinstance(node, ast.Constant) else None
                if isinstance(text, str) and node not in prose and "\n" not in text:
                    yield text


def named(text: str) -> list[tuple[str, str]]:
    """The flags in a text, with `run` before those of `vaetools run`."""
    return re.findall(r"(?:vaetools (run) )?(?<![\w-])(--[a-z][a-z-]+)", text)


def flags(command: click.Command) -> set[str]:
    return {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}


NAMED = sorted({found for text in messages() for found in named(text)})


def test_the_remedies_are_found() -> None:
    assert {("", "--on-exists"), ("", "--jobs"), ("run", "--fourcc")} <= set(NAMED)
    assert {flag for _, flag in NAMED} >= FOR_INPUTS


@pytest.mark.parametrize(("command", "flag"), NAMED)
def test_a_flag_that_a_remedy_names_exists(command: str, flag: str) -> None:
    for kind in KINDS:
        if command == "run":
            step = StepFlags(0, kind, StepSpec(kind.name))
            assert flag in flags(command_of(kind.name, "", [step], *VIDEO_FLAGS))
        elif kind.takes != "nothing" or flag not in FOR_INPUTS:
            assert flag in flags(operation_command(kind))
