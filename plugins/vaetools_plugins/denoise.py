"""`denoise`: pictures without noise, other pictures that could have been, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import vaetools
from vaetools import hookimpl, option
from vaetools_plugins.restoring import Restoring

ESTIMATED = ("auto", "photo", "local")


class Denoise(Restoring):
    """Take the noise off pictures.

    The answer is the mean of what the picture could have been. Samples are such pictures, each with the
    grain and detail that the mean leaves out. The uncertainty map is grey with 16 bits: its value
    divided by 256 is half the width of a 90 % interval, in grey levels of 255.
    """

    name = "denoise"
    task = "denoise"

    @dataclass(frozen=True)
    class Options:
        sigma: str = option(
            "auto",
            help="noise level, a deviation in grey levels of 255; auto: estimated; photo: for the noise "
            "of cameras; local: estimated from place to place; or a grey picture, or a folder of them, "
            "as a map",
            metavar="N|auto|photo|local|MAP",
        )
        strength: float = option(1.0, min=0, max=1, help="0 leaves the picture as it is")
        samples: int = option(0, min=0, max=64, help="so many other possible pictures", metavar="K")
        uncertainty: bool = option(False, help="also write how sure each pixel is, as a picture")
        seed: int = option(0, help="another seed, other samples")

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        self.denoiser = vaetools.Denoiser(model)
        self.level = self._level(options.sigma)
        self.maps = None
        if self.level is None and options.sigma not in ESTIMATED:
            self.maps = self._maps(Path(options.sigma))

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        if self.level is not None:
            facts["sigma"] = self.level
        elif self.maps is not None:
            facts["sigma"] = self.maps.fingerprint
        return facts

    def restored(self, image: vaetools.Image) -> vaetools.Restored:
        options = self.options
        return self.denoiser.denoise(
            image,
            self._sigma(image),
            strength=options.strength,
            seeds=self.seeds(),
            uncertainty=options.uncertainty,
        )

    def _level(self, text: str) -> float | None:
        """A noise level that was given as a number. Raises `OptionError`."""
        try:
            level = float(text)
        except ValueError:
            return None
        if not 0 <= level <= self.denoiser.strongest:
            raise vaetools.OptionError(
                f"sigma={text!r} is not 0 … {self.denoiser.strongest:g}",
                remedy="it is the deviation of the noise in grey levels of 255",
            )
        return level

    def _maps(self, place: Path) -> vaetools.Masks:
        """A picture with noise levels, or a folder of them. Raises `OptionError`."""
        if not place.exists():
            raise vaetools.OptionError(
                f"sigma={str(place)!r} is neither auto, photo, local, a number nor a picture"
            )
        return vaetools.Masks(place)

    def _sigma(self, image: vaetools.Image) -> float | np.ndarray:
        """What the picture's noise level is, or is to be taken for."""
        if self.level is not None:
            return self.level
        if self.maps is not None:
            grey: np.ndarray = self.maps.read(self.key, image, max_pixels=self.max_pixels)
            return np.float32(255) * grey
        if self.options.sigma == "photo":
            return self.denoiser.photo_level(image)
        if self.options.sigma == "local":
            return self.denoiser.noise_map(image)
        return self.denoiser.noise_level(image)


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [Denoise]
