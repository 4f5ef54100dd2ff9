"""`mask-dust`, `mask-scratch`, `mask-colour`: masks for `inpaint`, detected in the images.

    vaetools mask-dust scans/ -o masks/
    vaetools inpaint scans/ --mask masks/ -o clean/

Classical filters without a model. They cannot know what belongs to the image: check the masks.

References:
    Serra, "Image Analysis and Mathematical Morphology", 1982 (top-hats);
    Soille & Talbot, "Directional morphological filtering", TPAMI 2001 (lines).
"""

from __future__ import annotations

import contextlib
import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

import vaetools
from vaetools import hookimpl, option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath

ANGLES = 24
"""Number of line directions from 0 to 180 degrees."""

TEXTURE = 4.0
"""Least contrast of a speck relative to the mean detail around it."""

AROUND = 41
"""Side of the window of that mean, pixels."""

CONTRASTS = (1.0, 2.0, 4.0)
"""Multiples of the contrast threshold, each tried separately: a single clipped threshold would miss
bright lines in texture."""

CLIP = 1.5
"""Detail is clipped at this multiple of the contrast, so that bright specks and short lines do not
count as scratches."""

SHARE = 0.75
"""Least mean contrast along a line, relative to the threshold: scratches have gaps."""

ONE_WAY = 1.8
"""Least ratio of the mean along a scratch to the mean over all directions."""

LONGEST = 3.0
"""Largest length of a speck in multiples of its width; anything longer is an edge."""


COLOUR = "As #ff0000 or #f00, as red, green and blue 255,0,0, or by its CSS name"
TOLERANCE = "Largest distance in CIELAB (CIE76)"


class Mask(vaetools.Operation):
    """Image in, mask out: greyscale, 8 bit, white where pixels are to be replaced."""

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        """`a.jpg` gives `a.png`: a folder of them is what `inpaint --mask` takes."""
        return (source.with_suffix(".png"),)

    def process(self, item: vaetools.Image) -> vaetools.Image:
        found = self.find(item)
        if not found.any():
            self.note("nothing was found: the mask is black")
        return vaetools.Image(np.where(found, np.uint8(255), np.uint8(0)))

    @abstractmethod
    def find(self, image: vaetools.Image) -> np.ndarray:
        """Pixels to be replaced, (H, W) bool."""


class MaskDust(Mask):
    """Detect dust: small specks that are brighter or darker than their surroundings.

    Examples:

        vaetools mask-dust photos/ -o masks/ --size 5 --kind bright
    """

    name = "mask-dust"

    @dataclass(frozen=True)
    class Options:
        size: int = option(7, min=1, max=99, help="Largest diameter of a speck", metavar="PX")
        contrast: float = option(
            20.0, min=0.5, max=255, help="Least contrast of a speck, on the 0–255 scale"
        )
        kind: Literal["both", "bright", "dark"] = option("both", help="Specks to detect")

    def find(self, image: vaetools.Image) -> np.ndarray:
        import cv2

        size = self.options.size
        detail = _detail(_grey(image), size, self.options.kind)
        usual = cv2.blur(detail, (AROUND, AROUND), borderType=cv2.BORDER_REFLECT)
        least = np.maximum(self.options.contrast, TEXTURE * usual)
        seeds = (detail > least).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(seeds, connectivity=8)
        sides = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
        small = sides <= LONGEST * size
        small[0] = False  # the background
        specks = small[labels]
        around = cv2.dilate(specks.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        return np.asarray(specks | (around & (detail > least / 2)))  # rims are fainter


class MaskScratch(Mask):
    """Detect scratches: long thin lines that are brighter or darker than their surroundings.

    Examples:

        vaetools mask-scratch photos/ -o masks/ --width 2
    """

    name = "mask-scratch"

    @dataclass(frozen=True)
    class Options:
        width: int = option(3, min=1, max=31, help="Largest width of a scratch", metavar="PX")
        length: int = option(
            41, min=5, max=401, help="Least length of a straight segment", metavar="PX"
        )
        contrast: float = option(
            12.0, min=0.5, max=255, help="Least contrast of a scratch, on the 0–255 scale"
        )

    def find(self, image: vaetools.Image) -> np.ndarray:
        grey = _grey(image)
        lines = [_line(self.options.length, turn / ANGLES) for turn in range(ANGLES)]
        found = np.zeros(grey.shape, bool)
        for kind in ("bright", "dark"):
            detail = _detail(grey, self.options.width, kind)
            for times in CONTRASTS:
                found |= _along(detail, lines, times * self.options.contrast)
        return found


class MaskColour(Mask):
    """Detect a colour, such as that of a stamp, a date or a pen.

    Examples:

        vaetools mask-colour photos/ -o masks/ --colour '#ff8800'
    """

    name = "mask-colour"

    @dataclass(frozen=True)
    class Options:
        colour: str = option("#ff0000", help=COLOUR, metavar="COLOUR")
        tolerance: float = option(20.0, min=0, max=200, help=TOLERANCE)

    def __init__(self, model: object, options: object) -> None:
        super().__init__(model, options)
        spelling = self.name.removeprefix("mask-")
        rgb = _rgb(getattr(options, spelling), spelling)
        self.rgb = np.array(rgb, np.float32).reshape(1, 1, 3) / np.float32(255)

    def find(self, image: vaetools.Image) -> np.ndarray:
        import cv2

        wanted = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2LAB)
        away = cv2.cvtColor(image.to_rgb(), cv2.COLOR_RGB2LAB) - wanted
        return np.asarray((away**2).sum(axis=2) <= self.options.tolerance**2)


class MaskColor(MaskColour):
    """The same as mask-colour.

    Examples:

        vaetools mask-color photos/ -o masks/ --color '#ff8800'
    """

    name = "mask-color"

    @dataclass(frozen=True)
    class Options:
        color: str = option("#ff0000", help=COLOUR, metavar="COLOR")
        tolerance: float = option(20.0, min=0, max=200, help=TOLERANCE)


def _rgb(text: str, name: str) -> tuple[int, ...]:
    """The red, green and blue of a colour, 0 … 255. Raises `OptionError`."""
    from PIL import ImageColor

    plain = text.strip()
    if re.fullmatch(r"\d+\s*,\s*\d+\s*,\s*\d+", plain):
        plain = f"rgb({plain})"
    elif re.fullmatch(r"[0-9a-fA-F]{3}|[0-9a-fA-F]{6}", plain):
        plain = f"#{plain}"
    found: tuple[int, ...] = ()
    with contextlib.suppress(ValueError):
        found = ImageColor.getrgb(plain)
    if len(found) != 3 or max(found) > 255:
        raise vaetools.OptionError(
            f"{name}={text!r} is not a {name}", remedy="for example #ff8800, 255,136,0 or orange"
        )
    return found


def _grey(image: vaetools.Image) -> np.ndarray:
    """Luma on the 0–255 scale, (H, W) float32."""
    import cv2

    return np.float32(255) * cv2.cvtColor(image.to_rgb(), cv2.COLOR_RGB2GRAY)


def _detail(grey: np.ndarray, size: int, kind: str) -> np.ndarray:
    """Top-hat: contrast of structures narrower than a disc of more than `size` pixels, 0–255 scale."""
    import cv2

    side = size + 3 + size % 2  # odd, and larger: diagonal structures are wider
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    hats = {"bright": cv2.MORPH_TOPHAT, "dark": cv2.MORPH_BLACKHAT}
    wanted = hats.values() if kind == "both" else [hats[kind]]
    detail: np.ndarray = np.max([cv2.morphologyEx(grey, hat, disc) for hat in wanted], axis=0)
    return detail


def _along(detail: np.ndarray, lines: Sequence[np.ndarray], contrast: float) -> np.ndarray:
    """Where detail (H, W) forms lines of at least some contrast, (H, W) bool."""
    import cv2

    detail = np.minimum(detail, CLIP * contrast)
    wide = cv2.dilate(detail, np.ones((3, 3), np.uint8))  # there are few directions
    along = [
        cv2.filter2D(wide, -1, line / line.sum(), borderType=cv2.BORDER_CONSTANT) for line in lines
    ]
    usual = np.mean(along, axis=0)
    there = (detail > np.maximum(contrast / 2, usual)).astype(np.uint8)
    least = np.maximum(SHARE * contrast, ONE_WAY * usual)
    found = np.zeros(detail.shape, np.uint8)
    for mean, line in zip(along, lines, strict=True):
        seeds = ((mean > least) & (there > 0)).astype(np.uint8)
        found |= cv2.dilate(seeds, (line > 0).astype(np.uint8)) & there
    return found > 0


def _line(length: int, turn: float) -> np.ndarray:
    """A straight line through the centre of a square, as a filter; `turn` in units of 180°."""
    import cv2

    reach = length // 2
    plane = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    away = np.rint(reach * np.array([np.cos(np.pi * turn), np.sin(np.pi * turn)])).astype(int)
    cv2.line(plane, (reach - away).tolist(), (reach + away).tolist(), 1.0)
    return plane


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [MaskDust, MaskScratch, MaskColour, MaskColor]
