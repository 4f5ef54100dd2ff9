"""A trained VAE of the laboratory -> model folder: measured and written as networks from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from vaetools.model.spec import LikelihoodSpec
from vaetools.training.export.graphs import write_model
from vaetools.training.export.measure import Network, parts
from vaetools.training.export.model_plan import About, Parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.model.vae import Model
    from vaetools.training.networks.common import VaeNetwork
    from vaetools.training.recipe import Recipe


class Encode(nn.Module):
    """image -> mean, and logvar unless the network is an autoencoder."""

    def __init__(self, network: VaeNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        mean, logvar = self.network.encode(image)
        return mean if logvar is None else (mean, logvar)


class Decode(nn.Module):
    """latent -> image, and logits where the likelihood is Bernoulli."""

    def __init__(self, network: VaeNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        decoded = self.network.decode(latent)
        image = self.network.image(decoded)
        return (image, decoded) if self.network.likelihood == "bernoulli" else image


def parts_of(network: VaeNetwork, summary: str) -> Parts:
    """Its graphs, and what is measured of it, such as the halo of tiles."""
    channels, height, width = network.shape
    return parts(
        Network(
            encode=Encode(network),
            decode=Decode(network),
            channels=channels,
            size=None if network.latent_kind == "spatial" else (height, width),
            likelihood=LikelihoodSpec(
                network.likelihood, float(network.log_deviation.detach().exp())
            ),
            summary=summary,
        )
    )


def export_vae(
    network: VaeNetwork, folder: Path, recipe: Recipe
) -> tuple[Model, Mapping[str, float]]:
    """Write the model folder; see `write_model`."""
    found = parts_of(network, recipe.summary)
    about = About(recipe.id, recipe.version, "Apache-2.0")
    return write_model(folder, found.manifest(about), found.plans)
