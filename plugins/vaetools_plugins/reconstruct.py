"""`reconstruct`: encode and decode images; interpolate between two of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - options are typed at run time
from typing import TYPE_CHECKING, Any

import numpy as np

import vaetools
from vaetools import hookimpl, option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import PurePath


class Reconstruct(vaetools.Operation):
    """Encode and decode images.

    The latent is the mode of the posterior, or a sample of it with `sample`. With `towards` it moves
    in equal steps along a straight line from the posterior mean of the image to that of the other
    one, both ends included. Straight lines suit posterior means; samples of the prior, which in high
    dimensions lie near a sphere, would call for great circles (White, "Sampling Generative
    Networks", 2016, arXiv:1609.04468).

    Bit depth, greyscale, alpha, ICC and EXIF are those of the input image throughout.

    Examples:

        vaetools reconstruct digits/ -o seen/ --model mnist-conv
        vaetools reconstruct 3.png -o steps/ --model mnist-conv --towards 8.png
    """

    name = "reconstruct"
    summary = "Encode and decode images, or interpolate towards another image."
    task = "reconstruct"
    result_depends_on = ("towards",)

    @dataclass(frozen=True)
    class Options:
        sample: bool = option(
            False, help="Draw from the posterior instead of taking its mode", group="kind"
        )
        temperature: float = option(
            1.0, min=0, max=2, help="Posterior standard deviations, with --sample"
        )
        seed: int = option(0, help="Random seed of --sample")
        towards: Path | None = option(
            None, help="Interpolate towards this image", metavar="FILE", group="kind"
        )
        steps: int = option(8, min=2, max=1000, help="Number of images, with --towards")

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        if options.temperature != self.Options.temperature and not options.sample:
            raise vaetools.OptionError("temperature does nothing without sample")
        if options.steps != self.Options.steps and options.towards is None:
            raise vaetools.OptionError("steps does nothing without towards")
        self._goals: dict[int, tuple[vaetools.Posterior, str]] = {}

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        if self.options.towards is not None:
            facts["towards"] = self._goal()[1]
        return facts

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        """The input's own name; with `towards` `a.jpg` gives `a-00.png`, `a-01.png` …"""
        if self.options.towards is None:
            return (source,)
        digits = max(2, len(str(self.options.steps - 1)))
        numbers = range(self.options.steps)
        return [source.with_name(f"{source.stem}-{number:0{digits}}.png") for number in numbers]

    def process(self, item: vaetools.Image) -> vaetools.Image | list[vaetools.Image]:
        posterior = self.model.encode(item.to_rgb())
        if self.options.towards is not None:
            way = self._way(posterior)
            return [item.with_rgb(self.model.decode(latent)) for latent in way]
        latent = posterior.mode()
        if self.options.sample:
            latent = posterior.sample(self.rng, temperature=self.options.temperature)
        return item.with_rgb(self.model.decode(latent))

    def _way(self, start: vaetools.Posterior) -> Iterator[vaetools.Latent]:
        goal, _ = self._goal()
        sizes = [f"{p.height} × {p.width}" for p in (start, goal)]
        if sizes[0] != sizes[1]:
            raise vaetools.InputError(
                f"has {sizes[0]} pixels, and {self.options.towards} has {sizes[1]}",
                remedy="interpolation needs two images of one size: resize one of them first",
            )
        for share in np.linspace(0, 1, self.options.steps, dtype=np.float32):
            yield start.mode().with_values((1 - share) * start.mean + share * goal.mean)

    def _goal(self) -> tuple[vaetools.Posterior, str]:
        """`_read_goal`, once for each limit of pixels and all inputs."""
        if self.max_pixels not in self._goals:
            self._goals[self.max_pixels] = self._read_goal()
        return self._goals[self.max_pixels]

    def _read_goal(self) -> tuple[vaetools.Posterior, str]:
        """Posterior of the other image, and a digest of its pixels."""
        try:
            image = self.read_image(self.options.towards)
            posterior = self.model.encode(image.to_rgb())
        except vaetools.InputError as error:
            raise vaetools.OptionError(f"towards: {error.about(self.options.towards)}") from None
        return posterior, hashlib.sha256(image.to_array().tobytes()).hexdigest()


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [Reconstruct]
