"""From `Metadata` to what a container holds: stripped, fitted to the image, and what is lost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from vaetools.errors import OptionError
from vaetools.image.metadata import icc as profiles
from vaetools.image.metadata import xmp as packets
from vaetools.image.metadata.exif import exif_with_resolution, fitted_exif
from vaetools.image.metadata.fields import Metadata
from vaetools.image.metadata.tiff_directory import without_gps

if TYPE_CHECKING:
    from collections.abc import Mapping

Strip: TypeAlias = Literal["none", "gps", "exif", "all"]
"""What to leave out: nothing; positions in EXIF and XMP; all EXIF, XMP and IPTC; everything."""

_NAMES = {"icc": "ICC profile", "exif": "EXIF", "xmp": "XMP", "iptc": "IPTC"}


@dataclass(frozen=True)
class Holds:
    """What a container has a place for.

    Attributes:
        fields: names of `Metadata`'s fields.
        grey: whether it has grey pixels; otherwise grey is written as RGB.
        largest: bytes of the largest block that fits, by field, where there is a limit.
    """

    fields: frozenset[str] = frozenset()
    grey: bool = True
    largest: Mapping[str, int] = field(default_factory=dict)


def stripped(metadata: Metadata, strip: Strip) -> Metadata:
    """The metadata without what `strip` names. Raises `OptionError` for another word."""
    if strip not in get_args(Strip):
        raise OptionError(f"strip={strip!r} is not one of {', '.join(get_args(Strip))}")
    if strip == "all":
        return Metadata()
    if strip == "exif":
        return replace(metadata, exif=None, xmp=None, iptc=None)
    if strip == "gps":
        exif = without_gps(metadata.exif) if metadata.exif is not None else None
        return replace(metadata, exif=exif, xmp=_without_position(metadata.xmp))
    return metadata


def _without_position(packet: bytes | None) -> bytes | None:
    """The packet without positions; None if it cannot be read, since it might hold one."""
    try:
        return packets.without(packet, packets.is_position) if packet else None
    except packets.XmpError:
        return None


def fitted(
    metadata: Metadata, width: int, height: int, *, grey: bool, holds: Holds, strip: Strip = "none"
) -> tuple[Metadata, tuple[str, ...]]:
    """The metadata as a container holds it beside an image of this size.

    Sizes and resolutions agree with the image, and the colour space with its channels.

    Returns:
        The metadata, and what is not kept, a phrase each.
    """
    lost: list[str] = []
    coloured = _colour(stripped(metadata, strip), grey and holds.grey, holds, lost)
    sized = _sized(coloured, width, height, holds, strip)
    if coloured.xmp is not None and sized.xmp is None:
        lost.append("XMP that is not well formed")
    for name, label in _NAMES.items():
        block = getattr(sized, name)
        is_too_large = block is not None and len(block) > holds.largest.get(name, 2**31)
        if block is not None and (name not in holds.fields or is_too_large):
            if is_too_large:
                lost.append(f"{label} of {len(block):,} bytes")
            elif name != "icc" or not profiles.is_srgb(block):
                lost.append(label)
            without: dict[str, Any] = {name: None}
            sized = replace(sized, **without)
    density = sized.density
    if density is not None and "density" not in holds.fields:
        has_place = density.absolute and "exif" in holds.fields
        if not has_place or (sized.exif is None and strip != "exif"):
            lost.append("resolution" if density.absolute else "pixel aspect ratio")
        sized = replace(sized, density=None)
    return sized, tuple(dict.fromkeys(lost))


VAE = Holds(frozenset({"icc", "exif", "xmp", "iptc", "cicp", "density"}))
"""What a `.vae` file has sections for."""


def for_vae(
    metadata: Metadata, width: int, height: int, *, grey: bool
) -> tuple[Metadata, tuple[str, ...]]:
    """As `fitted`, for a `.vae` file: a gamma becomes an ICC profile."""
    return fitted(metadata, width, height, grey=grey, holds=VAE)


def _sized(metadata: Metadata, width: int, height: int, holds: Holds, strip: Strip) -> Metadata:
    density, exif, packet = metadata.density, metadata.exif, metadata.xmp
    absolute = density if density is not None and density.absolute else None
    if exif is not None:
        exif = fitted_exif(exif, width, height, absolute)
    elif absolute and "density" not in holds.fields and strip != "exif" and "exif" in holds.fields:
        exif = exif_with_resolution(absolute)
    if packet is not None:
        try:
            packet = packets.fitted_xmp(packet, width, height, absolute and absolute[:2])
        except packets.XmpError:
            packet = None
    return replace(metadata, exif=exif, xmp=packet)


def _colour(metadata: Metadata, grey: bool, holds: Holds, lost: list[str]) -> Metadata:
    """The metadata with its colour space as the container can say it."""
    cicp, profile, calibration = metadata.cicp, metadata.icc, metadata.calibration
    if profile is not None:
        profile = _fitting_profile(profile, grey, lost)
    if cicp is not None and "cicp" not in holds.fields:
        said = profiles.profile_of_cicp(cicp, grey=grey)
        if not profiles.is_plain_srgb(cicp):
            if said is None and profile is None:
                lost.append(f"CICP {'/'.join(str(int(value)) for value in cicp)}")
            profile = said or profile
        cicp = None
    if calibration is not None and "calibration" not in holds.fields:
        if cicp is None and profile is None:
            profile = profiles.profile_of_calibration(calibration, grey=grey)
        calibration = None
    return replace(metadata, cicp=cicp, icc=profile, calibration=calibration)


def _fitting_profile(profile: bytes, grey: bool, lost: list[str]) -> bytes | None:
    """A profile for these channels that says the same as `profile`."""
    space = profiles.colour_space(profile)
    if space in (None, "GRAY" if grey else "RGB"):  # what is no profile is no business of ours
        return profile
    made = None
    if space == "GRAY":
        made = profiles.as_rgb(profile)
    elif space == "RGB":
        made = profiles.as_grey(profile)
    if made is None:
        lost.append(f"{space} profile of {'grey' if grey else 'RGB'} pixels")
    return made
