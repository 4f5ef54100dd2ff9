"""Help is uniform: sentences, defaults and ranges as click shows them."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from tests.cli.commands import commands
from vaetools.cli import main
from vaetools.cli.app import COMMANDS, program
from vaetools.plugin.host import PluginHost

if TYPE_CHECKING:
    from collections.abc import Iterator

SENTENCE = re.compile(r"(?:[A-Z0-9`./]|auto, ).*[.]", re.DOTALL)


def options() -> Iterator[tuple[str, click.Option]]:
    for words, command in {"": program, **commands()}.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                yield f"{words} {parameter.opts[-1]}", parameter


def test_every_option_has_a_sentence() -> None:
    found = dict(options())
    assert len(found) > 200
    for place, option in found.items():
        text = option.help or ""
        assert SENTENCE.fullmatch(text), (place, text)
        assert "[" not in text and "default" not in text.lower().replace("defaults for", ""), place


def test_every_value_has_a_short_name() -> None:
    """`--limit N`, never `--limit INTEGER RANGE`."""
    for place, option in options():
        if not option.is_flag and not isinstance(option.type, click.Choice):
            assert option.metavar, place


def test_every_command_begins_with_a_sentence() -> None:
    for words, command in commands().items():
        first = (command.help or "").strip().splitlines()[0]
        assert SENTENCE.fullmatch(first), (words, first)
    found = commands()
    for name, summary in COMMANDS.items():
        assert (found[name].help or "").strip().splitlines()[0] == summary, name


def test_the_list_of_commands_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for name in (*COMMANDS, *PluginHost(installed=False).operations):
        assert re.search(rf"^  {name} +[A-Z]", text, re.MULTILINE), name
    assert "[]" not in text


@pytest.mark.parametrize("words", [["compress"], ["inspect"], ["run", "denoise,compress"]])
def test_defaults_and_ranges_are_those_of_click(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "[default: " in text and "[]" not in text and "…" not in text.split("Options")[0]
    assert re.search(r"\[default: \w+; \d+<=x", text) or re.search(r"\[default: \w+; x>=\d", text)


HEAVY = ("cv2", "onnx", "onnxruntime", "skimage", "torch")


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--version"], (*HEAVY, "numpy", "vaetools_plugins")),
        (["--help"], HEAVY),
        (["compress", "--help"], HEAVY),
    ],
)
def test_help_is_light(words: list[str], heavy: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom vaetools.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not {*heavy} & {name.partition(".")[0] for name in done.stderr.split()}
