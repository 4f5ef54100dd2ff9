"""A remedy names only options that the command has."""

from __future__ import annotations

import ast
import re
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.commands import commands
from tests.paths import ROOT
from vaetools.cli import main
from vaetools.cli.context import fit_remedy
from vaetools.errors import InputError, TooLargeError
from vaetools.plugin.host import PluginHost

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

SOURCES = [*(ROOT / "vaetools").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
FLAG = r"(?<![\w.-])--[a-z][a-z-]*"


def flags_of(command: click.Command) -> set[str]:
    return {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)}


def messages() -> Iterator[tuple[str, str]]:
    """(place, text) of every string in the arguments of an error, and of what is called `remedy`."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            parts: list[ast.expr] = [k.value for k in node.keywords if k.arg == "remedy"]
            if name.endswith("Error"):
                parts += node.args
            for part in (inner for outer in parts for inner in ast.walk(outer)):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield f"{path.relative_to(ROOT)}:{part.lineno}", part.value


def test_every_option_in_a_message_exists() -> None:
    known = {"--help", "--debug"}.union(*map(flags_of, commands().values()))
    named = [(place, flag) for place, text in messages() for flag in re.findall(FLAG, text)]
    assert len(named) > 20
    assert [pair for pair in named if pair[1] not in known] == []


def test_no_command_gets_a_remedy_with_an_option_that_it_lacks() -> None:
    remedies = {text for _, text in messages() if "--" in text}
    found = commands()
    assert len(found) > 25 and len(remedies) > 20
    kept = 0
    for name, command in found.items():
        flags = flags_of(command)
        ends = {f"--{flag.rpartition('.')[2]}" for flag in flags}
        for remedy in remedies:
            error = InputError("wrong", remedy=remedy)
            fit_remedy(error, command)
            if error.remedy is not None and "vaetools " not in remedy:
                kept += 1
                assert set(re.findall(FLAG, remedy)) <= flags | ends | {"--help"}, (name, remedy)
    assert kept > 100


def test_every_operation_that_writes_images_has_the_options_of_their_remedies() -> None:
    found = commands()
    for name in PluginHost().operations:
        assert {"--to", "--quality-out"} <= flags_of(found[name]), name
    assert flags_of(found["run denoise,compress"]) >= {"--to", "--quality-out"}


@pytest.mark.parametrize(
    ("command", "kept"), [("compress", True), ("run denoise,compress", True), ("eval", False)]
)
def test_a_remedy_is_kept_where_it_helps(command: str, kept: bool) -> None:
    error = TooLargeError("too large", remedy="raise it with --max-pixels")
    fit_remedy(error, commands()[command])
    assert (error.remedy is not None) == kept


def huge_png(path: Path) -> Path:
    """A header of 40,000 x 40,000 pixels, and no pixels."""
    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("command", ["eval", "inspect"])
def test_commands_without_the_option(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(huge_png(tmp_path / "huge.png"))
    out = str(tmp_path / "out")
    words = {"eval": [path, path], "inspect": ["mnist-conv", "--image", path, "-o", out]}
    with pytest.raises(SystemExit) as caught:
        main([command, *words[command]])
    err = capsys.readouterr().err
    assert caught.value.code == 1 and err.startswith("E013 ") and "over the limit" in err
    assert "--max-pixels" not in err
