"""What the pixels of a mask mean: black and white, transparency, or labels.

- Grey masks count from black to white, colours by their luma.
- Transparency counts where colours say nothing: where all that is visible is dark, or all of it is
  light, opaque is white and transparent is black. Of a mask in black and white, what is transparent
  is black. Photographs with transparent parts are refused.
- Labels 0 and 1 are black and white. Other sets of labels are refused.
- A hole may have any level on black, if it has no other: 128, or the colour of a palette.
- Floats are shares of white as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from vaetools.errors import InputError, OptionError
from vaetools.image import Image, pillow_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

Colour: TypeAlias = Literal["white", "black"]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Rec. ITU-R BT.601: shares of red, green and blue."""

LABELS = {255: 32, 65535: 255}
"""Largest level that is taken for a label, by the level of white."""

RINGING = 16 / 255
"""Largest level that lossy coding makes of black."""

ENDS = 1 / 8
"""What is nearer than this share of white to black or white is nearly black or white."""

MOST_GREY = 0.25
"""Largest share of other pixels in a mask that is black, white and transparent."""

INEXACT = {"jpeg", "avif", "heif", "heic"}
"""Formats whose levels are not those that were saved: they hold no labels."""


@dataclass(frozen=True)
class MaskLevels:
    """A mask as it was given.

    Attributes:
        levels: (H, W) float32, 0 for black.
        white: the level of white: 255, 65535 or 1.
        is_dark: whether `levels` are transparency, and what is opaque is dark.
        exact: whether they are integers as they were saved, and so may be labels.
    """

    levels: NDArray[np.float32]
    white: float
    is_dark: bool = False
    exact: bool = True

    def soft(self, name: str) -> NDArray[np.float32]:
        """Shares of white, (H, W) float32 in [0, 1].

        Args:
            name: of the mask, for the error.

        Raises:
            InputError: labels other than 0 and 1.
        """
        if self._is_binary:
            return self.levels
        if self.exact:
            self._refuse_labels(name)
        shares: NDArray[np.float32] = self.levels / np.float32(self.white)
        return shares.clip(max=1)

    def hole(self, name: str, colour: Colour = "white") -> NDArray[np.bool_]:
        """The pixels nearer to `colour` than to the other end, (H, W) bool.

        Args:
            name: of the mask, for the error.
            colour: the hole has it.

        Raises:
            InputError: labels other than 0 and 1; some pixels have other levels than the background,
                but none is nearer to the colour of the hole.
        """
        is_white = colour == "white" or self.is_dark  # dark paint is the hole either way
        if self._is_binary:
            return np.asarray(self.levels == (1 if is_white else 0))
        if self.exact:
            if (drawn := self._single(0 if is_white else self.white)) is not None:
                return drawn
            self._refuse_labels(name)
        half = self.white / 2
        hole = self.levels >= half if is_white else self.levels < half
        if self.white > 1 and not hole.any():
            self._refuse_faint(name, colour)
        return np.asarray(hole)

    @property
    def _is_binary(self) -> bool:
        """Whether the levels are the labels 0 and 1, or black and white as 0 and 1."""
        return self.exact and bool(self.levels.max() <= 1)

    def _single(self, background: float) -> NDArray[np.bool_] | None:
        """The pixels of the only level apart from that of the background; None if there is not one."""
        drawn = self.levels != background
        found = self.levels[drawn]
        is_single = 0 < found.size < drawn.size and bool((found == found[0]).all())
        return drawn if is_single else None

    def _refuse_faint(self, name: str, colour: Colour) -> None:
        """Refuse a mask without a hole that is not of one level."""
        low, high = float(self.levels.min()), float(self.levels.max())
        if high - low > (0 if self.exact else RINGING * self.white):
            raise InputError(
                f"{name} has levels from {low:g} to {high:g} of {self.white:g}: none is nearer to "
                f"{colour}",
                remedy=f"draw the hole in {colour}",
            )

    def _refuse_labels(self, name: str) -> None:
        """Refuse a set of small whole numbers, alone or with white, as labels of several classes."""
        small = self.levels[self.levels != self.white]
        low, high = small.min(initial=self.white), small.max(initial=0)
        has_white = small.size < self.levels.size
        if not low < high <= LABELS.get(int(self.white), 0) or (has_white and low > 0):
            return
        shown = ", ".join(f"{value:g}" for value in np.unique(self.levels)[:6])
        raise InputError(
            f"{name} has the levels {shown} of {self.white:g}: labels of several classes, not black "
            "and white",
            remedy="keep one class: 0 and 255, or 0 and 1",
        )


def levels_of(image: Image, name: str = "the mask") -> MaskLevels:
    """The levels of a mask that is an image.

    Args:
        image: the mask.
        name: of the mask, for the error.

    Raises:
        InputError: parts of it are transparent, and the rest is neither black nor white: a photograph
            with an erased part could mean either of the two.
    """
    white = _white(image.pixels)
    levels = _luma(image.pixels)
    alpha = np.full((1, 1), white) if image.alpha is None else image.alpha.astype(np.float32)
    opaque = 2 * alpha >= white
    if opaque.all() or not opaque.any():  # says nothing
        exact = image.format not in INEXACT and image.depth < 32
        return MaskLevels(levels, white, exact=exact)
    light = 2 * levels[opaque] >= white
    if light.all() or not light.any():
        return MaskLevels(alpha, white, is_dark=not light.any(), exact=False)
    shares = levels[opaque] / np.float32(white)
    if np.mean((shares > ENDS) & (shares < 1 - ENDS)) > MOST_GREY:
        raise InputError(
            f"{name} is transparent in parts, and neither black nor white in the rest",
            remedy="save it as white on black",
        )
    return MaskLevels(levels * (alpha / np.float32(white)), white, exact=False)


def levels_of_array(values: NDArray[Any], name: str) -> MaskLevels:
    """The levels of an array.

    Args:
        values: (H, W); bool, uint8, uint16 or a float in [0, 1]. Integers that are all 0 or 1 count
            as bool.
        name: of the option, for the error.

    Raises:
        OptionError: another dtype, or floats outside [0, 1].
    """
    levels, kind = values.astype(np.float32), values.dtype.kind
    low, high = float(values.min()), float(values.max())
    if kind == "f" and (low < 0 or high > 1):
        raise OptionError(f"{name} has values from {low:g} to {high:g}; expected 0 … 1")
    if kind in "bf" or (low >= 0 and high <= 1):
        return MaskLevels(levels, 1.0, exact=kind != "f")
    if values.dtype not in (np.uint8, np.uint16):
        raise OptionError(
            f"{name} has dtype {values.dtype} with values from {low:g} to {high:g}; "
            "expected bool, uint8, uint16 or a float in [0, 1]"
        )
    return MaskLevels(levels, _white(values))


def amount_of(image: Image) -> NDArray[np.float32]:
    """A map of a quantity, (H, W) float32: 0 where black or transparent, 1 where white."""
    white = np.float32(_white(image.pixels))
    shares: NDArray[np.float32] = _luma(image.pixels) / white
    if image.alpha is not None:
        shares *= image.alpha / white
    return shares.clip(max=1)


def pillow_mask(value: object, name: str) -> NDArray[Any] | None:
    """A Pillow image as a mask, (H, W) uint8 or uint16; None for any other object.

    Raises:
        ImageValueError, DamagedImageError: see `pillow_array`.
    """
    pixels = pillow_array(value, name=name)
    if pixels is None or pixels.ndim == 2:
        return pixels
    return np.ceil(levels_of(Image.from_array(pixels, channel_order="rgb"), name).levels).astype(
        np.uint8
    )


def _white(pixels: NDArray[Any]) -> float:
    return 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)


def _luma(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Grey (H, W), or BGR (H, W, 3), as luma of the same scale; exact where colours are grey."""
    if pixels.ndim == 2:
        return pixels.astype(np.float32)
    if (pixels == pixels[..., :1]).all():
        return pixels[..., 0].astype(np.float32)
    return np.asarray(pixels.astype(np.float32) @ LUMA[::-1])
