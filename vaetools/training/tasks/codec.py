"""Training the photo codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaetools.codec.container import CELL
from vaetools.errors import UsageError
from vaetools.training.data.crops import CropSettings
from vaetools.training.data.image_pack import ImagePack
from vaetools.training.networks.codec import CodecConfig, PhotoCodec
from vaetools.training.objectives.elbo import psnr
from vaetools.training.recipe import NotNegative
from vaetools.training.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.model.folder import Model
    from vaetools.training.recipe import Recipe


SHOWN = 4
"""Number of crops in a row of a sheet."""


@dataclass(frozen=True)
class CodecData(CropSettings):
    """`[data]`: crops. A share `mixed` of the batches has two rates in every crop, like images with a
    region of interest."""

    cell = CELL
    crop: int = 192
    late_crop: int = 256
    late: float = 0.85
    batch: int = 8
    mixed: NotNegative = 0.0


class CodecTask(Task[PhotoCodec, ImagePack]):
    """Rate-distortion training of `PhotoCodec` at random rates."""

    exports_with_data = True
    recordable = True
    splits = True
    slow: tuple[str, ...] = (
        "analysis.linear",
        "synthesis.linear",
    )  # they start from principal components

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.data: CodecData = recipe.table("data", CodecData)
        self.hold_out: int = self.data.hold_out
        self.network: PhotoCodec = PhotoCodec(recipe.table("network", CodecConfig))

    def load(self, path: Path) -> ImagePack:
        return self.data.load(path)

    def start(self, data: ImagePack, generator: torch.Generator) -> None:
        patches = [data.crops(512, 16, generator, shrink=2.0) for _ in range(100)]
        self.network.start_from_patches(torch.cat(patches).flatten(1).cpu())

    def batch(self, data: ImagePack, generator: torch.Generator, progress: float) -> Tensor:
        return self.data.draw(data, generator, progress)

    def draws(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        position = self.positions(len(images), images.shape[2] // CELL, generator)
        return (position.to(images.device, non_blocking=True),)

    def loss_of(self, images: Tensor, *drawn: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.network.loss(images, *drawn)

    def positions(self, count: int, cells: int, generator: torch.Generator) -> Tensor:
        """Random rates for crops of `cells` x `cells`: (count, 1, 1), one for each, or
        (count, cells, cells), where each has two, side by side."""
        top = self.network.config.rates - 1
        one, other = (top * torch.rand(2, count, 1, 1, generator=generator)).unbind()
        if cells < 2 or float(torch.rand(1, generator=generator)) >= self.data.mixed:
            return one
        cut = int(torch.randint(1, cells, (1,), generator=generator))
        return torch.where(torch.arange(cells) < cut, one, other).expand(count, cells, cells)

    def validate(self, network: PhotoCodec, data: ImagePack) -> dict[str, float]:
        images = data.crops(8, self.data.held_size(data), torch.Generator().manual_seed(1))
        figures, losses = {}, []
        for rate in range(network.config.rates):
            position = torch.full((len(images), 1, 1), float(rate), device=images.device)
            loss, out = network.loss(images, position)
            losses.append(float(loss))
            psnr = 10 * torch.log10(255.0**2 / out["mse"])
            figures[f"bpp{rate}"] = float(out["bpp"].mean())
            figures[f"psnr{rate}"] = float(psnr.mean())
        return {"held_loss": sum(losses) / len(losses), **figures}

    def show(self, network: PhotoCodec, data: ImagePack) -> dict[str, Tensor]:
        images = data.crops(SHOWN, self.data.held_size(data), torch.Generator().manual_seed(1))
        rows = {"held-out images": images}
        top = network.config.rates - 1
        for rate in sorted({0, top // 2, top}):
            position = torch.full((len(images), 1, 1), float(rate), device=images.device)
            out = network(images, position)
            bpp = float((out["bits_y"] + out["bits_z"]).mean()) / CELL**2
            quality = float(psnr(out["image"], images).mean())
            rows[f"rate index {rate}\n{bpp:.2f} bpp\n{quality:.1f} dB"] = out["image"]
        return rows

    def export(self, data: ImagePack | None, folder: Path) -> tuple[Model, Mapping[str, float]]:
        from vaetools.training.export.codec import export_codec

        if data is None:
            raise UsageError(
                "the tables of a codec are counted on its training images",
                remedy="give them with --data",
            )
        return export_codec(self.network, data, self.data.late_crop, folder, self.recipe)
