"""What is trained: each task joins a network with its objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.errors import UsageError
from vaetools.training.photo_codec import CodecConfig, PhotoCodec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.training.pictures import PicturePack
    from vaetools.training.recipe import Recipe
    from vaetools.vae import Model


class Task(ABC):
    """A network and what it should learn. The trainer knows nothing else."""

    network: nn.Module

    slow: tuple[str, ...] = ()
    """Prefixes of the parameters that learn at a tenth of the rate."""

    @abstractmethod
    def start(self, data: PicturePack, generator: torch.Generator) -> None:
        """Initialise the network from the data, once, before the first step."""

    @abstractmethod
    def loss(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """(scalar loss, figures to log) of a batch (B, 3, S, S) in [0, 1]."""

    @abstractmethod
    def validate(self, network: nn.Module, images: Tensor) -> dict[str, float]:
        """Figures of `network` on held-out images (B, 3, S, S)."""

    @abstractmethod
    def export(
        self, data: PicturePack, folder: Path, recipe: Recipe
    ) -> tuple[Model, Mapping[str, float]]:
        """Write the network as a model folder; see `vaetools.training.export.write_model`."""


class CodecTask(Task):
    """Rate-distortion training of `PhotoCodec` at random rates."""

    slow = ("analysis.linear", "synthesis.linear")  # they begin at a good place

    def __init__(self, recipe: Recipe) -> None:
        if recipe.data.crop % 64 or recipe.data.late_crop % 64:
            raise UsageError("crop and late_crop of a codec's recipe must be multiples of 64")
        try:
            config = CodecConfig(**recipe.network)
        except TypeError as error:
            raise UsageError(f"[network] of the recipe: {error}") from None
        self.network: PhotoCodec = PhotoCodec(config)

    def start(self, data: PicturePack, generator: torch.Generator) -> None:
        patches = [data.crops(512, 16, generator, shrink=2.0) for _ in range(100)]
        self.network.start_from_patches(torch.cat(patches).flatten(1).cpu())

    def loss(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        top = self.network.config.rates - 1
        position = torch.rand(len(images), generator=generator).to(images.device) * top
        return self.network.loss(images, position)

    def validate(self, network: nn.Module, images: Tensor) -> dict[str, float]:
        figures = {}
        for rate in range(network.config.rates):
            position = torch.full((len(images),), float(rate), device=images.device)
            _, out = network.loss(images, position)
            psnr = 10 * torch.log10(255.0**2 / out["mse"])
            figures[f"bpp{rate}"] = float(out["bpp"].mean())
            figures[f"psnr{rate}"] = float(psnr.mean())
        return figures

    def export(
        self, data: PicturePack, folder: Path, recipe: Recipe
    ) -> tuple[Model, Mapping[str, float]]:
        from vaetools.training.export_codec import export_codec

        return export_codec(self.network, data, folder, recipe)


TASKS: dict[str, type[CodecTask]] = {"codec": CodecTask}


def open_task(recipe: Recipe) -> Task:
    """The task that a recipe names. Raises `UsageError` for an unknown one."""
    try:
        return TASKS[recipe.task](recipe)
    except KeyError:
        known = ", ".join(sorted(TASKS))
        raise UsageError(
            f"recipe names the task {recipe.task!r}", remedy=f"known: {known}"
        ) from None
