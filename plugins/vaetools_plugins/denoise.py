"""`denoise`: remove noise; posterior samples; per-pixel uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import vaetools
from vaetools import hookimpl, option
from vaetools_plugins.restoring import Restoring

ESTIMATED = ("auto", "photo", "local")
SCALE = "it is the standard deviation of the noise on the 0–255 scale"


class Denoise(Restoring):
    """Remove noise from images.

    The result is the posterior mean. Posterior samples have the grain and detail that the mean
    averages out. In files, the uncertainty map is greyscale with 16 bits: its value divided by 256 is
    half the width of a 90 % interval, on the 0–255 scale.

    Examples:

        vaetools denoise photos/ -o clean/
        vaetools denoise photos/ -o clean/ --sigma 15 --strength 0.7
        vaetools denoise incoming/ -o clean/ --watch
    """

    name = "denoise"
    task = "denoise"

    @dataclass(frozen=True)
    class Options:
        sigma: np.ndarray | str | float = option(
            "auto",
            words=ESTIMATED,
            help="Noise level: standard deviation on the 0–255 scale; auto: estimated; photo: for "
            "camera noise; local: estimated for each region; or a map: a greyscale image, a folder of "
            "them, or a pattern for files next to each image, as {stem}_sigma.png",
            metavar="N|auto|photo|local|FILE|DIR|PATTERN",
        )
        strength: float = option(
            1.0, min=0, max=1, help="Share of the noise to remove; 0 leaves the image unchanged"
        )
        samples: int = option(
            0, min=0, max=64, help="Number of posterior samples to write", metavar="K"
        )
        uncertainty: bool = option(False, help="Also write a per-pixel uncertainty map")
        seed: int = option(0, help="Random seed of the samples")

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        self.denoiser = vaetools.Denoiser(model)
        self.level = None
        self.maps = None
        if not isinstance(options.sigma, str | Path):
            self.maps = vaetools.Masks(options.sigma, name="noise map", white=255)
        elif options.sigma not in ESTIMATED:
            self.level = self._level(str(options.sigma))
            self.maps = self._map_files(Path(options.sigma)) if self.level is None else None

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        if self.level is not None:
            facts["sigma"] = self.level
        return facts

    def restored(self, image: vaetools.Image) -> vaetools.Restored[vaetools.Image]:
        options = self.options
        sigma = self._sigma(image)
        if self.maps is None and self.level is None:
            self._describe(sigma)
        return self.denoiser.denoise(
            image,
            sigma,
            strength=options.strength,
            seeds=self.seeds(),
            uncertainty=options.uncertainty,
        )

    def _level(self, text: str) -> float | None:
        """A noise level given as a number; None if it is not one. Raises `OptionError`."""
        try:
            level = float(text)
        except ValueError:
            return None
        if not 0 <= level <= self.denoiser.max_sigma:
            raise vaetools.OptionError(
                f"sigma={text!r} is not 0 … {self.denoiser.max_sigma:g}", remedy=SCALE
            )
        return level

    def _map_files(self, place: Path) -> vaetools.Masks:
        """An image with noise levels, or a folder of them. Raises `OptionError`."""
        if "{stem}" not in str(place) and not place.exists():
            raise vaetools.OptionError(
                f"sigma={str(place)!r} is not auto, photo, local, a number or an image file"
            )
        return vaetools.Masks(place, name="noise map", white=255)

    def _sigma(self, image: vaetools.Image) -> float | np.ndarray:
        """The noise level of an image on the 0–255 scale: one number, or a map (H, W)."""
        if self.level is not None:
            return self.level
        if self.maps is not None:
            return self.read_mask(self.maps, image)
        if self.options.sigma == "photo":
            return self.denoiser.photo_level(image)
        if self.options.sigma == "local":
            return self.denoiser.noise_map(image)
        return self.denoiser.noise_level(image)

    def _describe(self, sigma: float | np.ndarray) -> None:
        """Add the noise level that was found to the record."""
        if not np.any(sigma):
            self.finding("already clean", sigma=0.0)
        elif isinstance(sigma, np.ndarray):
            low, high = float(sigma.min()), float(sigma.max())
            text = f"noise level {low:.1f} to {high:.1f}"
            self.finding(text, sigma_min=round(low, 2), sigma_max=round(high, 2))
        else:
            self.finding(f"noise level {sigma:.1f}", sigma=round(sigma, 2))


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [Denoise]
