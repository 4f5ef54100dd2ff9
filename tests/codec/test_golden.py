"""Files that must be readable for ever: tests/codec/golden, written once by `make_golden`.

A change that makes one of these tests fail breaks the files of everybody who has some.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from vaetools.codec.container import SectionKind, unpack
from vaetools.image import Image, decode_image

from .miniature import MODEL, SHIPPED, STREAMS, digests, integers, metadata_digests, open_codec

NAMES = sorted(path.stem for path in STREAMS.glob("*.vae"))


def stream(name, folder=STREAMS):
    return (folder / f"{name}.vae").read_bytes()


def known(name, folder=STREAMS):
    """The SHA-256 of everything in a file that must be exact."""
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def expected(name, folder=STREAMS):
    """What a file decoded to when it was written; 16 bit where it is float."""
    return decode_image((folder / f"{name}.png").read_bytes())


def assert_golden(codec, name, folder=STREAMS):
    """A file decodes to the same integers and metadata, and to pixels that differ by a step of 8 bit at
    most."""
    written = stream(name, folder)
    found = codec.decode(written)
    assert {**digests(codec, written), **metadata_digests(found)} == known(name, folder)
    image = expected(name, folder)
    assert found.pixels.shape == image.pixels.shape
    assert found.depth == unpack(written).depth
    # The rounding of deep samples, on both sides, comes on top of a step of 8 bit.
    assert np.abs(found.to_rgb() - image.to_rgb()).max() <= 1 / 255 + 2 / 65535
    if image.alpha is None:
        assert found.alpha is None
    else:
        np.testing.assert_array_equal(found.alpha, image.alpha)


@pytest.mark.parametrize("name", NAMES)
def test_golden_files_decode(mini, name):
    assert_golden(mini, name)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("optimization", ["all", "extended", "basic", "disable"])
def test_golden_files_decode_on_any_runtime(monkeypatch, optimization, threads):
    monkeypatch.setenv("VAETOOLS_ORT_OPTIMIZATION", optimization)
    codec = open_codec(threads=threads)
    for name in NAMES:
        assert_golden(codec, name)


def test_a_stored_golden_file_is_exact(mini):
    found, image = mini.decode(stream("stored")), expected("stored")
    np.testing.assert_array_equal(found.pixels, image.pixels)


def test_the_golden_model_is_sound(mini):
    mini.model.verify()
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 160_000


def test_the_golden_files_have_everything_that_a_file_can_have(mini):
    containers = {name: unpack(stream(name)) for name in NAMES}
    assert {s.kind for c in containers.values() for s in c.sections} == set(SectionKind)
    assert {c.depth for c in containers.values()} == {8, 16, 32}
    assert {(c.grey, c.stored) for c in containers.values()} >= {(True, False), (False, True)}
    assert {c.level for c in containers.values()} >= {0, 100}
    assert len(containers["two-tiles"].all(SectionKind.FINE)) == 2
    coded = [name for name in NAMES if not containers[name].stored]
    found = [integers(mini, stream(name)) for name in coded]
    reach = mini.tables.latent_reach.astype(int)
    assert all((np.abs(f["r"]) > reach[f["index"]]).any() for f in found), "escapes"
    used = np.concatenate([f["index"].ravel() for f in found])
    assert set(used) == set(range(len(reach))), "every latent table"
    levels = mini.levels_of(containers["levels"])
    groups = mini.tables.hyper_group
    assert set(groups[levels].flat) == set(groups), "all sets of hyper tables in one file"


@pytest.mark.parametrize("folder", sorted(SHIPPED.iterdir()), ids=lambda folder: folder.name)
def test_files_of_every_released_codec_decode(shipped_codecs, folder):
    """By that codec, or by its decoder in float16."""
    names = [path.stem for path in folder.glob("*.vae")]
    assert len(names) >= 9
    for name in names:
        assert_golden(shipped_codecs[folder.name], name, folder)


def test_every_shipped_codec_has_golden_files(shipped_codecs):
    assert {folder.name for folder in SHIPPED.iterdir()} == {*shipped_codecs}


def test_a_golden_file_is_no_noise(mini):
    """Decoders that agree on nonsense would pass all the rest."""
    from skimage import data

    photo = np.ascontiguousarray(data.chelsea()[60:210, 100:300, ::-1])
    found = mini.decode(stream("two-tiles"))
    error = Image(photo).to_rgb() - found.to_rgb()
    assert -10 * np.log10(np.mean(error**2)) > 23
