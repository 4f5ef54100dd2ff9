"""Initialise a network with the weights of an equal or a smaller network of its kind.

The larger network initially computes the same function as the smaller one. New blocks are initialised as
identities. Wider layers keep the old weights; their new units are initialised at random, and existing
units do not read the new channels.

Reference: Chen, Goodfellow, Shlens, "Net2Net: accelerating learning via knowledge transfer", ICLR 2016
(there, new units are copies of existing ones).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.errors import UsageError
from vaetools.training.networks.codec import PhotoCodec
from vaetools.training.networks.codec.adopt import adopted
from vaetools.training.networks.codec.integer import IntegerConv1x1

if TYPE_CHECKING:
    from collections.abc import Mapping


@torch.no_grad()
def grow(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Initialise `network` with the weights of an equal or a smaller one.

    Raises:
        UsageError: the weights are not those of such a network.
    """
    if isinstance(network, PhotoCodec):
        weights = adopted(network, weights)
    new = _be_identities(network, weights)
    own = network.state_dict()
    unknown, missing = set(weights) - set(own), set(own) - set(weights) - new
    if unknown or missing:
        name = min(unknown or missing)
        where = "not part of the network of the recipe" if unknown else "missing"
        raise UsageError(f"cannot start from these weights: {name} is {where}")
    layers = _layers(network)
    for name, old in weights.items():
        _fill(own[name], old, name, wider=name in layers)


def fills(network: nn.Module, weights: Mapping[str, Tensor]) -> bool:
    """Whether `weights` set every tensor of `network`, so that it need not be initialised."""
    own = network.state_dict()
    return own.keys() == weights.keys() and all(
        own[name].shape == weight.shape for name, weight in weights.items()
    )


def _be_identities(network: nn.Module, weights: Mapping[str, Tensor]) -> set[str]:
    """Make every module without `weights` an identity; returns the names of their tensors."""
    names = set()
    for prefix, module in network.named_modules():
        inside = {f"{prefix}.{name}" for name in module.state_dict()}
        if hasattr(module, "be_identity") and not inside & set(weights):
            module.be_identity()
            names |= inside
    return names


def _layers(network: nn.Module) -> set[str]:
    """Names of the tensors that may have grown: weights and biases of layers."""
    return {
        f"{prefix}.{name}"
        for prefix, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear | IntegerConv1x1)
        for name in module.state_dict()
    }


def _fill(wide: Tensor, old: Tensor, name: str, *, wider: bool) -> None:
    """Copy `old` into the first rows and columns of `wide`; those rows get zeros in new columns."""
    fits = wide.ndim == old.ndim and all(o <= w for o, w in zip(old.shape, wide.shape, strict=True))
    fits = fits and wide.shape[2:] == old.shape[2:]
    if wide.shape != old.shape and not (fits and wider):
        raise UsageError(
            f"cannot start from these weights: {name} is {tuple(old.shape)}, not {tuple(wide.shape)}"
        )
    if wide.ndim > 1:
        wide[: len(old), old.shape[1] :] = 0
    wide[tuple(slice(0, side) for side in old.shape)] = old
