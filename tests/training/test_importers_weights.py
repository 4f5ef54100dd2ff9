"""Weights of other people: TAESD, disentangling-vae and pythae, and what is refused of them."""

from __future__ import annotations

import json
import pickle
import resource
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.training.test_importers import opened
from vaetools.errors import ModelBrokenError, UsageError
from vaetools.training.importers import (
    disentangling_vae,
    import_model,
    pythae_folder,
    taesd,
    weights,
)
from vaetools.training.importers.disentangling_vae import Decoder, Encoder
from vaetools.training.importers.json_config import read_diffusers_config, read_json
from vaetools.training.importers.weights import read_weights


class Clamp(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 3 * torch.tanh(x / 3)


class Block(nn.Module):
    """TAESD's block, written down once more."""

    def __init__(self, inside: int, out: int, *, pool: bool = False) -> None:
        super().__init__()
        convs = [nn.Conv2d(a, out, 3, padding=1) for a in (inside, out, out)]
        self.conv = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])
        self.skip = nn.Conv2d(inside, out, 1, bias=False) if inside != out else nn.Identity()
        if pool:
            wide = nn.Conv2d(inside, 4 * inside, 1, bias=False)
            back = nn.Conv2d(4 * inside, inside, 1, bias=False)
            self.pool = nn.Sequential(wide, nn.GroupNorm(4, 4 * inside), nn.ReLU(), back)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if hasattr(self, "pool"):
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + self.skip(x))


def conv(inside: int, out: int, stride: int = 1, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inside, out, 3, padding=1, stride=stride, bias=bias)


def pair(*, pool: bool = False) -> tuple[nn.Sequential, nn.Sequential]:
    """A TAESD pair with 6 channels, 5 latents and two halvings."""
    torch.manual_seed(0)
    encoder = nn.Sequential(
        conv(3, 6),
        Block(6, 6),
        conv(6, 6, 2, bias=False),
        Block(6, 6),
        conv(6, 6, 2, bias=False),
        Block(6, 6, pool=pool),
        conv(6, 5),
    )
    decoder = nn.Sequential(
        Clamp(),
        conv(5, 6),
        nn.ReLU(),
        Block(6, 6, pool=pool),
        nn.Upsample(scale_factor=2),
        conv(6, 6, bias=False),
        Block(6, 6),
        nn.Upsample(scale_factor=2),
        conv(6, 6, bias=False),
        Block(6, 6),
        conv(6, 3),
    )
    return encoder.eval(), decoder.eval()


def wide_pair() -> tuple[nn.Sequential, nn.Sequential]:
    """The variant whose encoder begins with halvings and activations, and whose width changes."""
    torch.manual_seed(1)
    encoder = nn.Sequential(
        conv(3, 4, 2), nn.ReLU(), conv(4, 6, 2), nn.ReLU(), Block(6, 6), conv(6, 6, 2, bias=False)
    )
    encoder.extend([Block(6, 8), conv(8, 5)])
    decoder = nn.Sequential(Clamp(), conv(5, 8), nn.ReLU(), Block(8, 8))
    for inside, out in ((8, 6), (6, 6), (6, 6)):
        decoder.extend([nn.Upsample(scale_factor=2), conv(inside, out, bias=False), Block(out, 6)])
    decoder.append(conv(6, 3))
    return encoder.eval(), decoder.eval()


@pytest.mark.parametrize(
    ("networks", "down"), [(pair(), 4), (pair(pool=True), 4), (wide_pair(), 8)]
)
def test_taesd_is_read_from_names_and_shapes(networks, down: int) -> None:
    image = torch.rand(2, 3, 32, 48)
    for network, value, decoder in zip(
        networks, (image, torch.randn(2, 5, 4, 6)), (False, True), strict=True
    ):
        built = taesd.sequence(network.state_dict(), Path("x"), decoder=decoder).eval()
        with torch.no_grad():
            assert torch.equal(built(value), network(value))
    with torch.no_grad():
        assert networks[0](image).shape[2] == 32 // down


def test_taesd_in_every_packing(tmp_path: Path) -> None:
    encoder, decoder = pair()
    save_file(encoder.half().state_dict(), tmp_path / "small_encoder.safetensors")
    save_file(decoder.half().state_dict(), tmp_path / "small_decoder.safetensors")
    from_folder = taesd.read(str(tmp_path))
    # The decoder's 3x3 kernels: 4 at a latent's size, 4 at its half, 5 at its quarter make 7.25.
    assert (from_folder.tiling.policy, from_folder.tiling.halo) == ("halo", 8 * 4)
    assert (from_folder.latent.channels, from_folder.latent.downscale) == (5, 4)
    # diffusers counts no clamp, and puts a prefix before the numbers
    both = {f"encoder.layers.{n}": v for n, v in encoder.state_dict().items()}
    for name, value in decoder.state_dict().items():
        number, _, tail = name.partition(".")
        both[f"decoder.layers.{int(number) - 1}.{tail}"] = value
    (tmp_path / "whole").mkdir()
    for name in ("both", "autoencoder"):
        save_file(both, tmp_path / "whole" / f"{name}.safetensors")
        from_file = taesd.read(str(tmp_path / "whole" / f"{name}.safetensors"))
        for role in ("encode", "decode"):
            cases = from_folder.graphs[role].cases()
            for case in cases:
                one, other = (p.graphs[role].expected(case) for p in (from_folder, from_file))
                np.testing.assert_array_equal(one[0], other[0])
    save_file(encoder.state_dict(), tmp_path / "other_encoder.safetensors")
    with pytest.raises(UsageError, match="give the encoder's file"):
        taesd.read(str(tmp_path))
    with pytest.raises(UsageError, match=r"other_decoder\.safetensors: no such file"):
        taesd.read(str(tmp_path / "other_encoder.safetensors"))


def test_taesd_with_a_pool_sees_everything(tmp_path: Path) -> None:
    for name, network in zip(("encoder", "decoder"), pair(pool=True), strict=True):
        torch.save(network.state_dict(), tmp_path / f"x_{name}.pth")
    tiling = taesd.read(str(tmp_path)).tiling
    assert (tiling.policy, tiling.reason) == ("never", "GroupNorm: global statistics")


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"weight": torch.zeros(1)}, "'weight', so it is not a TAESD network"),
        ({"1000000000.weight": torch.zeros(1)}, "not a TAESD network"),
        ({"0.weight": torch.zeros(4)}, "a layer that TAESD does not have"),
        ({"0.weight": torch.zeros(4, 3, 5, 5)}, "size mismatch"),
        ({"0.weight": torch.zeros(4, 3, 3, 3), "0.scale": torch.zeros(4)}, "0.scale"),
        ({"0.conv.0.weight": torch.zeros(4)}, "does not hold a TAESD network"),
        (
            {
                "0.conv.0.weight": torch.zeros(4, 4, 3, 3),
                "0.pool.0.weight": torch.zeros(6, 4, 1, 1),
            },
            "does not hold a TAESD network",
        ),
    ],
)
def test_other_weights_are_no_taesd(state: dict, problem: str, tmp_path: Path) -> None:
    save_file(state, tmp_path / "x_encoder.safetensors")
    with pytest.raises(ModelBrokenError, match=problem):
        taesd.read(str(tmp_path))


def burgess(folder: Path) -> Path:
    """A small random checkpoint of disentangling-vae."""

    class Shapes:
        hidden, channels, units, latents, side = 4, 3, 8, 2, 64

    torch.manual_seed(0)
    parts = {"encoder": Encoder(Shapes), "decoder": Decoder(Shapes)}
    state = {f"{p}.{n}": v for p, m in parts.items() for n, v in m.state_dict().items()}
    torch.save(state, folder / "model.pt")
    return folder


def test_disentangling_vae(tmp_path: Path) -> None:
    found = disentangling_vae.read(str(burgess(tmp_path)))
    assert found.size.fixed == (64, 64) and found.image.channels == 3
    assert (found.latent.kind, found.latent.channels) == ("vector", 2)
    assert (found.likelihood.kind, found.latent.prior) == ("bernoulli", "normal")
    (tmp_path / "specs.json").write_text('{"rec_dist": "laplace"}')
    with pytest.raises(ModelBrokenError, match="rec_dist = 'laplace'"):
        disentangling_vae.read(str(tmp_path))
    (tmp_path / "specs.json").write_text("[1]")
    with pytest.raises(ModelBrokenError, match="not a JSON object"):
        disentangling_vae.read(str(tmp_path))


def test_weights_of_another_network(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "model.pt")
    with pytest.raises(ModelBrokenError, match="does not hold a Burgess network"):
        disentangling_vae.read(str(tmp_path))


def pythae(
    folder: Path, name: str = "VAEConfig", *, logvar: bool = True, **config: object
) -> tuple[Path, dict[str, torch.Tensor]]:
    """What pythae saves of a model with its default networks; images are 1 x 6 x 10."""
    generator = torch.Generator().manual_seed(0)
    sizes = {
        "encoder.layers.0.0": (512, 60),
        "encoder.embedding": (4, 512),
        **({"encoder.log_var": (4, 512)} if logvar else {}),
        "decoder.layers.0.0": (512, 4),
        "decoder.layers.1.0": (60, 512),
    }
    state = {}
    for layer, size in sizes.items():
        state[f"{layer}.weight"] = torch.randn(size, generator=generator) / size[1] ** 0.5
        state[f"{layer}.bias"] = torch.randn(size[0], generator=generator)
    folder.mkdir(exist_ok=True)
    torch.save({"model_state_dict": state}, folder / "model.pt")
    held = {"name": name, "input_dim": [1, 6, 10], "latent_dim": 4, **config}
    (folder / "model_config.json").write_text(json.dumps(held))
    return folder, state


def test_pythae(tmp_path: Path) -> None:
    source, w = pythae(tmp_path / "run", reconstruction_loss="bce")
    found = pythae_folder.read(str(source))
    assert found.size.fixed == (6, 10) and found.image.channels == 1
    assert (found.likelihood.kind, found.latent.prior) == ("bernoulli", "normal")

    def linear(x: torch.Tensor, layer: str) -> torch.Tensor:
        return x @ w[f"{layer}.weight"].T + w[f"{layer}.bias"]

    images = np.random.default_rng(0).random((3, 1, 6, 10), dtype=np.float32)
    mean, logvar = found.graphs["encode"].expected([images])
    h = torch.relu(linear(torch.from_numpy(images.reshape(3, 60)), "encoder.layers.0.0"))
    np.testing.assert_allclose(mean, linear(h, "encoder.embedding"), atol=1e-5)
    np.testing.assert_allclose(logvar, linear(h, "encoder.log_var"), atol=1e-5)
    decoded, logits = found.graphs["decode"].expected([mean])
    h = torch.relu(linear(torch.from_numpy(mean), "decoder.layers.0.0"))
    expected = linear(h, "decoder.layers.1.0").reshape(3, 1, 6, 10)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_allclose(decoded, torch.sigmoid(expected), atol=1e-5)


@pytest.mark.slow
def test_pythae_becomes_a_model(tmp_path: Path) -> None:
    source, _ = pythae(tmp_path / "run")
    _, differences = import_model("pythae", str(source), tmp_path / "mine")
    assert max(differences.values()) <= 1e-4
    model = opened(tmp_path / "mine")
    model.verify()
    image = np.repeat(np.random.default_rng(0).random((6, 10, 1), dtype=np.float32), 3, axis=2)
    assert model.decode(model.encode(image).mode()).shape == image.shape


def test_pythae_kinds(tmp_path: Path) -> None:
    source, _ = pythae(tmp_path / "beta", "BetaVAEConfig", beta=4.0)
    found = pythae_folder.read(str(source))
    assert (found.likelihood.kind, found.likelihood.deviation) == ("gaussian", 1.0)
    source, _ = pythae(tmp_path / "ae", "AEConfig", logvar=False)
    found = pythae_folder.read(str(source))
    assert (found.latent.distribution, found.latent.prior) == ("point", "none")
    assert found.likelihood.kind == "none"


@pytest.mark.parametrize(
    ("name", "config", "problem"),
    [
        ("VQVAEConfig", {}, "more than an encoder and a decoder"),
        ("VAEConfig", {"input_dim": [60]}, r"input_dim = \(60,\)"),
        ("VAEConfig", {"input_dim": None}, "is not a config of pythae"),
        ("VAEConfig", {"input_dim": [1, 6, 11]}, "default networks: .*size mismatch"),
        ("VAEConfig", {"latent_dim": 5}, "default networks: .*size mismatch"),
        ("VAEConfig", {"reconstruction_loss": "l1"}, "'l1' is not bce or mse"),
        ("AEConfig", {}, "default networks: .*log_var"),
    ],
)
def test_pythae_that_does_not_fit(name: str, config: dict, problem: str, tmp_path: Path) -> None:
    source, _ = pythae(tmp_path / "run", name, **config)
    with pytest.raises(ModelBrokenError, match=problem):
        pythae_folder.read(str(source))


@pytest.mark.parametrize("name", ["encoder.pkl", "decoder.pkl"])
def test_pythae_networks_of_ones_own_are_refused(name: str, tmp_path: Path) -> None:
    source, _ = pythae(tmp_path / "run")
    (source / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(ModelBrokenError, match=f"{name}: is a network as pickled Python"):
        import_model("pythae", str(source), tmp_path / "out")
    assert not (tmp_path / "sprung").exists()


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


def test_pickles_are_not_executed(tmp_path: Path) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "model.pt"
    for held in (Trap(sprung), {"a": torch.zeros(1), "b": Trap(sprung)}, nn.Linear(2, 2)):
        for zipped in (True, False):
            torch.save(held, path, _use_new_zipfile_serialization=zipped)
            with pytest.raises(ModelBrokenError, match="holds pickled Python") as caught:
                weights.read_weights(path)
            assert "\n" not in caught.value.line and len(caught.value.line) < 300
    path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ModelBrokenError):
        weights.read_weights(path)
    assert not sprung.exists()


def test_damaged_and_other_files(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ModelBrokenError, match="damaged, or not a file of PyTorch weights"):
            weights.read_weights(path)
    for held in ([1, 2], {"a": 1}, torch.zeros(2)):
        torch.save(held, path)
        with pytest.raises(ModelBrokenError, match="does not hold named tensors"):
            weights.read_weights(path)
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(ModelBrokenError, match="does not hold named tensors"):
        weights.read_weights(path, key="model_state_dict")
    path = tmp_path / "x.safetensors"
    path.write_bytes(whole)
    with pytest.raises(ModelBrokenError, match="is not a safetensors file"):
        weights.read_weights(path)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_weights_must_be_finite(bad: float, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2), "b.c": torch.tensor([0.0, bad])}, tmp_path / "model.pt")
    with pytest.raises(ModelBrokenError, match=r"'b\.c' hold NaN or infinite values"):
        weights.read_weights(tmp_path / "model.pt")


def test_weights_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.zeros(1).expand(10**12)}, tmp_path / "model.pt")  # 4 bytes as 4 TB
    with pytest.raises(ModelBrokenError, match="GB of weights are over the limit"):
        weights.read_weights(tmp_path / "model.pt")
    torch.save({"a": torch.zeros(1000)}, tmp_path / "model.pt")
    assert weights.read_weights(tmp_path / "model.pt")["a"].shape == (1000,)
    monkeypatch.setattr(weights, "MAX_BYTES", 3000)
    with pytest.raises(ModelBrokenError, match="over the limit"):
        weights.read_weights(tmp_path / "model.pt")


# --- configs and files that ask for much -------------------------------------------------------------


def test_complex_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.ones(2, dtype=torch.complex64)}, path)
    with pytest.raises(ModelBrokenError, match="weights 'weight' are complex numbers"):
        read_weights(path)


def test_a_description_of_a_gigabyte_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = b"a" * 2**25
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            large = b"\x80\x02X" + struct.pack("<I", len(text)) + text + b"."
            archive.writestr(name, large if name.endswith(".pkl") else data)
    with pytest.raises(ModelBrokenError, match="describes its weights in 33554440 bytes"):
        read_weights(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[" * 200_000, "is nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
        (" " * (2**20 + 1), "has 1048577 bytes, the limit is 1048576"),
    ],
    ids=["deep", "digits", "large"],
)
def test_json_that_nobody_writes_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(ModelBrokenError, match=said):
        read_json(path)


@pytest.mark.parametrize("latents", [10**9, 10**5, -1, 0])
def test_pythae_asks_for_no_memory_before_weights_fit(tmp_path: Path, latents: int) -> None:
    config = {"name": "VAEConfig", "input_dim": [1, 8, 8], "latent_dim": latents}
    (tmp_path / "model_config.json").write_text(json.dumps(config))
    state = {"encoder.layers.0.0.weight": torch.ones(2**14, 64)}
    torch.save({"model_state_dict": state}, tmp_path / "model.pt")
    with pytest.raises(ModelBrokenError, match="sizes are not 1 … 65536"):
        pythae_folder.read(str(tmp_path))
    config["latent_dim"] = 2**16  # 4 GiB of float32, three times
    (tmp_path / "model_config.json").write_text(json.dumps(config))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelBrokenError, match="does not hold pythae's default networks"):
        pythae_folder.read(str(tmp_path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19


@pytest.mark.parametrize(
    "change",
    [
        {"layers_per_block": 10**6},
        {"latent_channels": 10**9},
        {"block_out_channels": [65537]},
        {"block_out_channels": [8] * 1000},
    ],
)
def test_numbers_that_no_network_has_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    config = {"_class_name": "AutoencoderKL", "latent_channels": 4, **change}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelBrokenError, match=r"is out of range|has 1000 entries"):
        read_diffusers_config(tmp_path, ("AutoencoderKL",))
