"""Does the model know these images? Each is scored, and the scores compared with a reference.

    reconstruction  −E_q(z | x) log p(x | z) / D, nats per dimension; the mean squared error where
                    the model has no likelihood
    KL              KL(q(z | x) ‖ p(z)) / D, nats per dimension; none for plain autoencoders
    −ELBO / D       their sum, where both are there

A low −ELBO alone does not make an image familiar: models give simple images, such as a blank page,
a higher likelihood than what they were trained on (Nalisnick et al., "Do Deep Generative Models Know
What They Don't Know?", 2019). So each term is compared on both sides: a term that is lower than
nearly all of the reference is as strange as one that is higher, in the spirit of Nalisnick et al.,
"Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality", 2019.

With n scores r of the reference, the p-value of a term s is the smaller of (1 + #{r ≥ s}) / (n + 1)
and (1 + #{r ≤ s}) / (n + 1), times 2 for the two sides and times the number of terms (Bonferroni).
For an image that comes from where the reference comes from, p < 0.05 has a probability of at most
5 % (conformal p-values: Bates et al., "Testing for Outliers with Conformal p-values", 2023).

The reference is held images that the model should know, or, where there are none, what the model
draws itself: z from the prior, x from p(x | z). The latter asks whether the images are typical of
the model, and a model whose own draws are poor finds real images strange.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from vaetools.inspection.inputs import decode_all
from vaetools.inspection.latents import LatentSums
from vaetools.metrics import psnr
from vaetools.model.bounds import binarise, elbo, log_likelihood
from vaetools.model.latent import gaussian_kl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.model.vae import Vae

LEVEL = 0.05
"""p-values below this count as unlike the reference."""

HELD, DRAWN = "held pictures", "the model's own draws"
"""Kinds of reference."""

DRAWS = 400
"""Images that the model draws for a reference."""


@dataclass(frozen=True)
class Score:
    """One image's terms; see the module.

    Attributes:
        dimensions: D, samples (pixels × channels) that the model saw, padding included.
        reconstruction: nats per dimension, or mean squared error.
        kl: nats per image.
        psnr: of the decoded posterior mean, dB.
    """

    dimensions: int
    reconstruction: float
    kl: float | None
    psnr: float

    @property
    def terms(self) -> tuple[float, ...]:
        """What is compared with the reference, all per dimension."""
        both = (self.reconstruction, None if self.kl is None else self.kl / self.dimensions)
        return tuple(term for term in both if term is not None)


@dataclass
class Scorer:
    """Scores images batch by batch, and gathers what their latents say on the way.

    Attributes:
        model: the VAE.
        rng: draws posterior samples and binarisations.
        samples: draws per image for the expectation.
        binary: binarise what the model is shown.
        latents: the statistics so far.
    """

    model: Vae
    rng: np.random.Generator
    samples: int
    binary: bool
    latents: LatentSums = field(init=False)

    def __post_init__(self) -> None:
        self.latents = LatentSums(prior=self._prior)

    @property
    def _prior(self) -> bool:
        return self.model.manifest.latent.prior == "normal"

    @property
    def _likelihood(self) -> bool:
        return self.model.manifest.likelihood.kind != "none"

    def score(
        self, tensors: np.ndarray, sizes: Sequence[tuple[int, int]]
    ) -> tuple[list[Score], np.ndarray]:
        """The scores of images, and their reconstructions (N, C, H, W), not clipped.

        Args:
            tensors: (N, C, H, W) in [0, 1].
            sizes: (height, width) of each before padding, for the PSNR.
        """
        shown = binarise(tensors, self.rng) if self.binary else tensors
        mean, logvar = self.model.encode_batch(shown)
        self.latents.add(mean, logvar)
        decoded = np.concatenate(list(decode_all(self.model, mean)))
        if self._likelihood:
            terms = -self._log_likelihood(shown, mean, logvar) / tensors[0].size
        else:
            terms = ((shown - decoded).astype(np.float64) ** 2).mean(axis=(1, 2, 3))
        known = logvar is not None and self._prior
        kls = _sums(gaussian_kl(mean, logvar)) if known and logvar is not None else None
        scores = [
            Score(
                tensors[0].size,
                float(terms[i]),
                None if kls is None else float(kls[i]),
                _psnr(tensors[i, :, :height, :width], decoded[i, :, :height, :width]),
            )
            for i, (height, width) in enumerate(sizes)
        ]
        return scores, decoded

    def _log_likelihood(
        self, shown: np.ndarray, mean: np.ndarray, logvar: np.ndarray | None
    ) -> np.ndarray:
        if logvar is None:
            return log_likelihood(self.model, shown, mean)
        return elbo(self.model, shown, self.rng, samples=self.samples).log_likelihood


def draw_images(model: Vae, latents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws from p(x | z), clipped to [0, 1] as images are: (N, C, H, W) for latents (N, ...).

    Of a Bernoulli likelihood they are the means: the scorer draws black and white from them, as from
    all images.
    """
    images = np.concatenate(list(decode_all(model, latents)))
    likelihood = model.manifest.likelihood
    if likelihood.kind == "gaussian":
        noise = rng.standard_normal(images.shape, dtype=np.float32)
        images = images + np.float32(likelihood.deviation) * noise
    return np.asarray(np.clip(images, 0, 1), np.float32)


@dataclass(frozen=True)
class Comparison:
    """One image next to the reference.

    Attributes:
        percentiles: of each term: what part of the reference lies below, 0 … 100.
        p_value: see the module.
        distance: of the strangest term from the reference's median, in robust standard deviations;
            tells strange from stranger where percentiles are 0 or 100.
        term, high: which term is the strangest, and whether it is high.
    """

    percentiles: tuple[float, ...]
    p_value: float
    distance: float
    term: int
    high: bool

    @property
    def unlike(self) -> bool:
        return self.p_value < LEVEL


class Reference:
    """The scores that images are compared with.

    Args:
        kind: what they are scores of: `HELD` or `DRAWN`.
        scores: at least one; all of one model, so all have the same terms.
    """

    def __init__(self, kind: str, scores: Sequence[Score]) -> None:
        self.kind = kind
        self.count: int = len(scores)
        self._terms = np.array([score.terms for score in scores]).T

    @property
    def large_enough(self) -> bool:
        """Whether a p-value can be below `LEVEL` at all."""
        return self.fewest <= self.count

    @property
    def fewest(self) -> int:
        """The smallest reference that can tell."""
        return math.ceil(2 * len(self._terms) / LEVEL)

    def compare(self, score: Score) -> Comparison:
        """One image's place in the reference."""
        found = [_compare(s, r) for s, r in zip(score.terms, self._terms, strict=True)]
        # The smaller p-value tells, and among equal ones the distance.
        term = min(range(len(found)), key=lambda i: (found[i][1], -abs(found[i][2])))
        return Comparison(
            tuple(percentile for percentile, _, _ in found),
            min(1.0, len(found) * found[term][1]),
            abs(found[term][2]),
            term,
            found[term][0] > 50,
        )


def _compare(value: float, reference: np.ndarray) -> tuple[float, float, float]:
    """(percentile, two-sided p-value, signed robust distance) of one term."""
    below, above = int((reference < value).sum()), int((reference > value).sum())
    count = len(reference)
    equal = count - below - above
    percentile = 100 * (below + equal / 2) / count
    p_value = min(1.0, 2 * (1 + equal + min(below, above)) / (count + 1))
    median = float(np.median(reference))
    # 1.4826 makes the median deviation of a Gaussian its standard deviation.
    spread = 1.4826 * float(np.median(np.abs(reference - median)))
    return percentile, p_value, (value - median) / max(spread, 1e-9 * (1 + abs(median)))


def _psnr(original: np.ndarray, decoded: np.ndarray) -> float:
    return psnr(original.transpose(1, 2, 0), np.clip(decoded, 0, 1).transpose(1, 2, 0))


def _sums(values: np.ndarray) -> np.ndarray:
    total: np.ndarray = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
    return total
