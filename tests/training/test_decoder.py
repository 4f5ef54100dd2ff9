"""The decoder of a codec as a model of its own: old files stay readable."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

import vaetools
from vaetools.cli.export import command
from vaetools.errors import ModelNotFoundError, UsageError
from vaetools.metrics import psnr
from vaetools.model.manifest import read_manifest
from vaetools.model.registry import shipped_folder
from vaetools.training.export.decoder import export_decoder

if TYPE_CHECKING:
    from vaetools.hub import Hub

pytestmark = pytest.mark.train

SHIPPED = Path(str(shipped_folder()))


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The decoder of the shipped codec, in a folder of models without any other codec."""
    folder = tmp_path_factory.mktemp("models") / "old-codec"
    arguments = [str(SHIPPED / "photo-codec"), "--from", "codec", "--to", str(folder)]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder


def test_it_takes_half_the_bytes(decoder: Path) -> None:
    whole, slim = read_manifest(SHIPPED / "photo-codec"), read_manifest(decoder)
    needed = {role: whole.graphs[role].bytes for role in slim.graphs}
    assert sum(g.bytes for g in slim.graphs.values()) < 0.52 * sum(needed.values())
    assert slim.codec.stream_id == whole.codec.stream_id
    assert slim.tasks == ("decompress",)
    assert slim.id == "old-codec"


def test_it_decodes_what_the_whole_model_encoded(
    decoder: Path, codec_hub: Hub, astronaut: np.ndarray
) -> None:
    image = astronaut[:192, :256]
    data = codec_hub.compress(image, quality=60)
    with vaetools.open("cpu", models_dirs=decoder) as both:
        again = both.compress(image, quality=60)  # one model is for `compress` still
        found = both.decompress(data, model="old-codec")
    assert again == data
    assert psnr(found, codec_hub.decompress(data)) > 55
    assert abs(psnr(found, image) - psnr(codec_hub.decompress(data), image)) < 0.01


def test_alone_it_compresses_nothing(decoder: Path, astronaut: np.ndarray) -> None:
    with (
        vaetools.open("cpu", models_dirs=decoder) as hub,
        pytest.raises(ModelNotFoundError) as caught,
    ):
        hub.compress(astronaut, model="old-codec")
    assert "'old-codec' is not for 'compress'" in str(caught.value)


@pytest.mark.parametrize("name", ["mnist-mlp", "photo-denoise"])
def test_other_models_are_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a codec"):
        export_decoder(SHIPPED / name, tmp_path / "out", id="out")


def test_a_codec_does_not_lose_its_encoder(tmp_path: Path) -> None:
    codec = tmp_path / "codec"
    shutil.copytree(shipped_folder() / "photo-codec", codec)
    with pytest.raises(UsageError, match="would lose its encoder"):
        export_decoder(codec, tmp_path / "." / "codec", id="codec")
    assert "compress" in read_manifest(codec).tasks
