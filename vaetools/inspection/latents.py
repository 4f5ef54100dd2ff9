"""What each latent says about a set of images.

    KL_j       mean over images of KL(q(z_j | x) ‖ N(0, 1)), nats, summed over positions
    A_j        Var_x E_q(z_j | x)[z_j]; a unit is active where A_j > 0.01
    aggregate  q(z_j) = mean over images of q(z_j | x): its mean, and its variance A_j + E_x Var_q

A latent is an element of a vector, or a channel of a grid; then A_j, the aggregate and the
correlations are over images and positions together. Active units: Burda, Grosse & Salakhutdinov,
"Importance Weighted Autoencoders", 2016, section 5. The aggregate posterior: Makhzani et al.,
"Adversarial Autoencoders", 2016. Collapse: Bowman et al., "Generating Sentences from a Continuous
Space", 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vaetools.model.latent import gaussian_kl

ACTIVE = 0.01
"""Variance of a latent's posterior mean above which Burda et al. call it active."""

COLLAPSED = 0.2
"""Share of active latents below which we warn; a rule of thumb."""


@dataclass(frozen=True)
class LatentStatistics:
    """Figures of C latents over some images; None where the model cannot have them.

    Attributes:
        images: how many.
        kl: (C,) nats per image; None without posterior or prior.
        variance: (C,) of the posterior mean; None for fewer than two images.
        mean: (C,) of the aggregate posterior.
        posterior_variance: (C,) mean variance of the posteriors; None for points.
        correlation: (C, C) of the posterior means, NaN where a latent does not vary; None as
            `variance`.
    """

    images: int
    kl: np.ndarray | None
    variance: np.ndarray | None
    mean: np.ndarray
    posterior_variance: np.ndarray | None
    correlation: np.ndarray | None

    @property
    def deviation(self) -> np.ndarray | None:
        """(C,) of the aggregate posterior; of points, that of the codes."""
        if self.variance is None:
            return None
        inner = 0 if self.posterior_variance is None else self.posterior_variance
        deviation: np.ndarray = np.sqrt(self.variance + inner)
        return deviation

    @property
    def active(self) -> np.ndarray | None:
        """(C,) bool; None where there is no KL, because then the scale of a latent is arbitrary."""
        if self.kl is None or self.variance is None:
            return None
        active: np.ndarray = self.variance > ACTIVE
        return active

    @property
    def collapsed(self) -> bool | None:
        """Whether too few latents are active."""
        return None if self.active is None else bool(self.active.mean() < COLLAPSED)


class LatentSums:
    """Collects posteriors batch by batch; the sums are float64 and small."""

    def __init__(self, *, prior: bool) -> None:
        self._prior = prior
        self._images = 0
        self._codes = 0
        self._origin: np.ndarray | None = None

    def add(self, mean: np.ndarray, logvar: np.ndarray | None) -> None:
        """Posteriors (N, C) or (N, C, h, w) of N images; logvar is None for points."""
        codes = _columns(mean)
        if self._origin is None:
            # Sums of differences from some code lose no digits where latents lie far from zero.
            count = codes.shape[1]
            self._origin = codes[0]
            self._first, self._second = np.zeros(count), np.zeros((count, count))
            self._kl, self._inner = np.zeros(count), np.zeros(count)
            self._points = logvar is None
        differences = codes - self._origin
        self._images += len(mean)
        self._codes += len(codes)
        self._first += differences.sum(axis=0)
        self._second += differences.T @ differences
        if logvar is not None:
            self._kl += _columns(gaussian_kl(mean, logvar)).sum(axis=0)
            self._inner += np.exp(_columns(logvar)).sum(axis=0)

    def result(self) -> LatentStatistics | None:
        """The figures; None if there were no images."""
        if self._origin is None:
            return None
        shift = self._first / self._codes
        variance, correlation = self._spread(shift)
        return LatentStatistics(
            self._images,
            self._kl / self._images if self._prior and not self._points else None,
            variance,
            self._origin + shift,
            None if self._points else self._inner / self._codes,
            correlation,
        )

    def _spread(self, shift: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        if self._images < 2:
            return None, None
        covariance = self._second / self._codes - np.outer(shift, shift)
        variance = np.maximum(np.diag(covariance), 0)  # rounding may leave −1e-17
        scale = np.sqrt(np.where(variance > 0, variance, np.nan))
        return variance, np.clip(covariance / np.outer(scale, scale), -1, 1)


def _columns(values: np.ndarray) -> np.ndarray:
    """(N, C, ...) -> (N · positions, C) float64."""
    flat = values.reshape(*values.shape[:2], -1).transpose(0, 2, 1)
    return flat.reshape(-1, values.shape[1]).astype(np.float64)
