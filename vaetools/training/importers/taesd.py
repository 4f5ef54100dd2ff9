"""TAESD and its relatives: an encoder and a decoder, each a plain sequence of layers.

The names and shapes of the weights determine the sequence: convolutions and blocks have weights, and the
layers without weights between them are activations or upsampling. File names do not matter, so that all
variants (TAESD, TAESDXL, TAESD3, TAEF1, TAEF2, the 32-fold one of Sana) are read by the same code.

    encoder   conv ─ blocks ─ conv ↓2 ─ blocks ─ … ─ conv to the latent
    decoder   clamp ─ conv ─ ReLU ─ blocks ─ ↑2 ─ conv ─ blocks ─ … ─ conv to RGB

Images are in [0, 1] on both sides. Ollin Boer Bohan, github.com/madebyollin/taesd.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError, UsageError
from vaetools.training.export.measure import plan_model
from vaetools.training.export.network import Network
from vaetools.training.importers.weights import State, expecting, fill, read_weights, without_memory

if TYPE_CHECKING:
    from vaetools.training.export.model_plan import ModelPlan

SUFFIXES = ".pth", ".pt", ".safetensors"

MOST_LAYERS = 200

GROUPS = 4
"""Groups of the normalisation in a block's pool."""


class Clamp(nn.Module):
    """A soft limit on latents: 3 tanh(z / 3)."""

    def forward(self, z: Tensor) -> Tensor:
        return 3 * torch.tanh(z / 3)


class Block(nn.Module):
    """ReLU(convolutions(x) + skip(x)); with a pool, x + pool(x) instead of x."""

    def __init__(self, inside: int, out: int, pooled: int) -> None:
        super().__init__()
        self.conv: nn.Sequential = nn.Sequential(
            nn.Conv2d(inside, out, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1),
        )
        self.skip: nn.Identity | nn.Conv2d = (
            nn.Identity() if inside == out else nn.Conv2d(inside, out, 1, bias=False)
        )
        self.pool: nn.Module | None = None
        if pooled:
            self.pool = nn.Sequential(
                nn.Conv2d(inside, pooled, 1, bias=False),
                nn.GroupNorm(GROUPS, pooled),
                nn.ReLU(),
                nn.Conv2d(pooled, inside, 1, bias=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + self.skip(x))


def read(source: str) -> ModelPlan:
    """Read the encoder's file and the decoder's in the same folder; or a folder with one such pair; or
    one file with both.

    Raises:
        UsageError: no such files, or several pairs.
        ModelBrokenError: weights of another network.
    """
    encoder, decoder = _pair(Path(source))
    encode = sequence(_half(encoder, "encoder"), encoder, decoder=False)
    decode = sequence(_half(decoder, "decoder"), decoder, decoder=True)
    blocks = sum(isinstance(layer, Block) for layer in (*encode, *decode))
    return plan_model(Network(encode, decode, summary=f"TAESD network of {blocks} blocks"))


def _pair(source: Path) -> tuple[Path, Path]:
    """Files of encoder and decoder."""
    if source.is_dir():
        found = [p for p in sorted(source.glob("*encoder*")) if p.suffix in SUFFIXES]
        if len(found) != 1:
            names = ", ".join(p.name for p in found) or "none"
            raise UsageError(
                f"expected exactly one *encoder* file, found {names}",
                file=source,
                remedy="give the encoder's file; the decoder's must be in the same folder",
            )
        source = found[0]
    if "encoder" not in source.name or any(n.startswith("decoder.") for n in read_weights(source)):
        return source, source  # one file with both, also if it is called autoencoder
    return source, source.with_name(source.name.replace("encoder", "decoder"))


def _half(path: Path, part: str) -> State:
    """The weights of one part, by layer: `3.conv.0.weight`. Files of both parts, and those of
    diffusers, have `encoder.` or `encoder.layers.` before it."""
    state = read_weights(path)
    prefix = re.compile(rf"{part}\.(layers\.)?(?=\d)")
    if not any(prefix.match(name) for name in state):
        return state
    return {name[m.end() :]: v for name, v in state.items() if (m := prefix.match(name))}


def sequence(state: State, path: Path, *, decoder: bool) -> nn.Sequential:
    """The layers that these weights belong to, with the weights in them.

    Raises:
        ModelBrokenError: other names or shapes.
    """
    weights: dict[int, State] = {}
    for name, value in state.items():
        digits, _, tail = name.partition(".")
        if not digits.isdigit() or int(digits) > MOST_LAYERS:
            raise ModelBrokenError(f"contains {name!r}, so it is not a TAESD network", file=path)
        weights.setdefault(int(digits), {})[tail] = value
    with expecting("a TAESD network", path):
        network = _network(weights, path, decoder=decoder)
        fill(network, state, "")
    if decoder and not isinstance(network[0], Clamp):
        return nn.Sequential(Clamp(), *network)  # diffusers does not count it as a layer
    return network


def _network(weights: dict[int, State], path: Path, *, decoder: bool) -> nn.Sequential:
    """The layers that weights of these shapes belong to, without their values."""
    layers: list[nn.Module] = []
    with without_memory():
        for number in range(max(weights, default=-1) + 1):
            if number not in weights:
                layers.append(_weightless(layers, decoder=decoder))
            elif "conv.0.weight" in weights[number]:
                layers.append(_block(weights[number]))
            else:
                # In an encoder, convolutions without a bias or before an activation have stride 2.
                activated = number < max(weights) and number + 1 not in weights
                halves = not decoder and (activated or "bias" not in weights[number])
                layers.append(_convolution(weights[number], path, stride=2 if halves else 1))
    return nn.Sequential(*layers)


def _weightless(before: list[nn.Module], *, decoder: bool) -> nn.Module:
    """The layer at a number that has no weights."""
    if not decoder:
        return nn.ReLU()
    if not before:
        return Clamp()
    return nn.Upsample(scale_factor=2) if isinstance(before[-1], Block) else nn.ReLU()


def _block(weights: State) -> Block:
    out, inside = weights["conv.0.weight"].shape[:2]
    pool = weights.get("pool.0.weight")
    return Block(inside, out, 0 if pool is None else pool.shape[0])


def _convolution(weights: State, path: Path, *, stride: int) -> nn.Conv2d:
    weight = weights.get("weight")
    if weight is None or weight.ndim != 4:
        raise ModelBrokenError("contains a layer that TAESD does not have", file=path)
    out, inside = weight.shape[:2]
    return nn.Conv2d(inside, out, 3, stride=stride, padding=1, bias="bias" in weights)
