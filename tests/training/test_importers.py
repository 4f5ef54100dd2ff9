"""Networks of the user's own -> model folders: what is measured, what is kept, what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import vaetools
from tests.training import own_networks
from vaetools.cli import main
from vaetools.errors import ExistsError, ModelBrokenError, UsageError
from vaetools.model import vae as vae_module
from vaetools.model.manifest import read_manifest
from vaetools.model.spec import Manifest
from vaetools.model.vae import Vae
from vaetools.training.export.folder import OnnxPlan, write_model
from vaetools.training.export.graphs import GraphPlan
from vaetools.training.export.tiling import receptive_radius
from vaetools.training.importers import import_model
from vaetools.training.importers.module import Declared, export_module, plan_of

pytestmark = pytest.mark.slow

SOURCE = Path(own_networks.__file__)


def opened(folder: Path) -> Vae:
    """The model, as any plugin gets it."""
    model = vaetools.open("cpu", models_dirs=[folder.parent]).registry.open(folder.name)
    assert isinstance(model, Vae)
    return model


@pytest.fixture(scope="module")
def network() -> own_networks.Photo:
    torch.manual_seed(0)
    return own_networks.Photo()


@pytest.fixture(scope="module")
def photo(network: own_networks.Photo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "my-vae"
    _, differences = export_module(network, folder, license="CC0-1.0", origin="my own training")
    assert set(differences) == {"encode", "decode"}
    assert max(differences.values()) <= 1e-4
    return folder


def test_manifest_of_a_module(photo: Path, network: own_networks.Photo) -> None:
    manifest = read_manifest(photo)
    assert (manifest.id, manifest.license, manifest.source) == (
        "my-vae",
        "CC0-1.0",
        "my own training",
    )
    assert manifest.tasks == ("reconstruct", "generate")
    assert (manifest.size.multiple_of, manifest.size.minimum, manifest.size.fixed) == (4, 4, ())
    latent = manifest.latent
    assert (latent.kind, latent.channels, latent.downscale) == ("spatial", 5, 4)
    assert (latent.distribution, latent.prior) == ("gaussian", "normal")
    # Three 3x3 kernels, at 1, 1/2 and 1/4 of a latent: 1.75 latents, so two cells of four pixels.
    assert (manifest.tiling.policy, manifest.tiling.halo) == ("halo", 8)
    assert network.training  # the exporter works on a copy


@pytest.mark.slow
def test_names_of_operators_and_outputs_may_be_the_same(tmp_path: Path) -> None:
    model, _ = export_module(own_networks.Centred(), tmp_path / "centred")
    assert model.manifest.graphs["encode"].outputs == ("mean", "logvar")


def test_a_module_works_as_a_model(photo: Path, network: own_networks.Photo) -> None:
    model = opened(photo)
    model.verify()
    image = np.random.default_rng(0).random((37, 50, 3), dtype=np.float32)
    posterior = model.encode(image)
    padded = np.pad(image, ((0, 3), (0, 2), (0, 0)), mode="edge").transpose(2, 0, 1)[None]
    with torch.no_grad():
        mean, logvar = network.encode(torch.from_numpy(padded.copy()))
        expected = network.decode(mean)[0].permute(1, 2, 0).numpy()[:37, :50]
    assert posterior.logvar is not None
    np.testing.assert_allclose(posterior.mean, mean.numpy(), atol=1e-5)
    np.testing.assert_allclose(posterior.logvar, logvar.numpy(), atol=1e-5)
    decoded = model.decode(posterior.mode())
    assert decoded.shape == image.shape
    np.testing.assert_allclose(decoded, expected, atol=1e-5)
    prior = model.prior(np.random.default_rng(0), height=33, width=41)
    assert model.decode(prior).shape == (33, 41, 3)


def test_tiles_give_the_whole(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(photo)
    image = np.random.default_rng(1).random((96, 140, 3), dtype=np.float32)
    whole = model.encode(image)
    pixels = model.decode(whole.mode())
    monkeypatch.setattr(vae_module, "TILE", 32)
    tiled = model.encode(image)
    np.testing.assert_allclose(tiled.mean, whole.mean, atol=1e-6)
    np.testing.assert_allclose(model.decode(whole.mode()), pixels, atol=1e-6)


def test_a_folder_names_no_local_paths(photo: Path) -> None:
    for path in photo.iterdir():
        content = path.read_bytes()
        for word in (str(photo.parent), str(SOURCE.parent), "site-packages", "own_networks"):
            assert word.encode() not in content, f"{path.name} names {word}"
    card = (photo / "MODEL_CARD.md").read_text()
    assert "CC0-1.0" in card and "halo of 8 pixels" in card and "my own training" in card


@pytest.mark.slow
def test_a_module_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "Grey Digits"
    words = ["export", f"{SOURCE}:grey", "--from", "module", "--to", str(target)]
    words += ["--size", "12x20", "--channels", "1", "--likelihood", "bernoulli"]
    with pytest.raises(SystemExit) as caught:
        main(words)
    out, err = capsys.readouterr()
    assert not caught.value.code, err
    for part in ("encode", "differs from its source by", "12 x 20 pixels only", "3 channels"):
        assert part in out
    manifest = read_manifest(target)
    assert manifest.id == "grey-digits"
    assert manifest.graphs["decode"].outputs == ("image", "logits")
    hub = vaetools.open("cpu", models_dirs=[tmp_path])
    model = hub.registry.open("grey-digits")
    assert isinstance(model, Vae)
    images, logits = model.decode_batch(np.zeros((4, 3), np.float32))
    assert images.shape == (4, 1, 12, 20) and logits is not None
    np.testing.assert_allclose(images, 1 / (1 + np.exp(-logits)), atol=1e-6)


def found(network: torch.nn.Module, **declared: object):
    torch.manual_seed(0)
    return plan_of(network, Declared(**declared))


def test_sizes_are_measured() -> None:
    assert found(own_networks.Windows()).size.multiple_of == 16
    assert found(own_networks.Photo()).size.multiple_of == 4
    fixed = found(own_networks.Photo(), size=(24, 40))
    assert fixed.size.fixed == (24, 40)
    assert (fixed.tiling.policy, fixed.tiling.reason) == (
        "never",
        "the network takes one size only",
    )
    assert found(own_networks.Photo(1), channels=1).image.channels == 1


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (own_networks.Rows, "sees the whole image"),
        (own_networks.Average, "sees the whole image"),
        (own_networks.Normalised, "GroupNorm: global statistics"),
    ],
)
def test_what_sees_everything_is_never_cut(network: type[torch.nn.Module], reason: str) -> None:
    tiling = found(network()).tiling
    assert (tiling.policy, tiling.reason) == ("never", reason)


def test_the_reach_is_that_of_the_connections_not_of_the_weights() -> None:
    dead = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 5, padding=2), torch.nn.ReLU())
    with torch.no_grad():
        dead[0].bias.fill_(-1e6)  # the activation is never above zero
    image = torch.rand(1, 1, 11, 11)
    assert receptive_radius(dead, [image], 1, 1) == 2
    conv = torch.nn.Conv2d(1, 1, 3, padding=1)
    assert (
        receptive_radius(lambda x: conv(torch.where(x == x, x, image)), [image], 1, 1) == 1
    )  # hides NaN
    assert receptive_radius(torch.zeros_like, [image], 1, 1) == 0


@pytest.mark.parametrize(
    ("name", "declared", "problem"),
    [
        ("Photo", {"channels": 1}, "encode fails on 1 x 64 x 96 images"),
        ("Grey", {"channels": 1}, "give it: --size HEIGHTxWIDTH"),
        ("Grey", {"channels": 1, "size": (12, 20)}, "decode must return image"),
        ("Photo", {"likelihood": "bernoulli"}, r"decode must return \(image, logits\)"),
        ("Flat", {}, "latents are vectors"),
        ("Smaller", {}, "decode returns shape"),
        ("NOTHING", {}, "not an nn.Module with methods encode"),
        ("broken", {}, r"broken\(\) failed: RuntimeError: no data here"),
        ("Absent", {}, "has no 'Absent'"),
        ("Branches", {}, "torch cannot export the network"),
        ("Locked", {}, "Locked cannot be copied: TypeError: cannot pickle"),
    ],
)
def test_modules_that_do_not_fit(name: str, declared: dict, problem: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=problem):
        import_model("module", f"{SOURCE}:{name}", tmp_path / "out", **declared)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    with pytest.raises(ModelBrokenError, match=r"'network.heads.weight' hold NaN or infinite"):
        import_model("module", f"{SOURCE}:Dead", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_python_files_that_fail(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import no_such_library\n")
    with pytest.raises(UsageError, match=r"bad.py: failed: ModuleNotFoundError"):
        import_model("module", f"{tmp_path / 'bad.py'}:Net", tmp_path / "out")
    with pytest.raises(UsageError, match="no such file"):
        import_model("module", f"{tmp_path / 'none.py'}:Net", tmp_path / "out")
    with pytest.raises(UsageError, match=r"is not FILE.py:NAME"):
        import_model("module", str(tmp_path / "bad.py"), tmp_path / "out")


def test_a_python_file_may_import_its_neighbours(tmp_path: Path) -> None:
    shutil.copy(SOURCE, tmp_path / "neighbour_of_mine.py")
    (tmp_path / "net.py").write_text("from neighbour_of_mine import Flat as Net\n")
    before = list(sys.path)
    with pytest.raises(UsageError, match="latents are vectors"):  # so it was found and run
        import_model("module", f"{tmp_path / 'net.py'}:Net", tmp_path / "out")
    assert sys.path == before
    sys.modules.pop("neighbour_of_mine")
    (tmp_path / "net.py").write_text(
        "def Net():\n  from neighbour_of_mine import Flat\n  return Flat()"
    )
    with pytest.raises(UsageError, match="latents are vectors"):
        import_model("module", f"{tmp_path / 'net.py'}:Net", tmp_path / "out")
    assert sys.path == before
    sys.modules.pop("neighbour_of_mine")


@pytest.mark.parametrize(
    "line",
    ["import sys; sys.exit()", "import argparse; argparse.ArgumentParser().parse_args(['x'])"],
)
def test_a_python_file_that_exits_does_not_end_the_export(line: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(f"{line}\n")
    with pytest.raises(UsageError, match=r"script\.py: failed: SystemExit"):
        import_model("module", f"{tmp_path / 'script.py'}:Net", tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["x", "--from", "keras"], 2, "keras"),
        (["x", "--from", "taesd", "--size", "8x8"], 2, "--size has no effect with --from taesd"),
        (["x", "--id", "mine"], 2, "--id has no effect with a training run"),
        (["x", "--source", "me"], 2, "--source has no effect with a training run"),
        (["x:y", "--from", "module", "--size", "big"], 2, "HEIGHTxWIDTH"),
        (["x", "--from", "taesd", "--id", "Mine!"], 2, "'Mine!' is not a valid model id"),
        (["x.pkl", "--from", "disentangling-vae"], 4, "pickled Python objects"),
        (["x.pt", "--from", "disentangling-vae"], 2, "no such file"),
    ],
)
def test_wrong_words(
    words: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["export", *words, "--to", "out"])
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (code, "")
    assert said in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown kind 'keras'; known: module, diffusers"):
        import_model("keras", "x", tmp_path / "out")


def test_an_old_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(UsageError, match="CVE-2026-24747"):
        import_model("taesd", "x", tmp_path / "out")


def test_help_says_what_is_executed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    out = capsys.readouterr().out
    assert "FILE.py is executed" in out and "executes the Python file" in out


def test_help_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from vaetools.cli.export import command"
    subprocess.run([sys.executable, "-c", code], check=True)


def logarithm() -> onnx.ModelProto:
    """log(x): finite weights, and NaN for what is below 0."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 2]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Log", ["x"], ["y"])], "g", values[:1], values[1:])
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


def manifest() -> Manifest:
    return Manifest(1, "logs", "1", "CC0-1.0", ("logarithm",), {})


def plan(value: float, reference) -> OnnxPlan:
    return OnnxPlan(logarithm(), reference, [[np.full((1, 2), value, np.float32)]])


@pytest.mark.parametrize(
    ("value", "reference", "problem"),
    [
        (-1.0, lambda x: [np.full_like(x, np.nan)], "not finite"),  # NaN on both sides
        (0.0, np.log, "not finite"),  # minus infinity on both sides
        (1.0, lambda x: [np.log(x) + 2e-4], "differs from its source by 0.0002"),
        (1.0, lambda x: [np.log(x)[:, :1]], "shape"),
    ],
)
def test_nothing_is_written_that_differs(value: float, reference, problem: str, tmp_path) -> None:
    def quiet(x: np.ndarray):
        with np.errstate(divide="ignore"):
            result = reference(x)
        return result if isinstance(result, list) else [result]

    with pytest.raises(ModelBrokenError, match=problem):
        write_model(tmp_path / "logs", manifest(), {"logs": plan(value, quiet)})
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    plans = {"logs": plan(2.0, lambda x: [np.log(x)])}
    for _ in range(2):
        write_model(tmp_path / "logs", manifest(), plans)
    keep = tmp_path / "photos" / "a.png"
    keep.parent.mkdir()
    keep.write_bytes(b"precious")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "logs")
    for target, problem in (
        (keep.parent, r"is not a model: it contains a\.png"),
        (keep, "is not a folder"),
        (link, "is not a folder"),
    ):
        with pytest.raises(ExistsError, match=problem):
            write_model(target, manifest(), plans)
    assert keep.read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "logs", "photos"]


@pytest.mark.parametrize("other", [Path(".git/config"), Path("notes.txt"), Path("more.onnx")])
def test_a_model_beside_other_files_is_left_alone(other: Path, tmp_path: Path) -> None:
    plans = {"logs": plan(2.0, lambda x: [np.log(x)])}
    write_model(tmp_path / "logs", manifest(), plans)
    keep = tmp_path / "logs" / other
    keep.parent.mkdir(exist_ok=True)
    keep.write_bytes(b"precious")
    with pytest.raises(ExistsError, match=rf"it contains {other.parts[0]}"):
        write_model(tmp_path / "logs", manifest(), plans)
    assert keep.read_bytes() == b"precious"


def test_what_is_put_into_a_model_while_it_is_made_again_stays(tmp_path: Path) -> None:
    plans = {"logs": plan(2.0, lambda x: [np.log(x)])}
    write_model(tmp_path / "logs", manifest(), plans)

    def slow(x: np.ndarray) -> list[np.ndarray]:
        (tmp_path / "logs" / "notes.txt").write_bytes(b"precious")
        return [np.log(x)]

    with pytest.raises(ExistsError, match=r"notes\.txt"):
        write_model(tmp_path / "logs", manifest(), {"logs": plan(2.0, slow)})
    assert (tmp_path / "logs" / "notes.txt").read_bytes() == b"precious"


def test_what_is_slow_on_a_gpu_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_model(tmp_path / "logs", manifest(), {"logs": plan(2.0, lambda x: [np.log(x)])})
    assert caplog.messages == []
    tangent = logarithm()
    tangent.graph.node[0].op_type = "Tan"
    plans = {"logs": OnnxPlan(tangent, lambda x: [np.tan(x)], [[np.ones((1, 2), np.float32)]])}
    write_model(tmp_path / "logs", manifest(), plans)
    (message,) = caplog.messages
    assert message.startswith("logs, slow on a GPU: Tan 'y' has no CUDA kernel")


def test_a_size_that_is_baked_in_is_found(tmp_path: Path) -> None:
    class Baked(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image + torch.ones(6, 9).mean() * (image.shape[2] == 6)

    baked = GraphPlan(
        Baked(),
        {"image": torch.rand(2, 3, 6, 9)},
        ["mean"],
        unseen=[{"image": torch.rand(2, 3, 8, 9)}],
    )
    with pytest.raises(ModelBrokenError, match="graph failed"):
        write_model(tmp_path / "logs", manifest(), {"baked": baked})
