"""Latent spaces: a VAE with spatial latents, one with a vector, and the miniature codec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.codec.miniature import MODEL as MINIATURE
from vaetools.augmentation import LatentSpace, latent_space
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.testing import write_tiny_grey_vae, write_tiny_vae

DEVIATION = 0.05


def open_space(folder: Path) -> LatentSpace:
    registry = ModelRegistry([folder], lambda: Runtime("cpu", threads=1))
    return latent_space(registry.open(registry.ids()[0]))


@pytest.fixture(scope="session")
def spatial(tmp_path_factory: pytest.TempPathFactory) -> LatentSpace:
    """Colours of any size; means of 4 x 4 pixels."""
    folder = tmp_path_factory.mktemp("spatial") / "tiny"
    return open_space(write_tiny_vae(folder, deviation=DEVIATION))


@pytest.fixture(scope="session")
def vector(tmp_path_factory: pytest.TempPathFactory) -> LatentSpace:
    """Grey images of 8 x 8 pixels; latents are the means of the quarters."""
    folder = tmp_path_factory.mktemp("vector") / "tiny"
    return open_space(write_tiny_grey_vae(folder, deviation=DEVIATION))


@pytest.fixture(scope="session")
def codec() -> LatentSpace:
    return open_space(MINIATURE)


@pytest.fixture
def texture() -> np.ndarray:
    """Noise that no model here can reconstruct, (70, 90, 3) float32, away from black and white."""
    return np.random.default_rng(5).uniform(0.2, 0.8, (70, 90, 3)).astype(np.float32)
