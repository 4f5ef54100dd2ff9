"""The code on docs/integrations.md runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
from PIL import Image

import vaetools
import vaetools.cli.desktop
from tests.test_docs import blocks
from vaetools.cli import main
from vaetools.hub import Hub
from vaetools.shared_hub import shared_hub
from vaetools.testing import gradient


def section(title: str) -> list[str]:
    """The Python blocks of a section."""
    return [code for code in blocks("integrations.md", "python") if title in code]


@pytest.mark.parametrize("name", ["torchvision", "kornia"])
def test_augmentation(mini_hub: Hub, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip(name, exc_type=(ImportError, RuntimeError))  # not built for this torch
    registry = SimpleNamespace(open=lambda _: mini_hub.registry.open("miniature-codec"))
    monkeypatch.setitem(vars(vaetools), "open", lambda: SimpleNamespace(registry=registry))
    (code,) = section(f"from vaetools.{name}")
    names: dict[str, Any] = {}
    exec(compile(code, "integrations.md", "exec"), names)
    if name == "kornia":
        assert names["copies"].equal(names["again"][0])
    else:
        assert names["label"] == 3


def test_imageio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", gradient())
    (code,) = section("import vaetools.imageio")
    names: dict[str, Any] = {}
    exec(compile(code, "integrations.md", "exec"), names)
    assert names["frame"].shape == gradient().shape


@pytest.mark.parametrize("name", ["no programs", "all"])
def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "no programs":
        monkeypatch.setenv("PATH", "")
    vaetools.imwrite("photo.vae", gradient())
    monkeypatch.setattr(vaetools.cli.desktop, "hub_of", lambda *_, **__: shared_hub())
    (code,) = blocks("integrations.md", "sh")
    for line in code.splitlines():
        with pytest.raises(SystemExit) as caught:
            main(shlex.split(line, comments=True)[1:])
        assert not caught.value.code
    with Image.open("photo.png") as small:
        assert small.size == (64, 48)


def test_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", gradient())
    (code,) = section("import vaetools.pillow")
    exec(compile(code, "integrations.md", "exec"), {})
    assert cv2.imread("grey.png").shape == gradient().shape
