"""The photo codec: a variational autoencoder with a mean-scale hyperprior, one model for all rates.

                 ┌───────────────── linear shortcut (16x16 patches) ─────────────────┐
    x ──> unshuffle 8 ─> blocks at 1/8 ─> blocks at 1/16 ──────────────────────── (+) ─> y
                                                                                      │
    z  <── hyper_analysis(y · gain) <──────────────────────────────────────────────── ┤
    ẑ = round(z) ──┬─> hyper_scale_index ─> table of every latent (exact integers)    │
                   └─> hyper_mean ─> mean of the first half ─> r = round((y − mean)·gain)
                             └── context_mean(first half, mean) ─> mean of the second half
    x̂  <── synthesis(ŷ = mean + r · inverse_gain, rate)

The posterior of this VAE is uniform noise of one quantisation step; its rate term is the number
of bits of r and ẑ, its likelihood a Gaussian over pixels (mean squared error).

Shapes, for a picture of H x W (multiples of 64): x (B, 3, H, W) in [0, 1]; y (B, M, H/16, W/16);
z (B, N, H/64, W/64).

References:
    Minnen, Ballé, Toderici, "Joint autoregressive and hierarchical priors for learned image
        compression", NeurIPS 2018 (mean-scale hyperprior);
    Cui et al., "Asymmetric gained deep image compression with continuous rate adaptation", CVPR 2021;
    He et al., "Checkerboard context model for efficient learned image compression", CVPR 2021;
    Li et al., "On disentangled training for nonlinear transform in learned image compression",
        ICLR 2025 (a linear shortcut beside the trunk);
    Jia et al., "Towards practical real-time neural video compression", CVPR 2025 (one low
        resolution, depthwise blocks).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaetools.training.integer import INDEX_UNITS, IntegerScaleNetwork, round_through

PIXEL_SCALE = 8.5
"""Pixels enter as (x − ½)·8.5, so that one unit is 30 of 255 grey levels: a quantisation step of
one unit belongs to a middling rate."""


@dataclass(frozen=True)
class CodecConfig:
    """Sizes of the network; every field is a key of `[network]` in a recipe.

    Attributes:
        channels, middle: width at 1/8 and at 1/16 of the picture's size.
        latents: M. A 16x16 patch has 768 numbers; fewer latents bound the quality at high rates.
        hyper, hyper_hidden: N, and the width of the small networks.
        rates: points of the gain ladder, from `lambda_min` to `lambda_max`.
        scale_min, scale_max, tables: deviations of the entropy tables, in a geometric row.
        hyper_limit: largest magnitude of a hyper-latent.
    """

    channels: int = 128
    middle: int = 192
    latents: int = 320
    hyper: int = 64
    hyper_hidden: int = 128
    analysis_blocks: int = 3
    synthesis_blocks: int = 4
    rates: int = 8
    lambda_min: float = 0.0009
    lambda_max: float = 0.11
    scale_min: float = 0.11
    scale_max: float = 128.0
    tables: int = 64
    hyper_limit: int = 63

    @property
    def log_step(self) -> float:
        """Distance of two neighbouring tables in ln(scale)."""
        return math.log(self.scale_max / self.scale_min) / (self.tables - 1)


class Block(nn.Module):
    """Depthwise-separable 3x3 convolution, then a 1x1 feed-forward; each beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.Conv2d(channels, channels, 1),
        )
        self.feed = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1), nn.ReLU(), nn.Conv2d(2 * channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(x)
        return x + self.feed(x)


class Upsample(nn.Sequential):
    """1x1 convolution, then the channels become `factor` x `factor` pixels."""

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs * factor**2, 1), nn.PixelShuffle(factor))


class Analysis(nn.Module):
    """x (B, 3, H, W) -> y (B, M, H/16, W/16)."""

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.linear = nn.Conv2d(3, c.latents, 16, stride=16, bias=False)
        self.trunk = nn.Sequential(
            nn.Conv2d(3, c.channels, 8, stride=8),
            *(Block(c.channels) for _ in range(c.analysis_blocks)),
            nn.Conv2d(c.channels, c.middle, 2, stride=2),
            Block(c.middle),
            nn.Conv2d(c.middle, c.latents, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = (x - 0.5) * PIXEL_SCALE
        return self.linear(x) + self.trunk(x)


class RateGate(nn.Module):
    """Channel gains that depend on the rate: (B, 1, 1, 1) in [0, 1] -> (B, C, 1, 1) around 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 16, 1), nn.ReLU(), nn.Conv2d(16, channels, 1))
        nn.init.zeros_(self.net[2].weight)
        nn.init.zeros_(self.net[2].bias)

    def forward(self, rate: Tensor) -> Tensor:
        return 1.0 + self.net(rate)


class Synthesis(nn.Module):
    """ŷ (B, M, H/16, W/16), rate (B, 1, 1, 1) -> x̂ (B, 3, H, W), not clamped.

    The trunk is told the rate, because the coarser the steps, the more it should smooth.
    """

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.linear = Upsample(c.latents, 3, 16)
        self.entry = nn.Sequential(
            nn.Conv2d(c.latents, c.middle, 1), Block(c.middle), Upsample(c.middle, c.channels, 2)
        )
        self.gates = nn.ModuleList(RateGate(c.channels) for _ in range(c.synthesis_blocks))
        self.blocks = nn.ModuleList(Block(c.channels) for _ in range(c.synthesis_blocks))
        self.exit = Upsample(c.channels, 3, 8)

    def forward(self, y: Tensor, rate: Tensor) -> Tensor:
        h = self.entry(y)
        for gate, block in zip(self.gates, self.blocks, strict=True):
            h = block(h * gate(rate))
        return (self.linear(y) + self.exit(h)) / PIXEL_SCALE + 0.5


class HyperAnalysis(nn.Module):
    """y · gain (B, M, h, w) -> z (B, N, h/4, w/4). asinh tames the wide range of the latents."""

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(c.latents, c.hyper_hidden, 1),
            nn.ReLU(),
            nn.Conv2d(c.hyper_hidden, c.hyper_hidden, 2, stride=2),
            Block(c.hyper_hidden),
            nn.Conv2d(c.hyper_hidden, c.hyper, 2, stride=2),
        )

    def forward(self, y: Tensor) -> Tensor:
        return self.net(torch.asinh(y))


class HyperMean(nn.Module):
    """ẑ (B, N, h/4, w/4) -> mean of y (B, M, h, w)."""

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(c.hyper, c.hyper_hidden, 3, padding=1),
            nn.ReLU(),
            Upsample(c.hyper_hidden, c.hyper_hidden, 2),
            Block(c.hyper_hidden),
            Upsample(c.hyper_hidden, c.hyper_hidden, 2),
            nn.ReLU(),
            nn.Conv2d(c.hyper_hidden, c.latents, 1),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z)


class ContextMean(nn.Module):
    """Known half of ŷ (zeros elsewhere) and mean -> better mean for the other half. (B, M, h, w) each.

    Only the mean learns from context: the tables must not depend on floating-point results.
    """

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.known = nn.Conv2d(c.latents, c.channels, 3, padding=1)
        self.mean = nn.Conv2d(c.latents, c.channels, 1)
        self.net = nn.Sequential(nn.ReLU(), Block(c.channels), nn.Conv2d(c.channels, c.latents, 1))

    def forward(self, known: Tensor, mean: Tensor) -> Tensor:
        return mean + self.net(self.known(known) + self.mean(mean))


class HyperPrior(nn.Module):
    """Learned distribution of z: a logistic per channel, whose place and width follow the rate.

    It only guides the training; the exported tables are counted on real hyper-latents.
    """

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(c.rates, c.hyper))
        self.log_width = nn.Parameter(torch.zeros(c.rates, c.hyper))

    def bits(self, z: Tensor, position: Tensor) -> Tensor:
        """Bits of every element of `z` (B, N, h, w), rounded or with noise, at rates `position` (B,)."""
        place = interpolate(self.place, position)[:, :, None, None]
        width = torch.exp(interpolate(self.log_width, position))[:, :, None, None]
        distance = (z - place).abs()
        upper = torch.sigmoid((0.5 - distance) / width)
        lower = torch.sigmoid((-0.5 - distance) / width)
        return bits_of(upper - lower, distance / width - 20.0)


def interpolate(ladder: Tensor, position: Tensor) -> Tensor:
    """Row of `ladder` (K, C) at every real `position` (B,) in [0, K−1], linear between rows: (B, C)."""
    low = position.floor().clamp(0, len(ladder) - 2).long()
    part = (position - low)[:, None]
    return ladder[low] * (1 - part) + ladder[low + 1] * part


def gaussian_bits(r: Tensor, scale: Tensor) -> Tensor:
    """Bits of integers (or noisy integers) `r` under a zero-mean Gaussian of the given scale."""
    r = r.abs()
    upper = torch.special.ndtr((0.5 - r) / scale)
    lower = torch.special.ndtr((-0.5 - r) / scale)
    return bits_of(upper - lower, r / scale - 6.0)


def bits_of(probability: Tensor, excess: Tensor) -> Tensor:
    """−log2 of a probability; far in the tail, where float32 sees 0, grow with `excess` instead,
    so that the gradient still points back."""
    return -torch.log2(torch.clamp(probability, min=1e-9)) + F.relu(excess)


def checkerboard(latents: int, height: int, width: int, device: torch.device) -> Tensor:
    """True where a latent belongs to the first half: the two channel halves take opposite squares."""
    rows = torch.arange(height, device=device)[:, None]
    columns = torch.arange(width, device=device)[None, :]
    square = (rows + columns) % 2 == 0
    second = torch.arange(latents, device=device)[:, None, None] >= latents // 2
    return square ^ second  # (M, h, w)


class PhotoCodec(nn.Module):
    """All parts of the codec, and the training objective."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis = Analysis(config)
        self.synthesis = Synthesis(config)
        self.hyper_analysis = HyperAnalysis(config)
        self.hyper_mean = HyperMean(config)
        self.context_mean = ContextMean(config)
        self.hyper_scale_index = IntegerScaleNetwork(
            config.hyper, config.latents, hidden=config.hyper_hidden, hyper_limit=config.hyper_limit
        )
        self.hyper_prior = HyperPrior(config)
        lambdas = torch.logspace(
            math.log10(config.lambda_min), math.log10(config.lambda_max), config.rates
        )
        self.register_buffer("lambdas", lambdas, persistent=False)
        # The best step of a linear transform codec goes with 1/sqrt(lambda).
        log_gain = 0.5 * torch.log(lambdas / 0.0067)[:, None].repeat(1, config.latents)
        self.log_gain = nn.Parameter(log_gain.clone())
        self.log_inverse_gain = nn.Parameter(-log_gain.clone())
        self.index_offset = nn.Parameter(log_gain.clone())  # in units of ln(scale)

    @torch.no_grad()
    def start_from_patches(self, patches: Tensor) -> None:
        """Set the linear shortcut to the principal components of `patches` (n, 768), in [0, 1].

        The network then starts as a transform codec with an orthonormal 16x16 transform, and the
        trunk learns what such a transform cannot do.
        """
        centred = (patches - 0.5) * PIXEL_SCALE
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        count = self.config.latents
        basis = vectors[:, -count:].flip(1)  # (768, M), strongest first
        deviation = values[-count:].flip(0).clamp(min=1e-6).sqrt()
        self.analysis.linear.weight.copy_(basis.T.reshape(count, 3, 16, 16))
        self.synthesis.linear[0].weight.copy_(basis.reshape(3 * 256, count, 1, 1))
        self.synthesis.linear[0].bias.zero_()
        for last in (self.analysis.trunk[-1], self.synthesis.exit[0]):
            last.weight.mul_(0.1)
            last.bias.zero_()
        self.hyper_mean.net[-1].weight.mul_(deviation[:, None, None, None])
        self.context_mean.net[-1].weight.mul_(0.1 * deviation[:, None, None, None])
        self.context_mean.mean.weight.div_(1 + deviation[None, :, None, None])
        self.context_mean.known.weight.div_(1 + deviation[None, :, None, None])
        # Tables start near the deviation of each component.
        start = torch.log(deviation.clamp(max=20.0) * 0.5 / self.config.scale_min)
        last = self.hyper_scale_index.layers[-1]
        last.bias.copy_((start / self.config.log_step / INDEX_UNITS).repeat_interleave(16))
        last.weight.mul_(0.1)

    def scale_index(self, z: Tensor, position: Tensor) -> Tensor:
        offset = interpolate(self.index_offset, position) / self.config.log_step
        index = self.hyper_scale_index(z) + round_through(offset)[:, :, None, None]
        return torch.clamp(index, 0, self.config.tables - 1)

    def scale(self, index: Tensor) -> Tensor:
        return self.config.scale_min * torch.exp(index * self.config.log_step)

    def forward(self, x: Tensor, position: Tensor) -> dict[str, Tensor]:
        """One pass with quantisation at the rates `position` (B,) in [0, rates−1].

        Returns `image` (B, 3, H, W) and the bits of each picture, (B,): `bits_y`, `bits_z` with
        uniform noise in place of rounding while training, `hard_y`, `hard_z` with true rounding.
        """
        c = self.config
        gain = torch.exp(interpolate(self.log_gain, position))[:, :, None, None]
        inverse_gain = torch.exp(interpolate(self.log_inverse_gain, position))[:, :, None, None]
        y = self.analysis(x)
        z = self.hyper_analysis(y * gain)
        z_hat = round_through(torch.clamp(z, -c.hyper_limit, c.hyper_limit))
        scale = self.scale(self.scale_index(z_hat, position))
        first = checkerboard(c.latents, y.shape[2], y.shape[3], y.device).to(y.dtype)
        mean = self.hyper_mean(z_hat)
        known = first * (mean + round_through((y - mean) * gain) * inverse_gain)
        mean = first * mean + (1 - first) * self.context_mean(known, mean)
        residual = (y - mean) * gain
        r = round_through(residual)
        rate = (position / (c.rates - 1))[:, None, None, None]
        image = self.synthesis(mean + r * inverse_gain, rate)
        if self.training:
            residual = residual + torch.rand_like(residual) - 0.5
            z = z + torch.rand_like(z) - 0.5
        else:
            residual, z = r, z_hat
        return {
            "image": image,
            "bits_y": gaussian_bits(residual, scale).sum(dim=(1, 2, 3)),
            "bits_z": self.hyper_prior.bits(z, position).sum(dim=(1, 2, 3)),
        }

    def lambda_at(self, position: Tensor) -> Tensor:
        return torch.exp(interpolate(torch.log(self.lambdas)[:, None], position))[:, 0]

    def loss(self, x: Tensor, position: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Bits per pixel + lambda · squared error (in 255² units), balanced over the rates."""
        out = self(x, position)
        pixels = x.shape[2] * x.shape[3]
        bpp = (out["bits_y"] + out["bits_z"]) / pixels
        error = F.mse_loss(out["image"], x, reduction="none").mean(dim=(1, 2, 3)) * 255.0**2
        lam = self.lambda_at(position)
        loss = ((bpp + lam * error) / lam.sqrt()).mean()
        return loss, {"bpp": bpp, "bpp_z": out["bits_z"] / pixels, "mse": error}
