"""Moves of images in a latent space that keep the detail which the model cannot reconstruct.

    out = x + decode(z′) − decode(z̄)

z̄ is the posterior mean of the image x, and z′ are latents near it. Only the *difference* comes from
the model. So no copy is blurred, and where no latent moves the result is bit-identical to x.

Images are (H, W, 3) float32 RGB in [0, 1]; results are new arrays of the same kind. Random numbers
come from the caller's generator; see `copy_generator`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar, get_args

import numpy as np

from vaetools.augmentation.space import CodecSpace, LatentSpace, latent_space
from vaetools.errors import ImageValueError, ModelBrokenError, OptionError
from vaetools.seeding import seeded_generator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vaetools.augmentation.space import Code
    from vaetools.image import Image
    from vaetools.model.folder import Model

Levels: TypeAlias = Literal["fine", "all"]
"""The latents that move: all but the coarse ones, or all."""

Label = TypeVar("Label")

FLAT = np.float32(1e-5)
"""A channel with a smaller standard deviation is flat: there is only rounding noise to amplify."""


def copy_generator(seed: int, key: str, copy: int) -> np.random.Generator:
    """The random generator of one copy of one image.

    Its numbers depend on the arguments only: not on the order of the images, the number of copies or
    the number of workers.

    Args:
        seed: another seed gives other copies.
        key: name of the image, such as its path in the data set.
        copy: number of the copy, from 1.
    """
    return seeded_generator(seed, key, copy)


class _Encoded:
    """An image and its latents."""

    def __init__(self, space: LatentSpace, image: np.ndarray) -> None:
        self.space = space
        self.image = image
        self.code = space.encode(image)

    @cached_property
    def unseen(self) -> np.ndarray:
        """x − decode(z̄): the detail that the model cannot reconstruct, (H, W, 3)."""
        unseen: np.ndarray = self.image - self.space.decode(self.code, self.code.mean)
        return unseen

    def moved(self, values: np.ndarray, unseen: np.ndarray | None = None) -> np.ndarray:
        """The image with other latents.

        Args:
            values: latents of the shape of `code.mean`.
            unseen: detail to add; that of this image by default.
        """
        if unseen is None and np.array_equal(values, self.code.mean):
            return self.image.copy()
        kept = self.unseen if unseen is None else unseen
        moved: np.ndarray = np.clip(self.space.decode(self.code, values) + kept, 0.0, 1.0)
        return moved


class LatentJitter:
    """Copies of an image with Gaussian noise on its latents.

        z′ = z̄ + strength · σ · noise

    For a VAE this is a posterior sample with the temperature `strength`. For the photo codec σ is the
    standard deviation of the prior of the latents given the hyper-latents.

    Args:
        model: a VAE, a codec, or a latent space.
        strength: 0 … 1; at 0 the copy is the image itself.
        levels: `fine` moves all but the coarse latents, `all` moves all. They differ for the codec
            only.

    Raises:
        OptionError: `strength` or `levels` is out of range.
        ModelBrokenError: the model has no latents, or its posterior is a point.
    """

    def __init__(
        self, model: Model | LatentSpace, strength: float = 0.5, levels: Levels = "fine"
    ) -> None:
        self.space: LatentSpace = _space(model)
        self.strength: float = _share("strength", strength)
        if levels not in get_args(Levels):
            raise OptionError(f"levels={levels!r} is not one of {', '.join(get_args(Levels))}")
        self.levels: Levels = levels
        manifest = self.space.model.manifest
        if manifest.latent.distribution == "point":
            raise ModelBrokenError(
                f"model {manifest.id} is a plain autoencoder: its posterior is a point"
            )

    def __repr__(self) -> str:
        return f"LatentJitter({self.space!r}, strength={self.strength}, levels={self.levels!r})"

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One copy of an image.

        Args:
            image: (H, W, 3) float32 RGB in [0, 1].
            rng: gives the noise; see `copy_generator`.

        Raises:
            ImageValueError: the model does not accept an image of this size, or a coloured one.
        """
        return next(self.copies(image, [rng]))

    def copies(
        self, image: np.ndarray, rngs: Iterable[np.random.Generator]
    ) -> Iterator[np.ndarray]:
        """One copy for each generator; the image is encoded once.

        Args:
            image: (H, W, 3) float32 RGB in [0, 1].
            rngs: give the noise of one copy each.

        Raises:
            ImageValueError: as for a call.
        """
        encoded = _Encoded(self.space, image)
        yield from map(encoded.moved, self._moves(encoded.code, rngs))

    def copies_of(self, image: Image, rngs: Iterable[np.random.Generator]) -> Iterator[Image]:
        """One copy for each generator, with the depth, alpha and metadata of the image.

        The pixels are those that `copies` gives, rounded. For 8-bit colour images and the codec, the
        graph does all that is done to pixels.

        Args:
            image: any.
            rngs: give the noise of one copy each.

        Raises:
            ImageValueError: as for a call.
        """
        space = self.space
        if not isinstance(space, CodecSpace) or image.depth != 8 or image.grey:
            yield from map(image.with_rgb, self.copies(image.to_rgb(), rngs))
            return
        code = space.encode_pixels(image)
        unseen = None
        for values in self._moves(code, rngs):
            if np.array_equal(values, code.mean):
                yield replace(image, pixels=image.pixels.copy(), encoded=None)
                continue
            if unseen is None:
                unseen = space.unseen(code, image)
            yield replace(image, pixels=space.moved(code, values, unseen), encoded=None)

    def _moves(self, code: Code, rngs: Iterable[np.random.Generator]) -> Iterator[np.ndarray]:
        """The latents of each copy."""
        mean = code.mean
        moving = np.ones_like(self.space.coarse) if self.levels == "all" else ~self.space.coarse
        reach = np.float32(self.strength) * code.deviation * _along(moving, mean)
        for rng in rngs:
            values = rng.standard_normal(mean.shape, np.float32)
            values *= reach
            values += mean
            yield values


@dataclass(frozen=True)
class Mixed(Generic[Label]):
    """A mixture of two images.

    Attributes:
        image: (H, W, 3) float32 RGB in [0, 1].
        label: soft label: the share of each class. The shares sum to 1; two images of one class give
            one share.
    """

    image: np.ndarray
    label: dict[Label, float]


class LatentMix:
    """Mixtures of two images: linear interpolation between their posterior means.

    The share of the second image is drawn from Beta(alpha, alpha), as in Zhang et al., "mixup", 2018,
    and reflected to at most 1/2, so that the first image dominates. The detail that the model cannot
    reconstruct is mixed in the same shares.

    Args:
        model: a VAE, a codec, or a latent space.
        alpha: at least 0; at 0 the result is the first image, at 1 all shares are equally likely.

    Raises:
        OptionError: `alpha` is out of range.
        ModelBrokenError: the model has no latents.
    """

    def __init__(self, model: Model | LatentSpace, alpha: float = 0.4) -> None:
        self.space: LatentSpace = _space(model)
        if not 0 <= alpha < np.inf:
            raise OptionError(f"alpha={alpha!r} is not a number of at least 0")
        self.alpha = alpha

    def __repr__(self) -> str:
        return f"LatentMix({self.space!r}, alpha={self.alpha})"

    def __call__(
        self,
        image: np.ndarray,
        other: np.ndarray,
        rng: np.random.Generator,
        *,
        labels: tuple[Label, Label],
    ) -> Mixed[Label]:
        """A mixture of two images.

        Args:
            image, other: (H, W, 3) float32 RGB in [0, 1], of one size.
            rng: draws the share.
            labels: the class of `image` and that of `other`.

        Raises:
            ImageValueError: the images differ in size, or the model does not accept them.
        """
        if image.shape != other.shape:
            raise ImageValueError(
                f"shapes {image.shape} and {other.shape}: a mixture needs two images of one size"
            )
        drawn = rng.beta(self.alpha, self.alpha) if self.alpha > 0 else 0.0
        share = float(min(drawn, 1 - drawn))
        label = {labels[0]: 1.0}
        if labels[0] != labels[1]:
            label = {labels[0]: 1 - share, labels[1]: share}
        if share == 0:
            return Mixed(image.copy(), label)
        first, second = _Encoded(self.space, image), _Encoded(self.space, other)
        values = _between(first.code.mean, second.code.mean, share)
        return Mixed(first.moved(values, _between(first.unseen, second.unseen, share)), label)


class LatentStyle:
    """Style transfer: each fine channel gets the mean and standard deviation of another image.

    Adaptive instance normalization (Huang and Belongie, "Arbitrary Style Transfer in Real-time with
    Adaptive Instance Normalization", 2017) in the latents of a VAE. Coarse channels do not move.

    Args:
        model: a codec, a VAE with spatial latents, or a latent space.
        strength: 0 … 1, from the statistics of the image to those of the style.

    Raises:
        OptionError: `strength` is out of range, or the latents of the model are a vector.
        ModelBrokenError: the model has no latents.
    """

    def __init__(self, model: Model | LatentSpace, strength: float = 1.0) -> None:
        self.space: LatentSpace = _space(model)
        self.strength: float = _share("strength", strength)
        manifest = self.space.model.manifest
        if manifest.latent.kind != "spatial":
            raise OptionError(
                f"the latents of model {manifest.id} are a vector: they have no spatial statistics"
            )

    def __repr__(self) -> str:
        return f"LatentStyle({self.space!r}, strength={self.strength})"

    def __call__(self, image: np.ndarray, style: np.ndarray) -> np.ndarray:
        """An image in the style of another.

        Args:
            image: (H, W, 3) float32 RGB in [0, 1].
            style: the same, of any size.

        Raises:
            ImageValueError: the model does not accept one of them.
        """
        encoded = _Encoded(self.space, image)
        z, look = encoded.code.mean, self.space.encode(style).mean
        middle, spread = _statistics(z)
        goal_middle, goal_spread = _statistics(look)
        gain = (goal_spread + FLAT) / (spread + FLAT)
        moves = goal_middle + (z - middle) * gain - z
        reach = np.float32(self.strength) * _along(~self.space.coarse, z)
        return encoded.moved(z + reach * moves)


def _space(model: Model | LatentSpace) -> LatentSpace:
    return model if isinstance(model, LatentSpace) else latent_space(model)


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:  # true for NaN as well
        raise OptionError(f"{name}={value!r} is not 0 … 1")
    return value


def _along(channels: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """(C,) bool as float32 that broadcasts to latents (1, C, …)."""
    return channels.astype(np.float32).reshape(1, -1, *[1] * (latents.ndim - 2))


def _between(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    between: np.ndarray = first + np.float32(share) * (second - first)
    return between


def _statistics(latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel, (1, C, 1, 1) each."""
    return latents.mean(axis=(2, 3), keepdims=True), latents.std(axis=(2, 3), keepdims=True)
