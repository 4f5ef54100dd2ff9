"""Jitter as a transformer with the interface of scikit-learn, which is not imported."""

from __future__ import annotations

import functools
import importlib
import inspect
from pathlib import Path
from typing import Any, Self

import numpy as np

from vaetools.augmentation.latent import LatentJitter, Levels, copy_generator
from vaetools.errors import ImageValueError, OptionError
from vaetools.image import Image
from vaetools.model.manifest import FILE_NAME, read_manifest
from vaetools.model.registry import ModelRegistry, default_folders
from vaetools.model.runtime import Runtime, isolate_by


@functools.lru_cache(maxsize=4)
def _opened(model: str, device: str) -> Any:
    """A model, by its id or its folder. Raises `ModelError`."""
    place = Path(model)
    is_folder = (place / FILE_NAME).is_file()
    folders = [place] if is_folder else default_folders()
    registry = ModelRegistry(folders, lambda: Runtime(device, threads=1, isolate=isolate_by(None)))
    return registry.open(read_manifest(place).id if is_folder else model)


class JitterTransformer:
    """One jittered copy of each sample, as a scikit-learn transformer.

    It can be cloned, searched over, pickled and put into a pipeline, where it also transforms the
    samples of `predict`. The number of samples stays the same. To enlarge a data set:

        X_larger = np.concatenate([X, JitterTransformer(random_state=1).fit_transform(X)])

    The copy of a sample depends on its values and the parameters only.

    Args:
        model: id of a model, or its folder.
        strength: see `LatentJitter`.
        levels: see `LatentJitter`.
        shape: (height, width) or (height, width, 3), RGB, of the image in each row of X; None if X is
            (n, height, width) or (n, height, width, 3).
        white: the value of white; samples are in [0, white].
        random_state: another one gives other copies.
        device: `cpu`, `cuda` or `auto`.
    """

    def __init__(
        self,
        model: str = "mnist-conv",
        *,
        strength: float = 0.5,
        levels: Levels = "fine",
        shape: tuple[int, ...] | None = None,
        white: float = 1.0,
        random_state: int = 0,
        device: str = "cpu",
    ) -> None:
        self.model = model
        self.strength = strength
        self.levels = levels
        self.shape = shape
        self.white = white
        self.random_state = random_state
        self.device = device

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - part of the protocol
        """The arguments of the constructor by name."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> Self:
        """Change parameters.

        Raises:
            OptionError: a parameter is unknown. It is a `ValueError`, as in scikit-learn.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise OptionError(
                    f"there is no parameter {name!r}", remedy=f"parameters: {', '.join(known)}"
                )
            setattr(self, name, value)
        return self

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803 - names of the protocol
        """Check the parameters and the shape of X; nothing is learned.

        Raises:
            ImageValueError, OptionError, ModelError: as for `transform`.
        """
        self._jitter()
        samples = np.asarray(X)
        self._images(samples)
        self.n_features_in_: int = int(np.prod(samples.shape[1:]))
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """A copy of each sample.

        Args:
            X: (n, height × width [× 3]) where `shape` is given, else (n, height, width) or
                (n, height, width, 3); any real dtype.

        Returns:
            An array with the shape and dtype of X; integers and bools are rounded.

        Raises:
            ImageValueError: X has another shape, or values outside [0, white].
            OptionError: a parameter is out of range.
            ModelError: the model is not installed, or has no latents.
        """
        samples, jitter = np.asarray(X), self._jitter()
        copies = [self._copy(image, jitter) for image in self._images(samples)]
        return np.array(copies).astype(samples.dtype).reshape(samples.shape)

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """`fit`, then `transform`."""
        return self.fit(X, y).transform(X)

    def _jitter(self) -> LatentJitter:
        if not 0 < self.white < np.inf:
            raise OptionError(f"white={self.white!r} is not a positive number")
        return LatentJitter(_opened(self.model, self.device), self.strength, self.levels)

    def _images(self, samples: np.ndarray) -> np.ndarray:
        """(n, H, W) or (n, H, W, 3). Raises `ImageValueError`."""
        shape = samples.shape[1:] if self.shape is None else tuple(self.shape)
        colours = shape[2:] in ((), (3,))
        if len(shape) < 2 or not colours or np.prod(samples.shape[1:]) != np.prod(shape):
            raise ImageValueError(
                f"samples of shape {samples.shape[1:]} are not images of shape {shape}",
                remedy="describe the image in each row with shape=(height, width)",
            )
        return samples.reshape(-1, *shape)

    def _copy(self, samples: np.ndarray, jitter: LatentJitter) -> np.ndarray:
        """The copy of one image with values in [0, white]."""
        scaled = np.ascontiguousarray(samples / self.white, dtype=np.float32)
        image = Image.from_array(scaled, channel_order="rgb")
        rng = copy_generator(self.random_state, scaled.tobytes().hex(), 1)
        moved = image.with_rgb(jitter(image.to_rgb(), rng)).to_array(channel_order="rgb")
        # Added as a difference, so that unchanged values stay bit-identical.
        change = self.white * (moved.astype(np.float64) - scaled)
        values = np.clip(samples + change, 0, self.white)
        return values if np.issubdtype(samples.dtype, np.inexact) else np.rint(values)

    def __sklearn_tags__(self) -> Any:
        """The tags that scikit-learn asks estimators for."""
        utils = importlib.import_module("sklearn.utils")
        return utils.Tags(
            estimator_type=None,
            target_tags=utils.TargetTags(required=False),
            transformer_tags=utils.TransformerTags(),
            requires_fit=False,
        )
