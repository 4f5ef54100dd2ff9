"""What denoiser and inpainter share: a conditional VAE that sees an image tile by tile.

Its graphs take an image, a conditioning plane (noise level or mask) and, for samples, noise:

    ROLE         image (1, 3, H, W), condition (1, 1, H, W) -> mean (1, 3, H, W)
    ROLE_sample  image, condition, noise (1, N, H/8, W/8), temperature (1, 1, 1, 1)
                 -> sample (1, 3, H, W), deviation (1, 1, H, W)

All are float32. Images are RGB in [0, 1]; `deviation` is the predicted standard deviation on the same
scale. The noise is standard normal; at temperature 0 the sample is the mean. The graphs are opened so
that 8-bit colour images are uint8 pixels on both sides; see `vaetools.model.pixels`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vaetools.errors import OptionError
from vaetools.restoration.noise_field import NoiseField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.model.folder import Model
    from vaetools.model.session import Session
    from vaetools.restoration.patches import Part


class Restorer:
    """A model whose graphs predict a mean, samples and their spread.

    Attributes:
        model: the model.
        role: name of the graph for the mean.
        condition: kind of port that the condition becomes; see `vaetools.model.pixels`.
    """

    role: ClassVar[str]
    condition: ClassVar[str]

    def __init__(self, model: Model) -> None:
        self.model = model

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model.id} on {self.model.device}>"

    def _fields(self, seeds: Sequence[int]) -> list[NoiseField]:
        """The noise of each sample. Raises `OptionError` for what is no seed."""
        for seed in seeds:
            if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
                raise OptionError(f"seed {seed!r} is not a whole number from 0 to 2⁶⁴ − 1")
        return [NoiseField(seed, self.model.manifest.latent.channels) for seed in seeds]

    def _predict(
        self, part: Part, condition: np.ndarray, fields: Sequence[NoiseField], *, spread: bool
    ) -> tuple[list[np.ndarray], np.ndarray | None]:
        """Predict one part of an image.

        Args:
            condition: as the port of the kind `condition` takes it.
            fields: noise of the samples.
            spread: whether the standard deviation is wanted.

        Returns:
            (mean and samples, each like `part.image`; standard deviation (1, 1, h, w) or None).
        """
        deviation = None
        if spread:
            mean, deviation = self._sample(part, condition, None)
        else:
            (mean,) = self._graph(self.role, part)(part.image, condition)
        return [mean, *(self._sample(part, condition, f)[0] for f in fields)], deviation

    def _sample(
        self, part: Part, condition: np.ndarray, field: NoiseField | None
    ) -> tuple[np.ndarray, ...]:
        """(sample, standard deviation) of a part; without noise the sample is the mean."""
        if field is None:
            rows, columns = (span.stop - span.start for span in part.tile.outer)
            noise = np.zeros((1, self.model.manifest.latent.channels, rows, columns), np.float32)
        else:
            noise = field.part(part.tile.outer)
        temperature = np.full((1, 1, 1, 1), field is not None, np.float32)
        graph = self._graph(f"{self.role}_sample", part)
        return graph(part.image, condition, noise, temperature)

    def _graph(self, role: str, part: Part) -> Session:
        """The session of a role for images as those of a part."""
        spec = self.model.manifest.graphs.get(role)
        if spec is None or len(spec.inputs) < 2:
            return self.model.graph(role)  # which says what is wrong
        condition = f"{spec.inputs[1]}:{self.condition}"
        if part.image.dtype != np.uint8:
            return self.model.graph(role, pixels=(condition,))
        return self.model.graph(role, pixels=(spec.inputs[0], condition, spec.outputs[0]))
