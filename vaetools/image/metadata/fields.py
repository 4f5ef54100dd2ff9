"""`Metadata`: what belongs to an image beside its pixels, in the same terms for every container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


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


class Density(NamedTuple):
    """Pixels per inch along each axis; if not `absolute`, only their ratio means something."""

    x: float
    y: float
    absolute: bool = True


@dataclass(frozen=True)
class Metadata:
    """What belongs to an image beside its pixels.

    Attributes:
        icc: ICC profile.
        exif: EXIF block, a TIFF structure that starts with `II*` or `MM`, without the prefix
            `Exif` that JPEG files put before it. Its orientation is 1: it has been applied.
        xmp: XMP packet, UTF-8.
        iptc: IPTC-IIM records, without the Photoshop resource around them.
        cicp: colour space as code points; takes precedence over `icc`.
        density: pixels per inch.
        notes: what was found and could not be kept or read, a phrase each.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    cicp: Cicp | None = None
    density: Density | None = None
    notes: tuple[str, ...] = ()
