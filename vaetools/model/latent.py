"""Latents of images, and their posterior."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Latent:
    """A code, and the size of the image that it belongs to.

    Attributes:
        values: (1, C, h, w), or (1, C) for models without space, float32.
        height, width: of the image in pixels, before padding.
    """

    values: np.ndarray
    height: int
    width: int

    def __repr__(self) -> str:
        return f"<Latent {self.values.shape} of {self.width}×{self.height} pixels>"

    def with_values(self, values: np.ndarray) -> Latent:
        """Other values for the same image size."""
        return replace(self, values=values.astype(np.float32, copy=False))


@dataclass(frozen=True)
class Posterior:
    """q(z | image), a diagonal Gaussian; with `logvar` None it is a point.

    Attributes:
        mean, logvar: as `Latent.values`; logvar is ln(variance).
    """

    mean: np.ndarray
    logvar: np.ndarray | None
    height: int
    width: int

    def __repr__(self) -> str:
        kind = "deterministic" if self.logvar is None else "Gaussian"
        return f"<Posterior {kind} {self.mean.shape} of {self.width}×{self.height} pixels>"

    def mode(self) -> Latent:
        """The most probable latent."""
        return Latent(self.mean, self.height, self.width)

    def sample(self, rng: np.random.Generator, *, temperature: float = 1.0) -> Latent:
        """mean + temperature · deviation · noise; temperature 0 is the mode."""
        if self.logvar is None:
            return self.mode()
        noise = rng.standard_normal(self.mean.shape, dtype=np.float32)
        values = self.mean + temperature * np.exp(0.5 * self.logvar) * noise
        return self.mode().with_values(values)

    def kl(self) -> np.ndarray:
        """KL(q || N(0, 1)) per element in nats; zeros for a point."""
        if self.logvar is None:
            return np.zeros_like(self.mean)
        return gaussian_kl(self.mean, self.logvar)


def gaussian_kl(mean: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """KL(N(mean, exp(logvar)) || N(0, 1)) per element in nats.

    Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, appendix B.
    """
    kl: np.ndarray = 0.5 * (mean**2 + np.exp(logvar) - 1.0 - logvar)
    return kl
