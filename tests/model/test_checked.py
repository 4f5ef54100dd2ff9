"""A graph is checked once: by its bytes and by what the manifest says, and never on its own word."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.model.make_shipped import shipped_keys
from vaetools import graphcheck
from vaetools.errors import ModelBrokenError
from vaetools.model import checked
from vaetools.model.folder import Model
from vaetools.model.manifest import read_manifest
from vaetools.model.registry import shipped_folder
from vaetools.model.runtime import Runtime
from vaetools.model.shipped import CHECKED
from vaetools.testing import TINY
from vaetools.user_cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def opened(folder: Path, **changes: Any) -> Model:
    manifest = replace(read_manifest(folder), **changes)
    return Model(manifest, folder, Runtime("cpu", threads=1))


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[object]:
    """The calls of a function from now on."""
    calls: list[object] = []
    real: Callable[..., Any] = getattr(module, name)

    def call(*values: Any, **named: Any) -> Any:
        calls.append(values)
        return real(*values, **named)

    monkeypatch.setattr(module, name, call)
    return calls


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[object]:
    """The checks that are really made, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return counted(monkeypatch, graphcheck, "check_graph")


def entries() -> list[Path]:
    folder = cache_folder()
    return [] if folder is None else sorted(folder.glob("graphs/*"))


@pytest.fixture
def codec(tmp_path: Path) -> Path:
    """A copy of the shipped codec in a place of its own."""
    shipped = shipped_folder()
    assert shipped is not None
    return shutil.copytree(shipped / "photo-codec", tmp_path / "photo-codec")


def test_the_list_of_shipped_graphs_is_that_of_graphs_that_pass() -> None:
    """If the models have changed: python -m tests.model.make_shipped"""
    assert set(shipped_keys()) == CHECKED


def test_shipped_graphs_are_not_checked_again_wherever_they_lie(
    checks: list[object], codec: Path
) -> None:
    opened(codec).graph("hyper_mean")
    assert checks == []
    assert entries() == []


def test_a_shipped_graph_is_checked_where_the_manifest_says_something_else(
    checks: list[object], codec: Path
) -> None:
    selftest = replace(read_manifest(codec).selftest, height=4096, width=4096)
    opened(codec, selftest=selftest).graph("hyper_mean")
    assert len(checks) == 1
    graphs = dict(read_manifest(codec).graphs)
    graphs["hyper_mean"] = replace(graphs["hyper_mean"], outputs=("other",))
    with pytest.raises(ModelBrokenError, match="outputs"):
        opened(codec, graphs=graphs).graph("hyper_mean")


def test_other_graphs_are_checked_once(checks: list[object], tiny_models: Path) -> None:
    for _ in range(2):
        opened(tiny_models / TINY).graph("decode")
    assert len(checks) == 1
    opened(tiny_models / TINY).graph("encode")
    assert len(checks) == 2


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 32, b"\0" * 100])
def test_a_damaged_entry_means_another_check(
    checks: list[object], tiny_models: Path, damage: bytes
) -> None:
    opened(tiny_models / TINY).graph("decode")
    (entry,) = entries()
    entry.write_bytes(damage)
    opened(tiny_models / TINY).graph("decode")
    assert len(checks) == 2
    opened(tiny_models / TINY).graph("decode")
    assert len(checks) == 2


@pytest.mark.parametrize(("module", "name"), [(graphcheck, "VERSION"), (checked, "__version__")])
def test_a_newer_checker_checks_again(
    checks: list[object],
    tiny_models: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
) -> None:
    opened(tiny_models / TINY).graph("decode")
    monkeypatch.setattr(module, name, "newer")
    opened(tiny_models / TINY).graph("decode")
    assert len(checks) == 2


def test_refused_graphs_are_refused_every_time(checks: list[object], tiny_models: Path) -> None:
    graphs = dict(read_manifest(tiny_models / TINY).graphs)
    graphs["decode"] = replace(graphs["decode"], outputs=("other",))
    for _ in range(2):
        with pytest.raises(ModelBrokenError, match="outputs"):
            opened(tiny_models / TINY, graphs=graphs).graph("decode")
    assert len(checks) == 2
    assert entries() == []


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_cache_that_others_can_write_to_is_not_believed(
    checks: list[object], tiny_models: Path
) -> None:
    opened(tiny_models / TINY).graph("decode")
    (entry,) = entries()
    entry.parent.chmod(0o777)
    opened(tiny_models / TINY).graph("decode")
    assert len(checks) == 2


def test_without_a_cache_folder_every_start_checks(
    checks: list[object], tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        opened(tiny_models / TINY).graph("decode")
    assert len(checks) == 2


def test_graphs_with_uint8_pixels_are_remembered_as_well(
    checks: list[object], tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = counted(monkeypatch, checked, "with_uint8_pixels")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 12, 3), np.uint8)
    first = opened(tiny_models / TINY).graph("encode", pixels=("image",))(pixels)
    again = opened(tiny_models / TINY).graph("encode", pixels=("image",))(pixels)
    assert (len(checks), len(changed)) == (1, 1)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
