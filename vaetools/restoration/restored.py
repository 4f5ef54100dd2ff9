"""What restoration gives, and how a model is asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vaetools.image import Image

if TYPE_CHECKING:
    from vaetools.model.folder import Model
    from vaetools.restoration.noise_field import NoiseField
    from vaetools.restoration.patches import Part

STEPS = 256
"""Values of an uncertainty picture per grey level of 255: 16 bits hold up to all of them."""


@dataclass(frozen=True)
class Restored:
    """What became of a picture.

    Attributes:
        image: the best answer.
        samples: possible answers, one for each seed.
        uncertainty: (H, W) float32 grey levels of 255, or None if it was not asked for; 0 where nothing
            was to be changed. In 90 of 100 places the true value is no further from that of `image`,
            in each channel.
    """

    image: Image
    samples: tuple[Image, ...]
    uncertainty: np.ndarray | None

    @property
    def pictures(self) -> list[Image]:
        """All as pictures: the image, the samples, and the uncertainty, if there is one, as grey of
        16 bits, 256 for each grey level of 255."""
        found = [self.image, *self.samples]
        if self.uncertainty is not None:
            steps = np.clip(np.rint(STEPS * self.uncertainty), 0, 65535)
            found.append(Image(steps.astype(np.uint16)))
        return found


def sampled(
    model: Model, role: str, part: Part, damage: np.ndarray, field: NoiseField | None
) -> tuple[np.ndarray, ...]:
    """(sample (1, 3, h, w), deviation (1, 1, h, w)) of a part; without noise the sample is the mean.

    Args:
        role: of the graph.
        damage: its second input, (1, 1, h, w).
    """
    if field is None:
        rows, columns = (span.stop - span.start for span in part.tile.outer)
        noise = np.zeros((1, model.manifest.latent.channels, rows, columns), np.float32)
    else:
        noise = field.part(part.tile.outer)
    temperature = np.full((1, 1, 1, 1), field is not None, np.float32)
    return model.graph(role)(part.tensor, damage, noise, temperature)
