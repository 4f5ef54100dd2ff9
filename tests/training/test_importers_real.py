"""Published weights give their authors' figures, through the graphs alone.

The weights are not in this repository: TAEF2 (github.com/madebyollin/taesd, MIT) and two checkpoints
of disentangling-vae (github.com/YannDubs/disentangling-vae, MIT), beside it in `shared/models`.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tests.paths import SHARED
from tests.training.test_importers import opened
from vaetools.metrics import psnr
from vaetools.model.latent import gaussian_kl
from vaetools.training.importers import import_model


def source(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs {path}")
    return path


@pytest.mark.slow
def test_taef2_reconstructs_a_photograph(tmp_path: Path) -> None:
    encoder = source("models/taef2_encoder.pth")
    model, differences = import_model(
        "taesd", str(encoder), tmp_path / "taef2", license="MIT", origin="madebyollin/taesd"
    )
    assert max(differences.values()) <= 1e-4
    manifest = model.manifest
    assert (manifest.latent.channels, manifest.latent.downscale) == (32, 8)
    assert (manifest.latent.distribution, manifest.tasks) == ("point", ("reconstruct",))
    assert manifest.tiling.reason == "GroupNorm: global statistics"
    image = (data.astronaut() / np.float32(255)).astype(np.float32)
    vae = opened(tmp_path / "taef2")
    back = np.clip(vae.decode(vae.encode(image).mode()), 0, 1)
    assert psnr(np.uint8(255 * image), np.uint8(255 * back + 0.5)) == pytest.approx(31.2, abs=0.1)
    odd = image[100:165, 200:277]
    assert vae.decode(vae.encode(odd).mode()).shape == (65, 77, 3)


def digits() -> np.ndarray:
    """1,000 test digits as that repository has them, (N, 1, 32, 32) in [0, 1]: enlarged from 28."""
    with gzip.open(source("data/mnist/t10k-images-idx3-ubyte.gz")) as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)[:1000]
    large = [
        np.asarray(Image.fromarray(p).resize((32, 32), Image.Resampling.BILINEAR)) for p in pixels
    ]
    return (np.stack(large)[:, None] / 255).astype(np.float32)


@pytest.mark.slow
def test_vae_mnist_has_the_kl_of_its_log(tmp_path: Path) -> None:
    path = source("models/disvae_VAE_mnist.pt")
    images = digits()
    _, differences = import_model("disentangling-vae", str(path), tmp_path / "vae-mnist")
    assert max(differences.values()) <= 1e-4
    vae = opened(tmp_path / "vae-mnist")
    mean, logvar = vae.encode_batch(images)
    assert logvar is not None
    assert gaussian_kl(mean, logvar).sum(axis=1).mean() == pytest.approx(19.1, abs=1.0)
    _, logits = vae.decode_batch(mean)
    assert logits is not None
    entropy = np.logaddexp(0, logits) - images * logits
    assert entropy.sum(axis=(1, 2, 3)).mean() == pytest.approx(112, rel=0.06)


def sprites(count: int, side: float = 9.0) -> np.ndarray:
    """Squares, ellipses and hearts like those of dSprites, (N, 1, 64, 64), 0 or 1."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    pictures = np.zeros((count, 1, 64, 64), np.float32)
    for number in range(count):
        angle, scale = rng.uniform(0, 2 * np.pi), side * rng.uniform(0.5, 1)
        x, y = columns - rng.uniform(16, 48), rows - rng.uniform(16, 48)
        u = (x * np.cos(angle) + y * np.sin(angle)) / scale
        v = (y * np.cos(angle) - x * np.sin(angle)) / scale
        heart = (1.6 * (u**2 + v**2) - 1) ** 3 + 3.2 * u**2 * v**3
        shapes = (np.maximum(abs(u), abs(v)) <= 0.8, u**2 + 4 * v**2 <= 1, heart <= 0)
        pictures[number, 0] = shapes[number % 3]
    return pictures


@pytest.mark.slow
def test_btcvae_dsprites_uses_half_of_its_units(tmp_path: Path) -> None:
    path = source("models/disvae_btcvae_dsprites.pt")
    import_model("disentangling-vae", str(path), tmp_path / "btcvae")
    vae = opened(tmp_path / "btcvae")
    pictures = sprites(600)
    mean, logvar = vae.encode_batch(pictures)
    assert logvar is not None
    assert (mean.var(axis=0) > 0.01).sum() == 5  # Burda's criterion for an active unit
    assert gaussian_kl(mean, logvar).sum(axis=1).mean() == pytest.approx(12, abs=1.5)
    drawn, true = vae.decode_batch(mean)[0] > 0.5, pictures > 0.5
    assert (drawn & true).sum() / (drawn | true).sum() > 0.8
