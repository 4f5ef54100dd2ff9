"""Training a second synthesis for the latents of a finished codec, which looks better."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from vaetools.codec.container import CELL
from vaetools.errors import UsageError
from vaetools.training.data.crops import CropSettings
from vaetools.training.data.image_pack import ImagePack
from vaetools.training.export.recover import model_weights
from vaetools.training.networks.codec import CodecConfig, PhotoCodec
from vaetools.training.networks.codec.likelihood import interpolate
from vaetools.training.networks.codec.photo_codec import restored
from vaetools.training.networks.codec.transforms import Synthesis
from vaetools.training.networks.vgg import LAYERS, read_features
from vaetools.training.objectives.similarity import ms_ssim
from vaetools.training.recipe import Count, NotNegative
from vaetools.training.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetools.model.folder import Model
    from vaetools.training.recipe import Recipe

LOW = 1.5
"""Rates are drawn as the top rate times u to this power, u uniform: low rates need the looks most."""

NAMES = ("squares", "structure", "activations")
"""The distances."""

MEASURED = 16
"""Crops on which the distances of the codec's own synthesis are measured, at each rate point."""

HELD = 4
"""Held-out crops, at each of these shares of the top rate."""

SHARES = (0.1, 0.3, 0.5, 0.8)

FAINT = 1e-9
"""Added to distances before a logarithm."""


@dataclass(frozen=True)
class LookData(CropSettings):
    """`[data]`: crops."""

    cell = CELL
    crop: int = 192
    late_crop: int = 256
    late: float = 0.85
    batch: int = 4


@dataclass(frozen=True)
class LookObjective:
    """`[objective]`: the loss is the sum of three distances, each with a weight and relative to what the
    codec's own synthesis has at that rate, so that 1 % less of one is worth as much at every rate.

    Attributes:
        model: folder of the codec.
        features: file of weights; see `vaetools.training.networks.vgg`.
        blocks: of VGG-16 whose activations count.
        squares: weight of the mean squared error.
        structure: of 1 − MS-SSIM.
        activations: of the distance of the activations.
    """

    model: str
    features: str
    blocks: Count = 3
    squares: NotNegative = 1.0
    structure: NotNegative = 0.5
    activations: NotNegative = 1.0

    def __post_init__(self) -> None:
        """Raises `UsageError` for blocks that do not exist."""
        if self.blocks > len(LAYERS):
            raise UsageError(f"recipe: objective.blocks = {self.blocks} is above {len(LAYERS)}")


class LookTask(Task[Synthesis, ImagePack]):
    """Trains the trunk of the synthesis; the codec and the linear shortcut stay as they are."""

    splits = True

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.data: LookData = recipe.table("data", LookData)
        self.hold_out: int = self.data.hold_out
        self.objective: LookObjective = recipe.table("objective", LookObjective)
        self.codec: PhotoCodec = PhotoCodec(recipe.table("network", CodecConfig))
        self.model: Path = Path(self.objective.model)
        weights = model_weights(self.model, self.codec)
        try:
            self.codec.load_state_dict(weights)
        except RuntimeError:
            raise UsageError("is a codec of other sizes than [network]", file=self.model) from None
        self.codec.eval().requires_grad_(False)
        self.features = read_features(Path(self.objective.features), self.objective.blocks)
        self.network: Synthesis = copy.deepcopy(self.codec.synthesis)
        self.network.requires_grad_(True).linear.requires_grad_(False)
        self.shares: Tensor = torch.tensor([getattr(self.objective, name) for name in NAMES])
        self.usual: Tensor | None = None

    def load(self, path: Path) -> ImagePack:
        return self.data.load(path)

    def batch(self, data: ImagePack, generator: torch.Generator, progress: float) -> Tensor:
        if self.usual is None:
            self.usual = self._usual(data)
        return self.data.draw(data, generator, progress)

    def draws(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        position = self.top * torch.rand(len(images), 1, 1, generator=generator) ** LOW
        return (position.to(images.device, non_blocking=True),)

    def loss_of(self, images: Tensor, *drawn: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        (position,) = drawn
        assert self.usual is not None  # since the first batch
        found = self.distances(images, self.network(*self.latents(images, position)))
        relative = found / torch.exp(interpolate(self.usual, position)[:, :, 0, 0])
        figures = dict(zip(NAMES, relative.detach().T, strict=True))
        return (relative @ self.shares.to(relative)).mean(), figures

    @property
    def top(self) -> int:
        """The highest rate point."""
        return self.codec.config.rates - 1

    @torch.no_grad()
    def latents(self, images: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """What a decoder has: ŷ and the rate as the synthesis takes it."""
        coded = self.codec.code(images, position)
        symbols = torch.round(coded.residual)
        latents = restored(coded.mean, symbols, coded.step, coded.inward)
        return latents, self.codec.rate(position)

    def distances(self, images: Tensor, found: Tensor) -> Tensor:
        """The distances `NAMES` of each image, (B, 3)."""
        squares = F.mse_loss(found, images, reduction="none").mean(dim=(1, 2, 3))
        structure = 1 - ms_ssim(found, images)
        return torch.stack([squares, structure, self.features.distance(found, images)], dim=1)

    @torch.no_grad()
    def _usual(self, data: ImagePack) -> Tensor:
        """Logarithms of the mean distances of the codec's own synthesis at each rate point, (K, 3)."""
        images = data.crops(MEASURED, self.data.crop, torch.Generator().manual_seed(0))
        self.codec.to(images.device)
        self.features.to(images.device)
        rows = [self._at(images, rate, self.codec.synthesis)[0] for rate in range(self.top + 1)]
        return torch.stack([torch.log(row.mean(dim=0) + FAINT) for row in rows])

    def _at(self, images: Tensor, rate: float, synthesis: Synthesis) -> tuple[Tensor, Tensor]:
        """Distances (B, 3) and images of a synthesis at one rate."""
        position = torch.full((len(images), 1, 1), float(rate), device=images.device)
        found = synthesis(*self.latents(images, position))
        return self.distances(images, found), found

    def validate(self, network: Synthesis, data: ImagePack) -> dict[str, float]:
        """Logarithms of the distances relative to those of the codec's own synthesis, on the mean of
        images and rates; `held_loss` is their weighted sum. 0 is as good."""
        images = self._held(data)
        gains = []
        for share in SHARES:
            ours, theirs = (
                torch.log(self._at(images, share * self.top, one)[0] + FAINT)
                for one in (network, self.codec.synthesis)
            )
            gains.append((ours - theirs).mean(dim=0))
        gain = torch.stack(gains).mean(dim=0)
        figures = {f"held_{name}": float(value) for name, value in zip(NAMES, gain, strict=True)}
        return {"held_loss": float(gain @ self.shares.to(gain)), **figures}

    def show(self, network: Synthesis, data: ImagePack) -> dict[str, Tensor]:
        images = self._held(data)
        rows = {"held-out images": images}
        for share in SHARES[:2]:
            for name, one in (("faithful", self.codec.synthesis), ("vivid", network)):
                rows[f"rate {share:g}\n{name}"] = self._at(images, share * self.top, one)[1]
        return rows

    def _held(self, data: ImagePack) -> Tensor:
        return data.crops(HELD, self.data.held_size(data), torch.Generator().manual_seed(1))

    def export(self, data: ImagePack | None, folder: Path) -> tuple[Model, Mapping[str, float]]:
        from vaetools.training.export.look import export_look

        del data
        return export_look(self.network.eval(), self.model, folder, self.recipe)
