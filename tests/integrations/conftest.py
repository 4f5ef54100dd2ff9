"""The shared hub of these tests knows the miniature codec and no other model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.codec.miniature import GOLDEN
from vaetools.hub import Hub
from vaetools.plugin.host import PluginHost
from vaetools.shared_hub import _Shared

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def mini_hub() -> Hub:
    return Hub(PluginHost(installed=False), [GOLDEN], device="cpu", threads=1)


@pytest.fixture(autouse=True)
def _shared(mini_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Shared, "hub", mini_hub)


@pytest.fixture
def flipped(tmp_path: Path) -> Path:
    """A `.vae` file with a flipped bit in its last section; its header is sound."""
    data = bytearray((GOLDEN / "streams" / "grey.vae").read_bytes())
    data[-1] ^= 1
    path = tmp_path / "flipped.vae"
    path.write_bytes(data)
    return path
