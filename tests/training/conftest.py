"""Fixtures of tests that train; without torch, all tests of this folder are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.training.trained import Trained


class WithoutTorch(pytest.File):
    """A test file that needs torch, where there is none."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip("torch is not installed", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> WithoutTorch | None:
    if find_spec("torch"):
        return None  # as usual
    return WithoutTorch.from_parent(parent, path=module_path)


@pytest.fixture(scope="module")
def no_curves() -> Iterator[None]:
    """Drawing takes longer than most of these trainings; other tests draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaetools.training.run.trainer.draw_curves", lambda run: None)
        yield


@pytest.fixture(scope="session")
def trained_denoiser(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from tests.training.trained import train_denoiser

    return train_denoiser(tmp_path_factory.mktemp("denoiser"))


@pytest.fixture(scope="session")
def large_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four whole photographs, one of them grayscale."""
    from tests.training.tiny import write_photos

    names = "astronaut", "coffee", "chelsea", "camera"
    return write_photos(tmp_path_factory.mktemp("photos"), names)


@pytest.fixture(scope="session")
def trained_codec(large_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from tests.training.trained import train_codec

    return train_codec(large_photos, tmp_path_factory.mktemp("codec"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give time to the test that comes first, which waits for the training and the export."""
    for item in items:
        if {"trained_codec", "trained_denoiser"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(900))
