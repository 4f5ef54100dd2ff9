"""Models: manifests are checked before any ONNX byte, and altered files are never run."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tomli_w

from vaetools.errors import (
    DuplicateModelError,
    ImageValueError,
    ManifestError,
    ModelAlteredError,
    ModelBrokenError,
    ModelNotFoundError,
)
from vaetools.model.latent import Posterior
from vaetools.model.manifest import FILE_NAME, manifest_table, read_manifest
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.model.vae import Vae
from vaetools.testing import TINY, gradient, write_tiny_vae

if TYPE_CHECKING:
    from pathlib import Path

RUNTIME = Runtime("cpu", threads=1)


def registry(*folders: Path) -> ModelRegistry:
    return ModelRegistry(folders, lambda: RUNTIME)


def test_manifest_round_trip(tiny_models: Path) -> None:
    manifest = read_manifest(tiny_models / TINY)
    (tiny_models / TINY / FILE_NAME).write_text(tomli_w.dumps(manifest_table(manifest)))
    assert read_manifest(tiny_models / TINY) == manifest


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('license = "Apache-2.0"', 'license = "MIT"', True),
        ('version = "1"', 'version = "1"\nsource = "here"', True),
        ('version = "1"', 'version = "2"', False),
        ("multiple_of = 4", "multiple_of = 8", False),
        ("sha256 = ", 'sha256 = "' + 64 * "0" + '" # ', False),
    ],
)
def test_the_fingerprint_is_of_what_computes(
    tiny_models: Path, old: str, new: str, same: bool
) -> None:
    path = tiny_models / TINY / FILE_NAME
    text, before = path.read_text(), read_manifest(tiny_models / TINY).fingerprint
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert (read_manifest(tiny_models / TINY).fingerprint == before) is same


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format = 1", "format = 2", "format 2 is not 1"),
        ('id = "tiny-vae"', 'id = "../up"', "../up"),
        ('id = "tiny-vae"', "", "key id is missing"),
        ('version = "1"', "version = 1", "version = 1 is not a string"),
        ('version = "1"', 'version = "1"\nvershun = "1"', "unknown key vershun"),
        ("[size]", "[size]\nmultiple = 3", "unknown key size.multiple"),
        (
            'file = "encode.onnx"',
            'file = "../encode.onnx"',
            "graphs.encode.file = '../encode.onnx' is not a plain file name",
        ),
        ("multiple_of = 4", "multiple_of = 0", "size.multiple_of = 0 is not at least 1"),
        ("minimum = 4", "fixed = [4]", "size.fixed = [4] is not [height, width]"),
        ("minimum = 4", "fixed = [4, 0]", "size.fixed[1] = 0 is not at least 1"),
        ('policy = "halo"', 'policy = "some"', "tiling.policy = 'some' is not one of halo, never"),
        ("halo = 0", "halo = -1", "tiling.halo = -1 is not at least 0"),
        ('sha256 = "', 'sha256 = "G', "is not 64 hexadecimal digits"),
        ("\nbytes = ", "\nbytes = -", "graphs.encode.bytes = -"),
        ("seed = 0", "seed = -1", "selftest.seed = -1 is not"),
        ("    1.0,\n", "    255,\n", "image.range = [0.0, 255.0] is not [0, 1]"),
        ('order = "RGB"', 'order = "BGR"', "image.order = 'BGR' is not one of RGB"),
        ("[size]", "[size", "is not TOML"),
    ],
)
def test_a_bad_manifest_names_the_key(tiny_models: Path, old: str, new: str, said: str) -> None:
    path = tiny_models / TINY / FILE_NAME
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ManifestError) as caught:
        read_manifest(tiny_models / TINY)
    assert said in caught.value.line
    assert FILE_NAME in caught.value.line
    found = registry(tiny_models)
    assert found.ids() == []
    with pytest.raises(ManifestError):
        found.open(TINY)


def test_altered_graphs_are_refused(tiny_models: Path) -> None:
    path = tiny_models / TINY / "decode.onnx"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    model = registry(tiny_models).open(TINY)
    with pytest.raises(ModelAlteredError, match="sha256"):
        model.graph("decode")
    path.write_bytes(data[:-1])
    with pytest.raises(ModelAlteredError, match="bytes where the manifest says"):
        model.verify()
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(ModelAlteredError, match="not a regular file"):
        model.graph("decode")


def test_graphs_that_do_not_load_are_named(tiny_models: Path) -> None:
    import hashlib

    folder = tiny_models / TINY
    junk = b"not a graph"
    (folder / "decode.onnx").write_bytes(junk)
    text = (folder / FILE_NAME).read_text()
    spec = read_manifest(folder).graphs["decode"]
    text = text.replace(spec.sha256, hashlib.sha256(junk).hexdigest())
    (folder / FILE_NAME).write_text(text.replace(f"bytes = {spec.bytes}", f"bytes = {len(junk)}"))
    with pytest.raises(ModelBrokenError, match=r"decode\.onnx: graph does not load"):
        registry(tiny_models).open(TINY).graph("decode")


def test_two_folders_with_one_id_are_both_named(tiny_models: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_models / TINY, tmp_path / "others" / "copy")
    with pytest.raises(DuplicateModelError) as caught:
        registry(tiny_models, tmp_path / "others")
    assert "copy" in caught.value.line and "models" in caught.value.line
    assert registry(tiny_models, tiny_models / TINY).ids() == [TINY]  # one folder, reached twice


def test_selection_is_by_task_and_name(tiny_models: Path, tmp_path: Path) -> None:
    found = registry(tiny_models)
    assert found.for_task("reconstruct").id == TINY
    with pytest.raises(ModelNotFoundError, match="no model for 'denoise'"):
        found.for_task("denoise")
    with pytest.raises(ModelNotFoundError, match="not for 'denoise'"):
        found.for_task("denoise", TINY)
    with pytest.raises(ModelNotFoundError, match="known: tiny-vae"):
        found.open("tinny-vae")
    second = write_tiny_vae(tmp_path / "more" / "second")
    text = (second / FILE_NAME).read_text().replace(TINY, "second")
    (second / FILE_NAME).write_text(text)
    both = registry(tiny_models, tmp_path / "more")
    with pytest.raises(ModelNotFoundError, match="choose with --model: tiny-vae, second"):
        both.for_task("reconstruct")
    assert both.for_task("reconstruct", "second").id == "second"


def test_vae_keeps_odd_sizes_and_samples_within_the_posterior(tiny_models: Path) -> None:
    vae = registry(tiny_models).open(TINY)
    assert isinstance(vae, Vae)
    image = gradient(13, 22)[:, :, ::-1].astype(np.float32) / 255
    posterior = vae.encode(image)
    assert isinstance(posterior, Posterior)
    assert vae.decode(posterior.mode()).shape == image.shape
    rng = np.random.default_rng(0)
    draws = np.stack([posterior.sample(rng).values for _ in range(400)])
    assert draws.std(axis=0).mean() == pytest.approx(0.05, rel=0.02)
    assert np.array_equal(posterior.sample(rng, temperature=0).values, posterior.mean)
    with pytest.raises(ImageValueError):
        vae.encode(image[:, :, 0])


def test_kl_agrees_with_monte_carlo() -> None:
    rng = np.random.default_rng(1)
    mean = np.array([[0.7, -1.2]], np.float32)
    logvar = np.array([[-0.5, 0.4]], np.float32)
    posterior = Posterior(mean, logvar, 1, 1)
    z = np.stack([posterior.sample(rng).values[0] for _ in range(200_000)])
    log_q = -0.5 * ((z - mean) ** 2 / np.exp(logvar) + logvar)
    log_p = -0.5 * z**2
    assert (log_q - log_p).mean(axis=0) == pytest.approx(posterior.kl()[0], abs=0.01)
