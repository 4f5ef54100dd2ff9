"""Hostile model folders: each is refused in one line, at once, in little memory, and before ONNX
Runtime sees a byte of it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime
import pytest

from tests.attacks import hostile
from tests.attacks.costly import COSTLY
from tests.attacks.hostile import install
from tests.attacks.limits import little_time_and_memory
from tests.attacks.wrong import WRONG
from vaetools.errors import ManifestError, ModelAlteredError, ModelBrokenError, ModelError
from vaetools.model.manifest import FILE_NAME
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.testing import TINY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNTIME = Runtime("cpu", threads=1)

GRAPHS = {**WRONG, **COSTLY}


@pytest.fixture(autouse=True)
def _nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test fails if ONNX Runtime gets to see a graph."""
    graphs: list[object] = []

    def session(graph: object, *_: object, **__: object) -> None:
        graphs.append(graph)
        raise RuntimeError("a hostile graph was opened")

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    yield
    assert not graphs


def refusal(models: Path) -> str:
    """The one line with which the model's decoder is refused."""
    with pytest.raises(ModelError) as caught, little_time_and_memory():
        ModelRegistry([models], lambda: RUNTIME).open(TINY).graph("decode")
    line = caught.value.line
    assert line.isprintable()
    return line


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(tiny_models: Path, name: str) -> None:
    build, said = GRAPHS[name]
    path = install(tiny_models, build())
    line = refusal(tiny_models)
    assert line.startswith(f"{ModelBrokenError.code} {path}: ")
    assert re.search(said, line), line


def test_pickles_are_not_opened(tiny_models: Path, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    install(tiny_models, hostile.pickled(marker))
    assert "graph does not load" in refusal(tiny_models)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('file = "decode.onnx"', 'file = "../decode.onnx"', "is not a plain file name"),
        ('file = "decode.onnx"', 'file = "/etc/hostname"', "is not a plain file name"),
        ('file = "decode.onnx"', 'file = ".."', "is not a plain file name"),
        ("bytes = ", "bytes = 1000000000000000 # ", "is not 1 … "),
        ("bytes = ", "bytes = 0 # ", "is not 1 … "),
    ],
)
def test_manifests(tiny_models: Path, old: str, new: str, said: str) -> None:
    path = tiny_models / TINY / FILE_NAME
    path.write_text(path.read_text().replace(old, new))
    line = refusal(tiny_models)
    assert line.startswith(f"{ManifestError.code} {path}: ")
    assert said in line


def replaced(models: Path, by: Callable[[Path], object]) -> str:
    """The refusal, once the decoder's file is something else."""
    path = models / TINY / "decode.onnx"
    path.unlink()
    by(path)
    line = refusal(models)
    assert line.startswith(f"{ModelAlteredError.code} {path}: ")
    return line


def test_files_that_are_not_the_model_s(tiny_models: Path, tmp_path: Path) -> None:
    data = (tiny_models / TINY / "decode.onnx").read_bytes()
    same = tmp_path / "same"
    same.write_bytes(data)
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(len(data)))
    assert "is not a regular file" in replaced(tiny_models, lambda p: p.symlink_to(same))
    assert "is not a regular file" in replaced(tiny_models, os.mkfifo)
    assert "its sha256 is not the one" in replaced(tiny_models, lambda p: p.hardlink_to(secret))
    assert "its sha256 is not the one" in replaced(
        tiny_models, lambda p: p.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    )
    assert "bytes where the manifest says" in replaced(
        tiny_models, lambda p: p.write_bytes(data[:-1])
    )
    assert "has 0 bytes" in replaced(tiny_models, Path.touch)


def test_hard_links_to_the_right_content_are_fine(tiny_models: Path, tmp_path: Path) -> None:
    """Package managers install files as links into their cache."""
    path = tiny_models / TINY / "decode.onnx"
    path.rename(tmp_path / "cache")
    path.hardlink_to(tmp_path / "cache")
    ModelRegistry([tiny_models], lambda: RUNTIME).open(TINY).check_files()
