"""Restoration: a U-Net for the mean, and a ladder of latents for what remains uncertain.

    planes (P, H, W) ─> unshuffle 2 ─> U-Net at 1/2, 1/4, 1/8 ─> features f1, f2, f3

    mean       μ = base − gate · head(f1)                             plain regression
    std        s = gate · exp(head(f1))                               one per pixel
    latents    z3 ~ p(z3 | f3),  z2 ~ p(z2 | f2, z3),  z1 ~ p(z1 | f1, z2, z3)      at 1/8, 1/4, 1/2
    sample     x = μ + t · s · g(f1, z1, z2, z3)

This is a conditional variational autoencoder p(x | z, y) p(z | y). Its prior and decoder see the
damaged image y through the U-Net's features. No gradient of the ladder reaches the U-Net, so that the
mean is that of regression, and temperature t = 0 gives exactly the mean. Noise is an input: one cell of
8 x 8 pixels has the numbers for all three levels.

The planes depend on the damage: `denoiser.py` uses the image and its noise level, `inpainter.py` the
known pixels, the mask and a first fill. The gate, in [0, 1], is 0 where the image must not change.

There are only plain convolutions, without normalisation or pooling over the image: they are fast in ONNX
Runtime, and tiles are exact. The U-Net has no biases, so that its output scales with planes and noise
(Mohan et al. 2020, "Robust and interpretable blind image denoising via bias-free CNNs").

References:
    Zhang et al., "Plug-and-play image restoration with deep denoiser prior" (DRUNet), TPAMI 2021;
    Sønderby et al., "Ladder variational autoencoders", NeurIPS 2016;
    Vahdat & Kautz, "NVAE", NeurIPS 2020 (posteriors relative to the prior);
    Yue et al., "Variational denoising network", NeurIPS 2019 (a deterministic mean costs no PSNR).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn

from vaetools.errors import UsageError
from vaetools.training.networks.modules import ModuleList
from vaetools.training.networks.precision import in_float32
from vaetools.training.recipe import Count, CountOrNone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Offsets: TypeAlias = "Callable[[int, Tensor], tuple[Tensor, Tensor]]"
"""Number of a level and its state -> offsets of the posterior from the prior; see `Posterior`."""

CELL = 8
"""Pixels per side of a cell: the coarsest resolution."""

LEVELS = 3
"""Latents at 1/8, 1/4 and 1/2 of the image's size."""

LOG_STD = (-8.0, 0.0)
"""Bounds of ln(std): 0.1 and 255 on the 0–255 scale."""

START_LOG_STD = -3.5
"""ln(std) before training: 8 on the 0–255 scale."""


@dataclass(frozen=True)
class RestoreConfig:
    """Sizes of the network; every field is a key of `[network]` in a recipe.

    Attributes:
        widths: channels of the U-Net at 1/2, 1/4 and 1/8 of the image's size.
        blocks: residual blocks of each level, on the way down as on the way up.
        deeper: further blocks at 1/8, where they cost least.
        latents: channels of each level of the ladder.
        ladder: width of its layers.
    """

    widths: list[Count] = field(default_factory=lambda: [48, 96, 160])
    blocks: Count = 1
    deeper: CountOrNone = 0
    latents: Count = 12
    ladder: Count = 32

    def __post_init__(self) -> None:
        if len(self.widths) != LEVELS:
            raise UsageError(f"recipe: network.widths = {self.widths} are not {LEVELS} widths")

    @property
    def noise(self) -> int:
        """Numbers of noise per cell: 1 + 4 + 16 latents of each channel."""
        return sum(self.latents * 4**level for level in range(LEVELS))


def leak() -> nn.LeakyReLU:
    """Activation of the ladder. Its training is short: a ReLU that never opens would be lost."""
    return nn.LeakyReLU(0.1)


class Conditioning(NamedTuple):
    """The conditioning input of a network.

    Attributes:
        planes: (B, P, H, W), the input of the U-Net; sides are multiples of `CELL`.
        base: (B, 3, H, W), to which the residual is added.
        gate: (B, 1, H, W) in [0, 1], factor of the residual and of the std.
    """

    planes: Tensor
    base: Tensor
    gate: Tensor


class Block(nn.Module):
    """x + conv(ReLU(conv(x))), 3x3."""

    def __init__(self, channels: int, *, bias: bool = False) -> None:
        super().__init__()
        self.first: nn.Conv2d = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.second: nn.Conv2d = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # (B, channels, h, w) -> same
        residual: Tensor = self.second(torch.relu(self.first(x)))
        return x + residual

    @torch.no_grad()
    def be_identity(self) -> None:
        """Make the block the identity, to add it to a trained network."""
        for parameter in self.second.parameters():
            parameter.zero_()


class Binomial(nn.Module):
    """(B, 1, H, W), smoothed by 1 4 6 4 1 along both axes.

    What a shuffled layer gives has patterns with a period of 2 pixels, and of 4 from the levels below:
    these weights take out the former and a quarter of the latter's amplitude remains.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        self.register_buffer("kernel", (row[:, None] * row)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        padded = nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
        return nn.functional.conv2d(padded, self.kernel)


class UNet(nn.Module):
    """planes (B, P, H, W) -> features at 1/8, 1/4, 1/2 (coarse to fine), and the mean's residual."""

    def __init__(self, planes: int, config: RestoreConfig) -> None:
        super().__init__()
        widths = config.widths

        def blocks(width: int, more: int = 0) -> nn.Sequential:
            return nn.Sequential(*(Block(width) for _ in range(config.blocks + more)))

        self.entry: nn.Sequential = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(4 * planes, widths[0], 3, padding=1, bias=False)
        )
        self.down: nn.ModuleList = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2, bias=False) for fine, coarse in pairwise(widths)
        )
        self.before: nn.ModuleList = nn.ModuleList(blocks(fine) for fine in widths[:-1])
        self.bottom: nn.Sequential = blocks(widths[-1], config.deeper)
        self.up: nn.ModuleList = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2, bias=False)
            for fine, coarse in pairwise(widths)
        )
        self.after: nn.ModuleList = nn.ModuleList(blocks(fine) for fine in widths[:-1])
        head = nn.Conv2d(widths[0], 12, 3, padding=1, bias=False)
        nn.init.zeros_(head.weight)  # before the first step the mean is the base
        self.head: nn.Sequential = nn.Sequential(head, nn.PixelShuffle(2))

    def forward(self, planes: Tensor) -> tuple[list[Tensor], Tensor]:
        entered = in_float32(self.entry, planes)
        x, skips = entered, []
        for refine, shrink in zip(self.before, self.down, strict=True):
            skips.append(refine(x))
            x = shrink(skips[-1])
        x = self.bottom(x)
        features = [x]
        for grow, refine, skip in zip(
            reversed(self.up), reversed(self.after), reversed(skips), strict=True
        ):
            x = refine(skip + grow(x))
            features.append(x)
        features[-1] = features[-1] + entered
        return features, in_float32(self.head, features[-1])


class Level(nn.Module):
    """One level of the ladder: features and the state from above -> prior; latents -> state."""

    def __init__(self, features: int, config: RestoreConfig) -> None:
        super().__init__()
        width, latents = config.ladder, config.latents
        self.look: nn.Conv2d = nn.Conv2d(features, width, 1)
        self.prior: nn.Sequential = nn.Sequential(
            leak(),
            nn.Conv2d(width, width, 3, padding=1),
            leak(),
            nn.Conv2d(width, 2 * latents, 1),
        )
        self.take: nn.Conv2d = nn.Conv2d(latents, width, 1)
        self.mix: Block = Block(width, bias=True)

    def gaussian(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, ln std) of the prior, (B, latents, h, w) each."""
        mean, log_std = self.prior(state).chunk(2, dim=1)
        return mean, log_std.clamp(-5.0, 3.0)


class Ladder(nn.Module):
    """Features and latents -> g, of about unit variance (B, 3, H, W)."""

    def __init__(self, config: RestoreConfig) -> None:
        super().__init__()
        self.latents: int = config.latents
        self.levels: ModuleList[Level] = ModuleList[Level](
            Level(width, config) for width in reversed(config.widths)
        )
        self.grow: ModuleList[nn.ConvTranspose2d] = ModuleList[nn.ConvTranspose2d](
            nn.ConvTranspose2d(config.ladder, config.ladder, 2, stride=2) for _ in range(LEVELS - 1)
        )
        self.head: nn.Sequential = nn.Sequential(
            leak(), nn.Conv2d(config.ladder, 12, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(
        self, features: Sequence[Tensor], noise: Tensor, posterior: Offsets | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """(g, KL of each level) with latents from the prior, or from a posterior.

        Args:
            features: of the U-Net, coarse to fine; detached.
            noise: (B, noise, H/8, W/8), standard normal.
            posterior: its offsets from the prior; see `Restorer.reconstruct`.

        Returns:
            KLs are (B, latents, h, w) in nats, coarse to fine; none without a posterior.
        """
        parts = self._spread(noise)
        state, kls = self.levels[0].look(features[0]), []
        for number, level in enumerate(self.levels):
            if number:
                state = level.look(features[number]) + self.grow[number - 1](state)
            mean, log_std = level.gaussian(state)
            if posterior is not None:
                shift, log_ratio = posterior(number, state)
                kls.append(relative_kl(shift, log_ratio))
                mean = mean + log_std.exp() * shift
                log_std = log_std + log_ratio
            latents = mean + log_std.exp() * parts[number]
            state = level.mix(state + level.take(latents))
        return self.head(state), kls

    def _spread(self, noise: Tensor) -> list[Tensor]:
        """Noise of the cells -> noise of each level, coarse to fine."""
        counts = [self.latents * 4**level for level in range(LEVELS)]
        parts = torch.split(noise, counts, dim=1)
        return [
            part if level == 0 else nn.functional.pixel_shuffle(part, 2**level)
            for level, part in enumerate(parts)
        ]


class Posterior(nn.Module):
    """Sees the target, and predicts the offsets of the posterior from the prior at each level.

    It is used in training only and never exported.
    """

    def __init__(self, config: RestoreConfig) -> None:
        super().__init__()
        width = config.ladder
        self.entry: nn.Sequential = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(12, width, 3, padding=1)
        )
        self.shrink: nn.ModuleList = nn.ModuleList(
            nn.Sequential(leak(), nn.Conv2d(width, width, 2, stride=2)) for _ in range(LEVELS - 1)
        )
        self.heads: ModuleList[nn.Sequential] = ModuleList[nn.Sequential](
            nn.Sequential(
                leak(),
                nn.Conv2d(2 * width, width, 3, padding=1),
                leak(),
                nn.Conv2d(width, 2 * config.latents, 1),
            )
            for _ in range(LEVELS)
        )

    def forward(self, target: Tensor) -> list[Tensor]:
        """Residual of the mean, (B, 3, H, W) in units of its std -> features, coarse to fine."""
        features = [self.entry(target)]
        for shrink in self.shrink:
            features.append(shrink(features[-1]))
        return features[::-1]

    def offsets(self, number: int, state: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """(shift in units of the prior's std, ln ratio of the stds) at a level."""
        shift, log_ratio = self.heads[number](torch.cat([state, features], dim=1)).chunk(2, dim=1)
        return shift, log_ratio.clamp(-5.0, 2.0)


def relative_kl(shift: Tensor, log_ratio: Tensor) -> Tensor:
    """KL(N(m + d·shift, (d·ratio)²) || N(m, d²)) per element in nats, whatever m and d are."""
    return 0.5 * (shift**2 + torch.exp(2 * log_ratio) - 1) - log_ratio


class Restorer(nn.Module, ABC):
    """All parts. Subclasses define the input of the U-Net.

    Attributes:
        planes: number of input planes of the U-Net.
        damage: name of the second input, which describes the damage.
    """

    planes: ClassVar[int]
    damage: ClassVar[str]

    def __init__(self, config: RestoreConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk: UNet = UNet(self.planes, config)
        entry = nn.Conv2d(config.widths[0], config.ladder, 3, padding=1)
        log_std = nn.Conv2d(config.ladder, 4, 1)
        nn.init.constant_(cast("nn.Parameter", log_std.bias), START_LOG_STD)
        self.scale: nn.Sequential = nn.Sequential(
            entry, leak(), log_std, nn.PixelShuffle(2), Binomial()
        )
        self.ladder: Ladder = Ladder(config)
        self.posterior: Posterior = Posterior(config)

    @abstractmethod
    def condition(self, image: Tensor, damage: Tensor) -> Conditioning:
        """Image (B, 3, H, W), about [0, 1], and a description of its damage (B, 1, H, W)."""

    def mean(self, condition: Conditioning) -> tuple[Tensor, list[Tensor]]:
        """(μ (B, 3, H, W), not clipped; features, coarse to fine)."""
        features, residual = self.trunk(condition.planes)
        return condition.base - condition.gate * residual, features

    def std(self, condition: Conditioning, features: Sequence[Tensor]) -> Tensor:
        """Standard deviation of the target around the mean, (B, 1, H, W)."""
        return condition.gate * torch.exp(self.scale(features[-1]).clamp(*LOG_STD))

    def reconstruct(
        self, features: Sequence[Tensor], target: Tensor, noise: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """(g, KL of each level) with latents from the posterior of `target`; see `Ladder.forward`."""
        seen = self.posterior(target)
        reconstructed: tuple[Tensor, list[Tensor]] = self.ladder(
            features,
            noise,
            lambda number, state: self.posterior.offsets(number, state, seen[number]),
        )
        return reconstructed

    def sample(
        self, condition: Conditioning, noise: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(posterior sample (B, 3, H, W), not clipped; std). Temperature 0 gives the mean."""
        mean, features = self.mean(condition)
        std = self.std(condition, features)
        spread, _ = self.ladder(features, noise)
        return mean + temperature * std * spread, std
