"""Models: manifests are checked before any ONNX byte, and altered files are never run."""

from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner

from vaetools.cli.app import program
from vaetools.errors import (
    DuplicateModelError,
    ImageValueError,
    ManifestError,
    ModelAlteredError,
    ModelBrokenError,
    ModelNotFoundError,
)
from vaetools.model import vae
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
        ("multiple_of = 4", "multiple_of = 0", "size.multiple_of = 0 is not 1 … 512"),
        ("minimum = 4", "fixed = [4]", "size.fixed = [4] is not [height, width]"),
        ("minimum = 4", "fixed = [4, 0]", "size.fixed[1] = 0 is not 1 … 4096"),
        ('policy = "halo"', 'policy = "some"', "tiling.policy = 'some' is not one of halo, never"),
        ("halo = 0", "halo = -1", "tiling.halo = -1 is not 0 … 4096"),
        ('sha256 = "', 'sha256 = "G', "is not 64 hexadecimal digits"),
        ("\nbytes = ", "\nbytes = -", "graphs.encode.bytes = -"),
        ("seed = 0", "seed = -1", "selftest.seed = -1 is not"),
        ("    1.0,\n", "    255,\n", "image.range = [0.0, 255.0] is not [0, 1]"),
        ('order = "RGB"', 'order = "BGR"', "image.order = 'BGR' is not one of RGB"),
        ("[size]", "[size", "is not TOML"),
        ("format = 1", "", "key format is missing; it is 1"),
        ("format = 1", "format = true", "format True is not 1"),
        ("format = 1", "format = 1.0", "format 1.0 is not 1"),
        ("multiple_of = 4", "multiple_of = 16384", "size.multiple_of = 16384 is not 1 … 512"),
        ("minimum = 4", "minimum = 1000000000000", "size.minimum = 1000000000000 is not 1 … 512"),
        ("minimum = 4", "fixed = [40000, 40000]", "size.fixed[0] = 40000 is not 1 … 4096"),
        ("minimum = 4", "fixed = [4096, 4096]", "has more than 4194304 pixels"),
        ("minimum = 4", "fixed = [-4, 8]", "size.fixed[0] = -4 is not 1 … 4096"),
        ("halo = 0", "halo = 1000000000000", "tiling.halo = 1000000000000 is not 0 … 4096"),
        ("downscale = 4", "downscale = 16381", "latent.downscale = 16381 is not 1 … 512"),
        (
            "channels = 3\ndown",
            "channels = 2000000000\ndown",
            "latent.channels = 2000000000 is not",
        ),
        ("scale = 1.0", "scale = 1e300", "latent.scale = 1e+300 is not 1e-09 … 1000000000"),
        ("scale = 1.0", "scale = 1e-300", "latent.scale = 1e-300 is not 1e-09 … 1000000000"),
        ("deviation = 0.05", "deviation = 5e-324", "likelihood.deviation = 5e-324 is not"),
        ("\nbytes = ", f"\nbytes = 0x{'f' * 5000} #", "graphs.encode.bytes = (a very long value)"),
        ("version = ", f"x = {'9' * 5000}\nversion = ", "is not TOML"),
        ("version = ", f"x = {'[' * 100_000}\nversion = ", "is nested too deeply"),
        ("version = ", f"x = '{'x' * 5000}'\nversion = ", "unknown key x"),
        ("version = ", f"{'x' * 5000} = 1\nversion = ", "unknown key " + 118 * "x" + "; known"),
        ('file = "decode.onnx"', 'file = "a\\u0000b"', "is not a plain file name"),
        ("[graphs.encode]", "[graphs.other]", "needs the graph [graphs.encode]"),
        ('"reconstruct"', '"denoise"', "tasks has 'denoise', which needs the table [denoise]"),
        ('"reconstruct"', '"compress"', "needs the table [codec]"),
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


def test_what_a_killed_export_leaves_is_no_model(tiny_models: Path) -> None:
    for name in (f".{TINY}.part", f".{TINY}.vaetools-old"):
        shutil.copytree(tiny_models / TINY, tiny_models / name)
    assert registry(tiny_models).ids() == [TINY]


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


def test_threads_open_one_model(tiny_models: Path) -> None:
    """Also where the runtime takes its time to start."""
    together = threading.Barrier(2)
    runtime = Runtime("cpu", threads=1)

    def started() -> Runtime:
        together.wait(10)
        return runtime

    registry = ModelRegistry([tiny_models], started)
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(registry.open, [TINY, TINY])
    assert one is two


@pytest.mark.parametrize("size", [(1097, 20), (1003, 1031)])
def test_tiles_of_images_that_are_not_whole_cells(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """Sides are multiples of 3 here, and a latent has 4 pixels: a cell has 12."""
    monkeypatch.setattr(vae, "TILE", 96)
    file = tiny_models / TINY / FILE_NAME
    text = file.read_text().replace("multiple_of = 4", "multiple_of = 3")
    file.write_text(text.replace("minimum = 4", "minimum = 3"))
    model = ModelRegistry([tiny_models], lambda: Runtime("cpu", threads=1)).open(TINY)
    assert isinstance(model, Vae)
    image = np.random.default_rng(0).random((*size, 3), np.float32)
    posterior = model.encode(image)
    assert posterior.mean.shape[2:] == tuple(-(-(-(-side // 3) * 3) // 4) for side in size)
    assert model.decode(posterior.mode()).shape == image.shape


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


@pytest.mark.slow
def test_kl_agrees_with_monte_carlo() -> None:
    rng = np.random.default_rng(1)
    mean = np.array([[0.7, -1.2]], np.float32)
    logvar = np.array([[-0.5, 0.4]], np.float32)
    posterior = Posterior(mean, logvar, 1, 1)
    z = np.stack([posterior.sample(rng).values[0] for _ in range(200_000)])
    log_q = -0.5 * ((z - mean) ** 2 / np.exp(logvar) + logvar)
    log_p = -0.5 * z**2
    assert (log_q - log_p).mean(axis=0) == pytest.approx(posterior.kl()[0], abs=0.01)


# --- manifests that are no files, and folders that cannot be read --------------------------------------


def error_of(folder: Path) -> str:
    """The line of the only entry, which has an error."""
    (entry,) = registry(folder).entries
    assert entry.error is not None
    return entry.error.line


@pytest.mark.parametrize("target", ["/dev/zero", "same", "missing"])
def test_a_manifest_is_no_link(tiny_models: Path, target: str) -> None:
    path = tiny_models / TINY / FILE_NAME
    path.rename(path.parent / "same")
    path.symlink_to(target)
    assert error_of(tiny_models).endswith(f"{FILE_NAME}: is not a regular file")


def test_a_manifest_is_no_pipe(tiny_models: Path) -> None:
    path = tiny_models / TINY / FILE_NAME
    path.unlink()
    os.mkfifo(path)
    assert error_of(tiny_models).endswith(f"{FILE_NAME}: is not a regular file")


def test_a_manifest_of_gigabytes_is_not_read(tiny_models: Path) -> None:
    os.truncate(tiny_models / TINY / FILE_NAME, 8 << 30)
    assert "has 8589934592 bytes, the limit is 1048576" in error_of(tiny_models)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_an_entry(tiny_models: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    found = registry(closed, tiny_models)
    assert found.ids() == [TINY]
    assert [entry.error is None for entry in found.entries] == [True, False]


def test_a_folder_that_raises_is_an_entry(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the home of somebody else; whatever user runs the tests."""
    real = os.path.lexists

    def refused(path: Path) -> bool:
        if "closed" in str(path):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os.path, "lexists", refused)
    found = registry(tmp_path / "closed", tiny_models)
    assert found.ids() == [TINY]
    error = found.entries[1].error
    assert isinstance(error, ManifestError)
    assert error.line.endswith("closed: folder of models cannot be read: Permission denied")


# --- what messages say ---------------------------------------------------------------------------------


def reconstructed(models: Path, old: str, new: str) -> str:
    """The error of a reconstruction after a change of the manifest."""
    path = models / TINY / FILE_NAME
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    vae = registry(models).open(TINY)
    assert isinstance(vae, Vae)
    image = np.zeros((30, 45, 3), np.float32)
    with pytest.raises(ModelBrokenError) as caught:
        vae.decode(vae.encode(image).mode())
    return caught.value.line


def test_a_wrong_downscale_is_named(tiny_models: Path) -> None:
    line = reconstructed(tiny_models, "downscale = 4", "downscale = 1")
    assert (
        "its manifest: latent.kind = 'spatial' and latent.downscale = 1 imply sides of [32, 48]"
        in line
    )


def test_a_missing_multiple_is_not_blamed_on_the_image(tiny_models: Path) -> None:
    line = reconstructed(tiny_models, "multiple_of = 4", "multiple_of = 1")
    assert "decodes 30 x 45 pixels as 28 x 44" in line
    assert line.endswith("set size.multiple_of in model.toml")


def verified(models: Path, *changes: tuple[str, str]) -> str:
    path = models / TINY / FILE_NAME
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    result = CliRunner().invoke(program, ["models", "verify", TINY, "--models-dir", str(models)])
    assert result.exit_code == (0 if "valid" in result.output else 4)
    return result.output


def test_a_sound_model_is_valid(tiny_models: Path) -> None:
    assert verified(tiny_models) == f"{TINY}: valid\n"


def test_a_task_that_nobody_knows_is_not_valid(tiny_models: Path) -> None:
    said = verified(tiny_models, ('"reconstruct"', '"recon"'))
    assert "tasks has 'recon', which no operation needs" in said


def test_a_graph_without_a_self_test_is_not_valid(tiny_models: Path) -> None:
    text = (tiny_models / TINY / FILE_NAME).read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("decode = ")]
    said = verified(tiny_models, (line, ""))
    assert "is not verified: [selftest.values] has nothing for decode" in said
