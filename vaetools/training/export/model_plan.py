"""What every importer finds in its source: a manifest without a name, and graphs to write."""

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
    """What nobody can read off the weights.

    Attributes:
        id: of the model; see `vaetools.model.spec.MODEL_ID`.
        license: of the weights, as the user says.
        source: where they come from, as the user says.
    """

    id: str
    version: str = "1"
    license: str = "unknown"
    source: str = ""


@dataclass(frozen=True)
class Parts:
    """A model that is ready to be written.

    Attributes:
        summary: one line about the network.
        plans: the graphs `encode` and `decode`.
        others: as in the manifest.
    """

    summary: str
    plans: Mapping[str, Plan]
    image: ImageSpec
    size: SizeSpec
    tiling: TilingSpec
    latent: LatentSpec
    likelihood: LikelihoodSpec
    selftest: SelfTest

    def manifest(self, about: About) -> Manifest:
        """The whole manifest, but for what `write_model` adds."""
        samples = self.latent.distribution == "gaussian" and self.latent.prior == "normal"
        return Manifest(
            format=FORMAT,
            id=about.id,
            version=about.version,
            license=about.license,
            source=about.source,
            summary=self.summary,
            tasks=("reconstruct", "generate") if samples else ("reconstruct",),
            graphs={},
            image=self.image,
            size=self.size,
            tiling=self.tiling,
            latent=self.latent,
            likelihood=self.likelihood,
            selftest=self.selftest,
        )
