"""Every command has examples in its help, and they work."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cv2
import numpy as np
import pytest

from tests.cli.commands import commands
from tests.runner.operations import Copy
from vaetools.cli import main
from vaetools.cli.app import program
from vaetools.cli.sections import SECTIONS, SectionedCommand, examples_of
from vaetools.testing import gradient

if TYPE_CHECKING:
    from collections.abc import Iterator


def examples() -> dict[str, list[str]]:
    """The example lines in the help of each command."""
    found = {}
    for words, command in {"": program, **commands()}.items():
        _, _, text = (command.help or "").partition("Examples:\n")
        found[words] = [line.strip() for line in text.splitlines() if line.strip()]
    return found


def lines() -> Iterator[str]:
    for found in examples().values():
        yield from found


def test_every_command_has_examples() -> None:
    for words, found in examples().items():
        own = f"vaetools {words}".strip()
        assert found and found[0].startswith(own), words
        for line in found:
            assert line.startswith("vaetools ")
            assert len(line) <= 76, f"{line} is too long for 80 columns"


@pytest.mark.usefixtures("_place")
def test_every_example_is_a_valid_command_line() -> None:
    """Click takes its flags and values; nothing is run."""
    for line in lines():
        words = shlex.split(re.sub(r" > \S+$", "", line))[1:]
        ctx = program.make_context("vaetools", [*words])
        while isinstance(ctx.command, click.Group) and ctx._protected_args:
            name, command, rest = ctx.command.resolve_command(
                ctx, [*ctx._protected_args, *ctx.args]
            )
            assert command is not None, line
            if "--help" in rest:
                break
            ctx = command.make_context(name, rest, parent=ctx)


def test_operations_of_others_get_an_example() -> None:
    class Drawn(Copy):
        name = "drawn"
        takes = "nothing"  # type: ignore[assignment]

    class Own(Copy):
        """Is of another.

        Examples:

            vaetools own a.png -o b.png

        More text.
        """

        name = "own"

    assert examples_of(Drawn) == ["vaetools drawn -o out/"]
    assert examples_of(Own) == ["vaetools own a.png -o b.png"]


def test_every_flag_of_an_operation_has_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    for words, command in commands().items():
        if isinstance(command, SectionedCommand):
            with pytest.raises(SystemExit):
                main([*words.split(), "--help"])
            text = capsys.readouterr().out
            titles = re.findall(r"^([A-Z].*):$", text, re.MULTILINE)
            assert "Other options" not in titles, words
            assert [title for title in titles if title in SECTIONS] == [
                title for title in SECTIONS if title in titles
            ]
            assert not re.search(r"^Options:$", text, re.MULTILINE)


ELSEWHERE = ("train", "export", "demo", "view", "serve", "inspect", "shards", "desktop thumbnail")
"""Commands whose examples take minutes, wait for a browser, or need weights of other programs."""

WRITES = ("-o", "--out", "--contact-sheet", "--report")
"""Flags whose value is a file that the command writes."""


@pytest.fixture
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with what the examples name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("photos", "back", "digits", "projects", "my-models"):
        Path(folder).mkdir()
    for name in ("photos/photo.jpg", "photo.jpg", "photo.png", "back/photo.png"):
        cv2.imwrite(name, gradient(96, 64))
    mask = np.zeros((96, 64), np.uint8)
    mask[20:23, 10:30] = 255
    cv2.imwrite("mask.png", mask)
    for name in ("digits/1.png", "3.png", "8.png"):
        cv2.imwrite(name, gradient(28, 28)[..., 0])
    Path("pipeline.toml").write_text('[[step]]\nop = "denoise"\nsigma = 5\n')


@pytest.mark.usefixtures("_place")
def test_examples_name_images_of_one_folder() -> None:
    """So that one example can follow another, and `test_the_examples_run` finds what it needs."""
    written = {"masks/photo.png", "packed/photo.jpg.vae", "photo.vae", "photo.png.vae"}
    read = set()
    for line in lines():
        words = shlex.split(line)
        for before, word in itertools.pairwise(words):
            if word.endswith((".jpg", ".png", ".vae")):
                (written if before in WRITES else read).add(word)
    assert {"photo.jpg", "mask.png"} <= read
    assert not [
        name for name in sorted(read - written - {"thumbnail.png"}) if not Path(name).exists()
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("_place")
def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the list of commands, with what earlier ones have written."""

    def call(line: str) -> None:
        with pytest.raises(SystemExit) as caught:
            main(shlex.split(line)[1:])
        text = capsys.readouterr()
        assert not caught.value.code, (line, text.err)

    def skipped(line: str) -> bool:
        words = line.removeprefix("vaetools ")
        by_name = words.startswith(ELSEWHERE) or any(
            w in line for w in ("clip", " --raw ", "--watch")
        )
        return by_name or "incoming" in line or "--device cuda" in line or "run/" in line

    call("vaetools compress photos/ -o packed/")
    call("vaetools mask-dust photos/ -o masks/")
    shutil.copy("mask.png", "masks/photo.png")
    with pytest.raises(SystemExit):
        main(["denoise", "photos/", "-o", "more-clean/", "--json"])
    Path("run.ndjson").write_text(capsys.readouterr().out)
    shutil.copy("packed/photo.jpg.vae", "photo.vae")
    for line in dict.fromkeys(lines()):
        if skipped(line) or "sepia" in line:
            continue
        out = re.search(r" (?:-o|--out) (\S+)", line)
        replaces = out is not None and os.path.lexists(out[1]) and "report run" not in line
        call(line.partition(" > ")[0] + replaces * " --on-exists replace")
    call("vaetools plugins new sepia")
    call("vaetools plugins check vaetools-sepia/")
