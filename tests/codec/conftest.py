"""The shipped codec, for the tests that need one; they are skipped while there is none."""

from __future__ import annotations

import pytest

from vaetools.codec import Codec
from vaetools.manifest import FILE_NAME, read_manifest
from vaetools.registry import shipped_folder
from vaetools.runtime import Runtime
from vaetools.vae import Model


@pytest.fixture(scope="session")
def codec_folder():
    """The folder of the shipped codec model."""
    shipped = shipped_folder()
    folder = None if shipped is None else shipped / "photo-codec"
    if folder is None or not (folder / FILE_NAME).exists():
        pytest.skip("the codec model is not here")
    return folder


@pytest.fixture(scope="session")
def open_codec(codec_folder):
    """Opens the shipped codec on a runtime of its own, with the options of the environment."""

    def opened(threads=1):
        return Codec(
            Model(read_manifest(codec_folder), codec_folder, Runtime("cpu", threads=threads))
        )

    return opened


@pytest.fixture(scope="session")
def codec(open_codec):
    """The shipped codec on the CPU."""
    return open_codec()
