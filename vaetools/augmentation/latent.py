"""Pictures moved in a latent space, with all that the model does not see kept.

    out = x + decode(z′) − decode(z̄)

z̄ is the posterior mean of the picture x, z′ lies near it. The model only says what *changes*: detail
that it cannot reconstruct stays as it is in x, so that no copy is blurred, and where nothing moves
the result is x itself, to the last bit.

Pictures are float32 RGB (H, W, 3) in [0, 1], in and out. What is random comes from a generator that
the caller gives; see `copy_generator`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar, get_args

import numpy as np

from vaetools.augmentation.space import LatentSpace, latent_space
from vaetools.errors import ImageValueError, ModelBrokenError, OptionError
from vaetools.seeding import seeded_generator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vaetools.model.vae import Model

Levels: TypeAlias = Literal["fine", "all"]
"""Which latents move: those that are not coarse, or all."""

Label = TypeVar("Label")

EVEN = np.float32(1e-5)
"""A channel that deviates less has no pattern that could be made stronger, but only rounding."""


def copy_generator(seed: int, key: str, copy: int) -> np.random.Generator:
    """Random numbers for one copy of one picture.

    They depend on nothing else: the order of the pictures, the number of copies and of workers do not
    matter.

    Args:
        key: what the picture is called, such as its path in the data set.
        copy: which of its copies it is, from 1.
    """
    return seeded_generator(seed, key, copy)


class _Placed:
    """A picture and its place in a latent space."""

    def __init__(self, space: LatentSpace, image: np.ndarray) -> None:
        self.space = space
        self.image = image
        self.code = space.encode(image)

    @cached_property
    def unseen(self) -> np.ndarray:
        """x − decode(z̄): what the model does not see of the picture."""
        unseen: np.ndarray = self.image - self.space.decode(self.code, self.code.mean)
        return unseen

    def moved(self, values: np.ndarray, unseen: np.ndarray | None = None) -> np.ndarray:
        """The picture with other latents.

        Args:
            unseen: in the place of its own.
        """
        if unseen is None and np.array_equal(values, self.code.mean):
            return self.image.copy()
        kept = self.unseen if unseen is None else unseen
        moved: np.ndarray = np.clip(self.space.decode(self.code, values) + kept, 0.0, 1.0)
        return moved


class LatentJitter:
    """Other pictures that the model takes for nearly the same: latents get noise.

    z′ = z̄ + strength · deviation · noise. For a VAE that is a sample of the posterior with the
    temperature `strength`; for the photo codec it is as far as the prior of the latents, given the
    hyper-latents, reaches.

    Args:
        model: a VAE, the codec, or a latent space.
        strength: 0 … 1; 0 changes nothing.
        levels: `fine` leaves the coarse latents where they are, `all` moves them as well. It makes a
            difference for the codec only.

    Raises:
        OptionError: a value out of bounds.
        ModelBrokenError: the model has no latents, or its posterior is a point.
    """

    def __init__(
        self, model: Model | LatentSpace, strength: float = 0.5, levels: Levels = "fine"
    ) -> None:
        self.space = _space(model)
        self.strength = _share("strength", strength)
        if levels not in get_args(Levels):
            raise OptionError(f"levels={levels!r} is not one of {', '.join(get_args(Levels))}")
        self.levels: Levels = levels
        manifest = self.space.model.manifest
        if manifest.latent.distribution == "point":
            raise ModelBrokenError(
                f"model {manifest.id} is a plain autoencoder: it gives one latent and no others near it"
            )

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One copy of a picture. Raises `ImageValueError` for one that the model does not take."""
        return next(self.copies(image, [rng]))

    def copies(
        self, image: np.ndarray, rngs: Iterable[np.random.Generator]
    ) -> Iterator[np.ndarray]:
        """A copy for each generator; the picture is encoded once. Raises as a call does."""
        placed = _Placed(self.space, image)
        mean = placed.code.mean
        moving = np.ones_like(self.space.coarse) if self.levels == "all" else ~self.space.coarse
        reach = np.float32(self.strength) * placed.code.deviation * _along(moving, mean)
        for rng in rngs:
            yield placed.moved(mean + reach * rng.standard_normal(mean.shape, np.float32))


@dataclass(frozen=True)
class Mixed(Generic[Label]):
    """A picture between two.

    Attributes:
        image: float32 RGB (H, W, 3).
        label: how much of each class is in it; the values sum to 1. One class where both pictures had
            the same.
    """

    image: np.ndarray
    label: dict[Label, float]


class LatentMix:
    """Pictures between two, on the line from one posterior mean to the other.

    The share of the second picture is drawn from Beta(alpha, alpha), as in Zhang et al., "mixup", 2018,
    and mirrored to at most one half, so that the first picture prevails. What the model does not see
    is mixed in the same shares.

    Args:
        model: a VAE, the codec, or a latent space.
        alpha: 0 leaves the first picture as it is; 1 draws all shares alike.

    Raises:
        OptionError: a value out of bounds. ModelBrokenError: the model has no latents.
    """

    def __init__(self, model: Model | LatentSpace, alpha: float = 0.4) -> None:
        self.space = _space(model)
        if not 0 <= alpha < np.inf:
            raise OptionError(f"alpha={alpha!r} is not a number of at least 0")
        self.alpha = alpha

    def __call__(
        self,
        image: np.ndarray,
        other: np.ndarray,
        rng: np.random.Generator,
        *,
        labels: tuple[Label, Label],
    ) -> Mixed[Label]:
        """A picture between `image` and `other`, and its soft label; `labels` are theirs.

        Raises:
            ImageValueError: pictures of two sizes, or one that the model does not take.
        """
        if image.shape != other.shape:
            raise ImageValueError(
                f"shapes {image.shape} and {other.shape}: a mixture needs two pictures of one size"
            )
        drawn = rng.beta(self.alpha, self.alpha) if self.alpha > 0 else 0.0
        share = float(min(drawn, 1 - drawn))
        label = {labels[0]: 1.0}
        if labels[0] != labels[1]:
            label = {labels[0]: 1 - share, labels[1]: share}
        if share == 0:
            return Mixed(image.copy(), label)
        first, second = _Placed(self.space, image), _Placed(self.space, other)
        values = _between(first.code.mean, second.code.mean, share)
        return Mixed(first.moved(values, _between(first.unseen, second.unseen, share)), label)


class LatentStyle:
    """The look of one picture on another: mean and deviation of each fine channel over space.

    Huang and Belongie, "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization",
    2017, in the latents of a VAE. Coarse channels stay.

    Args:
        model: the codec, a VAE whose latents lie over space, or a latent space.
        strength: 0 … 1, how far to go from the picture's own statistics to the other's.

    Raises:
        OptionError: a value out of bounds, or a model whose latents are a vector.
        ModelBrokenError: the model has no latents.
    """

    def __init__(self, model: Model | LatentSpace, strength: float = 1.0) -> None:
        self.space = _space(model)
        self.strength = _share("strength", strength)
        manifest = self.space.model.manifest
        if manifest.latent.kind != "spatial":
            raise OptionError(
                f"model {manifest.id} has a vector of latents: it has no statistics over space"
            )

    def __call__(self, image: np.ndarray, style: np.ndarray) -> np.ndarray:
        """`image` with the look of `style`, which may have another size. Raises `ImageValueError`."""
        placed = _Placed(self.space, image)
        z, look = placed.code.mean, self.space.encode(style).mean
        middle, spread = _statistics(z)
        goal_middle, goal_spread = _statistics(look)
        gain = (goal_spread + EVEN) / (spread + EVEN)
        moves = goal_middle + (z - middle) * gain - z
        reach = np.float32(self.strength) * _along(~self.space.coarse, z)
        return placed.moved(z + reach * moves)


def _space(model: Model | LatentSpace) -> LatentSpace:
    return model if isinstance(model, LatentSpace) else latent_space(model)


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:  # true for NaN as well
        raise OptionError(f"{name}={value!r} is not 0 … 1")
    return value


def _along(channels: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """(C,) bool as float32 that broadcasts over latents (1, C, …)."""
    return channels.astype(np.float32).reshape(1, -1, *[1] * (latents.ndim - 2))


def _between(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    between: np.ndarray = first + np.float32(share) * (second - first)
    return between


def _statistics(latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation over space, (1, C, 1, 1) each."""
    return latents.mean(axis=(2, 3), keepdims=True), latents.std(axis=(2, 3), keepdims=True)
