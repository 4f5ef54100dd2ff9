"""Folders that diffusers and optimum write -> models with the same results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.training.test_importers import opened
from vaetools.errors import ModelBrokenError, UsageError
from vaetools.model import vae as vae_module
from vaetools.training.importers import diffusers_folder, import_model, optimum_folder
from vaetools.training.importers.diffusers_folder import kl


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("diffusers")


def blocks(count: int, width: int = 8) -> dict[str, object]:
    """The smallest network of diffusers with that many resolutions."""
    return {
        "block_out_channels": (width,) * count,
        "down_block_types": ("DownEncoderBlock2D",) * count,
        "up_block_types": ("UpDecoderBlock2D",) * count,
        "norm_num_groups": 2,
    }


IMAGE = np.random.default_rng(0).random((37, 51, 3), dtype=np.float32)


def batch(multiple: int) -> torch.Tensor:
    """`IMAGE` as diffusers takes it: padded, in [-1, 1], (1, 3, H, W)."""
    below, right = (-side % multiple for side in IMAGE.shape[:2])
    padded = np.pad(IMAGE, ((0, below), (0, right), (0, 0)), mode="edge")
    return torch.from_numpy(2 * padded.transpose(2, 0, 1)[None].copy() - 1)


def in_shape(image: torch.Tensor) -> np.ndarray:
    """What diffusers gives, as `Vae.decode` gives it."""
    return ((image[0].permute(1, 2, 0) + 1) / 2).numpy()[:37, :51]


@pytest.mark.slow
def test_autoencoder_tiny(diffusers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    sizes = dict.fromkeys(("encoder_block_out_channels", "decoder_block_out_channels"), (8, 8, 8))
    counts = dict.fromkeys(("num_encoder_blocks", "num_decoder_blocks"), (1, 1, 1))
    model = diffusers.AutoencoderTiny(latent_channels=5, **sizes, **counts).eval()
    model.save_pretrained(tmp_path / "pipeline" / "vae")
    import_model("diffusers", str(tmp_path / "pipeline"), tmp_path / "tiny")
    vae = opened(tmp_path / "tiny")
    posterior = vae.encode(IMAGE)
    with torch.no_grad():
        latents = model.encode(batch(4)).latents
        image = model.decode(latents).sample
    np.testing.assert_allclose(posterior.mean, latents.numpy(), atol=1e-5)
    decoded = vae.decode(posterior.mode())
    np.testing.assert_allclose(decoded, in_shape(image), atol=1e-5)
    assert vae.manifest.tiling.policy == "halo" and vae.manifest.tiling.halo < 64
    monkeypatch.setattr(vae_module, "TILE", 16)
    np.testing.assert_allclose(vae.encode(IMAGE).mean, posterior.mean, atol=1e-6)
    np.testing.assert_allclose(vae.decode(posterior.mode()), decoded, atol=1e-6)


@pytest.mark.slow
def test_autoencoder_kl(diffusers, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = diffusers.AutoencoderKL(**blocks(3), scaling_factor=0.5, shift_factor=0.1).eval()
    model.save_pretrained(tmp_path / "source")
    _, differences = import_model("diffusers", str(tmp_path / "source"), tmp_path / "kl")
    assert max(differences.values()) <= 1e-4
    vae = opened(tmp_path / "kl")
    manifest = vae.manifest
    assert (manifest.size.multiple_of, manifest.latent.downscale) == (4, 4)
    assert manifest.tiling.reason == "GroupNorm: global statistics"
    assert (manifest.tasks, manifest.latent.prior) == (("reconstruct",), "none")
    posterior = vae.encode(IMAGE)
    with torch.no_grad():
        expected = model.encode(batch(4)).latent_dist
        image = model.decode(expected.mode()).sample
    assert posterior.logvar is not None
    scaled = (expected.mean - 0.1) * 0.5  # the latents of a pipeline
    np.testing.assert_allclose(posterior.mean, scaled.numpy(), atol=1e-5)
    deviation = np.exp(0.5 * posterior.logvar)
    np.testing.assert_allclose(deviation, 0.5 * expected.std.numpy(), rtol=1e-4)
    np.testing.assert_allclose(vae.decode(posterior.mode()), in_shape(image), atol=1e-4)


def test_channels_of_a_latent_can_have_their_own_scale(diffusers) -> None:
    torch.manual_seed(0)
    model = diffusers.AutoencoderKL(**blocks(2)).eval()
    centre = torch.randn(4, 1, 1)
    spread = torch.rand(4, 1, 1) + 0.5
    image = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        plain = model.encode(2 * image - 1).latent_dist
        encode, decode = kl(model, centre, spread)
        mean, logvar = encode(image)
        decoded = decode(mean)
        expected = (model.decode(plain.mean).sample + 1) / 2
    torch.testing.assert_close(mean, (plain.mean - centre) / spread)
    torch.testing.assert_close(torch.exp(0.5 * logvar), plain.std / spread)
    torch.testing.assert_close(decoded, expected)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["group", "spatial"])
def test_vq_model(diffusers, norm: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    # diffusers' spatial norm has 32 groups, and takes latents as wide as the codebook.
    width, latents = (32, 5) if norm == "spatial" else (8, 3)
    model = diffusers.VQModel(
        **blocks(2, width),
        latent_channels=latents,
        num_vq_embeddings=16,
        vq_embed_dim=5,
        norm_type=norm,
    ).eval()
    with torch.no_grad():  # a codebook of what there is, so that all of it is used
        vectors = model.encode(2 * torch.rand(1, 3, 8, 8) - 1).latents.permute(0, 2, 3, 1)
    model.quantize.embedding.weight.data = vectors.reshape(16, 5).contiguous()
    model.save_pretrained(tmp_path / "source")
    import_model("diffusers", str(tmp_path / "source"), tmp_path / "vq")
    vae = opened(tmp_path / "vq")
    assert (vae.manifest.latent.distribution, vae.manifest.latent.channels) == ("point", 5)
    posterior = vae.encode(IMAGE)
    with torch.no_grad():
        latents = model.encode(batch(2)).latents
        image = model.decode(latents).sample
    scale = model.config.scaling_factor
    codes = posterior.mean.transpose(0, 2, 3, 1).reshape(-1, 5) / scale
    distances = np.abs(codes[:, None] - model.quantize.embedding.weight.detach().numpy())
    nearest = distances.max(axis=2)
    assert nearest.min(axis=1).max() < 1e-5
    assert len(set(nearest.argmin(axis=1))) > 8
    np.testing.assert_allclose(vae.decode(posterior.mode()), in_shape(image), atol=1e-4)


def saved(diffusers, folder: Path) -> Path:
    torch.manual_seed(0)
    diffusers.AutoencoderKL(**blocks(2)).save_pretrained(folder)
    return folder


def change(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"_class_name": "AutoencoderDC"}, "names the class 'AutoencoderDC'; known: AutoencoderKL"),
        ({"_class_name": "VQModel"}, "diffusers cannot load it: .*size mismatch"),
        ({"latent_channels": 7}, "diffusers cannot load it"),
        ({"use_quant_conv": False}, "weights do not fit the config: unexpected keys"),
        ({"quantization_config": {}}, "quantised"),
    ],
)
def test_configs_that_do_not_fit(diffusers, values: dict, problem: str, tmp_path: Path) -> None:
    folder = saved(diffusers, tmp_path / "source")
    change(folder, **values)
    with pytest.raises(ModelBrokenError, match=problem):
        diffusers_folder.read(str(folder))


def test_only_safetensors_are_read(diffusers, tmp_path: Path) -> None:
    folder = saved(diffusers, tmp_path / "source")
    weights = folder / "diffusion_pytorch_model.safetensors"
    weights.rename(folder / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelBrokenError, match=r"model\.bin: is a pickle"):
        diffusers_folder.read(str(folder))
    (folder / "diffusion_pytorch_model.bin").unlink()
    with pytest.raises(UsageError, match="no such file"):
        diffusers_folder.read(str(folder))
    with pytest.raises(UsageError, match=r"config\.json: no such file"):
        diffusers_folder.read(str(tmp_path / "nowhere"))


def test_weights_of_diffusers_must_be_finite(diffusers, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = diffusers.AutoencoderKL(**blocks(2))
    model.decoder.conv_in.bias.data[0] = torch.nan
    model.save_pretrained(tmp_path / "source")
    with pytest.raises(ModelBrokenError, match=r"decoder\.conv_in\.bias' hold NaN"):
        diffusers_folder.read(str(tmp_path / "source"))


WEIGHT = np.random.default_rng(0).standard_normal((8, 3, 2, 2)).astype(np.float32)


def graph(
    takes: tuple[str, int],
    gives: tuple[str, int],
    nodes: list[onnx.NodeProto],
    *,
    weight: np.ndarray = WEIGHT,
    kind: int = TensorProto.FLOAT,
    opset: int = 14,
    shape: tuple[str | int, ...] = ("batch_size", "height", "width"),
) -> bytes:
    """A graph with the tensors of optimum's."""
    n, *sides = shape
    values = [helper.make_tensor_value_info(t, kind, [n, c, *sides]) for t, c in (takes, gives)]
    body = helper.make_graph(
        nodes, "g", values[:1], values[1:], [numpy_helper.from_array(weight, "mean")]
    )
    body.node[0].doc_string = "/home/somebody/export.py"
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(body, opset_imports=opsets, ir_version=8).SerializeToString()


def encoder(operator: str = "Conv", **changes: object) -> bytes:
    """mean and logvar of two pixels' squares; its weights are called as our output is."""
    node = helper.make_node(operator, ["sample", "mean"], ["latent_parameters"], strides=[2, 2])
    return graph(("sample", 3), ("latent_parameters", 8), [node], **changes)


def decoder(**changes: object) -> bytes:
    half = WEIGHT[:4]
    node = helper.make_node("ConvTranspose", ["latent_sample", "mean"], ["sample"], strides=[2, 2])
    return graph(("latent_sample", 4), ("sample", 3), [node], weight=half, **changes)


def optimum(folder: Path, *, encode: bytes | None = None, **config: object) -> Path:
    """What optimum writes; its classes are those of diffusers."""
    held = {
        "_class_name": "AutoencoderKL",
        "in_channels": 3,
        "latent_channels": 4,
        "block_out_channels": [8, 8],
        "scaling_factor": 0.25,
        "shift_factor": 0.5,
        **config,
    }
    for name, data in (("vae_encoder", encode or encoder()), ("vae_decoder", decoder())):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.onnx").write_bytes(data)
        (folder / name / "config.json").write_text(json.dumps(held))
    return folder


def convolved(image: np.ndarray) -> np.ndarray:
    """The encoder, by hand: (1, 3, H, W) in [-1, 1] -> (1, 8, H/2, W/2)."""
    cells = image.reshape(1, 3, image.shape[2] // 2, 2, image.shape[3] // 2, 2)
    return np.einsum("ncyixj,ocij->noyx", cells, WEIGHT)


@pytest.mark.parametrize("own", [{}, {"latents_mean": [1.0, 2, 3, 4], "latents_std": [2.0] * 4}])
def test_optimum(own: dict, tmp_path: Path) -> None:
    source = optimum(tmp_path / "source", **own)
    _, differences = import_model("optimum", str(source), tmp_path / "kl")
    assert max(differences.values()) <= 1e-6
    vae = opened(tmp_path / "kl")
    vae.verify()
    posterior = vae.encode(IMAGE)
    mean, logvar = np.split(convolved(batch(2).numpy()), 2, axis=1)
    centre = np.reshape(own.get("latents_mean", [0.0] * 4), (1, 4, 1, 1))
    spread = 2.0 if own else 1.0
    expected = ((mean - centre) / spread - 0.5) * 0.25
    np.testing.assert_allclose(posterior.mean, expected, atol=1e-4)
    assert posterior.logvar is not None
    variance = np.exp(np.clip(logvar, -30, 20)) * (0.25 / spread) ** 2
    np.testing.assert_allclose(np.exp(posterior.logvar), variance, rtol=1e-3)
    decoded = vae.decode(posterior.mode())
    up = np.einsum("nlyx,lcij->ncyixj", mean, WEIGHT[:4])
    up = up.reshape(1, 3, 38, 52)[0].transpose(1, 2, 0)[:37, :51]
    np.testing.assert_allclose(decoded, (up + 1) / 2, atol=1e-3)
    for path in (tmp_path / "kl").glob("*.onnx"):
        assert b"somebody" not in path.read_bytes()


def test_optimum_needs_no_torch(tmp_path: Path) -> None:
    source = optimum(tmp_path / "source")
    code = (
        "import sys; sys.modules['torch'] = None; from vaetools.cli import main; "
        f"main(['export', {str(source)!r}, '--from', 'optimum', '--to', {str(tmp_path / 'kl')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "GroupNorm" in done.stdout and (tmp_path / "kl" / "model.toml").is_file()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"encode": encoder(weight=WEIGHT * np.float32(np.nan))},
            "weights are not finite: .*'mean'",
        ),
        ({"encode": encoder(shape=(1, 64, 64))}, "fixed shape .* export it with dynamic axes"),
        ({"encode": encoder(opset=12)}, "opset 12 is older than 13"),
        ({"encode": encoder(kind=TensorProto.FLOAT16)}, "float"),
        ({"encode": decoder()}, "latent_sample"),
        ({"encode": b"not a graph"}, "not an ONNX file"),
        ({"latent_channels": 5}, "10 channels|5 channels"),
        ({"_class_name": "AutoencoderDC"}, "names the class 'AutoencoderDC'"),
        ({"block_out_channels": None}, "is not a config of AutoencoderKL"),
        ({"block_out_channels": [8]}, "returns 3 x 4 .* but the config implies 6 x 9"),
        ({"block_out_channels": [8] * 3}, "returns 12 x 18 .* but the config implies 6 x 9"),
    ],
)
def test_optimum_that_does_not_fit(changes: dict, problem: str, tmp_path: Path) -> None:
    source = optimum(tmp_path / "source", **changes)
    with pytest.raises(ModelBrokenError, match=problem):
        import_model("optimum", str(source), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_optimum_that_samples_is_refused(tmp_path: Path) -> None:
    """As an older optimum did: no seed reaches into a graph."""
    nodes = [
        helper.make_node("Conv", ["sample", "mean"], ["both"], strides=[2, 2]),
        helper.make_node("RandomNormalLike", ["both"], ["noise"]),
        helper.make_node("Add", ["both", "noise"], ["latent_parameters"]),
    ]
    data = graph(("sample", 3), ("latent_parameters", 8), nodes)
    source = optimum(tmp_path / "source", encode=data)
    with pytest.raises(ModelBrokenError, match="RandomNormalLike"):
        optimum_folder.read(str(source))


def test_optimum_with_weights_elsewhere_is_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(encoder())
    path = tmp_path / "external.onnx"
    onnx.save(model, path, save_as_external_data=True, size_threshold=0)
    source = optimum(tmp_path / "source", encode=path.read_bytes())
    with pytest.raises(ModelBrokenError, match="single file"):
        optimum_folder.read(str(source))


def test_missing_parts_of_optimum(tmp_path: Path) -> None:
    source = optimum(tmp_path / "source")
    (source / "vae_encoder" / "model.onnx").unlink()
    with pytest.raises(UsageError, match="no such file"):
        optimum_folder.read(str(source))
