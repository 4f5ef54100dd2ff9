"""`compress` and `decompress`: photographs to small `.vae` files and back."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - options are read from the annotations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np  # noqa: TC002 - options are read from the annotations

import vaetools
from vaetools import hookimpl, option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath

log = logging.getLogger(__name__)

SUFFIX = ".vae"
DEFAULT_QUALITY = 75.0
BPP_TOLERANCE = 1.02
"""Factor on `--bpp` up to which a file meets it."""

AIM = "aim"
"""Group of the options that set the rate or the quality."""


def parse_bytes(text: str) -> int:
    """`40k`, `1.5M`, `900` -> bytes; k and M are 1000 and 1,000,000. Raises `OptionError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmM]?)[bB]?", text.strip())
    if match is None:
        raise vaetools.OptionError(f"target_size={text!r} is not a size such as 40k or 1.5M")
    return int(float(match[1]) * {"": 1, "k": 1000, "m": 1_000_000}[match[2].lower()])


class Compress(vaetools.Operation):
    """Compress photographs with a learned codec.

    Examples:

        vaetools compress photos/ -o packed/
        vaetools compress photos/ -o small/ --quality 40 --report small.html
        vaetools compress photo.jpg -o photo.vae --target-size 40k
    """

    name = "compress"
    task = "compress"

    @dataclass(frozen=True)
    class Options:
        quality: float | None = option(
            None,
            min=0,
            max=100,
            short="-q",
            help=f"From smallest (0) to best (100); {DEFAULT_QUALITY:g} if no target is given",
            metavar="Q",
            group=AIM,
        )
        bpp: float | None = option(None, min=0.001, max=64, help="Target bits per pixel", group=AIM)
        psnr: float | None = option(
            None, min=1, max=60, help="Target PSNR in decibels", metavar="DB", group=AIM
        )
        target_size: str | None = option(
            None, help="Largest file size, such as 40k", metavar="SIZE", group=AIM
        )
        roi: np.ndarray | str | Path | None = option(
            None,
            help="Region of interest: a mask, a folder of masks, or a pattern as {stem}_roi.png; "
            "white keeps its quality",
            metavar="FILE|DIR|PATTERN",
        )
        roi_drop: float = option(
            40, min=1, max=100, help="Quality that black parts of --roi lose", metavar="Q"
        )
        refine: int = option(
            0,
            min=0,
            max=64,
            help="Passes that search for better latents; 1 takes 3 times as long, 8 take 18 times",
            metavar="PASSES",
        )
        keep_smaller: bool = option(
            False, help="Store the source file itself where the coded image would be larger"
        )

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        self.wants_encoded = True  # to compare sizes
        self.codec = vaetools.Codec(model)
        if options.refine:
            self.codec.refine_spec(options.refine)  # a model that cannot says so before any work
        if options.roi_drop != self.Options.roi_drop and options.roi is None:
            raise vaetools.OptionError("roi_drop does nothing without roi")
        self.masks = None if options.roi is None else vaetools.Masks(options.roi)
        self.size = None if options.target_size is None else parse_bytes(options.target_size)

    @property
    def quality(self) -> float:
        return DEFAULT_QUALITY if self.options.quality is None else self.options.quality

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "quality": self.quality}

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        return (source.with_name(source.name + SUFFIX),)

    def process(self, item: vaetools.Image) -> bytes:
        data, lost = self._smallest(item)
        source = item.encoded
        if source is not None and len(data) > len(source):
            can_store = self.codec.can_store(item)
            if self.options.keep_smaller and can_store:
                stored = self.codec.store(item, source)
                return min(stored, data, key=len)
            remedy = "; --keep-smaller stores the source" if can_store else ""
            sizes = f"{len(data)} bytes are more than the source's {len(source)}"
            log.warning("%s: %s%s", self.key, sizes, remedy)
        self.lose(*item.metadata.notes, *lost)
        return data

    def _smallest(self, image: vaetools.Image) -> tuple[bytes, Sequence[str]]:
        """The coded image; or its exact pixels, if these take fewer bytes or reach a target that the
        coded image does not. And what of its metadata is not kept."""
        drop = self._level_drop(image)  # first: an input without a mask fails
        exact = self.codec.store_exactly(image)
        if exact is not None and self._fits(exact, image):
            return exact, ()  # no coded image is better
        try:
            data, lost = self._coded(image, drop)
        except vaetools.InputError:  # the PSNR is out of reach
            if exact is not None and self.options.psnr is not None:
                return exact, ()
            raise
        return (data, lost) if exact is None or len(exact) >= len(data) else (exact, ())

    def _fits(self, exact: bytes, image: vaetools.Image) -> bool:
        """Whether a target of bytes or of bits per pixel leaves room for exact pixels."""
        if self.options.bpp is not None:
            bpp = 8 * len(exact) / (image.width * image.height)
            return bool(bpp <= BPP_TOLERANCE * self.options.bpp)
        return self.size is not None and len(exact) <= self.size

    def _coded(self, image: vaetools.Image, drop: np.ndarray | None) -> tuple[bytes, Sequence[str]]:
        """The coded image, and what of its metadata is not kept."""
        probes = self.codec.probes(image, drop, refine=self.options.refine)
        if self.options.bpp is not None:
            encoded = probes.at_bpp(self.options.bpp)
        elif self.options.psnr is not None:
            encoded = probes.at_psnr(self.options.psnr)
        elif self.size is not None:
            encoded = probes.at_size(self.size)
        else:
            encoded = probes.at_quality(self.quality)
        return encoded.container.pack(), probes.analysis.not_kept

    def _level_drop(self, image: vaetools.Image) -> np.ndarray | None:
        """By how much the rate index of each cell is lowered, if there is a region of interest."""
        if self.masks is None:
            return None
        mask = self.read_mask(self.masks, image)
        levels = round(self.options.roi_drop / 100 * (self.codec.levels - 1))
        return vaetools.roi_level_drop(mask, levels)


class Decompress(vaetools.Operation):
    """Decode .vae files.

    Examples:

        vaetools decompress packed/ -o back/
        vaetools decompress photo.vae -o photo.png
    """

    name = "decompress"
    task = ("compress", "decompress")  # the second: models that only decode
    takes = "file"
    many_models = True  # each file names its own
    suffixes = (SUFFIX,)

    @dataclass(frozen=True)
    class Options:
        to: Literal["png", "jpg", "webp", "tiff", "avif", "jxl", "same"] = option(
            "png", help="Format of the images; same: that of the source"
        )
        region: tuple[int, int, int, int] | None = option(
            None,
            help="Decode only this part, in pixels from the top left corner",
            metavar="X,Y,WIDTH,HEIGHT",
        )
        preview: bool = option(
            False,
            help="Decode a rough image from the first part of each file; the rest may be missing",
        )

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        if options.region is not None and min(options.region) < 0:
            raise vaetools.OptionError(
                f"region={options.region} is not X,Y,WIDTH,HEIGHT: a number is negative"
            )
        self.region = None if options.region is None else vaetools.Region(*options.region)

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        inner = source.with_suffix("") if source.suffix.lower() == SUFFIX else source
        if self.options.to == "same" and inner.suffix:
            return (inner,)
        suffix = "png" if self.options.to == "same" else self.options.to
        return (inner.with_suffix(f".{suffix}"),)

    def check_head(self, head: bytes) -> None:
        vaetools.Codec.check_head(head)

    def process(self, item: bytes) -> vaetools.Image:
        return vaetools.Codec.decode_file(
            item,
            self.models,
            max_pixels=self.max_pixels,
            region=self.region,
            preview=self.options.preview,
        )


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [Compress, Decompress]
