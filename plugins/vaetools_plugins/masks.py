"""`mask-dust`, `mask-scratch`, `mask-colour`: masks for `inpaint`, found in the pictures themselves.

    vaetools mask-dust scans/ -o masks/
    vaetools inpaint scans/ --mask masks/ -o clean/

Classical filters without a model, and no judges of what belongs to a picture: look at the masks.

References:
    Serra, "Image Analysis and Mathematical Morphology", 1982 (top-hats);
    Soille & Talbot, "Directional morphological filtering", TPAMI 2001 (lines).
"""

from __future__ import annotations

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
"""Directions in which lines are sought, from 0 to 180 degrees."""

TEXTURE = 4.0
"""A speck stands out so many times more than what is usual around it."""

AROUND = 41
"""Side of that surrounding, in pixels."""

CONTRASTS = (1.0, 2.0, 4.0)
"""Of the least one, each tried by itself: among texture that counts in full, a bright line is lost."""

CLIP = 1.5
"""Detail counts up to so many times the contrast: bright specks and short lines are no scratch."""

SHARE = 0.75
"""Of the contrast that a line has as a whole: scratches have gaps."""

ONE_WAY = 1.8
"""A scratch stands out along itself this many times more than in all directions."""

LONGEST = 3.0
"""A speck is at most so many times longer than specks are wide: what is longer is an edge."""


class Mask(vaetools.Operation):
    """A picture in, its mask out: grey, 8 bit, white where something is to be replaced."""

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
        """What is to be replaced, (H, W) bool."""


class MaskDust(Mask):
    """Find dust: small specks that are brighter or darker than all around them."""

    name = "mask-dust"

    @dataclass(frozen=True)
    class Options:
        size: int = option(7, min=1, max=99, help="largest diameter of a speck", metavar="PX")
        contrast: float = option(
            20.0, min=0.5, max=255, help="how far a speck stands out, in grey levels of 255"
        )
        kind: Literal["both", "bright", "dark"] = option("both", help="which specks")

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
        beside = cv2.dilate(specks.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        return np.asarray(specks | (beside & (detail > least / 2)))  # rims are fainter


class MaskScratch(Mask):
    """Find scratches: long thin lines that are brighter or darker than what is beside them."""

    name = "mask-scratch"

    @dataclass(frozen=True)
    class Options:
        width: int = option(3, min=1, max=31, help="largest width of a scratch", metavar="PX")
        length: int = option(
            41, min=5, max=401, help="least length of a straight piece", metavar="PX"
        )
        contrast: float = option(
            12.0, min=0.5, max=255, help="how far a scratch stands out, in grey levels of 255"
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
    """Find a colour: that of a stamp, a date or a pen."""

    name = "mask-colour"

    @dataclass(frozen=True)
    class Options:
        colour: str = option("#ff0000", help="the colour, as in HTML", metavar="#RRGGBB")
        tolerance: float = option(
            20.0, min=0, max=200, help="distance in CIELAB that still counts (CIE76)"
        )

    def __init__(self, model: object, options: MaskColour.Options) -> None:
        super().__init__(model, options)
        if not re.fullmatch(r"#?[0-9a-fA-F]{6}", options.colour):
            raise vaetools.OptionError(
                f"colour={options.colour!r} is not #RRGGBB", remedy="as #ff8800"
            )
        digits = bytes.fromhex(options.colour.removeprefix("#"))
        self.rgb = np.frombuffer(digits, np.uint8).astype(np.float32).reshape(1, 1, 3) / 255

    def find(self, image: vaetools.Image) -> np.ndarray:
        import cv2

        wanted = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2LAB)
        away = cv2.cvtColor(image.to_rgb(), cv2.COLOR_RGB2LAB) - wanted
        return np.asarray((away**2).sum(axis=2) <= self.options.tolerance**2)


def _grey(image: vaetools.Image) -> np.ndarray:
    """Luma in grey levels of 255, (H, W) float32."""
    import cv2

    return np.float32(255) * cv2.cvtColor(image.to_rgb(), cv2.COLOR_RGB2GRAY)


def _detail(grey: np.ndarray, size: int, kind: str) -> np.ndarray:
    """What is narrower than a disc of more than `size` pixels and stands out, in grey levels."""
    import cv2

    side = size + 3 + size % 2  # odd, and larger: what is drawn slantwise is wider
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    hats = {"bright": cv2.MORPH_TOPHAT, "dark": cv2.MORPH_BLACKHAT}
    wanted = hats.values() if kind == "both" else [hats[kind]]
    detail: np.ndarray = np.max([cv2.morphologyEx(grey, hat, disc) for hat in wanted], axis=0)
    return detail


def _along(detail: np.ndarray, lines: Sequence[np.ndarray], contrast: float) -> np.ndarray:
    """Where detail (H, W) makes up lines of some contrast, (H, W) bool."""
    import cv2

    detail = np.minimum(detail, CLIP * contrast)
    wide = cv2.dilate(detail, np.ones((3, 3), np.uint8))  # directions are few
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
    """A straight line through the middle of a square, as a filter; `turn` in half turns."""
    import cv2

    reach = length // 2
    plane = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    away = np.rint(reach * np.array([np.cos(np.pi * turn), np.sin(np.pi * turn)])).astype(int)
    cv2.line(plane, (reach - away).tolist(), (reach + away).tolist(), 1.0)
    return plane


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [MaskDust, MaskScratch, MaskColour]
