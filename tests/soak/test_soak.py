"""The promise: memory, threads and open files do not grow with the number of images."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.soak.harness import command, watch
from tests.soak.inputs import plant

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = 600

MOST_GROWTH = 16.0
"""MiB between the means of the first and the last fifth, 320 images apart: 52 kB for each image."""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("mode", ["map", "workers"])
def test_nothing_grows(tmp_path: Path, mode: str) -> None:
    plant(tmp_path / "photos", IMAGES)
    words = command(mode, "compress", tmp_path / "photos", tmp_path / "out")
    soak = watch(words, warm_up=200, every=10)
    assert soak.images == IMAGES, soak
    assert soak.last.rss - soak.first.rss < MOST_GROWTH, soak
    assert soak.last.threads <= soak.first.threads + 1, soak
    assert soak.last.descriptors <= soak.first.descriptors + 2, soak
