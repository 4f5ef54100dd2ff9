"""A trained VAE -> model folder: measured and written like an imported network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaetools.model.spec import LikelihoodSpec
from vaetools.training.export.folder import write_model
from vaetools.training.export.graphs import Forward, Outputs
from vaetools.training.export.measure import plan_model
from vaetools.training.export.model_plan import About, ModelPlan
from vaetools.training.export.network import Network

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from vaetools.model.folder import Model
    from vaetools.training.networks.common import VaeNetwork
    from vaetools.training.recipe import Recipe


def plan_of(network: VaeNetwork, summary: str) -> ModelPlan:
    """Graphs and manifest of a network, with what is measured of it, such as the halo of tiles."""

    def encode(image: Tensor) -> Outputs:
        mean, logvar = network.encode(image)
        return mean if logvar is None else (mean, logvar)

    def decode(latent: Tensor) -> Outputs:
        decoded = network.decode(latent)
        image = network.image(decoded)
        return (image, decoded) if network.likelihood == "bernoulli" else image

    channels, height, width = network.shape
    return plan_model(
        Network(
            encode=Forward(network, encode),
            decode=Forward(network, decode),
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
    plan = plan_of(network, recipe.summary)
    about = About(recipe.id, recipe.version, "Apache-2.0")
    return write_model(folder, plan.manifest(about), plan.graphs)
