"""A convolutional VAE around one vector of latents, for images of one size.

    x (C, H, W) -> conv 4x4 stride 2, twice -> residual blocks -> linear -> linear -> mean, logvar
    z           -> linear -> linear -> residual blocks -> transposed 4x4 stride 2, twice -> logits

Plain convolutions: no normalisation, so that a trained network is what it was during training.

References:
    Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014;
    He et al., "Deep residual learning for image recognition", CVPR 2016 (blocks).
"""

from __future__ import annotations

from torch import Tensor, nn

from vaetools.training.networks.common import ImageShape, Likelihood, VaeNetwork, posterior


class Residual(nn.Module):
    """x + conv(SiLU(conv(SiLU(x)))), 3x3; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first: nn.Conv2d = nn.Conv2d(channels, channels, 3, padding=1)
        self.second: nn.Conv2d = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)
        self.act: nn.SiLU = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:  # (B, channels, h, w) -> same
        residual: Tensor = self.second(self.act(self.first(self.act(x))))
        return x + residual


class ConvVae(VaeNetwork):
    """Convolutional encoder and decoder.

    Args:
        channels: width at a quarter of the image's size; half of it at a half.
        blocks: residual blocks of the encoder and of the decoder.
        hidden: units between the convolutions and the latents.
    """

    def __init__(
        self,
        shape: ImageShape,
        *,
        channels: int = 48,
        blocks: int = 0,
        hidden: int = 200,
        latents: int = 32,
        likelihood: Likelihood = "bernoulli",
    ) -> None:
        super().__init__(shape, latents, likelihood)
        if shape.height % 4 or shape.width % 4:
            raise ValueError(f"sides of {shape.height} x {shape.width} are not multiples of 4")
        half, grid = channels // 2, (channels, shape.height // 4, shape.width // 4)
        numbers = grid[0] * grid[1] * grid[2]
        self.encoder: nn.Sequential = nn.Sequential(
            nn.Conv2d(shape.channels, half, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(half, channels, 4, stride=2, padding=1),
            *(Residual(channels) for _ in range(blocks)),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(numbers, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 2 * latents),
        )
        self.decoder: nn.Sequential = nn.Sequential(
            nn.Linear(latents, hidden),
            nn.SiLU(),
            nn.Linear(hidden, numbers),
            nn.Unflatten(1, grid),
            *(Residual(channels) for _ in range(blocks)),
            nn.SiLU(),
            nn.ConvTranspose2d(channels, half, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.ConvTranspose2d(half, shape.channels, 4, stride=2, padding=1),
        )

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return posterior(self.encoder(images))

    def decode(self, latents: Tensor) -> Tensor:
        decoded: Tensor = self.decoder(latents)
        return decoded
