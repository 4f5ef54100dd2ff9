"""The code on docs/integrations.md runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.test_docs import blocks
from vaetools.testing import gradient


def section(title: str) -> list[str]:
    """The Python blocks of a section."""
    return [code for code in blocks("integrations.md", "python") if title in code]


def test_imageio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", gradient())
    (code,) = section("import vaetools.imageio")
    names: dict[str, Any] = {}
    exec(compile(code, "integrations.md", "exec"), names)
    assert names["frame"].shape == gradient().shape


def test_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", gradient())
    (code,) = section("import vaetools.pillow")
    exec(compile(code, "integrations.md", "exec"), {})
    assert cv2.imread("grey.png").shape == gradient().shape
