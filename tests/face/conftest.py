"""A hub with tiny models for every task that the tests of the Python face need."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.paths import ROOT
from tests.restoration.models import BLUR, MEAN, write_denoiser, write_inpainter
from vaetools.hub import Hub
from vaetools.plugin.host import PluginHost

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_denoiser(folder / BLUR)
    write_inpainter(folder / MEAN)
    shutil.copytree(ROOT / "tests/codec/golden/model", folder / "miniature-codec")
    return folder


@pytest.fixture(scope="session")
def hub(models: Path) -> Hub:
    return Hub(PluginHost(installed=False), [models], device="cpu", threads=1)
