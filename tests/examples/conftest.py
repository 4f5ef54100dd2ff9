"""A hub with the plugins of examples/plugins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.paths import EXAMPLES
from vaetools.hub import Hub
from vaetools.plugin.host import PluginHost
from vaetools.testing import TINY, TINY_GREY, write_tiny_grey_vae, write_tiny_vae

PLUGINS = EXAMPLES / "plugins"
NAMES = ("anomaly", "upscale")


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """With both plugins, the tiny VAE of any size, and the one for 8 × 8 grey pixels."""
    folders = [PLUGINS / name / "src" for name in NAMES]
    host = PluginHost(builtin=False, installed=False, folders=folders)
    assert not host.broken
    write_tiny_vae(tmp_path / "models" / TINY)
    write_tiny_grey_vae(tmp_path / "models" / TINY_GREY)
    return Hub(host, [tmp_path / "models"], device="cpu", threads=1)


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    top = 1 if dtype is np.float32 else np.iinfo(dtype).max
    return (np.random.default_rng(0).random(shape) * top).astype(dtype)
