"""`export --from model`: the same model in smaller files."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import vaetools
from vaetools.cli.export import command
from vaetools.errors import ExistsError, ManifestError, ModelAlteredError, UsageError
from vaetools.model.folder import read_graph
from vaetools.model.manifest import FILE_NAME, read_manifest
from vaetools.model.registry import shipped_folder
from vaetools.training.export.card import FILE_NAME as CARD
from vaetools.training.export.repack import repack_model

pytestmark = pytest.mark.train

SHIPPED = Path(str(shipped_folder()))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The shipped denoiser as earlier versions wrote it: each graph with its weights."""
    folder = shutil.copytree(SHIPPED / "photo-denoise", tmp_path / "old-denoise")
    manifest = read_manifest(folder)
    whole = {role: read_graph(folder, manifest, role) for role in manifest.graphs}
    (folder / "weights.bin").unlink()
    text = (folder / FILE_NAME).read_text().replace('"photo-denoise"', '"old-denoise"')
    start = text.index("[weights]")
    text = text[:start] + text[text.index("[", start + 1) :]
    for role, data in whole.items():
        spec = manifest.graphs[role]
        (folder / spec.file).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        text = text.replace(spec.sha256, digest)
        text = text.replace(f"bytes = {spec.bytes}\n", f"bytes = {len(data)}\n")
    (folder / FILE_NAME).write_text(text)
    return folder


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_results_stay_bit_for_bit(old: Path, tmp_path: Path, astronaut: np.ndarray) -> None:
    folder = tmp_path / "new"
    said = run(str(old), "--from", "model", "--to", str(folder), "--id", "new-denoise")
    assert "denoise_sample       differs from its source by 0\n" in said
    size = {place: read_manifest(place).bytes for place in (old, folder)}
    assert size[folder] < 0.6 * size[old]
    image = astronaut[:64, :96]
    results = []
    for place in (old, folder):
        with vaetools.open("cpu", models_dirs=place) as hub:
            results.append(hub.denoise(image, sigma=25, model=read_manifest(place).id))
    assert np.array_equal(*results)


def test_a_model_is_replaced_in_its_place(old: Path) -> None:
    card = (old / CARD).read_text()
    run(str(old), "--from", "model", "--to", str(old))
    assert read_manifest(old).weights is not None
    assert (old / CARD).read_text() == card
    first = {path.name: path.read_bytes() for path in old.iterdir()}
    run(str(old), "--from", "model", "--to", str(old))
    assert {path.name: path.read_bytes() for path in old.iterdir()} == first


def test_what_we_ship_is_packed(tmp_path: Path) -> None:
    """Otherwise: vaetools export exported_models/vaetools_models/ID --from model --to the same"""
    for source in sorted(path.parent for path in SHIPPED.glob(f"*/{FILE_NAME}")):
        if source.name == "photo-codec" and read_manifest(source).version == "4":
            continue  # 16 MB in git for a model that is about to be replaced by its decoder
        folder = tmp_path / source.name
        repack_model(source, folder)
        assert read_manifest(folder).bytes >= 0.98 * read_manifest(source).bytes, source.name


def test_half_the_bytes_nearly_the_same_results(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    source = SHIPPED / "photo-codec"
    model, differences = repack_model(source, folder, half=True, id="small")
    assert model.manifest.bytes < 0.55 * read_manifest(source).bytes
    assert differences["hyper_scale_index"] == 0  # exact
    assert 0 < differences["synthesis"] < 1e-2
    model.verify()
    assert read_manifest(folder).id == "small"


def test_bad_input_is_one_line(tmp_path: Path, old: Path) -> None:
    with pytest.raises(ManifestError, match=r"model\.toml"):
        repack_model(tmp_path / "nothing", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(ExistsError, match=r"letter\.txt"):
        repack_model(old, tmp_path / "full")
    graph = old / "denoise.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(ModelAlteredError, match=r"denoise\.onnx"):
        repack_model(old, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="--size has no effect"):
        command.main(
            [str(old), "--from", "model", "--to", str(tmp_path / "out"), "--size", "8x8"],
            standalone_mode=False,
        )
