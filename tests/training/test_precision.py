"""Where bfloat16 must not come in, it does not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.tiny import SMALL
from vaetools.training.networks.codec import CodecConfig, PhotoCodec
from vaetools.training.networks.precision import in_float32, is_native
from vaetools.training.networks.restoration.denoiser import Denoiser
from vaetools.training.objectives.restoration import RestoreObjective, spread_loss


@pytest.fixture
def codec() -> PhotoCodec:
    torch.manual_seed(0)
    return PhotoCodec(CodecConfig(channels=16, middle=16, latents=24, rates=3)).eval()


def half() -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16)


@torch.no_grad()
def test_integers_stay_integers(codec) -> None:
    z = torch.randint(-63, 64, (2, 64, 3, 3)).float()
    position = torch.full((2, 1, 1), 1.3)
    exact = codec.scale_index(z, position)
    with half():
        assert torch.equal(codec.scale_index(z, position), exact)
        assert codec.hyper_scale_index(z).dtype is torch.bfloat16  # what would happen otherwise


@torch.no_grad()
def test_latents_and_pictures_are_not_rounded_to_eight_bits(codec) -> None:
    image = torch.rand(1, 3, 128, 128)
    for part in (codec.analysis, codec.synthesis):  # only the linear shortcut is left
        for layer in (part.exit, *part.exit.modules()):
            if isinstance(layer, nn.Conv2d):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
    latents = codec.analysis(image)
    rate = torch.zeros(1, 1, 1, 1)
    picture = codec.synthesis(latents, rate)
    with half():
        assert torch.equal(codec.analysis(image), latents)
        assert torch.equal(codec.synthesis(latents, rate), picture)


def test_gradients_come_through(codec) -> None:
    image = torch.rand(1, 3, 128, 128)
    with half():
        loss, _ = codec.train().loss(image, torch.full((1, 1, 1), 1.0))
    loss.backward()
    assert loss.dtype is torch.float32
    assert all(torch.isfinite(p.grad).all() for p in codec.parameters() if p.grad is not None)
    assert float(codec.analysis.linear.weight.grad.abs().sum()) > 0


@torch.no_grad()
def test_a_denoiser_sees_pixels_as_they_are() -> None:
    torch.manual_seed(0)
    trunk = Denoiser(SMALL).eval().trunk
    trunk.before = trunk.down = trunk.up = trunk.after = nn.ModuleList()
    trunk.bottom = nn.Identity()
    nn.init.normal_(trunk.head[0].weight)
    planes = torch.rand(1, 4, 16, 16)
    _, exact = trunk(planes)
    with half():
        assert torch.equal(trunk(planes)[1], exact)


def test_likelihoods_of_a_ladder_are_not_coarse() -> None:
    """The same draws: with a mean of bfloat16 the terms differ a little, and none is rounded."""
    torch.manual_seed(0)
    network = Denoiser(SMALL).eval()
    clean, sigma = torch.rand(2, 3, 32, 32), torch.full((2, 1, 32, 32), 0.1)
    condition = network.condition(clean + sigma * torch.randn_like(clean), sigma)

    def found(*, coarse: bool) -> dict[str, float]:
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=coarse):
            loss, figures = spread_loss(
                network, condition, clean, RestoreObjective(), torch.ones(())
            )
        assert loss.dtype is torch.float32
        return {name: float(value.detach()) for name, value in figures.items()}

    exact, coarse = found(coarse=False), found(coarse=True)
    assert coarse == pytest.approx(exact, rel=0.01, abs=1e-4)


def test_full_precision_is_left_alone_outside_of_autocast() -> None:
    seen = []
    in_float32(lambda x: seen.append(x) or x, given := torch.ones(1, dtype=torch.float64))
    assert seen[0] is given


def test_bfloat16_is_native_where_matrices_of_it_are_multiplied(monkeypatch) -> None:
    cpu = torch.device("cpu")
    amx, avx = {"amx_bf16": True}, {"amx_bf16": False, "avx512_bf16": True}
    for capabilities, native in ((amx, True), (avx, True), ({"avx512_f": True}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=capabilities: known)
        assert is_native(cpu) is native
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert is_native(cpu) is False
    assert is_native(torch.device("cuda")) is True
