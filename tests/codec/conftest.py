"""Codecs: the shipped one, without which tests of quality are skipped, and the miniature."""

from __future__ import annotations

import pytest

from vaetools.hub import Hub
from vaetools.model.manifest import FILE_NAME, read_manifest
from vaetools.model.registry import shipped_folder
from vaetools.plugin.host import PluginHost

from . import miniature


@pytest.fixture(scope="session")
def codec_folder():
    """The folder of the shipped codec model."""
    shipped = shipped_folder()
    folder = None if shipped is None else shipped / "photo-codec"
    if folder is None or not (folder / FILE_NAME).exists():
        pytest.skip("the codec model is not here")
    return folder


@pytest.fixture(scope="session")
def shipped_codecs(codec_folder):
    """Stream id -> codec, of all that ship: the one that encodes, and decoders of older ones."""
    folders = [path.parent for path in codec_folder.parent.glob(f"*/{FILE_NAME}")]
    found = [miniature.open_codec(path) for path in folders if read_manifest(path).codec]
    return {codec.spec.stream_id: codec for codec in found}


@pytest.fixture(scope="session")
def open_codec(codec_folder):
    """Opens the shipped codec on a runtime of its own, with the options of the environment."""

    def opened(threads=1):
        return miniature.open_codec(codec_folder, threads)

    return opened


@pytest.fixture(scope="session")
def codec(open_codec):
    """The shipped codec on the CPU."""
    return open_codec()


@pytest.fixture(scope="session")
def mini():
    """The miniature codec on the CPU."""
    return miniature.open_codec()


@pytest.fixture(scope="session")
def mini_hub():
    """A hub that knows the miniature codec and no other model."""
    return Hub(PluginHost(installed=False), [miniature.GOLDEN], device="cpu", threads=1)
