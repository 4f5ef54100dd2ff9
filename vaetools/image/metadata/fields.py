"""`Metadata`: what belongs to an image beside its pixels, in the same terms for every container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

MAX_BLOCK = 2**24
"""Limit on the size of one block of metadata, unpacked, in bytes."""

INCH = 0.0254
"""Metres."""


class Cicp(NamedTuple):
    """Coding-independent code points of a colour space (ITU-T H.273).

    Attributes:
        primaries: 1 BT.709, 9 BT.2020, 12 Display P3, …
        transfer: 1 BT.709, 8 linear, 13 sRGB, 16 PQ, 18 HLG, …
        matrix: 0 for RGB samples.
        full_range: whether samples use the whole range.
    """

    primaries: int
    transfer: int
    matrix: int = 0
    full_range: bool = True


class Calibration(NamedTuple):
    """A colour space by gamma and chromaticities: PNG's gAMA and cHRM.

    Attributes:
        gamma: sample = light ** gamma, as an integer × 100000; 45455 for 1/2.2. 0 if not known.
        chromaticities: white x, y, red x, y, green x, y, blue x, y, each × 100000; or None.
        srgb_intent: the rendering intent of PNG's sRGB chunk, which then says it all; or None.
    """

    gamma: int = 0
    chromaticities: tuple[int, ...] | None = None
    srgb_intent: int | None = None


ADOBE_RGB = Calibration(45470, (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000))
"""Adobe RGB (1998): what EXIF can say besides sRGB."""


class Density(NamedTuple):
    """Pixels per inch along each axis; if not `absolute`, only their ratio means something."""

    x: float
    y: float
    absolute: bool = True


@dataclass(frozen=True)
class Metadata:
    """What belongs to an image beside its pixels.

    The colour space is the first of `cicp`, `icc` and `calibration` that is there; sRGB without.

    Attributes:
        icc: ICC profile.
        exif: EXIF block, a TIFF structure that starts with `II*` or `MM`, without the prefix
            `Exif` that JPEG files put before it. Its orientation is 1: it has been applied. It
            holds no thumbnail.
        xmp: XMP packet, UTF-8; its orientation is 1, and it holds no thumbnail.
        iptc: IPTC-IIM records, without the Photoshop resource around them.
        cicp: colour space as code points.
        calibration: colour space as gamma and chromaticities.
        density: pixels per inch.
        notes: what the source file held and an `Image` cannot, a phrase each, such as `gain map`.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    cicp: Cicp | None = None
    calibration: Calibration | None = None
    density: Density | None = None
    notes: tuple[str, ...] = ()
