"""A VAE that reads and draws an image row by row, with gated recurrent units.

    rows x_1 … x_H (C·W numbers each) -> bidirectional GRU -> its last states -> mean, logvar
    z -> first state; z at every step -> GRU -> linear -> logits of row 1 … H

Given z the rows are independent: the decoder's input is z, never a row that it has drawn before. So
the likelihood factorises as in the other networks, one pass draws the whole image, and the ONNX
graph has a GRU node and no loop around a sampler.

References:
    Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014 (GRU);
    Bowman et al., "Generating sentences from a continuous space", CoNLL 2016 (recurrent VAE; its
        decoder reads what it wrote, and therefore tends to ignore z: a reason for not doing so).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaetools.training.networks.common import ImageShape, Likelihood, VaeNetwork, posterior


class GruVae(VaeNetwork):
    """Recurrent encoder and decoder over rows.

    Args:
        hidden: units of each GRU.
    """

    def __init__(
        self,
        shape: ImageShape,
        *,
        hidden: int = 128,
        latents: int = 16,
        likelihood: Likelihood = "bernoulli",
    ) -> None:
        super().__init__(shape, latents, likelihood)
        row = shape.channels * shape.width
        self.reader: nn.GRU = nn.GRU(row, hidden, batch_first=True, bidirectional=True)
        self.head: nn.Linear = nn.Linear(2 * hidden, 2 * latents)
        self.start: nn.Linear = nn.Linear(latents, hidden)
        self.writer: nn.GRU = nn.GRU(latents, hidden, batch_first=True)
        self.output: nn.Linear = nn.Linear(hidden, row)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        rows = images.transpose(1, 2).flatten(2)  # (B, H, C·W)
        _, last = self.reader(rows)  # (2, B, hidden), one per direction
        return posterior(self.head(last.transpose(0, 1).flatten(1)))

    def decode(self, latents: Tensor) -> Tensor:
        channels, height, width = self.shape
        steps = latents[:, None, :].expand(-1, height, -1)  # (B, H, latents)
        states, _ = self.writer(steps, torch.tanh(self.start(latents))[None])
        rows: Tensor = self.output(states)  # (B, H, C·W)
        return rows.reshape(-1, height, channels, width).transpose(1, 2)
