"""What there is to say about a model, and why the rest cannot be said."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from vaetools.inspection.starts import has_prior

if TYPE_CHECKING:
    from vaetools.errors import VaetoolsError
    from vaetools.inspection.latents import LatentStatistics
    from vaetools.inspection.novelty import Comparison, Reference, Score
    from vaetools.model.vae import Vae

POINT = "the model is a plain autoencoder: its latents have no posterior"
NO_PRIOR = "the model has no prior"
NO_LIKELIHOOD = "the model has no likelihood"
GREY = "a Bernoulli likelihood is defined for black and white images only; these were not binarised"
NO_DATA = "needs images: --data"
NO_STEP = (
    "the model has no prior, so the range of its latents is estimated from at least two images"
)
ONE_IMAGE = "needs at least two images"
NO_REFERENCE = "the model has no prior to draw a reference from: --reference"


@dataclass(frozen=True)
class Settings:
    """How to look.

    Attributes:
        samples: draws from each posterior, 2 or more.
        limit: most images of the data, and of the reference.
        seed: of all random numbers.
        resize: scale images to the size of a model that knows one only.
        binarise: draw black or white for each pixel, where the likelihood is Bernoulli.
    """

    samples: int = 8
    limit: int = 1000
    seed: int = 0
    resize: bool = False
    binarise: bool = True

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for each purpose, so that none disturbs the others."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])


@dataclass(frozen=True)
class Scored:
    """An image with its score.

    Attributes:
        name: the file.
        score: its terms.
        original, reconstruction: small uint8 RGB versions.
        comparison: with the reference, if there is one.
    """

    name: str
    score: Score
    original: np.ndarray
    reconstruction: np.ndarray
    comparison: Comparison | None = None

    @property
    def unlike(self) -> bool:
        """Whether a comparison says so."""
        return self.comparison is not None and self.comparison.unlike


@dataclass(frozen=True)
class Uncertain:
    """An image (H, W, 3), its reconstruction (H, W, C) and the deviation (H, W) of samples."""

    name: str
    original: np.ndarray
    reconstruction: np.ndarray
    deviation: np.ndarray


@dataclass(frozen=True)
class Rows:
    """A traversal: for each latent of `order` images (moves, H, W, C) around what `around` says."""

    around: str
    order: list[int]
    images: list[np.ndarray]


@dataclass
class Findings:
    """What there is to say about a model; None where nothing can be said.

    Attributes:
        found: images in the data; `used` of them were looked at.
        failures: files that could not be used.
        order: all latents, the most important first.
        effects: (C, H, W), see `effect`.
        samples: (N, H, W, C) decoded draws from the prior.
        unknown: name of a figure -> why it is None.
    """

    model: Vae
    settings: Settings
    binary: bool
    found: int = 0
    failures: list[VaetoolsError] = field(default_factory=list)
    statistics: LatentStatistics | None = None
    scored: list[Scored] = field(default_factory=list)
    reference: Reference | None = None
    order: list[int] = field(default_factory=list)
    effects: np.ndarray | None = None
    rows: Rows | None = None
    samples: np.ndarray | None = None
    uncertain: list[Uncertain] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def used(self) -> int:
        return len(self.scored)


def has_posterior(model: Vae) -> bool:
    """Whether `encode` gives a variance next to the mean."""
    return len(model.manifest.graphs["encode"].outputs) > 1


def explain(found: Findings) -> dict[str, str]:
    """Name of each figure that is missing -> why."""
    data = NO_DATA if not found.scored else None
    posterior = data or (None if has_posterior(found.model) else POINT)
    prior = None if has_prior(found.model) else NO_PRIOR
    few = data or (ONE_IMAGE if found.used < 2 else None)
    reference = data or (NO_REFERENCE if found.reference is None else None)
    reasons = {
        "kl": posterior or prior,
        "posterior_deviation": posterior,
        "uncertainty": posterior,
        "active": posterior or prior or few,
        "variance": few,
        "correlation": few,
        "effect": NO_STEP if found.effects is None else None,
        "traversal": NO_STEP if found.rows is None else None,
        "prior_samples": prior,
        "bound": posterior or prior or _without_bound(found),
        "novelty": reference,
        "verdict": reference or _too_few(found.reference),
    }
    return {name: reason for name, reason in reasons.items() if reason}


def _without_bound(found: Findings) -> str | None:
    """Why the likelihood gives no bound, if so."""
    kind = found.model.manifest.likelihood.kind
    if kind == "none":
        return NO_LIKELIHOOD
    return GREY if kind == "bernoulli" and not found.binary else None


def _too_few(reference: Reference | None) -> str | None:
    if reference is None or reference.large_enough:
        return None
    return f"{reference.count} reference images are too few; at least {reference.fewest} are needed"
