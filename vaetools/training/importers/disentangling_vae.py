"""Checkpoints of the repository disentangling-vae: true VAEs on 32² or 64² images, ten latents.

    encoder   three or four convolutions 4×4 ↓2 ─ 256 ─ 256 ─ (mean, logvar), interleaved
    decoder   256 ─ 256 ─ three or four transposed convolutions 4×4 ↑2 ─ Bernoulli logits

The network is that of Burgess et al., "Understanding disentangling in β-VAE", 2018; the repository,
github.com/YannDubs/disentangling-vae, trains it with five objectives.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError
from vaetools.model.spec import LikelihoodSpec
from vaetools.training.export.measure import plan_model
from vaetools.training.export.network import Network
from vaetools.training.importers.json_config import read_json
from vaetools.training.importers.weights import State, expecting, fill, read_weights, without_memory

if TYPE_CHECKING:
    from typing import Any

    from vaetools.training.export.model_plan import ModelPlan


class Encoder(nn.Module):
    """image (N, C, S, S) -> mean, logvar (N, latents)."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        hidden, units = shapes.hidden, shapes.units
        self.conv1: nn.Conv2d = nn.Conv2d(shapes.channels, hidden, 4, stride=2, padding=1)
        self.conv2: nn.Conv2d = nn.Conv2d(hidden, hidden, 4, stride=2, padding=1)
        self.conv3: nn.Conv2d = nn.Conv2d(hidden, hidden, 4, stride=2, padding=1)
        if shapes.side == 64:
            self.conv_64: nn.Conv2d = nn.Conv2d(hidden, hidden, 4, stride=2, padding=1)
        self.convolutions: list[str] = [f"conv{n}" for n in (1, 2, 3)] + ["conv_64"] * (
            shapes.side == 64
        )
        self.lin1: nn.Linear = nn.Linear(16 * hidden, units)
        self.lin2: nn.Linear = nn.Linear(units, units)
        self.mu_logvar_gen: nn.Linear = nn.Linear(units, 2 * shapes.latents)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        h = image
        for name in self.convolutions:
            h = torch.relu(getattr(self, name)(h))
        h = torch.relu(self.lin2(torch.relu(self.lin1(h.flatten(1)))))
        both = self.mu_logvar_gen(h)
        return both[:, 0::2], both[:, 1::2]


class Decoder(nn.Module):
    """latent (N, latents) -> image, logits (N, C, S, S)."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        hidden, units = shapes.hidden, shapes.units
        self.lin1: nn.Linear = nn.Linear(shapes.latents, units)
        self.lin2: nn.Linear = nn.Linear(units, units)
        self.lin3: nn.Linear = nn.Linear(units, 16 * hidden)
        if shapes.side == 64:
            self.convT_64: nn.ConvTranspose2d = nn.ConvTranspose2d(
                hidden, hidden, 4, stride=2, padding=1
            )
        self.convT1: nn.ConvTranspose2d = nn.ConvTranspose2d(hidden, hidden, 4, stride=2, padding=1)
        self.convT2: nn.ConvTranspose2d = nn.ConvTranspose2d(hidden, hidden, 4, stride=2, padding=1)
        self.convT3: nn.ConvTranspose2d = nn.ConvTranspose2d(
            hidden, shapes.channels, 4, stride=2, padding=1
        )
        self.convolutions: list[str] = ["convT_64"] * (shapes.side == 64) + ["convT1", "convT2"]

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.relu(self.lin2(torch.relu(self.lin1(latent))))
        h = torch.relu(self.lin3(h)).reshape(-1, self.lin3.out_features // 16, 4, 4)
        for name in self.convolutions:
            h = torch.relu(getattr(self, name)(h))
        logits = self.convT3(h)
        return torch.sigmoid(logits), logits


class Shapes:
    """Sizes of the network, read off its weights."""

    def __init__(self, state: State) -> None:
        self.hidden: int
        self.channels: int
        self.hidden, self.channels = state["encoder.conv1.weight"].shape[:2]
        self.units: Any = state["encoder.lin1.weight"].shape[0]
        self.latents: Any = state["decoder.lin1.weight"].shape[1]
        self.side = 64 if "encoder.conv_64.weight" in state else 32


def read(source: str) -> ModelPlan:
    """Read `model.pt`, or the folder with it, and `specs.json` if it is in the same folder.

    Raises:
        UsageError: the file does not exist.
        ModelBrokenError: weights of another network.
    """
    path = Path(source)
    if path.is_dir():
        path /= "model.pt"
    state = read_weights(path)
    with expecting("a Burgess network of disentangling-vae", path):
        shapes = Shapes(state)
        with without_memory():
            encoder, decoder = Encoder(shapes), Decoder(shapes)
        fill(encoder, state, "encoder.")
        fill(decoder, state, "decoder.")
    distribution = _reconstruction(path.with_name("specs.json"))
    if distribution != "bernoulli":
        raise ModelBrokenError(
            f"was trained with rec_dist = {distribution!r}; only bernoulli is a likelihood that "
            "the weights determine",
            file=path,
        )
    network = Network(
        encoder,
        decoder,
        channels=shapes.channels,
        size=(shapes.side, shapes.side),
        likelihood=LikelihoodSpec("bernoulli"),
        summary=f"Burgess VAE of disentangling-vae, {shapes.latents} latents",
    )
    return plan_model(network)


def _reconstruction(path: Path) -> str:
    """`rec_dist` of the training's settings; bernoulli, the default there, where they are missing."""
    return str(read_json(path).get("rec_dist", "bernoulli")) if path.is_file() else "bernoulli"
