"""What operations that restore images have in common: samples, uncertainty, and their files."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import vaetools

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath


class Restoring(vaetools.Operation):
    """An operation with the options `samples`, `uncertainty` and `seed`."""

    result_depends_on = ("samples", "uncertainty")

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        if options.seed and not options.samples:
            raise vaetools.OptionError("seed does nothing without samples")

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        """The input's own name; `a.jpg` also gives `a_sample1.jpg` … and `a_uncertainty.png`."""
        numbers = range(1, self.options.samples + 1)
        names = [source, *(source.with_stem(f"{source.stem}_sample{n}") for n in numbers)]
        if self.options.uncertainty:
            names.append(source.with_name(f"{source.stem}_uncertainty.png"))
        return names

    @property
    def fixed_formats(self) -> Sequence[str]:
        """The map of the uncertainty has 16 bits."""
        return ("*_uncertainty.png",) if self.options.uncertainty else ()

    def process(self, item: vaetools.Image) -> vaetools.Image | vaetools.Restored[vaetools.Image]:
        """The posterior mean; with samples and uncertainty where they are requested."""
        found = self.restored(item)
        return found if self.options.samples or self.options.uncertainty else found.image

    @abstractmethod
    def restored(self, image: vaetools.Image) -> vaetools.Restored[vaetools.Image]:
        """The restored image with everything that was requested."""

    def seeds(self) -> list[int]:
        """One for each sample, drawn from the random numbers of the image."""
        return [int(seed) for seed in self.rng.integers(0, 2**63, self.options.samples)]
