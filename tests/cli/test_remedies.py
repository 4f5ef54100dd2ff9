"""A remedy names only options that the command has."""

from __future__ import annotations

import ast
import functools
import re
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image as PillowImage

from tests.cli.commands import commands, flags_of
from tests.paths import ROOT
from vaetools.cli import main
from vaetools.cli.context import fit_remedy
from vaetools.errors import InputError, TooLargeError
from vaetools.image import Image
from vaetools.operation.masks import Masks
from vaetools.plugin.host import PluginHost
from vaetools.testing import gradient

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

SOURCES = [*(ROOT / "vaetools").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
FLAG = r"(?<![\w.-])--[a-z][a-z-]*"


def flags_of_command(command: click.Command) -> set[str]:
    return {flag for parameter in command.params for flag in flags_of(parameter)}


@functools.cache
def messages() -> list[tuple[str, str]]:
    return list(_messages())


def _messages() -> Iterator[tuple[str, str]]:
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
    known = {"--help", "--debug"}.union(*map(flags_of_command, commands().values()))
    named = [(place, flag) for place, text in messages() for flag in re.findall(FLAG, text)]
    assert len(named) > 20
    assert [pair for pair in named if pair[1] not in known] == []


def test_no_command_gets_a_remedy_with_an_option_that_it_lacks() -> None:
    remedies = {text for _, text in messages() if "--" in text}
    found = commands()
    assert len(found) > 25 and len(remedies) > 20
    kept = 0
    for name, command in found.items():
        flags = flags_of_command(command)
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
        assert {"--to", "--quality-out"} <= flags_of_command(found[name]), name
    assert flags_of_command(found["run denoise,compress"]) >= {"--to", "--quality-out"}


RUNS = "compress decompress denoise inpaint augment reconstruct mask-dust mask-scratch mask-color"

REACH = {
    "vaetools/codec/rate.py": "compress",
    "vaetools/codec/": "compress",
    "vaetools/restoration/inpainter.py": "inpaint",
    "vaetools/model/": "compress decompress denoise inpaint augment reconstruct generate",
    "vaetools/inspection/": "inspect",
    "vaetools/training/export/": "export",
    "vaetools/training/importers/": "export",
    "vaetools/training/tasks/": "export",
    "vaetools/training/run/": "train",
    "vaetools/cli/export.py": "export",
    "vaetools/cli/inspect.py": "inspect",
    "vaetools/cli/explain.py": "explain",
    "vaetools/cli/train.py": "train",
    "plugins/vaetools_plugins/augment.py": "augment",
}
"""Commands whose run can end with an error of a module, where these are not all operations on images;
the first entry that fits counts."""


def test_every_remedy_names_options_of_the_commands_that_it_can_end() -> None:
    """Records of a run keep their remedies whatever the command is, so they must be right."""
    found = commands()
    wrong = []
    for place, text in messages():
        if re.search(r"\b(vaetools|pip|apt-get) ", text):  # a whole command
            continue
        reached = next((names for part, names in REACH.items() if place.startswith(part)), RUNS)
        for name in reached.split():
            missing = {*re.findall(FLAG, text)} - {*flags_of_command(found[name]), "--help"}
            wrong += [(place, name, flag) for flag in missing]
    assert wrong == []


@pytest.mark.parametrize("name", ["--frames", "--lenient"])
def test_a_mask_is_not_read_otherwise_by_flags_for_inputs(name: str, tmp_path: Path) -> None:
    page = PillowImage.new("L", (128, 96))
    if name == "--frames":
        other = PillowImage.new("L", (128, 96), 9)
        page.save(tmp_path / "mask.gif", save_all=True, append_images=[other])
    else:
        page.save(tmp_path / "whole.png")
        (tmp_path / "mask.gif").write_bytes((tmp_path / "whole.png").read_bytes()[:-20])
    masks = Masks(str(tmp_path / "mask.gif"), white=1.0)
    with pytest.raises(InputError) as caught:
        masks.read("", Image(gradient(96, 128)), source=None, max_pixels=2**20, channel_order="bgr")
    assert name not in caught.value.line


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
