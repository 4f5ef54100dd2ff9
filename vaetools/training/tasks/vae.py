"""Training VAEs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from vaetools.errors import UsageError
from vaetools.training.data.image_pack import ImagePack
from vaetools.training.data.images import ImageStack
from vaetools.training.networks import make_network
from vaetools.training.networks.common import ImageShape, VaeNetwork
from vaetools.training.networks.mlp import MlpAutoencoder
from vaetools.training.objectives.elbo import Terms, iwae, psnr, terms, terms_at
from vaetools.training.objectives.em import distance, refine
from vaetools.training.recipe import Count, CountOrNone, HoldOut, NotNegative, Shrink
from vaetools.training.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.model.folder import Model
    from vaetools.training.recipe import Recipe

VALIDATED = 1000
"""Number of held-out images for each row of the log."""

VALIDATED_CROPS = 64

SHOWN, SHOWN_SIDE = 8, 128
"""Number of images in a row of a sheet, and the side of crops in pixels."""


@dataclass(frozen=True)
class VaeData:
    """`[data]`: images of `height` x `width` with 1 or 3 channels.

    Attributes:
        binarise: draw each pixel as black or white with its grey value as probability, again at each
            step ("dynamic binarisation").
        batch: images per step; 0 for all of them.
        shrink: fully convolutional networks are trained on crops that are taken up to this factor
            larger and then reduced.
        hold_out: every `hold_out`-th image is for validation.
    """

    height: Count = 28
    width: Count = 28
    channels: Literal[1, 3] = 1
    binarise: bool = False
    batch: CountOrNone = 128
    shrink: Shrink = 1.0
    hold_out: HoldOut = 24


@dataclass(frozen=True)
class VaeObjective:
    """`[objective]`.

    Attributes:
        beta: weight of the KL; 1 for the ELBO.
        samples: K > 1 for the importance-weighted bound.
        e_steps: > 0 for EM-style training: the posterior of each image is refined by this number of
            ascent steps; the decoder is trained on it, and the encoder to predict it.
        e_rate: learning rate of the ascent.
        e_samples: samples of each posterior per ascent step.
    """

    beta: NotNegative = 1.0
    samples: Count = 1
    e_steps: CountOrNone = 0
    e_rate: NotNegative = 0.05
    e_samples: Count = 8


class VaeTask(Task[VaeNetwork, ImageStack | ImagePack]):
    """Maximises a bound on log p(x) with one of `vaetools.training.networks`."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.data: VaeData = recipe.table("data", VaeData)
        self.objective: VaeObjective = recipe.table("objective", VaeObjective)
        self.hold_out: int = self.data.hold_out
        shape = ImageShape(self.data.channels, self.data.height, self.data.width)
        self.network: VaeNetwork = make_network(recipe.network, shape)
        if self.network.likelihood == "bernoulli" and not self.data.binarise:
            raise UsageError(
                "recipe: a Bernoulli likelihood is defined for black and white pixels only",
                remedy="set binarise = true in [data], or likelihood = 'gaussian' in [network]",
            )
        self._check_objective()
        self._check_crops()

    def _check_objective(self) -> None:
        wanted = self.objective
        others = (wanted.samples > 1) + (wanted.e_steps > 0) + (wanted.beta != 1)
        if others > 1:
            raise UsageError("recipe: only one of samples, e_steps and beta can be chosen")
        if others and isinstance(self.network, MlpAutoencoder):
            raise UsageError("recipe: a plain autoencoder has no bound: leave [objective] out")

    def _check_crops(self) -> None:
        if self.network.latent_kind != "spatial":
            return
        sides, cell = (self.data.height, self.data.width), self.network.downscale
        if (
            sides[0] != sides[1]
            or sides[0] % cell
            or self.data.channels != 3
            or not self.data.batch
        ):
            raise UsageError(
                f"recipe: this network is trained on batches of square crops of 3 channels whose "
                f"side is a multiple of {cell}"
            )

    def load(self, path: Path) -> ImageStack | ImagePack:
        if self.network.latent_kind == "spatial":
            return ImagePack.from_folder(path, smallest=self.data.height)
        return ImageStack.read(path, self.network.shape)

    def batch(
        self, data: ImageStack | ImagePack, generator: torch.Generator, progress: float
    ) -> Tensor:
        del progress
        if isinstance(data, ImagePack):
            count = self.data.batch
            images = data.crops(count, self.data.height, generator, shrink=self.data.shrink)
        else:
            images = data.batch(self.data.batch, generator)
        return self._observed(images, generator)

    def _observed(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if not self.data.binarise:
            return images
        return (torch.rand(images.shape, generator=generator).to(images.device) < images).float()

    def loss(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        if self.objective.samples > 1:
            bound = iwae(self.network, images, self.objective.samples, generator)
            return -bound.mean(), {"bound": bound}
        if self.objective.e_steps:
            return self._em_loss(images, generator)
        found = terms(self.network, images, generator)
        return -found.bound(self.objective.beta).mean(), _figures(found)

    def _em_loss(
        self, images: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        mean, logvar = self.network.encode(images)
        assert logvar is not None  # checked when the recipe was read
        wanted = self.objective
        noise = torch.randn((wanted.e_samples, *mean.shape), generator=generator).to(mean.device)
        better = refine(
            self.network, images, mean, logvar, noise, steps=wanted.e_steps, rate=wanted.e_rate
        )
        found = terms_at(self.network, images, *better, generator)
        gap = distance(*better, mean, logvar)
        return (gap - found.bound(self.objective.beta)).mean(), {**_figures(found), "gap": gap}

    @torch.no_grad()
    def validate(self, network: VaeNetwork, data: ImageStack | ImagePack) -> dict[str, float]:
        generator = torch.Generator().manual_seed(1)
        if isinstance(data, ImagePack):
            whole = data.crops(VALIDATED_CROPS, self.data.height, generator)
        else:
            whole = data.batch(min(VALIDATED, len(data)), generator)
        images = self._observed(whole, generator)
        mean, logvar = network.encode(images)
        found = terms_at(network, images, mean, logvar, generator)
        figures = {f"held_{name}": float(value.mean()) for name, value in _figures(found).items()}
        loss = -float(found.bound(self.objective.beta).mean())
        if self.objective.samples > 1:
            figures["held_bound"] = float(
                iwae(network, images, self.objective.samples, generator).mean()
            )
            loss = -figures["held_bound"]
        quality = psnr(network.image(network.decode(mean)), whole)
        return {"held_loss": loss, "held_psnr": float(quality.mean()), **figures}

    def show(self, network: VaeNetwork, data: ImageStack | ImagePack) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1)
        if isinstance(data, ImagePack):
            cell = network.downscale
            size = max(self.data.height, min(SHOWN_SIDE, data.largest) // cell * cell)
            whole = data.crops(SHOWN, size, generator)
        else:
            whole = data.batch(min(SHOWN, len(data)), generator)
        images = self._observed(whole, generator)
        mean, logvar = network.encode(images)
        rows = {"held-out images": whole}
        if self.data.binarise:
            rows["what it sees"] = images
        rows["reconstructions"] = network.image(network.decode(mean))
        if logvar is not None:  # a plain autoencoder has no prior
            noise = torch.randn(mean.shape, generator=generator).to(mean.device)
            rows["samples of the prior"] = network.image(network.decode(noise))
        return rows

    def export(
        self, data: ImageStack | ImagePack | None, folder: Path
    ) -> tuple[Model, Mapping[str, float]]:
        from vaetools.training.export.vae import export_vae

        del data
        return export_vae(self.network, folder, self.recipe)


def _figures(found: Terms) -> dict[str, Tensor]:
    """The bound and its two terms, nats per image."""
    return {"elbo": found.bound(), "log_likelihood": found.log_likelihood, "kl": found.kl}
