"""A VAE for photographs of any size: convolutions all the way, latents on a grid.

    x (3, H, W) -> unshuffle 4 -> conv -> residual blocks -> conv 2x2 stride 2 -> mean, logvar
    z (M, H/8, W/8) -> conv -> residual blocks -> shuffle 2 -> conv -> shuffle 4 -> image (3, H, W)

Without normalisation or attention the receptive field of a cell is a few cells wide; its radius is
measured at export and makes tiles exact. The price: latents far apart are independent under the prior,
so that samples from it are textures and not scenes.

References:
    Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014;
    Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
        convolutional neural network", CVPR 2016 (shuffle).
"""

from __future__ import annotations

from torch import Tensor, nn

from vaetools.training.networks.common import ImageShape, Likelihood, VaeNetwork, posterior
from vaetools.training.networks.conv import Residual


class SpatialVae(VaeNetwork):
    """Fully convolutional encoder and decoder.

    Args:
        channels: width of all layers.
        blocks: residual blocks of the encoder and of the decoder.
        latents: channels of the latents; one latent covers 8 x 8 pixels.
    """

    latent_kind = "spatial"
    downscale = 8

    def __init__(
        self,
        shape: ImageShape,
        *,
        channels: int = 64,
        blocks: int = 2,
        latents: int = 16,
        likelihood: Likelihood = "gaussian",
    ) -> None:
        super().__init__(shape, latents, likelihood)
        self.encoder: nn.Sequential = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * shape.channels, channels, 3, padding=1),
            *(Residual(channels) for _ in range(blocks)),
            nn.SiLU(),
            nn.Conv2d(channels, 2 * latents, 2, stride=2),
        )
        self.decoder: nn.Sequential = nn.Sequential(
            nn.Conv2d(latents, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
            *(Residual(channels) for _ in range(blocks)),
            nn.SiLU(),
            nn.Conv2d(channels, 16 * shape.channels, 3, padding=1),
            nn.PixelShuffle(4),
        )

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return posterior(self.encoder(images))

    def decode(self, latents: Tensor) -> Tensor:
        decoded: Tensor = self.decoder(latents)
        return decoded
