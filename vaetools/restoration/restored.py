"""The result of a restoration."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from vaetools.image import Image
from vaetools.operation import Compound

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.operation import Item

STEPS = 256
"""Values of an uncertainty image per unit of the 0–255 scale: 16 bits hold all of them."""

T = TypeVar("T")
"""`Image`, or an array where a hub returns it."""


@dataclass(frozen=True, eq=False)
class Restored(Compound, Generic[T]):
    """A restored image.

    Attributes:
        image: the posterior mean; in an inpainted image, texture in its place if it was requested.
        samples: posterior samples, one for each seed.
        uncertainty: (H, W) float32 on the 0–255 scale, or None if it was not requested; 0 where
            nothing was to be changed. 90 % of the true values lie within ± this value of the posterior
            mean, in each channel.
    """

    image: T
    samples: tuple[T, ...]
    uncertainty: np.ndarray | None

    def parts(self) -> list[Item]:
        """All as images: the image, the samples, and the uncertainty, if requested, as greyscale with
        16 bits, 256 for each unit of the 0–255 scale."""
        found = [self.image, *self.samples]
        if self.uncertainty is not None:
            steps = np.clip(np.rint(STEPS * self.uncertainty), 0, 65535)
            found.append(Image(steps.astype(np.uint16)))  # type: ignore[arg-type]
        return found  # type: ignore[return-value]

    def with_arrays(self, to_array: Callable[[Image], np.ndarray]) -> Restored[np.ndarray]:
        def array(part: T) -> np.ndarray:
            return to_array(part) if isinstance(part, Image) else np.asarray(part)

        return Restored(array(self.image), tuple(map(array, self.samples)), self.uncertainty)

    @property
    def pictures(self) -> list[Item]:
        """Deprecated: use `parts()`."""
        warnings.warn("Restored.pictures is deprecated: use parts()", DeprecationWarning, 2)
        return self.parts()

    def __repr__(self) -> str:
        unsure = "no uncertainty" if self.uncertainty is None else "with uncertainty"
        return f"Restored({len(self.samples)} samples, {unsure})"
