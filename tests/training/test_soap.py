"""SOAP: what it promises beside Adam."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vaetools.training.run.soap import Soap, by_cholesky


def rotated_valley(optimizer, weight: nn.Parameter, steps: int) -> float:
    """Descend in a narrow valley that lies askew to the axes; the final loss."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=generator))[0] for n in weight.shape)
    widths = torch.logspace(0, -2, weight.shape[0])[:, None] * torch.logspace(
        0, -2, weight.shape[1]
    )
    target = torch.randn(weight.shape, generator=generator)
    for step in range(steps):
        loss = ((left.T @ (weight - target) @ right) ** 2 * widths).sum()
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * (1 - step / steps)
        optimizer.step()
    return float(loss.detach())


def test_it_goes_down_a_valley_that_adam_cannot_see() -> None:
    torch.manual_seed(0)
    start = torch.zeros(24, 20)
    adam, soap = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    by_adam = rotated_valley(torch.optim.Adam([adam], betas=(0.9, 0.99)), adam, 300)
    by_soap = rotated_valley(Soap([soap], lr=0.1), soap, 300)
    assert by_soap < 0.3 * by_adam


@pytest.mark.parametrize("shape", [(7,), (16, 1, 5, 5), (8, 40), (40, 2, 2, 2)])
def test_what_is_no_matrix_gets_adam(shape) -> None:
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(shape))
    theirs = nn.Parameter(ours.detach().clone())
    soap = Soap([ours], lr=0.01, betas=(0.9, 0.99))
    adam = torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.99))
    for _ in range(30):
        gradient = torch.randn(shape)
        ours.grad, theirs.grad = gradient, gradient.clone()
        soap.step()
        adam.step()
    torch.testing.assert_close(ours, theirs)


def test_a_side_that_is_too_long_keeps_its_basis() -> None:
    weight = nn.Parameter(torch.randn(64, 16))
    soap = Soap([weight], lr=0.01, largest=32)
    weight.grad = torch.randn_like(weight)
    soap.step()
    assert "columns basis" in soap.state[weight]
    assert "rows basis" not in soap.state[weight]


def test_directions_without_gradient_stay_finite() -> None:
    """A layer behind dead units: most of its moments are zero."""
    weight = nn.Parameter(torch.ones(32, 32))
    before = weight.detach().clone()
    soap = Soap([weight], lr=0.01, every=2)
    for _ in range(9):
        weight.grad = torch.zeros(32, 32)
        weight.grad[0] = torch.randn(32)
        soap.step()
    assert torch.isfinite(weight).all()
    torch.testing.assert_close(weight[1:], before[1:])
    assert not torch.equal(weight[0], before[0])


def test_it_goes_on_from_a_saved_state() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(12, 16, 1), nn.ReLU(), nn.Conv2d(16, 12, 1))
    soap = Soap([{"params": [*net.parameters()]}], lr=0.01, every=3)

    def descend(network, optimizer, seed: int) -> None:
        x = torch.randn(2, 12, 4, 4, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        ((network(x) - x) ** 2).mean().backward()
        optimizer.step()

    for seed in range(5):
        descend(net, soap, seed)
    other = copy.deepcopy(net)
    again = Soap([{"params": [*other.parameters()]}], lr=0.01, every=3)
    again.load_state_dict(copy.deepcopy(soap.state_dict()))
    for seed in range(5, 10):
        descend(net, soap, seed)
        descend(other, again, seed)
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_cholesky_gives_the_factor_of_qr() -> None:
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(3, 48, 48))[0]
    matrices = basis * torch.logspace(0, -4, 48) + 1e-5 * torch.randn(3, 48, 48)
    found = by_cholesky(matrices, otherwise=torch.zeros(3, 48, 48))
    wanted, triangle = torch.linalg.qr(matrices)
    wanted = wanted * triangle.diagonal(dim1=1, dim2=2).sign()[:, None, :]
    torch.testing.assert_close(found.mT @ found, torch.eye(48).expand(3, 48, 48), rtol=0, atol=3e-6)
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-3)


def test_a_singular_matrix_keeps_its_basis() -> None:
    matrices = torch.eye(6).repeat(2, 1, 1)
    matrices[1, :, 2] = 0
    otherwise = torch.full((2, 6, 6), 7.0)
    found = by_cholesky(matrices, otherwise=otherwise)
    torch.testing.assert_close(found[0], matrices[0])
    assert torch.equal(found[1], otherwise[1])


def test_bases_of_different_shapes_are_updated_at_different_steps(monkeypatch) -> None:
    updated: list[int] = []
    update = Soap._update_bases
    monkeypatch.setattr(
        Soap, "_update_bases", staticmethod(lambda s: (updated.append(s["step"]), update(s)))
    )
    weights = [nn.Parameter(torch.randn(rows, 12)) for rows in (10, 11, 12, 13)]
    soap = Soap(weights, lr=0.01, every=8)
    for _ in range(16):
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        soap.step()
    assert sorted(updated) == [2, 4, 6, 8, 10, 12, 14, 16]
