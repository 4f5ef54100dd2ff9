"""The photo codec: a variational autoencoder with a mean-scale hyperprior, one model for all rates.

                 ┌───────────────── linear shortcut (16x16 patches) ─────────────────┐
    x ──> unshuffle 8 ─> blocks at 1/8 ─> blocks at 1/16 ──────────────────────── (+) ─> y
                                                                                      │
    z  <── hyper_analysis(y · gain) <──────────────────────────────────────────────── ┤
    ẑ = round(z) ──┬─> hyper_scale_index ─> table of every latent (exact integers)    │
                   └─> hyper_mean ─> mean of the first phase ─> r = round((y − mean)·gain)
                             └── context_mean(what is known, mean) ─> mean of the next, three times
    x̂  <── synthesis(ŷ = mean + r · inverse_gain, rate)

The posterior of this VAE is uniform noise of one quantisation step; its rate term is the number
of bits of r and ẑ, its likelihood a Gaussian over pixels (mean squared error).

Shapes, for an image of H x W (multiples of 64): x (B, 3, H, W) in [0, 1]; y (B, M, H/16, W/16);
z (B, N, H/64, W/64). A *cell* is the area of one hyper-latent, 64 x 64 pixels. The rate is a
`position` among the gain units, (B, 1, 1), or one for every cell, (B, H/64, W/64).

References:
    Minnen, Ballé, Toderici, "Joint autoregressive and hierarchical priors for learned image
        compression", NeurIPS 2018 (mean-scale hyperprior);
    Cui et al., "Asymmetric gained deep image compression with continuous rate adaptation", CVPR 2021;
    He et al., "Checkerboard context model for efficient learned image compression", CVPR 2021;
    Li, Li, Lu, "Neural video compression with diverse contexts", CVPR 2023 (four phases over space and
        channels);
    Li et al., "On disentangled training for nonlinear transform in learned image compression",
        ICLR 2025 (a linear shortcut parallel to the trunk);
    Jia et al., "Towards practical real-time neural video compression", CVPR 2025 (one low
        resolution, depthwise blocks).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaetools.codec.container import CELL
from vaetools.codec.tables import LATENTS
from vaetools.model.fused.phases import PHASES
from vaetools.training.networks.codec.blocks import Upsample
from vaetools.training.networks.codec.grid import GridContext, join, split
from vaetools.training.networks.codec.hyper import ContextMean, HyperAnalysis, HyperMean, phases
from vaetools.training.networks.codec.integer import INDEX_UNITS, IntegerScaleNetwork, round_through
from vaetools.training.networks.codec.likelihood import HyperPrior, gaussian_bits, interpolate
from vaetools.training.networks.codec.transforms import PIXEL_SCALE, Analysis, Synthesis
from vaetools.training.networks.modules import convolutions
from vaetools.training.networks.precision import in_float32

if TYPE_CHECKING:
    from vaetools.training.networks.codec.config import CodecConfig


class Coded(NamedTuple):
    """A batch before its symbols are rounded.

    Attributes:
        z, z_hat: hyper-latents (B, N, h/4, w/4), and rounded.
        residual: (y − mean) · gain, (B, M, h, w); r is its nearest integer.
        table: index of the entropy table of every latent, (B, M, h, w).
        mean: what was expected of y, (B, M, h, w).
        step: quantisation step, the value of one unit of r, (B, M, h, w) or (B, M, 1, 1).
        inward: by how much |r| is lowered before it is restored, (B, M, h, w); 0 where r is 0.
    """

    z: Tensor
    z_hat: Tensor
    residual: Tensor
    table: Tensor
    mean: Tensor
    step: Tensor
    inward: Tensor | None = None


class PhotoCodec(nn.Module):
    """All parts of the codec, and the training objective."""

    lambdas: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis: Analysis = Analysis(config)
        self.synthesis: Synthesis = Synthesis(config)
        self.hyper_analysis: HyperAnalysis = HyperAnalysis(config)
        self.hyper_mean: HyperMean = HyperMean(config)
        grid = config.context == "grid"
        self.context_mean: GridContext | ContextMean = (
            GridContext(config) if grid else ContextMean(config)
        )
        self.hyper_scale_index: IntegerScaleNetwork = IntegerScaleNetwork(
            config.hyper, config.latents, hidden=config.hyper_hidden, hyper_limit=config.hyper_limit
        )
        self.hyper_prior: HyperPrior = HyperPrior(config)
        lambdas = torch.logspace(
            math.log10(config.lambda_min), math.log10(config.lambda_max), config.rates
        )
        self.register_buffer("lambdas", lambdas, persistent=False)
        # The best step of a linear transform codec goes with 1/sqrt(lambda).
        log_gain = 0.5 * torch.log(lambdas / 0.0067)[:, None].repeat(1, config.latents)
        self.log_gain: nn.Parameter = nn.Parameter(log_gain.clone())
        self.log_inverse_gain: nn.Parameter = nn.Parameter(-log_gain.clone())
        self.index_offset: nn.Parameter = nn.Parameter(log_gain.clone())  # in units of ln(scale)
        if config.centroids:
            self.centroid: nn.Parameter = nn.Parameter(torch.zeros(config.tables))

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
        std = values[-count:].flip(0).clamp(min=1e-6).sqrt()
        self.analysis.linear.weight.copy_(basis.T.reshape(count, 3, 16, 16))
        linear, trunk = self.synthesis.linear.convolution, self.synthesis.exit
        linear.weight.copy_(basis.reshape(3 * 256, count, 1, 1))
        exits = self.analysis.exit, trunk.convolution if isinstance(trunk, Upsample) else trunk
        for layer in exits:
            layer.weight.mul_(0.1)
        for layer in (linear, *exits):
            if layer.bias is not None:
                layer.bias.zero_()
        convolutions(self.hyper_mean.net)[-1].weight.mul_(std[:, None, None, None])
        self.context_mean.start(std)
        # Tables start near the standard deviation of each component.
        start = torch.log(std.clamp(max=20.0) * 0.5 / self.config.scale_min)
        last = self.hyper_scale_index.layers[-1]
        last.bias.copy_((start / self.config.log_step / INDEX_UNITS).repeat_interleave(16))
        last.weight.mul_(0.1)

    def at_latents(self, units: Tensor, position: Tensor) -> Tensor:
        """Gain units (K, M) at the rate of each latent: (B, M, h, w), or (B, M, 1, 1) for one rate."""
        return spread(interpolate(units, position), LATENTS)

    def scale_index(self, z: Tensor, position: Tensor) -> Tensor:
        offset = self.at_latents(self.index_offset, position) / self.config.log_step
        index = in_float32(self.hyper_scale_index, z) + round_through(offset)
        return torch.clamp(index, 0, self.config.tables - 1)

    def scale(self, index: Tensor) -> Tensor:
        return self.config.scale_min * torch.exp(index * self.config.log_step)

    def rate(self, position: Tensor) -> Tensor:
        """The rate as the synthesis takes it."""
        return spread(position[:, None] / (self.config.rates - 1), CELL // 8)

    def code(self, x: Tensor, position: Tensor) -> Coded:
        """Everything up to the symbols."""
        return self.code_latents(self.analysis(x), position)

    def code_latents(self, y: Tensor, position: Tensor) -> Coded:
        """`code` after the analysis."""
        limit = self.config.hyper_limit
        gain = torch.exp(self.at_latents(self.log_gain, position))
        step = torch.exp(self.at_latents(self.log_inverse_gain, position))
        z = self.hyper_analysis(y * gain)
        z_hat = round_through(torch.clamp(z, -limit, limit))
        table = self.scale_index(z_hat, position)
        inward = self.centroid[table.detach().long()] if self.config.centroids else None
        if isinstance(self.context_mean, GridContext):
            mean, factor = self._on_grid(
                self.context_mean, y, self.hyper_mean(z_hat), gain, step, inward
            )
            if factor is not None:
                gain, step = gain / factor, step * factor
        else:
            mean = self._interleaved(y, self.hyper_mean(z_hat), gain, step, inward)
        return Coded(z, z_hat, (y - mean) * gain, table, mean, step, inward)

    def forward(self, x: Tensor, position: Tensor) -> dict[str, Tensor]:
        """One pass with quantisation at the rates `position`.

        Returns `image` (B, 3, H, W) and the bits of each cell, (B, H/64, W/64): `bits_y`, `bits_z`,
        with uniform noise in place of rounding while training.
        """
        coded = self.code(x, position)
        r = round_through(coded.residual)
        latents = restored(coded.mean, r, coded.step, coded.inward)
        image = self.synthesis(latents, self.rate(position))
        residual, z = r, coded.z_hat
        if self.training:
            residual = coded.residual + torch.rand_like(r) - 0.5
            z = coded.z + torch.rand_like(z) - 0.5
        bits_y = gaussian_bits(residual, self.scale(coded.table)).sum(dim=1)
        return {
            "image": image,
            "bits_y": per_cell(bits_y, LATENTS),
            "bits_z": self.hyper_prior.bits(z, position).sum(dim=1),
        }

    def _interleaved(
        self, y: Tensor, first: Tensor, gain: Tensor, step: Tensor, inward: Tensor | None
    ) -> Tensor:
        """The mean of y (B, M, h, w), phase by phase: each knows what came before, quantised."""
        phase = phases(y.shape[1], y.shape[2], y.shape[3], y.device)
        mean = first
        known = torch.zeros_like(y)
        for number in range(PHASES):
            now = phase == number
            if number:
                mean = torch.where(now, self.context_mean(known, first), mean)
            if number < PHASES - 1:
                r = round_through((y - mean) * gain)
                known = torch.where(now, restored(mean, r, step, inward), known)
        return mean

    def _on_grid(
        self,
        context: GridContext,
        y: Tensor,
        first: Tensor,
        gain: Tensor,
        step: Tensor,
        inward: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """The mean of y (B, M, h, w), and the factors on its steps; as `_interleaved`."""
        inwards = [None] * PHASES if inward is None else split(inward)
        known: list[Tensor] = []
        means, factors = [], []
        features = None
        parts = zip(split(y), split(first), split(gain), split(step), inwards, strict=True)
        for number, (latents, base, gains, steps, inner) in enumerate(parts):
            mean, factor = base, torch.ones_like(base)
            if number:
                mean, log, features = context.passes[number - 1](known, base, features)
                factor = factor if log is None else torch.exp(log)
            means.append(mean)
            factors.append(factor)
            if number < PHASES - 1:
                r = round_through((latents - mean) * gains / factor)
                known.append(restored(mean, r, steps * factor, inner))
        return join(means), join(factors) if self.config.element_steps else None

    def lambda_at(self, position: Tensor) -> Tensor:
        """lambda at every `position`, in its shape."""
        return torch.exp(interpolate(torch.log(self.lambdas)[:, None], position))[:, 0]

    def loss(self, x: Tensor, position: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Bits per pixel + lambda · squared error (in 255² units), balanced over the rates.

        The figures are those of each image, (B,).
        """
        out = self(x, position)
        bpp_z = out["bits_z"] / CELL**2
        bpp = out["bits_y"] / CELL**2 + bpp_z
        squares = F.mse_loss(out["image"], x, reduction="none").mean(dim=1)
        error = per_cell(squares, CELL) / CELL**2 * 255.0**2
        lam = self.lambda_at(position)
        loss = ((bpp + lam * error) / lam.sqrt()).mean()
        figures = {"bpp": bpp, "bpp_z": bpp_z, "mse": error}
        return loss, {name: value.mean(dim=(1, 2)) for name, value in figures.items()}


def restored(mean: Tensor, r: Tensor, step: Tensor, inward: Tensor | None) -> Tensor:
    """ŷ of symbols r: at the middle of their bins, or `inward` of it."""
    if inward is not None:
        r = r - torch.sign(r).detach() * inward
    return mean + r * step


def spread(cells: Tensor, factor: int) -> Tensor:
    """Repeat every value of (B, C, h, w) `factor` x `factor` times; a single one is left to be
    broadcast."""
    if cells.shape[-2:] == (1, 1):
        return cells
    return F.interpolate(cells, scale_factor=factor, mode="nearest")


def per_cell(values: Tensor, side: int) -> Tensor:
    """Sums over squares of `side` x `side`: (B, h · side, w · side) -> (B, h, w)."""
    batch, height, width = values.shape
    return values.reshape(batch, height // side, side, width // side, side).sum(dim=(2, 4))
