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

HELD = 4
"""Held-out crops, at each rate of `RATES`."""

RATES = (0.1, 0.3, 0.5, 0.8)
"""Shares of the top rate."""

FAINT = 1e-6
"""Added to distances before the logarithm: flat images have none."""


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
    """`[objective]`: the loss is the sum of the logarithms of three distances, each with its weight, so
    that 1 % less of one is worth as much at every rate.

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

    def load(self, path: Path) -> ImagePack:
        return self.data.load(path)

    def batch(self, data: ImagePack, generator: torch.Generator, progress: float) -> Tensor:
        return self.data.draw(data, generator, progress)

    def draws(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        self._follow(images.device)
        top = self.codec.config.rates - 1
        position = top * torch.rand(len(images), 1, 1, generator=generator) ** LOW
        return (position.to(images.device, non_blocking=True),)

    def loss_of(self, images: Tensor, *drawn: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        (position,) = drawn
        logs = self._logs(images, self.network(*self.latents(images, position)))
        return self._total(logs).mean(), logs

    def _total(self, logs: Mapping[str, Tensor]) -> Tensor:
        o = self.objective
        weights = {"squares": o.squares, "structure": o.structure, "activations": o.activations}
        return torch.stack([weight * logs[name] for name, weight in weights.items()]).sum(0)

    def _follow(self, device: torch.device) -> None:
        """Put what is not trained on the device of what is."""
        self.codec.to(device)
        self.features.to(device)

    @torch.no_grad()
    def latents(self, images: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """What a decoder has: ŷ and the rate as the synthesis takes it."""
        coded = self.codec.code(images, position)
        symbols = torch.round(coded.residual)
        latents = restored(coded.mean, symbols, coded.step, coded.inward)
        return latents, self.codec.rate(position)

    def _logs(self, images: Tensor, found: Tensor) -> dict[str, Tensor]:
        """Logarithms of the distances of each image, (B,)."""
        squares = F.mse_loss(found, images, reduction="none").mean(dim=(1, 2, 3))
        distances = {
            "squares": squares,
            "structure": 1 - ms_ssim(found, images),
            "activations": self.features.distance(found, images),
        }
        return {name: torch.log(value + FAINT) for name, value in distances.items()}

    def validate(self, network: Synthesis, data: ImagePack) -> dict[str, float]:
        """Mean logarithms relative to those of the codec's own synthesis: 0 is as good."""
        images = data.crops(HELD, self.data.held_size(data), torch.Generator().manual_seed(1))
        self._follow(images.device)
        top = self.codec.config.rates - 1
        gains: dict[str, list[float]] = {}
        for share in RATES:
            position = torch.full((len(images), 1, 1), share * top, device=images.device)
            inputs = self.latents(images, position)
            ours = self._logs(images, network(*inputs))
            theirs = self._logs(images, self.codec.synthesis(*inputs))
            for name, value in (*ours.items(), ("loss", self._total(ours))):
                before = self._total(theirs) if name == "loss" else theirs[name]
                gains.setdefault(f"held_{name}", []).append(float((value - before).mean()))
        return {name: sum(values) / len(values) for name, values in gains.items()}

    def show(self, network: Synthesis, data: ImagePack) -> dict[str, Tensor]:
        images = data.crops(HELD, self.data.held_size(data), torch.Generator().manual_seed(1))
        self._follow(images.device)
        rows = {"held-out images": images}
        for share in RATES[:2]:
            top = self.codec.config.rates - 1
            position = torch.full((len(images), 1, 1), share * top, device=images.device)
            inputs = self.latents(images, position)
            rows[f"rate {share:g}\nfaithful"] = self.codec.synthesis(*inputs)
            rows[f"rate {share:g}\nvivid"] = network(*inputs)
        return rows

    def export(self, data: ImagePack | None, folder: Path) -> tuple[Model, Mapping[str, float]]:
        from vaetools.training.export.look import export_look

        del data
        return export_look(self.network.eval(), self.model, folder, self.recipe)
