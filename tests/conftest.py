"""Shared by all tests: the fixtures for plugin authors, and ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tests.profiles  # noqa: F401 - registers and loads a profile of hypothesis
import vaetools

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.hub import Hub

pytest_plugins = ["vaetools.testing"]

if "PYTEST_XDIST_WORKER" in os.environ:  # one process per core: threads would only compete
    os.environ["OMP_NUM_THREADS"] = "1"

TRAINED = {"trained_codec", "trained_denoiser"}
"""Fixtures that train a network, for tests in several files."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a trained network run in one process; otherwise a file at a time."""
    for item in items:
        is_trained = bool(TRAINED & {*getattr(item, "fixturenames", ())})
        item.add_marker(pytest.mark.xdist_group("trained" if is_trained else str(item.path)))
        if is_trained:
            item.add_marker(pytest.mark.train)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their length. Compressed data hold the time of day, and the processes of
    pytest-xdist, which collect one after the other, must agree on every name."""
    return f"{argname}-{len(val)}B" if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def codec_hub() -> Hub:
    """The default hub with the shipped codec, on the CPU."""
    return vaetools.open("cpu")


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A photograph, (512, 512, 3) uint8 BGR."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[:, :, ::-1])


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[tuple[int, ...]]]:
    """The CPU as a device that wants fixed shapes: the shapes of first inputs that each graph sees."""
    from vaetools.model.devices import Device
    from vaetools.model.session import Session

    seen: dict[str, set[tuple[int, ...]]] = {}
    real = Session.run

    def run(self: Session, values: Sequence[np.ndarray], **options: Any) -> Any:
        seen.setdefault(Path(self.name).stem, set()).add(values[0].shape)
        return real(self, values, **options)

    monkeypatch.setattr(Session, "run", run)
    monkeypatch.setattr(Device, "fixed_shapes", True)
    return seen


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sessions lack memory where a caller can try smaller tiles, once per graph: the graphs' names."""
    from vaetools.device_memory import DeviceMemoryError, is_shrinkable
    from vaetools.model.session import Session

    refused: list[str] = []
    real = Session.run

    def run(self: Session, values: Sequence[np.ndarray], **options: Any) -> Any:
        if is_shrinkable() and self.name not in refused:
            refused.append(self.name)
            raise DeviceMemoryError("cuda:0")
        return real(self, values, **options)

    monkeypatch.setattr(Session, "run", run)
    return refused


@pytest.fixture(autouse=True)
def _no_surroundings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Models and plugins of the person who runs the tests must not matter."""
    for name in ("VAETOOLS_MODELS", "VAETOOLS_PLUGINS_DIR", "VAETOOLS_ORT_OPTIMIZATION"):
        monkeypatch.delenv(name, raising=False)
    # A process for every tiny model would take most of the time; tests of isolation ask for it.
    monkeypatch.setenv("VAETOOLS_ISOLATE", "never")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data-home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache-home"))
