"""`look="vivid"`: another synthesis for the same files, if the model has one."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from vaetools.codec import Region
from vaetools.errors import OptionError
from vaetools.image import Image
from vaetools.model.fused.chains import VIVID
from vaetools.model.manifest import read_manifest
from vaetools.training.export.folder import save_manifest, write_file

from .miniature import MODEL, open_codec


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The miniature with a vivid synthesis: its own one with half the weights at the end."""
    folder = shutil.copytree(MODEL, tmp_path_factory.mktemp("models") / "vivid")
    manifest = read_manifest(folder)
    graph = onnx.load(folder / "synthesis.onnx")
    for tensor in graph.graph.initializer:
        if tensor.name == "linear.0.weight":
            tensor.CopyFrom(
                numpy_helper.from_array(0.5 * numpy_helper.to_array(tensor), tensor.name)
            )
    file = write_file(folder, f"{VIVID}.onnx", graph.SerializeToString())
    spec = replace(manifest.graphs["synthesis"], **vars(file))
    save_manifest(folder, replace(manifest, graphs={**manifest.graphs, VIVID: spec}))
    return folder


@pytest.fixture(scope="module")
def vivid(folder):
    return open_codec(folder)


@pytest.fixture(scope="module")
def photo(astronaut):
    """Several tiles of the miniature."""
    return Image(np.ascontiguousarray(astronaut[:250, :330]))


@pytest.fixture(scope="module")
def written(vivid, photo):
    return vivid.encode(photo, 60)


def test_files_are_the_same_and_looks_differ(mini, vivid, photo, written):
    assert written == mini.encode(photo, 60)
    faithful = vivid.decode(written)
    assert np.array_equal(faithful.pixels, mini.decode(written).pixels)
    looks = vivid.decode(written, look="vivid")
    assert looks.pixels.shape == faithful.pixels.shape
    assert not np.array_equal(looks.pixels, faithful.pixels)


def test_a_region_looks_as_in_the_whole_image(vivid, written):
    whole = vivid.decode(written, look="vivid").pixels
    part = vivid.decode(written, look="vivid", region=Region(70, 40, 150, 100)).pixels
    assert np.abs(part.astype(int) - whole[40:140, 70:220]).max() <= 1


def test_other_depths_have_the_look_too(vivid, photo):
    deep = Image(photo.pixels.astype(np.uint16) * 257)
    written = vivid.encode(deep, 60)
    looks = vivid.decode(written, look="vivid")
    assert looks.pixels.dtype == np.uint16
    assert not np.array_equal(looks.pixels, vivid.decode(written).pixels)


def test_stored_images_stay_exact(vivid):
    drawing = Image(
        np.kron(np.eye(8, dtype=np.uint8)[..., None] * 255, np.ones((32, 32, 3), np.uint8))
    )
    stored = vivid.store_exactly(drawing)
    assert np.array_equal(vivid.decode(stored, look="vivid").pixels, drawing.pixels)


def test_a_model_without_the_look_says_so(mini, written):
    with pytest.raises(OptionError) as caught:
        mini.decode(written, look="vivid")
    assert "has no vivid look" in caught.value.line
    with pytest.raises(OptionError, match="look='lively' is not one of faithful, vivid"):
        mini.decode(written, look="lively")
