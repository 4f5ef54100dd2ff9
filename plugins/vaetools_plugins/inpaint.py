"""`inpaint`: fill holes; posterior samples; per-pixel uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

import vaetools
from vaetools import hookimpl, option
from vaetools_plugins.restoring import Restoring

ALPHA = "alpha"


class Inpaint(Restoring):
    """Fill holes in images: scratches, text, dust and other small damage.

    The result is the posterior mean, which is smooth in large holes. With `--fill texture`, these are
    filled with patches of the same image, so that whole objects can be removed. Posterior
    samples have the grain and detail that the mean averages out. In files, the uncertainty map is
    greyscale with 16 bits: its value divided by 256 is half the width of a 90 % interval, on the 0–255
    scale; outside the hole it is 0. Pixels that are not masked come back unchanged.

    Examples:

        vaetools inpaint photos/ -o whole/ --mask masks/
        vaetools inpaint photo.png -o whole.png --mask mask.png --grow 2
        vaetools inpaint photo.jpg -o new.jpg --mask mask.png --fill texture
    """

    name = "inpaint"
    task = "inpaint"

    @dataclass(frozen=True)
    class Options:
        mask: np.ndarray | str | Path | None = option(
            None,
            required=True,
            words=(ALPHA,),
            help="The hole: a mask for all images; a folder with one for each, of the same name; a "
            "pattern for files next to each image, as {stem}_mask.png; or alpha: transparent pixels",
            metavar="FILE|DIR|PATTERN|alpha",
        )
        mask_hole: Literal["white", "black"] = option(
            "white", help="Colour of the hole in the mask"
        )
        missing_mask: Literal["fail", "copy"] = option(
            "fail", help="An image without a mask fails, or is copied unchanged"
        )
        fill: Literal["mean", "texture"] = option(
            "mean",
            help="What parts of the hole that are deeper than 4 pixels are filled with: the posterior "
            "mean, or patches of the same image",
        )
        grow: int = option(0, min=0, max=256, help="Dilate the hole by this radius", metavar="PX")
        feather: float = option(
            0.0,
            min=0,
            max=256,
            help="Blend from the original to the fill over this width inside the hole",
            metavar="PX",
        )
        samples: int = option(
            0, min=0, max=64, help="Number of posterior samples to write", metavar="K"
        )
        uncertainty: bool = option(False, help="Also write a per-pixel uncertainty map")
        seed: int = option(0, help="Random seed of the samples")

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        if options.fill == "texture" and (options.samples or options.uncertainty):
            raise vaetools.OptionError(
                "samples and uncertainty are those of the mean: they do nothing with fill texture"
            )
        self.inpainter = vaetools.Inpainter(model)
        self.from_alpha = isinstance(options.mask, str | Path) and str(options.mask) == ALPHA
        given = options.mask is not None and not self.from_alpha
        self.masks = vaetools.Masks(options.mask) if given else None
        if self.from_alpha and options.mask_hole != self.Options.mask_hole:
            raise vaetools.OptionError("mask_hole does nothing with alpha")

    def restored(self, image: vaetools.Image) -> vaetools.Restored[vaetools.Image]:
        options = self.options
        hole = self._hole(image)
        self.finding(hole_pixels=int(hole.sum()))
        if not hole.any():
            self.note("there is no hole")
        found = self.inpainter.inpaint(
            image,
            hole,
            feather=options.feather,
            seeds=self.seeds(),
            uncertainty=options.uncertainty,
            texture=options.fill == "texture",
        )
        samples = tuple(self._shown(sample, hole) for sample in found.samples)
        return replace(found, image=self._shown(found.image, hole), samples=samples)

    def _hole(self, image: vaetools.Image) -> np.ndarray:
        """The hole of an image, (H, W) bool. Raises `InputError`."""
        if self.masks is None:
            return self._transparent(image)
        files = self.masks.candidates(self.key, self.source) if self.masks.is_file else [None]
        if self.options.missing_mask == "copy" and not files:
            return np.zeros((image.height, image.width), np.bool_)
        return self._grown(self.read_hole(self.masks, image, self.options.mask_hole))

    def _transparent(self, image: vaetools.Image) -> np.ndarray:
        """Pixels that are nearer to transparent than to opaque."""
        if image.alpha is None:
            if self.options.missing_mask == "copy":
                return np.zeros((image.height, image.width), np.bool_)
            raise vaetools.InputError("the image has no alpha channel to use as a mask")
        return self._grown(image.alpha < _opaque(image) / 2)

    def _grown(self, hole: np.ndarray) -> np.ndarray:
        import cv2

        by = self.options.grow
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
        return np.asarray(cv2.dilate(hole.astype(np.uint8), disc) > 0)

    def _shown(self, image: vaetools.Image, hole: np.ndarray) -> vaetools.Image:
        """The image, opaque where alpha was the mask: otherwise the fill would be invisible."""
        if not self.from_alpha or image.alpha is None:
            return image
        alpha = np.where(hole, np.asarray(_opaque(image), image.alpha.dtype), image.alpha)
        return replace(image, alpha=alpha)


def _opaque(image: vaetools.Image) -> float:
    """The alpha of opaque pixels."""
    return 1.0 if image.depth == 32 else float(2**image.depth - 1)


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [Inpaint]
