"""A URL where a path is expected is refused in one line, and never becomes a folder `s3:`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vaetools
from tests.cli.commands import commands
from vaetools.cli import main
from vaetools.cli.flags import LocalPath
from vaetools.errors import UsageError
from vaetools.hub import Hub
from vaetools.image import Image, encode_image
from vaetools.paths import refuse_url
from vaetools.runner import RunSettings
from vaetools.testing import gradient

URL = "s3://bucket/x.png"

WEB = "https://host/x.png"
"""Inputs and OUT may be in object stores, but not elsewhere."""

COMMANDS = [
    f"denoise in -o {WEB}",
    f"denoise in -o out --report {URL}",
    f"denoise {WEB} -o out",
    f"denoise in {WEB} -o out",
    f"denoise in -o out --config {URL}",
    f"denoise in -o out --models-dir {URL}",
    f"denoise in -o out --sigma {URL}",
    f"inpaint in -o out --mask {URL}",
    f"compress in -o out --roi {URL}",
    f"run denoise,compress in -o {WEB}",
    f"run {URL} in -o out",
    f"denoise --files-from {URL} -o out",
    f"denoise --files-from in/a.png --root {URL} -o out",
    f"denoise --job {URL} -o out",
    f"shards {URL} -o run",
    f"shards in -o {URL}",
    f"shards --files-from {URL} -o run",
    f"report {URL}",
    f"info {URL}",
    f"view {URL}",
    f"eval {URL} in",
    f"demo {URL}",
    f"train mnist-mlp --data {URL}",
    f"export {URL} --to new",
    f"export in --to {URL}",
    f"inspect mnist-mlp --data {URL}",
    f"plugins check {URL}",
    f"--plugins-dir {URL} plugins",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encode_image(Image(gradient()), "png"))
    return tmp_path


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_refuse_urls(words: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    (line,) = capsys.readouterr().err.splitlines()
    url = next(url for url in (URL, WEB) if url in words)
    assert caught.value.code == 2 and line.startswith(f"E002 {url}: "), line
    assert "is a URL" in line
    assert [path.name for path in folder.iterdir()] == ["in"]


def test_every_path_of_every_command_is_local() -> None:
    """`LocalPath` wherever click would take a path, or where the name of a value is that of one."""
    names = ("DIR", "FILE", "FILE.html", "FILE.pt", "OUT", "IN", "IN...", "SOURCE")
    for name, command in commands().items():
        for parameter in command.params:
            is_path = parameter.type.name in ("path", "file") or parameter.metavar in names
            of_operation = (parameter.name or "").startswith("step")  # checked by its options
            if is_path and not of_operation:
                assert isinstance(parameter.type, LocalPath), (name, parameter.name)


@pytest.fixture(scope="module")
def hub() -> Hub:
    return vaetools.open("cpu")


def test_python_refuses_urls(hub: Hub, folder: Path) -> None:
    image = gradient()
    calls = {
        "input": lambda: hub.map("denoise", WEB, out="out"),
        "path": lambda: hub.map("denoise", [Path(URL)], out="out"),
        "output": lambda: hub.map("denoise", "in", out=WEB),
        "output path": lambda: hub.map("denoise", "in", out=Path(URL)),
        "report": lambda: RunSettings(out="out", report=URL),
        "mask": lambda: hub.inpaint(image, URL),
        "step": lambda: hub.denoise(URL),
        "imread": lambda: vaetools.imread(URL),
        "imwrite": lambda: vaetools.imwrite(URL, image),
        "models": lambda: vaetools.open(models_dirs=URL),
        "plugins": lambda: vaetools.open(plugins_dirs=[Path(URL)]),
    }
    for name, call in calls.items():
        with pytest.raises(UsageError, match="is a URL") as caught:
            call()
        assert caught.value.code == "E002", name
    assert [path.name for path in folder.iterdir()] == ["in"]


def test_folders_with_such_names_stay_possible(folder: Path) -> None:
    vaetools.imwrite("./s3://bucket/x.png", np.zeros((8, 8), np.uint8))
    assert (folder / "s3:" / "bucket" / "x.png").exists()
    assert vaetools.imread(URL).shape == (8, 8)  # there is such a file
    for name in ("http:", "a:b", "C:/x", "x:/y", "no.scheme/://", "-://", "12:30"):
        refuse_url(name)


@pytest.mark.parametrize(
    "url",
    ["https://x/a.png", "HTTP://x", "gs://b", "file:///etc", "abfss://c@a/p", "unknown+x://y"],
)
def test_schemes(url: str) -> None:
    with pytest.raises(UsageError, match="is a URL"):
        refuse_url(url)
