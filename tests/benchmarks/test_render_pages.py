"""Rendered training images: every kind, the same for the same seed, smooth where they claim to be."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.benchmarks.scripts import benchmark_script

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("matplotlib")

with benchmark_script("render_pages") as module:
    render_pages = module


def rendered(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> dict[str, np.ndarray]:
    monkeypatch.setattr("sys.argv", ["render_pages.py", str(folder), *words])
    render_pages.main()
    return {path.stem: np.asarray(Image.open(path)) for path in folder.iterdir()}


@pytest.mark.slow
def test_every_kind_is_written_the_same_for_a_seed_and_another_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photos / "noise.png")
    words = ("--photos", str(photos), "--count", "6", "--seed")
    first, again, other = (
        rendered(tmp_path / str(number), monkeypatch, *words, seed)
        for number, seed in enumerate("001")
    )
    kinds = ["gradient", "plot", "shapes", "studio", "text", "window"]
    assert sorted(name.partition("-")[0] for name in first) == kinds
    for name, pixels in first.items():
        assert pixels.shape == (render_pages.SIDE, render_pages.SIDE, 3)
        np.testing.assert_array_equal(pixels, again[name])
        assert (pixels != other[name]).any()


@pytest.mark.parametrize("seed", range(4))
def test_gradients_have_no_noise(seed: int) -> None:
    pixels = np.asarray(render_pages.gradient(random.Random(seed))).astype(int)
    curvature = np.abs(np.diff(pixels, n=2, axis=1))
    assert curvature.max() <= 2  # rounding to 8 bits, at most
    assert pixels.std() > 1
