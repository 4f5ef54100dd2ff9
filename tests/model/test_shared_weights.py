"""Graphs that share weights: each is checked and used together with them, and no file is read twice."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import tomli_w
from onnx import TensorProto, helper
from onnxruntime import InferenceSession

from vaetools.errors import ManifestError, ModelAlteredError, ModelBrokenError
from vaetools.model.folder import Model
from vaetools.model.manifest import FILE_NAME, manifest_table, read_manifest
from vaetools.model.runtime import Runtime
from vaetools.model.spec import FileSpec, GraphSpec
from vaetools.testing import TINY

if TYPE_CHECKING:
    from pathlib import Path

FILE = "weights.bin"
SIDE = 64
WEIGHTS = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)


def graph(*tensors: TensorProto, image: str = "image", result: str = "result") -> bytes:
    """result = image @ each of the tensors, one after the other."""
    names = [image, *(f"step {n}" for n in range(len(tensors) - 1)), result]
    nodes = [
        helper.make_node("MatMul", [names[n], tensor.name], [names[n + 1]])
        for n, tensor in enumerate(tensors)
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 1, SIDE])
        for name in (image, result)
    ]
    made = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    opset = [helper.make_opsetid("", 20)]
    return bytes(helper.make_model(made, opset_imports=opset, ir_version=10).SerializeToString())


def reference(name: str = "w", dims: tuple[int, ...] = (SIDE, SIDE), **place: str) -> TensorProto:
    """A tensor that is all of the file, if `place` does not say otherwise."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims)
    tensor.data_location = TensorProto.EXTERNAL
    whole = {"location": FILE, "offset": "0", "length": str(WEIGHTS.nbytes)}
    for key, value in (whole | place).items():
        if value:
            tensor.external_data.add(key=key, value=value)
    return tensor


def spec(data: bytes, file: str) -> Any:
    return FileSpec(file, hashlib.sha256(data).hexdigest(), len(data))


def install(
    models: Path, data: bytes, weights: bytes | None = WEIGHTS.tobytes(), name: str = FILE
) -> Model:
    """The tiny VAE, with one graph more, which may use the weights."""
    folder = models / TINY
    (folder / "more.onnx").write_bytes(data)
    manifest = read_manifest(folder)
    file = spec(data, "more.onnx")
    more = GraphSpec(file.file, file.sha256, file.bytes, ("image",), ("result",))
    manifest = replace(manifest, graphs={**manifest.graphs, "more": more}, weights=None)
    if weights is not None:
        (folder / name).write_bytes(weights)
        manifest = replace(manifest, weights=spec(weights, name))
    (folder / FILE_NAME).write_text(tomli_w.dumps(manifest_table(manifest)))
    return Model(read_manifest(folder), folder, Runtime("cpu", threads=1, isolate=False))


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(1, 3, 1, SIDE)).astype(np.float32)


@pytest.mark.parametrize("isolate", [False, True])
def test_weights_come_from_the_file(tiny_models: Path, image: np.ndarray, isolate: bool) -> None:
    model = install(tiny_models, graph(reference()))
    if isolate:
        model = Model(model.manifest, model.folder, Runtime("cpu", threads=1, isolate=True))
    (found,) = model.graph("more")(image)
    assert np.allclose(found, image @ WEIGHTS, atol=1e-4)
    model.check_files()


def test_other_programs_open_the_graph_by_its_path(tiny_models: Path, image: np.ndarray) -> None:
    folder = install(tiny_models, graph(reference())).folder
    session = InferenceSession(folder / "more.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": image})
    assert np.allclose(found, image @ WEIGHTS, atol=1e-4)


def test_other_weights_are_not_taken_from_the_cache(tiny_models: Path, image: np.ndarray) -> None:
    data = graph(reference())
    for weights in (WEIGHTS, WEIGHTS + 1):
        (found,) = install(tiny_models, data, weights.tobytes()).graph("more")(image)
        assert np.allclose(found, image @ weights, atol=1e-3)


def test_altered_weights_are_refused(tiny_models: Path) -> None:
    model = install(tiny_models, graph(reference()))
    path = model.folder / FILE
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    for wrong in (bytes(content), content[:-1], None):
        path.unlink()
        if wrong is not None:
            path.write_bytes(wrong)
        for use in (model.check_files, lambda: model.graph("more"), model.verify):
            with pytest.raises(ModelAlteredError, match=FILE):
                use()
    path.symlink_to("/etc/hostname")
    with pytest.raises(ModelAlteredError, match=r"weights\.bin: is not a regular file"):
        model.graph("more")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"offset": "4"}, "'w' ends at byte 16388 of weights.bin, which has 16384"),
        ({"length": "999999999999999"}, "ends at byte 999999999999999 of"),
        ({"offset": "-4"}, "no valid offset and length"),
        ({"offset": "1e3"}, "no valid offset and length"),
        ({"offset": "9" * 5000}, "no valid offset and length"),
        ({"length": ""}, "has to give location, offset and length in weights.bin, each once"),
        ({"checksum": "0"}, "has to give location, offset and length"),
        ({"length": "16380"}, "is damaged"),
        ({"location": "other.bin"}, "stored neither in the graph's file nor"),
        ({"location": "../weights.bin"}, "stored neither in the graph's file nor"),
        ({"location": "/etc/hostname"}, "stored neither in the graph's file nor"),
    ],
)
def test_wrong_references_are_one_line(tiny_models: Path, place: dict[str, str], said: str) -> None:
    model = install(tiny_models, graph(reference(**place)))
    with pytest.raises(ModelBrokenError) as caught:
        model.graph("more")
    assert said in caught.value.line
    assert "more.onnx" in caught.value.line
    assert "\n" not in caught.value.line


def test_a_graph_cannot_use_weights_twice(tiny_models: Path) -> None:
    """Or a few kilobytes of references would become gigabytes in memory."""
    model = install(tiny_models, graph(reference("a"), reference("b")))
    with pytest.raises(ModelBrokenError, match=r"uses weights of weights\.bin more than once"):
        model.graph("more")


def test_references_are_unambiguous(tiny_models: Path) -> None:
    """Or other programs would compute with other weights than vaetools."""
    twice, own, inside = reference(), reference(), reference()
    twice.external_data.add(key="offset", value="0")
    own.raw_data = inside.raw_data = bytes(WEIGHTS.nbytes)
    inside.data_location = TensorProto.DEFAULT
    for tensor, said in (
        (twice, "each once"),
        (own, "has numbers of its own besides those in weights.bin"),
        (inside, "stored neither in the graph's file nor"),
    ):
        with pytest.raises(ModelBrokenError, match=said):
            install(tiny_models, graph(tensor)).graph("more")


def test_nothing_large_is_kept_in_the_cache(tiny_models: Path, tmp_path: Path) -> None:
    install(tiny_models, graph(reference())).graph("more")
    with pytest.raises(ModelBrokenError):
        install(tiny_models, graph(reference(dims=(5, 5)))).graph("more")
    kept = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert kept < WEIGHTS.nbytes


def test_shipped_graphs_come_from_the_cache_without_onnx(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from vaetools.model.folder import Model
        from vaetools.model.manifest import read_manifest
        from vaetools.model.registry import shipped_folder
        from vaetools.model.runtime import Runtime
        folder = shipped_folder() / "photo-denoise"
        model = Model(read_manifest(folder), folder, Runtime("cpu", threads=1))
        model.graph("denoise")
        print("onnx" in sys.modules)
    """
    words = [sys.executable, "-c", code]
    runs = [subprocess.run(words, capture_output=True, text=True, check=True) for _ in range(2)]
    assert [run.stdout.strip() for run in runs] == ["True", "False"]


@pytest.mark.parametrize("name", ["../more", "/tmp/more", "a/b", "", "a b", "x" * 64])
def test_roles_and_names_are_plain(tiny_models: Path, name: str) -> None:
    """An export makes file names of them."""
    folder = install(tiny_models, graph(reference())).folder
    text = (folder / FILE_NAME).read_text()
    table = text[text.index("[weights]") :].partition("\n\n")[0]
    for more in (
        text.replace("[graphs.more]", f'[graphs."{name}"]'),
        f"{text}\n" + table.replace("[weights]", f'[files."{name}"]'),
    ):
        (folder / FILE_NAME).write_text(more)
        with pytest.raises(ManifestError, match="is not a name of letters, digits, _ and -"):
            read_manifest(folder)


def test_graphs_are_few(tiny_models: Path) -> None:
    """Each may take all of the weights into memory."""
    folder = install(tiny_models, graph(reference())).folder
    text = (folder / FILE_NAME).read_text()
    table = text[text.index("[graphs.more]") :].partition("\n\n")[0]
    more = [table.replace("graphs.more", f"graphs.more{n}") for n in range(30)]
    (folder / FILE_NAME).write_text("\n\n".join([text, *more]))
    with pytest.raises(ManifestError, match="there are 33 graphs, the limit is 32"):
        read_manifest(folder)


def test_a_graph_may_be_called_weights(tiny_models: Path) -> None:
    folder = install(tiny_models, graph(reference())).folder
    text = (folder / FILE_NAME).read_text().replace("[graphs.more]", "[graphs.weights]")
    (folder / FILE_NAME).write_text(text)
    model = Model(read_manifest(folder), folder, Runtime("cpu", threads=1))
    model.graph("weights")
    assert model.manifest.bytes > WEIGHTS.nbytes + model.manifest.graphs["weights"].bytes
    (folder / "more.onnx").write_bytes(b"altered")
    with pytest.raises(ModelAlteredError, match=r"more\.onnx"):
        model.check_files()


def test_references_in_attributes_are_refused(tiny_models: Path) -> None:
    constant = helper.make_node("Constant", [], ["w"], value=reference())
    made = onnx.load_from_string(graph(reference()))
    del made.graph.initializer[:]
    made.graph.node.insert(0, constant)
    with pytest.raises(ModelBrokenError, match="stored neither in the graph's file nor"):
        install(tiny_models, made.SerializeToString()).graph("more")


def test_without_the_table_nothing_is_read(tiny_models: Path) -> None:
    data = graph(reference())
    install(tiny_models, data).graph("more")  # it passes with the table
    with pytest.raises(ModelBrokenError, match="stored neither in the graph's file nor"):
        install(tiny_models, data, weights=None).graph("more")
    with pytest.raises(ModelBrokenError, match="stored neither in the graph's file nor"):
        install(tiny_models, data, name="renamed.bin").graph("more")


def test_damaged_graphs_do_not_load(tiny_models: Path) -> None:
    with pytest.raises(ModelBrokenError, match=r"more\.onnx: graph does not load"):
        install(tiny_models, b"not a graph").graph("more")


@pytest.mark.parametrize("file", ["../weights.bin", "/etc/hostname", ".weights", ""])
def test_the_file_lies_in_the_folder(tiny_models: Path, file: str) -> None:
    folder = install(tiny_models, graph(reference())).folder
    path = folder / FILE_NAME
    path.write_text(path.read_text().replace(f'"{FILE}"', f'"{file}"'))
    with pytest.raises(ManifestError, match=r"weights\.file"):
        read_manifest(folder)


def test_graph_and_weights_are_not_too_large_for_onnx(tiny_models: Path) -> None:
    folder = install(tiny_models, graph(reference())).folder
    path = folder / FILE_NAME
    path.write_text(path.read_text().replace(f"bytes = {WEIGHTS.nbytes}", f"bytes = {2**31}"))
    with pytest.raises(ManifestError, match="and its weights have more than"):
        read_manifest(folder)


def test_the_fingerprint_depends_on_the_weights(tiny_models: Path) -> None:
    one = install(tiny_models, graph(reference())).manifest
    other = install(tiny_models, graph(reference()), (WEIGHTS + 1).tobytes()).manifest
    assert one.graphs == other.graphs
    assert one.fingerprint != other.fingerprint
