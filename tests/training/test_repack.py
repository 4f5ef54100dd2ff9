"""`export --from model`: the same model in smaller files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import vaetools
from vaetools.cli.export import command
from vaetools.errors import (
    ExistsError,
    ManifestError,
    ModelAlteredError,
    ModelBrokenError,
    UsageError,
)
from vaetools.model.folder import Model
from vaetools.model.manifest import FILE_NAME, read_manifest
from vaetools.model.registry import shipped_folder
from vaetools.model.runtime import Runtime
from vaetools.training.export.card import FILE_NAME as CARD
from vaetools.training.export.folder import save_manifest, write_file
from vaetools.training.export.repack import repack_model

if TYPE_CHECKING:
    from vaetools.model.spec import Manifest

pytestmark = pytest.mark.train

SHIPPED = Path(str(shipped_folder()))
SIDE = 64


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The shipped denoiser as earlier versions wrote it: each graph with its weights."""
    folder = shutil.copytree(SHIPPED / "photo-denoise", tmp_path / "models" / "old-denoise")
    manifest = replace(read_manifest(folder), id="old-denoise")
    model = Model(manifest, folder, Runtime("cpu"))
    whole = {role: model.graph_bytes(role) for role in manifest.graphs}
    (folder / "weights.bin").unlink()
    put(folder, replace(manifest, weights=None), whole)
    return folder


def put(folder: Path, manifest: Manifest, graphs: dict[str, bytes]) -> None:
    """Replace graphs, and say so in the manifest."""
    specs = dict(manifest.graphs)
    for role, data in graphs.items():
        specs[role] = replace(specs[role], **vars(write_file(folder, specs[role].file, data)))
    save_manifest(folder, replace(manifest, graphs=specs))


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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
    first = content(old)
    run(str(old), "--from", "model", "--to", str(old))
    assert content(old) == first


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


@pytest.mark.parametrize("card", ["# Schön\n".encode(), b"\xff\xfe", None])
def test_the_card_is_copied_as_it_is(old: Path, tmp_path: Path, card: bytes | None) -> None:
    (old / CARD).unlink()
    if card is not None:
        (old / CARD).write_bytes(card)
    repack_model(old, tmp_path / "new")
    copied = tmp_path / "new" / CARD
    assert (copied.read_bytes() if copied.exists() else None) == card


def test_a_link_in_the_place_of_the_card_is_not_followed(old: Path, tmp_path: Path) -> None:
    (old / CARD).unlink()
    (old / CARD).symlink_to("/etc/hostname")
    with pytest.raises(ModelBrokenError, match=r"MODEL_CARD\.md: is not a regular file"):
        repack_model(old, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_model_survives_a_failure_at_any_time(
    old: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    before = content(old)
    real = Path.replace
    calls = []

    def replace(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == fails_at:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        repack_model(old, old)
    assert content(old) == before
    assert [path.name for path in old.parent.iterdir()] == [old.name]


def test_a_model_comes_back_after_a_kill_in_between(old: Path) -> None:
    card = (old / CARD).read_bytes()
    old.rename(old.with_name(f".{old.name}.vaetools-old"))
    repack_model(old, old)
    assert (old / CARD).read_bytes() == card
    assert [path.name for path in old.parent.iterdir()] == [old.name]


def sensitive() -> bytes:
    """A graph that shows the difference of 2049 and 2048, which is what float16 makes of it.

    Its weights are among its inputs, as in files of old exporters.
    """
    weights = np.full((SIDE, SIDE), 2049, np.float32)
    nodes = [
        helper.make_node("ReduceMax", ["weights"], ["most"], keepdims=0),
        helper.make_node("Sub", ["most", "off"], ["left"]),
        helper.make_node("Add", ["image", "left"], ["level"]),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, "height", "width"])
        for name in ("image", "level")
    ]
    listed = helper.make_tensor_value_info("weights", TensorProto.FLOAT, [SIDE, SIDE])
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.float32(2049), "off"),
    ]
    made = helper.make_graph(nodes, "g", [ports[0], listed], ports[1:], constants)
    opset = [helper.make_opsetid("", 20)]
    return bytes(helper.make_model(made, opset_imports=opset, ir_version=10).SerializeToString())


def test_rounding_that_changes_the_results_is_refused(old: Path, tmp_path: Path) -> None:
    put(old, read_manifest(old), {"noise_level": sensitive()})
    repack_model(old, tmp_path / "same")
    with pytest.raises(ModelBrokenError, match="noise_level differs from its source by 1, more"):
        repack_model(old, tmp_path / "half", half=True)
    assert not (tmp_path / "half").exists()


def test_it_works_without_torch(old: Path, tmp_path: Path) -> None:
    code = f"""if True:
        import sys
        sys.modules["torch"] = None
        from pathlib import Path
        from vaetools.training.export.repack import repack_model
        repack_model(Path({str(old)!r}), Path({str(tmp_path / "new")!r}))
    """
    subprocess.run([sys.executable, "-c", code], check=True)
    assert read_manifest(tmp_path / "new").weights is not None


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
