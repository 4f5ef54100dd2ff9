"""`inpaint`: holes of pictures filled, other fills that could have been, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import vaetools
from vaetools import hookimpl, option
from vaetools_plugins.restoring import Restoring

if TYPE_CHECKING:
    from collections.abc import Sequence

ALPHA = "alpha"


class Inpaint(Restoring):
    """Fill holes of pictures: scratches, text, dust and other small damage.

    The answer is the mean of what the hole could have shown. Samples are such fills, each with the
    grain and detail that the mean leaves out. The uncertainty map is grey with 16 bits: its value
    divided by 256 is half the width of a 90 % interval, in grey levels of 255; outside of the hole it
    is 0. Whatever is not masked comes back unchanged.
    """

    name = "inpaint"
    task = "inpaint"

    @dataclass(frozen=True)
    class Options:
        mask: str = option(
            "",
            help="a mask for all pictures; a folder with one for each, of the same name; a pattern for "
            "what lies beside each, as {stem}_mask.png; or alpha: what is transparent is the hole",
            metavar="FILE|DIR|PATTERN|alpha",
        )
        mask_hole: Literal["white", "black"] = option("white", help="what the hole is in the mask")
        missing_mask: Literal["fail", "copy"] = option(
            "fail", help="a picture without a mask fails, or stays as it is"
        )
        grow: int = option(
            0, min=0, max=256, help="make the hole larger by so many pixels", metavar="PX"
        )
        feather: float = option(
            0.0,
            min=0,
            max=256,
            help="fade from the old to the new inside the hole's rim",
            metavar="PX",
        )
        samples: int = option(0, min=0, max=64, help="so many other possible pictures", metavar="K")
        uncertainty: bool = option(False, help="also write how sure each pixel is, as a picture")
        seed: int = option(0, help="another seed, other samples")

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        self.inpainter = vaetools.Inpainter(model)
        if not options.mask:
            raise vaetools.OptionError(
                "mask is not given", remedy="name a mask, a folder of them, a pattern, or alpha"
            )
        self.masks = None if options.mask == ALPHA else vaetools.Masks(Path(options.mask))
        if self.masks is None and options.mask_hole != self.Options.mask_hole:
            raise vaetools.OptionError("mask_hole does nothing with alpha")

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        if self.masks is not None:
            facts["mask"] = self.masks.fingerprint
        return facts

    @property
    def never(self) -> Sequence[str]:
        """Masks beside the pictures are no pictures."""
        return [] if self.masks is None or not self.masks.glob else [self.masks.glob]

    def restored(self, image: vaetools.Image) -> vaetools.Restored:
        options = self.options
        hole = self._hole(image)
        if not hole.any():
            self.note("there is no hole: the picture stays as it is")
        found = self.inpainter.inpaint(
            image,
            hole,
            feather=options.feather,
            seeds=self.seeds(),
            uncertainty=options.uncertainty,
        )
        samples = tuple(self._shown(sample, hole) for sample in found.samples)
        return replace(found, image=self._shown(found.image, hole), samples=samples)

    def _hole(self, image: vaetools.Image) -> np.ndarray:
        """Where the picture has a hole, (H, W) bool. Raises `InputError`."""
        if self.masks is None:
            return self._transparent(image)
        if self.options.missing_mask == "copy" and not self.masks.candidates(self.key, self.source):
            return np.zeros((image.height, image.width), np.bool_)
        grey = self.masks.read(self.key, image, source=self.source, max_pixels=self.max_pixels)
        return self._grown(grey >= 0.5 if self.options.mask_hole == "white" else grey < 0.5)

    def _transparent(self, image: vaetools.Image) -> np.ndarray:
        """What is nearer to transparent than to opaque."""
        if image.alpha is None:
            if self.options.missing_mask == "copy":
                return np.zeros((image.height, image.width), np.bool_)
            raise vaetools.InputError("the picture has no alpha to take for a mask")
        return self._grown(image.alpha < _opaque(image) / 2)

    def _grown(self, hole: np.ndarray) -> np.ndarray:
        import cv2

        by = self.options.grow
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
        return np.asarray(cv2.dilate(hole.astype(np.uint8), disc) > 0)

    def _shown(self, image: vaetools.Image, hole: np.ndarray) -> vaetools.Image:
        """The picture, opaque where alpha was the mask: else nobody would see the fill."""
        if self.masks is not None or image.alpha is None:
            return image
        alpha = np.where(hole, np.asarray(_opaque(image), image.alpha.dtype), image.alpha)
        return replace(image, alpha=alpha)


def _opaque(image: vaetools.Image) -> float:
    """The alpha of what is not transparent at all."""
    return 1.0 if image.depth == 32 else float(2**image.depth - 1)


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [Inpaint]
