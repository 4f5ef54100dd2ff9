"""`benchmarks/augment.py` compares what it says it compares."""

from __future__ import annotations

import gzip
import json
import runpy
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.augmentation.conftest import open_space
from tests.paths import BENCHMARKS
from vaetools.testing import TINY, write_tiny_vae


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return runpy.run_path(str(BENCHMARKS / "augment.py"))


def write_digits(folder: Path) -> Path:
    """Five pictures of each class, one bright column for each, as MNIST has them."""
    classes = np.arange(50, dtype=np.uint8) % 10
    images = np.random.default_rng(0).integers(0, 90, (50, 28, 28), np.uint8)
    images[np.arange(50), :, 2 + 2 * classes] = 255
    for name in ("train", "t10k"):
        head = b"\0\0\x08\x03" + struct.pack(">3i", *images.shape)
        with gzip.open(folder / f"{name}-images-idx3-ubyte.gz", "wb") as file:
            file.write(head + images.tobytes())
        with gzip.open(folder / f"{name}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(b"\0\0\x08\x01" + struct.pack(">i", 50) + classes.tobytes())
    return folder


def test_it_runs(tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    arms = ["none", "classic", "latent"]
    words = [
        "--mnist", str(write_digits(tmp_path)), "--models-dir", str(tiny_models), "--model", TINY,
        "--counts", "3", "--seeds", "2", "--steps", "40", "--copies", "2", "--arms", *arms,
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(sys, "argv", ["augment.py", *words])
    runpy.run_path(str(BENCHMARKS / "augment.py"), run_name="__main__")
    found = json.loads((tmp_path / "out/augment.json").read_text())["sets"]["MNIST"]
    assert found["tested"] == 50 and [*found["accuracy"]] == arms
    assert all(len(scores) == 2 for by in found["accuracy"].values() for scores in by.values())
    assert np.mean(found["accuracy"]["none"]["3"]) > 20  # guessing gives 10
    text = (tmp_path / "out/augment.md").read_text()
    assert "| latent |" in text and "95 % interval" in text


def test_the_banks(benchmark: dict[str, Any], tmp_path: Path) -> None:
    """The picture first, then copies; controls change as much as the latents do."""
    rng = np.random.default_rng(0)
    images = rng.uniform(0.4, 0.6, (4, 28, 28)).astype(np.float32)
    space = open_space(write_tiny_vae(tmp_path / "model"))
    options = SimpleNamespace(copies=30, strength=1.0, opened=space)
    banks = benchmark["Banks"](images, np.array([0, 0, 1, 1]), 5, options)
    for name in ("latent", "latent_mix", "pixel_mix", "noise", "blur"):
        bank = getattr(banks, name)
        assert bank.shape == (4, 31, 28, 28) and bank.dtype == np.float32
        assert (bank[:, 0] == images).all() and (bank[:, 1:] != images[:, None]).any(
            axis=(2, 3)
        ).any()
    changes = [np.std(bank[:, 1:] - bank[:, :1]) for bank in (banks.latent, banks.noise)]
    assert changes[0] == pytest.approx(changes[1], rel=0.05)
    # This model is linear: a mixture of latents is the mixture of the pixels.
    assert np.abs(banks.latent_mix - banks.pixel_mix).max() < 1e-4
    assert (banks.classes[banks._partners] == banks.classes[:, None]).all()


def test_classic_moves_a_little(benchmark: dict[str, Any]) -> None:
    import torch

    dot = torch.zeros(200, 1, 28, 28)
    dot[:, 0, 13:15, 13:15] = 1
    moved = benchmark["classic"](dot, torch.Generator().manual_seed(0))[:, 0]
    rows = (moved.sum(2) * torch.arange(28)).sum(1) / moved.sum((1, 2))
    assert 1.7 < (rows - 13.5).abs().max() < 2.6  # two pixels, further scaled and turned
    assert moved.sum((1, 2)).mean() == pytest.approx(4, rel=0.05)


def test_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = runpy.run_path(str(BENCHMARKS / "augment_report.py"))
    assert module["interval"]([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.303 / 3**0.5), rel=1e-3)
    scores = {
        "classic": {"5": [50.0, 60.0, 70.0]},
        "better": {"5": [52.0, 62.1, 72.0]},
        "alike": {"5": [60.0, 60.0, 60.0]},
    }
    settings = {"counts": [5], "seeds": 3, "steps": 1, "copies": 1, "strength": 1.0, "model": "m"}
    sets = {"Some": {"tested": 1234, "accuracy": scores}}
    text = module["report"]({"circumstances": ["now"], "settings": settings, "sets": sets})
    assert "## Some, 1,234 test pictures" in text and "| classic | 60.00 ± 24.84 |" in text
    assert "| better | **+2.03 ± 0.14** |" in text and "| alike | +0.00 ± 24.84 |" in text
