"""A model that is ready to be written: graphs, and a manifest that still needs a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaetools.model.manifest import FORMAT
from vaetools.model.spec import (
    ImageSpec,
    LatentSpec,
    LikelihoodSpec,
    Manifest,
    SelfTest,
    SizeSpec,
    TilingSpec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetools.training.export.folder import Plan


@dataclass(frozen=True)
class About:
    """Facts about a model that its weights do not contain.

    Attributes:
        id: of the model; see `vaetools.model.spec.MODEL_ID`.
        license: of the weights, as given by the user.
        source: origin of the weights, as given by the user.
    """

    id: str
    version: str = "1"
    license: str = "unknown"
    source: str = ""


@dataclass(frozen=True)
class ModelPlan:
    """Graphs and manifest of a model.

    Attributes:
        summary: one line about the network.
        graphs: those of the roles `encode` and `decode`.
        image, size, tiling, latent, likelihood, selftest: as in the manifest.
    """

    summary: str
    graphs: Mapping[str, Plan]
    image: ImageSpec
    size: SizeSpec
    tiling: TilingSpec
    latent: LatentSpec
    likelihood: LikelihoodSpec
    selftest: SelfTest

    def manifest(self, about: About) -> Manifest:
        """The manifest, except for the fields that `write_model` fills in."""
        can_sample = self.latent.distribution == "gaussian" and self.latent.prior == "normal"
        return Manifest(
            format=FORMAT,
            id=about.id,
            version=about.version,
            license=about.license,
            source=about.source,
            summary=self.summary,
            tasks=("reconstruct", "generate") if can_sample else ("reconstruct",),
            graphs={},
            image=self.image,
            size=self.size,
            tiling=self.tiling,
            latent=self.latent,
            likelihood=self.likelihood,
            selftest=self.selftest,
        )
